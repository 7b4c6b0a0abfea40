//! What a host application says about itself: `{"online":true,"timestamp":1700000000000}`, retained.

use serde_json::Value as Json;

/// A longer text is no such message.
const LONGEST: usize = 4096;

/// What a host application says about itself. Source: Sparkplug 3.0.0 §6.4.27.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostState {
    /// Whether it is there.
    pub online: bool,
    /// When the connection was made that this is about, in Unix milliseconds: the will of a connection has the time of its birth.
    pub timestamp: u64,
}

impl HostState {
    /// Reads the payload of a message; `None` when it is none.
    pub fn parse(payload: &[u8]) -> Option<HostState> {
        if payload.len() > LONGEST {
            return None;
        }
        let json: Json = serde_json::from_slice(payload).ok()?;
        Some(HostState { online: json.get("online")?.as_bool()?, timestamp: json.get("timestamp")?.as_u64()? })
    }

    /// The payload of the message.
    pub fn payload(self) -> Vec<u8> {
        format!("{{\"online\":{},\"timestamp\":{}}}", self.online, self.timestamp).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_from_its_payload() {
        for online in [true, false] {
            let state = HostState { online, timestamp: 1_700_000_000_000 };
            assert_eq!(HostState::parse(&state.payload()), Some(state));
        }
        let payload = br#"{"timestamp":5,"online":true,"bdSeq":3}"#;
        assert_eq!(HostState::parse(payload), Some(HostState { online: true, timestamp: 5 }));
    }

    #[test]
    fn anything_else_is_no_state() {
        let long = format!("{{\"online\":true,\"timestamp\":1,\"x\":\"{}\"}}", "x".repeat(LONGEST));
        for payload in [
            "ONLINE",
            "",
            "{}",
            "{\"online\":\"true\",\"timestamp\":1}",
            "{\"online\":true}",
            "{\"online\":true,\"timestamp\":-1}",
            "{\"online\":true,\"timestamp\":1.5}",
            &long,
        ] {
            assert_eq!(HostState::parse(payload.as_bytes()), None, "{payload}");
        }
    }
}
