//! Retained messages: the last one of each topic, for subscribers that come later.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    message::{FROM_GATEWAY, Published},
    topic,
};

/// Retained messages by topic.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    messages: BTreeMap<Bytes, Arc<Published>>,
    /// Topics of those that expire, the first one first.
    expiring: BTreeSet<(Instant, Bytes)>,
    /// Bytes of all.
    bytes: usize,
    /// Those that clients published.
    of_clients: Count,
    /// Topics whose message has changed since the disk was told, as far as clients published it before or after; absent without
    /// a disk.
    unsaved: Option<HashSet<Bytes>>,
}

/// How many messages, and how many bytes they have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// A subscriber's walk through the retained messages of its filter, in steps, so that neither the broker is held up nor
/// many messages wait in its queue.
#[derive(Debug)]
pub(crate) struct Walk {
    filter: String,
    after: Bound<Bytes>,
}

impl Walk {
    pub(crate) fn new(filter: &str) -> Walk {
        let start = Bytes::copy_from_slice(topic::literal_prefix(filter).as_bytes());
        Walk { filter: filter.to_owned(), after: Bound::Included(start) }
    }
}

impl Retained {
    /// Retains a message instead of the one before on its topic. A message without a payload only removes that one.
    ///
    /// Returns `false` when the message is a client's and all clients would have more than `most`; the one before stays
    /// then.
    pub(crate) fn put(&mut self, message: &Arc<Published>, most: Count, now: Instant) -> bool {
        if !self.has_room(message, most) {
            self.remove_expired(now);
            if !self.has_room(message, most) {
                return false;
            }
        }
        let before = self.messages.remove(&message.topic);
        if let Some(unsaved) = &mut self.unsaved
            && (message.from != FROM_GATEWAY || before.as_ref().is_some_and(|before| before.from != FROM_GATEWAY))
        {
            unsaved.insert(message.topic.clone());
        }
        if let Some(before) = before {
            self.forget(&before);
        }
        if !message.payload.is_empty() {
            self.bytes += message.cost();
            self.of_clients = self.of_clients.with(cost(message));
            self.expiring.extend(message.expires.map(|expires| (expires, message.topic.clone())));
            self.messages.insert(message.topic.clone(), Arc::clone(message));
        }
        true
    }

    fn has_room(&self, message: &Published, most: Count) -> bool {
        let before = self.messages.get(&message.topic).map_or(Count::default(), |before| cost(before));
        let after = self.of_clients.without(before).with(cost(message));
        let grows = cost(message).messages > 0;
        message.payload.is_empty() || !grows || (after.messages <= most.messages && after.bytes <= most.bytes)
    }

    fn forget(&mut self, message: &Published) {
        self.bytes = self.bytes.saturating_sub(message.cost());
        self.of_clients = self.of_clients.without(cost(message));
        if let Some(expires) = message.expires {
            self.expiring.remove(&(expires, message.topic.clone()));
        }
    }

    /// Takes a walk further: looks at `most` messages at most, hands out those that its filter selects, and says
    /// whether there may be more.
    pub(crate) fn step(
        &self,
        walk: &mut Walk,
        most: usize,
        now: Instant,
        mut found: impl FnMut(&Arc<Published>),
    ) -> bool {
        let prefix = topic::literal_prefix(&walk.filter).as_bytes();
        let exact = prefix.len() == walk.filter.len();
        let range = (walk.after.clone(), Bound::Unbounded);
        let mut last = None;
        for (topic, message) in self.messages.range::<Bytes, _>(range).take(most) {
            if !topic.starts_with(prefix) || (exact && topic != prefix) {
                return false;
            }
            if topic::matches(walk.filter.as_bytes(), topic) && !message.is_expired(now) {
                found(message);
            }
            last = Some(topic);
        }
        match last {
            Some(topic) => {
                walk.after = Bound::Excluded(topic.clone());
                true
            }
            None => false,
        }
    }

    /// Removes what nobody needs any more, and looks at nothing else.
    fn remove_expired(&mut self, now: Instant) {
        while self.expiring.first().is_some_and(|(expires, _)| *expires <= now) {
            let Some((_, topic)) = self.expiring.pop_first() else { return };
            let Some(message) = self.messages.remove(&topic) else { continue };
            self.forget(&message);
            if let Some(unsaved) = &mut self.unsaved {
                unsaved.insert(topic);
            }
        }
    }

    /// From now on notes what changes for [`Retained::take_unsaved`].
    pub(crate) fn note_unsaved(&mut self) {
        self.unsaved.get_or_insert_default();
    }

    /// What has changed since the disk was told: topics with the message of a client that they have now, if they have one.
    pub(crate) fn take_unsaved(&mut self) -> Vec<(Bytes, Option<Arc<Published>>)> {
        let topics = self.unsaved.as_mut().map(std::mem::take).unwrap_or_default();
        let message = |topic: &Bytes| self.messages.get(topic).filter(|message| message.from != FROM_GATEWAY).cloned();
        topics.into_iter().map(|topic| (topic.clone(), message(&topic))).collect()
    }

    /// Whether a topic has a message, or a client has changed something there since [`Retained::note_unsaved`] that the disk does not
    /// have.
    pub(crate) fn is_touched(&self, topic: &Bytes) -> bool {
        self.messages.contains_key(topic) || self.unsaved.as_ref().is_some_and(|unsaved| unsaved.contains(topic))
    }

    /// Everything has to be saved anew.
    pub(crate) fn all_is_unsaved(&mut self) {
        let of_clients = self.messages.iter().filter(|(_, message)| message.from != FROM_GATEWAY);
        if let Some(unsaved) = &mut self.unsaved {
            unsaved.extend(of_clients.map(|(topic, _)| topic.clone()));
        }
    }

    /// Takes topics back that could not be saved.
    pub(crate) fn still_unsaved(&mut self, topics: impl Iterator<Item = Bytes>) {
        if let Some(unsaved) = &mut self.unsaved {
            unsaved.extend(topics);
        }
    }

    /// How many there are and how many bytes they have.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.messages.len(), self.bytes)
    }
}

impl Count {
    fn with(self, more: Count) -> Count {
        Count { messages: self.messages + more.messages, bytes: self.bytes + more.bytes }
    }

    fn without(self, less: Count) -> Count {
        Count { messages: self.messages.saturating_sub(less.messages), bytes: self.bytes.saturating_sub(less.bytes) }
    }
}

/// What a message counts for the limit of clients.
fn cost(message: &Published) -> Count {
    if message.from == FROM_GATEWAY { Count::default() } else { Count { messages: 1, bytes: message.cost() } }
}

#[cfg(test)]
mod tests {
    use tokio::time::Duration;

    use super::*;
    use crate::wire::Qos;

    const NONE: Count = Count { messages: 0, bytes: 0 };

    fn most(bytes: usize) -> Count {
        Count { messages: 10, bytes }
    }

    fn message(topic: &str, payload: &str, from: u64) -> Arc<Published> {
        let message = Published::by_gateway(topic.to_owned().into(), payload.to_owned().into(), true);
        Arc::new(Published { from, qos: Qos::AtMostOnce, ..message })
    }

    fn walk(retained: &Retained, filter: &str, step: usize) -> Vec<String> {
        let (mut walk, mut found) = (Walk::new(filter), Vec::new());
        let now = Instant::now();
        while retained
            .step(&mut walk, step, now, |message| found.push(String::from_utf8(message.topic.to_vec()).unwrap()))
        {
        }
        found
    }

    #[test]
    fn a_walk_finds_what_the_filter_selects_in_any_number_of_steps() {
        let mut retained = Retained::default();
        for topic in ["a", "a/b", "a/b/c", "ab", "b/b", "é/x", "$SYS/x"] {
            assert!(retained.put(&message(topic, "x", 0), NONE, Instant::now()));
        }
        for step in [1, 2, 3, 100] {
            assert_eq!(walk(&retained, "a/#", step), ["a", "a/b", "a/b/c"]);
            assert_eq!(walk(&retained, "+/b", step), ["a/b", "b/b"]);
            assert_eq!(walk(&retained, "a/b", step), ["a/b"]);
            assert_eq!(walk(&retained, "é/+", step), ["é/x"]);
            assert_eq!(walk(&retained, "#", step).len(), 6);
            assert!(walk(&retained, "c/#", step).is_empty());
        }
    }

    #[test]
    fn an_empty_payload_removes_the_message() {
        let mut retained = Retained::default();
        retained.put(&message("a", "x", 0), NONE, Instant::now());
        retained.put(&message("a", "longer", 0), NONE, Instant::now());
        assert_eq!(retained.size(), (1, message("a", "longer", 0).cost()));
        retained.put(&message("a", "", 0), NONE, Instant::now());
        assert_eq!(retained.size(), (0, 0));
    }

    #[test]
    fn clients_share_a_limit_that_the_gateway_is_not_bound_to() {
        let mut retained = Retained::default();
        let limit = message("a", "x", 1).cost() * 2;
        assert!(
            retained.put(&message("a", "x", 1), most(limit), Instant::now())
                && retained.put(&message("b", "x", 2), most(limit), Instant::now())
        );
        assert!(!retained.put(&message("c", "x", 1), most(limit), Instant::now()));
        assert!(
            retained.put(&message("b", "y", 1), most(limit), Instant::now()),
            "what replaces another needs no more room"
        );
        assert!(retained.put(&message("c", "x", 0), most(limit), Instant::now()));
        assert!(
            retained.put(&message("a", "", 1), most(limit), Instant::now())
                && retained.put(&message("d", "x", 1), most(limit), Instant::now())
        );
        assert_eq!(retained.size().0, 3);
    }

    #[test]
    fn clients_share_a_number_of_messages() {
        let mut retained = Retained::default();
        let two = Count { messages: 2, bytes: usize::MAX };
        for (topic, from, room) in [("a", 1, true), ("b", 2, true), ("c", 1, false), ("a", 2, true), ("d", 0, true)] {
            assert_eq!(retained.put(&message(topic, "x", from), two, Instant::now()), room, "{topic}");
        }
        assert_eq!(retained.size().0, 3);
    }

    #[test]
    fn expired_messages_are_gone() {
        let mut retained = Retained::default();
        let now = Instant::now();
        let limit = message("a", "x", 1).cost();
        let old = Published { from: 1, expires: Some(now), ..Published::by_gateway("a".into(), "x".into(), true) };
        retained.put(&Arc::new(old), most(limit), now);
        assert!(walk(&retained, "#", 10).is_empty());
        assert!(retained.put(&message("b", "x", 1), most(limit), now), "the expired one makes room");
        assert_eq!(retained.size(), (1, limit));
    }

    #[test]
    fn what_expires_is_found_without_looking_at_the_others_and_forgotten_with_its_message() {
        let mut retained = Retained::default();
        let now = Instant::now();
        let expiring = |topic: &'static str, seconds| {
            let expires = Some(now + Duration::from_secs(seconds));
            Arc::new(Published { from: 1, expires, ..Published::by_gateway(topic.into(), "x".into(), true) })
        };
        let three = Count { messages: 3, bytes: usize::MAX };
        for (topic, seconds) in [("a", 5), ("a", 9), ("b", 3), ("c", 7)] {
            assert!(retained.put(&expiring(topic, seconds), three, now));
        }
        assert!(!retained.put(&message("d", "x", 1), three, now));
        assert_eq!(retained.expiring.iter().map(|(_, topic)| &**topic).collect::<Vec<_>>(), [b"b", b"c", b"a"]);
        let later = now + Duration::from_secs(5);
        assert!(retained.put(&message("d", "x", 1), three, later), "b has made room");
        assert!(!retained.put(&message("e", "x", 1), three, later), "a has been replaced by one that lives longer");
        retained.put(&message("c", "", 1), three, later);
        assert_eq!(retained.expiring.len(), 1);
        retained.put(&message("a", "for ever", 1), three, later);
        assert!(retained.expiring.is_empty());
        assert_eq!(retained.size().0, 2);
    }
}
