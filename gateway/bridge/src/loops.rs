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

/// Messages that were sent to a broker that may send them back (MQTT 3.1.1 has no "no local").
#[derive(Debug, Default)]
pub(crate) struct Echoes {
    hasher: RandomState,
    expected: HashMap<u64, u32>,
    order: VecDeque<(Instant, u64)>,
}

impl Echoes {
    /// A message has been sent.
    pub(crate) fn expect(&mut self, topic: &[u8], payload: &[u8], now: Instant) {
        self.forget(now);
        let hash = self.hasher.hash_one((topic, payload));
        *self.expected.entry(hash).or_default() += 1;
        self.order.push_back((now, hash));
    }

    /// Whether a message that has come is one that was sent; it is not expected again then.
    pub(crate) fn is_one(&mut self, topic: &[u8], payload: &[u8], now: Instant) -> bool {
        self.forget(now);
        let hash = self.hasher.hash_one((topic, payload));
        match self.expected.get_mut(&hash) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }

    /// Forgets what does not come any more.
    fn forget(&mut self, now: Instant) {
        while let Some((sent, hash)) = self.order.front().copied() {
            if now.saturating_duration_since(sent) < ECHO && self.order.len() < MOST_ECHOES {
                return;
            }
            self.order.pop_front();
            // One that came back has been taken off already.
            if self.order.iter().all(|(_, other)| *other != hash) {
                self.expected.remove(&hash);
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
        mark.add(&mut properties);
        assert!(mark.went_out(properties.as_deref()));
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
        assert!(!echoes.is_one(b"a", b"2", now) && !echoes.is_one(b"b", b"1", now));
        assert!(echoes.is_one(b"a", b"1", now) && echoes.is_one(b"a", b"1", now));
        assert!(!echoes.is_one(b"a", b"1", now), "the third is somebody else's");
        echoes.expect(b"a", b"1", now);
        assert!(!echoes.is_one(b"a", b"1", now + ECHO));
    }
}
