//! The primary host: without it nothing is published, and what is not published waits.

use crate::{HostState, Id, Topic};

/// A time of a message that is further ahead than this, in milliseconds, is from a clock that is wrong: the host's or ours.
const AHEAD: u64 = 10_000;

/// What became of a message about a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It says nothing new.
    Nothing,
    /// The primary host is there.
    Online,
    /// The primary host is gone.
    Offline,
}

/// Open while the primary host is there; always, when there is none.
#[derive(Debug)]
pub(super) struct Gate {
    host: Option<Id>,
    /// What the latest message says, in this connection.
    online: bool,
    /// The time in the latest message. Older messages are not believed, in no connection; unless it is ahead of the clock and they are not.
    latest: Option<u64>,
}

impl Gate {
    pub(super) fn new(host: Option<Id>) -> Gate {
        Gate { host, online: false, latest: None }
    }

    pub(super) fn is_open(&self) -> bool {
        self.host.is_none() || self.online
    }

    /// A new connection has to hear of the host anew.
    pub(super) fn disconnected(&mut self) {
        self.online = false;
    }

    pub(super) fn topic(&self) -> Option<String> {
        self.host.as_ref().map(|host| Topic::State { host: host.as_str() }.to_string())
    }

    /// A message about a host. A will has the time of the birth before it: of the same time, the later message counts.
    /// `now`: milliseconds of Unix time. A host whose clock was ahead and was put right would otherwise not be heard until that time has come.
    pub(super) fn heard(&mut self, host: &str, payload: &[u8], now: u64) -> Told {
        if self.host.as_ref().is_none_or(|own| own.as_str() != host) {
            return Told::Nothing;
        }
        let Some(state) = HostState::parse(payload) else { return Told::Nothing };
        let is_ahead = |time: u64| time > now.saturating_add(AHEAD);
        let is_older = |latest: u64| state.timestamp < latest && (is_ahead(state.timestamp) || !is_ahead(latest));
        if self.latest.is_some_and(is_older) {
            return Told::Nothing;
        }
        self.latest = Some(state.timestamp);
        match (std::mem::replace(&mut self.online, state.online), state.online) {
            (false, true) => Told::Online,
            (true, false) => Told::Offline,
            (_, _) => Told::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(online: bool, timestamp: u64) -> Vec<u8> {
        HostState { online, timestamp }.payload()
    }

    #[test]
    fn without_a_primary_host_the_gate_is_open() {
        assert!(Gate::new(None).is_open());
        assert_eq!(Gate::new(None).topic(), None);
    }

    #[test]
    fn the_gate_opens_when_the_host_says_that_it_is_online_and_for_no_other_host() {
        let mut gate = Gate::new("scada".parse().ok());
        assert_eq!(gate.topic().as_deref(), Some("spBv1.0/STATE/scada"));
        assert!(!gate.is_open());
        assert_eq!(gate.heard("other", &state(true, 9), 1_000_000), Told::Nothing);
        assert_eq!(gate.heard("scada", b"ONLINE", 1_000_000), Told::Nothing);
        assert_eq!(gate.heard("scada", &state(false, 5), 1_000_000), Told::Nothing);
        assert!(!gate.is_open());
        assert_eq!(gate.heard("scada", &state(true, 6), 1_000_000), Told::Online);
        assert!(gate.is_open());
        assert_eq!(gate.heard("scada", &state(true, 7), 1_000_000), Told::Nothing);
    }

    #[test]
    fn an_old_message_about_the_host_is_not_believed_and_its_will_is() {
        let mut gate = Gate::new("scada".parse().ok());
        assert_eq!(gate.heard("scada", &state(true, 100), 1_000_000), Told::Online);
        assert_eq!(gate.heard("scada", &state(false, 99), 1_000_000), Told::Nothing);
        assert!(gate.is_open());
        assert_eq!(gate.heard("scada", &state(false, 100), 1_000_000), Told::Offline);
        assert_eq!(gate.heard("scada", &state(true, 99), 1_000_000), Told::Nothing);
        assert!(!gate.is_open());
        assert_eq!(gate.heard("scada", &state(true, 101), 1_000_000), Told::Online);
    }

    #[test]
    fn a_new_connection_waits_for_the_host_again_and_still_does_not_believe_old_messages() {
        let mut gate = Gate::new("scada".parse().ok());
        gate.heard("scada", &state(true, 100), 1_000_000);
        gate.disconnected();
        assert!(!gate.is_open());
        assert_eq!(gate.heard("scada", &state(true, 99), 1_000_000), Told::Nothing);
        assert_eq!(gate.heard("scada", &state(true, 100), 1_000_000), Told::Online);
    }

    #[test]
    fn a_host_whose_clock_was_ahead_is_believed_again_once_its_clock_is_right() {
        let (mut gate, now) = (Gate::new("scada".parse().ok()), 1_000_000);
        assert_eq!(gate.heard("scada", &state(true, now + 3_600_000), now), Told::Online);
        // While both are ahead they are compared as ever: it may be our clock that is behind.
        assert_eq!(gate.heard("scada", &state(false, now + 3_500_000), now), Told::Nothing);
        assert_eq!(gate.heard("scada", &state(false, now + 3_600_000), now), Told::Offline);
        gate.disconnected();
        let now = now + 60_000;
        assert_eq!(gate.heard("scada", &state(true, now + 50), now), Told::Online);
        assert_eq!(gate.heard("scada", &state(false, now), now), Told::Nothing, "older, and neither is ahead");
        assert!(gate.is_open());
    }
}
