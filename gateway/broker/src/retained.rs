//! Retained messages: the last one of each topic, for subscribers that come later.

use std::{
    collections::{BTreeMap, HashSet},
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
    /// Bytes of all.
    bytes: usize,
    /// Bytes of those that clients published.
    client_bytes: usize,
    /// Topics whose message has changed since the disk was told, as far as clients published it before or after; absent without
    /// a disk.
    unsaved: Option<HashSet<Bytes>>,
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
    /// Returns `false` when the message is a client's and would exceed `client_limit` bytes of all clients; the one
    /// before stays then.
    pub(crate) fn put(&mut self, message: &Arc<Published>, client_limit: usize, now: Instant) -> bool {
        if !self.has_room(message, client_limit) {
            self.remove_expired(now);
            if !self.has_room(message, client_limit) {
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
            self.client_bytes += client_cost(message);
            self.messages.insert(message.topic.clone(), Arc::clone(message));
        }
        true
    }

    fn has_room(&self, message: &Published, client_limit: usize) -> bool {
        let before = self.messages.get(&message.topic).map_or(0, |before| client_cost(before));
        let others = self.client_bytes.saturating_sub(before);
        message.payload.is_empty() || client_cost(message) <= client_limit.saturating_sub(others)
    }

    fn forget(&mut self, message: &Published) {
        self.bytes = self.bytes.saturating_sub(message.cost());
        self.client_bytes = self.client_bytes.saturating_sub(client_cost(message));
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

    /// Removes what nobody needs any more.
    fn remove_expired(&mut self, now: Instant) {
        let gone: Vec<_> = self.messages.extract_if(.., |_, message| message.is_expired(now)).collect();
        for (_, message) in gone {
            self.forget(&message);
            if let Some(unsaved) = &mut self.unsaved {
                unsaved.insert(message.topic.clone());
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

/// What a message counts for the limit of clients.
fn client_cost(message: &Published) -> usize {
    if message.from == FROM_GATEWAY { 0 } else { message.cost() }
}

#[cfg(test)]
mod tests {
    use rumqttd::protocol::QoS;

    use super::*;

    fn message(topic: &str, payload: &str, from: u64) -> Arc<Published> {
        let message = Published::by_gateway(topic.to_owned().into(), payload.to_owned().into(), true);
        Arc::new(Published { from, qos: QoS::AtMostOnce, ..message })
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
            assert!(retained.put(&message(topic, "x", 0), 0, Instant::now()));
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
        retained.put(&message("a", "x", 0), 0, Instant::now());
        retained.put(&message("a", "longer", 0), 0, Instant::now());
        assert_eq!(retained.size(), (1, message("a", "longer", 0).cost()));
        retained.put(&message("a", "", 0), 0, Instant::now());
        assert_eq!(retained.size(), (0, 0));
    }

    #[test]
    fn clients_share_a_limit_that_the_gateway_is_not_bound_to() {
        let mut retained = Retained::default();
        let limit = message("a", "x", 1).cost() * 2;
        assert!(
            retained.put(&message("a", "x", 1), limit, Instant::now())
                && retained.put(&message("b", "x", 2), limit, Instant::now())
        );
        assert!(!retained.put(&message("c", "x", 1), limit, Instant::now()));
        assert!(retained.put(&message("b", "y", 1), limit, Instant::now()), "what replaces another needs no more room");
        assert!(retained.put(&message("c", "x", 0), limit, Instant::now()));
        assert!(
            retained.put(&message("a", "", 1), limit, Instant::now())
                && retained.put(&message("d", "x", 1), limit, Instant::now())
        );
        assert_eq!(retained.size().0, 3);
    }

    #[test]
    fn expired_messages_are_gone() {
        let mut retained = Retained::default();
        let now = Instant::now();
        let limit = message("a", "x", 1).cost();
        let old = Published { from: 1, expires: Some(now), ..Published::by_gateway("a".into(), "x".into(), true) };
        retained.put(&Arc::new(old), limit, now);
        assert!(walk(&retained, "#", 10).is_empty());
        assert!(retained.put(&message("b", "x", 1), limit, now), "the expired one makes room");
        assert_eq!(retained.size(), (1, limit));
    }
}
