//! What keeps messages from going round in circles.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
};

use tidegate_mqtt::Properties;
use tokio::time::{Duration, Instant};

/// The user property that names who passed a message on.
const VIA: &str = "tidegate-via";
/// A message that has been passed on that often goes in circles of others.
const MOST_HOPS: usize = 8;
/// For how long a message is expected to come back.
const ECHO: Duration = Duration::from_secs(30);
/// Messages that are expected at a time.
const MOST_ECHOES: usize = 8_192;

/// The name of a bridge in the messages that it passes on.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    gateway: String,
    own: String,
}

impl Mark {
    pub(crate) fn new(gateway: &str, bridge: &str) -> Mark {
        Mark { gateway: format!("{gateway}/"), own: format!("{gateway}/{bridge}") }
    }

    /// Whether a message that comes in was here before.
    pub(crate) fn was_here(&self, properties: Option<&Properties>) -> bool {
        let mut hops = marks(properties);
        hops.clone().count() >= MOST_HOPS || hops.any(|mark| mark.starts_with(&self.gateway))
    }

    /// Whether a message of the local broker is one that this bridge has brought there: of its two sessions the one gets what the other
    /// publishes, and what is retained comes to both.
    pub(crate) fn brought(&self, properties: Option<&Properties>) -> bool {
        marks(properties).last().is_some_and(|mark| mark == self.own)
    }

    /// Whether a message that goes out has gone out over this bridge before.
    pub(crate) fn went_out(&self, properties: Option<&Properties>) -> bool {
        let mut hops = marks(properties);
        hops.clone().count() >= MOST_HOPS || hops.any(|mark| mark == self.own)
    }

    /// Adds the mark.
    pub(crate) fn add(&self, properties: &mut Option<Box<Properties>>) {
        properties.get_or_insert_default().user.push((VIA.to_owned(), self.own.clone()));
    }
}

fn marks(properties: Option<&Properties>) -> impl Iterator<Item = &str> + Clone {
    let user = properties.map(|properties| properties.user.as_slice()).unwrap_or_default();
    user.iter().filter(|(name, _)| name == VIA).map(|(_, mark)| mark.as_str())
}

/// Messages that were sent to a broker that may send them back (MQTT 3.1.1 has no "no local", and it is none of those that are known to treat
/// a bridge as one, see `remote.rs`). They outlast the connection: a broker
/// that keeps the session of the bridge sends them back later.
#[derive(Debug, Default)]
pub(crate) struct Echoes {
    hasher: RandomState,
    sent: HashMap<u64, Sent>,
    order: VecDeque<(Instant, u64)>,
}

/// Messages that are the same, of those in the order.
#[derive(Debug, Default)]
struct Sent {
    /// Those that have not come back.
    away: u32,
    /// Those that have. Such a one may come again: the broker may not have heard that it came.
    back: u32,
}

impl Echoes {
    /// There is a new connection. The time of what was sent over the last one begins anew, if the broker has `kept` the session;
    /// otherwise nothing of it comes back.
    pub(crate) fn begin_again(&mut self, kept: bool, now: Instant) {
        if kept {
            self.order.iter_mut().for_each(|(sent, _)| *sent = now);
        } else {
            self.sent.clear();
            self.order.clear();
        }
    }

    /// A message has been sent.
    pub(crate) fn expect(&mut self, topic: &[u8], payload: &[u8], now: Instant) {
        self.forget(now);
        let hash = self.hasher.hash_one((topic, payload));
        self.sent.entry(hash).or_default().away += 1;
        self.order.push_back((now, hash));
    }

    /// Whether a message that has come is one that was sent; it is not expected again then, but when the broker says that it sends it
    /// `again`.
    pub(crate) fn is_one(&mut self, topic: &[u8], payload: &[u8], again: bool, now: Instant) -> bool {
        self.forget(now);
        let hash = self.hasher.hash_one((topic, payload));
        match self.sent.get_mut(&hash) {
            Some(Sent { back, .. }) if again && *back > 0 => true,
            Some(Sent { away, back }) if *away > 0 => {
                (*away, *back) = (*away - 1, *back + 1);
                true
            }
            _ => false,
        }
    }

    /// Forgets what does not come any more.
    fn forget(&mut self, now: Instant) {
        while let Some((at, hash)) = self.order.front().copied() {
            if now.saturating_duration_since(at) < ECHO && self.order.len() < MOST_ECHOES {
                return;
            }
            self.order.pop_front();
            let Some(same) = self.sent.get_mut(&hash) else { continue };
            // The first that was sent came back first.
            let one = if same.back > 0 { &mut same.back } else { &mut same.away };
            *one = one.saturating_sub(1);
            if same.away == 0 && same.back == 0 {
                self.sent.remove(&hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_was_here_is_known_by_its_mark() {
        let (mark, mut properties) = (Mark::new("line3", "plant"), None);
        assert!(!mark.was_here(None) && !mark.went_out(None));
        Mark::new("line4", "plant").add(&mut properties);
        assert!(!mark.was_here(properties.as_deref()) && !mark.went_out(properties.as_deref()));
        Mark::new("line3", "cloud").add(&mut properties);
        assert!(mark.was_here(properties.as_deref()), "another bridge of the same gateway");
        assert!(!mark.went_out(properties.as_deref()), "what came over another bridge may go on over this one");
        assert!(!mark.brought(properties.as_deref()));
        mark.add(&mut properties);
        assert!(mark.went_out(properties.as_deref()) && mark.brought(properties.as_deref()));
        assert!(!Mark::new("line", "x").was_here(properties.as_deref()), "the name is compared as a whole");
    }

    #[test]
    fn what_goes_round_elsewhere_ends_too() {
        let mut properties = None;
        for _ in 0..MOST_HOPS {
            Mark::new("other", "x").add(&mut properties);
        }
        assert!(Mark::new("line3", "plant").was_here(properties.as_deref()));
    }

    #[test]
    fn an_echo_is_taken_once_for_each_message_sent_and_for_a_while() {
        let (mut echoes, now) = (Echoes::default(), Instant::now());
        echoes.expect(b"a", b"1", now);
        echoes.expect(b"a", b"1", now);
        assert!(!echoes.is_one(b"a", b"2", false, now) && !echoes.is_one(b"b", b"1", false, now));
        assert!(echoes.is_one(b"a", b"1", false, now) && echoes.is_one(b"a", b"1", false, now));
        assert!(!echoes.is_one(b"a", b"1", false, now), "the third is somebody else's");
        assert!(echoes.is_one(b"a", b"1", true, now), "the broker did not hear that it came");
        echoes.expect(b"a", b"1", now);
        assert!(!echoes.is_one(b"a", b"1", false, now + ECHO) && !echoes.is_one(b"a", b"1", true, now + ECHO));
        assert!(echoes.sent.is_empty());
    }

    #[test]
    fn an_echo_is_expected_over_connections_as_long_as_the_broker_keeps_the_session() {
        let (mut echoes, now) = (Echoes::default(), Instant::now());
        echoes.expect(b"a", b"1", now);
        let later = now + ECHO * 10;
        echoes.begin_again(true, later);
        assert!(echoes.is_one(b"a", b"1", true, later + ECHO / 2));
        echoes.expect(b"b", b"1", later);
        echoes.begin_again(false, later);
        assert!(!echoes.is_one(b"b", b"1", false, later) && echoes.order.is_empty());
    }

    #[test]
    fn no_more_echoes_are_expected_than_there_is_room_for() {
        let (mut echoes, now) = (Echoes::default(), Instant::now());
        for n in 0..2 * MOST_ECHOES {
            echoes.expect(b"a", n.to_string().as_bytes(), now);
        }
        assert!(echoes.order.len() <= MOST_ECHOES && echoes.sent.len() <= MOST_ECHOES);
        assert!(!echoes.is_one(b"a", b"0", false, now), "the oldest is forgotten");
    }
}
