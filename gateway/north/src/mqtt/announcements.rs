//! What a target says beside rows: states of devices, alarms, the gateway's own figures, as on the local broker.
//!
//! Nothing of it is in the store: what stands is said anew on each connection, and what was said while there was none and does not stand
//! is not said any more. What the broker was given to keep and does not stand any more is taken back.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    future::Future,
    pin::Pin,
};

use bytes::Bytes;

/// Larger ones are not sent: they are figures about a gateway, not worth a connection that a broker closes over them.
const LARGEST: usize = 128 * 1024;
/// More are not taken from the feed while so many wait; what stands may be more.
const WAITING: usize = 1024;
/// Sent between two looks at the rows.
pub(super) const AT_ONCE: usize = 16;

/// A message that the broker keeps is taken back that often before it is believed to be gone: a connection may end before the broker has
/// taken the first one.
const TAKEN_BACK: u8 = 2;

/// One message, as it was published on the local broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Where to; the same topic as there.
    pub topic: String,
    /// What.
    pub payload: Bytes,
    /// Whether the broker is to keep it.
    pub retain: bool,
}

/// Where announcements come from.
pub trait AnnouncementFeed: Send {
    /// Everything that stands now. What [`AnnouncementFeed::next`] gives then was said later.
    fn standing(&mut self) -> Vec<Announcement>;

    /// What is said next; `None` when something was missed and what stands has to be asked for again. May be dropped at any time.
    fn next<'a>(&'a mut self) -> Pin<Box<dyn Future<Output = Option<Announcement>> + Send + 'a>>;
}

/// The announcements of one target.
#[derive(Default)]
pub(crate) struct Announcements {
    feed: Option<Box<dyn AnnouncementFeed>>,
    waiting: VecDeque<Announcement>,
    /// Topics that the broker was given something to keep under since the gateway began, and how often it was taken back.
    kept: HashMap<String, u8>,
    /// Connections in a row that were closed over one.
    closed: u8,
}

impl Announcements {
    pub(crate) fn of(feed: Box<dyn AnnouncementFeed>) -> Announcements {
        Announcements { feed: Some(feed), ..Announcements::default() }
    }

    /// A new connection: everything that stands is to be said, and what does not stand any more is to be taken back.
    pub(crate) fn begin(&mut self) {
        self.waiting.clear();
        let Some(feed) = &mut self.feed else { return };
        let standing = feed.standing();
        let topics: HashSet<&str> = standing.iter().map(|said| said.topic.as_str()).collect();
        let over = self.kept.keys().filter(|topic| !topics.contains(topic.as_str()));
        let over = over.map(|topic| Announcement { topic: topic.clone(), payload: Bytes::new(), retain: true });
        self.waiting.extend(over);
        self.waiting.extend(standing.into_iter().filter(|said| said.payload.len() <= LARGEST));
    }

    /// Takes what is said next; never returns where there is nothing to be said, or enough waits. May be dropped at any time.
    pub(crate) async fn more(&mut self) {
        match &mut self.feed {
            Some(feed) if self.waiting.len() < WAITING => match feed.next().await {
                Some(said) if said.payload.len() <= LARGEST => self.waiting.push_back(said),
                Some(_) => {}
                None => self.begin(),
            },
            _ => std::future::pending().await,
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Announcement> {
        let said = self.waiting.pop_front()?;
        if said.retain && !said.payload.is_empty() {
            self.kept.insert(said.topic.clone(), 0);
        } else if said.retain
            && let Some(times) = self.kept.get_mut(&said.topic)
        {
            *times += 1;
            if *times >= TAKEN_BACK {
                self.kept.remove(&said.topic);
            }
        }
        Some(said)
    }

    /// A connection has ended. `over_one`: with an announcement first in line. True when no more are sent from now on: a broker that
    /// does not bear them would otherwise get no rows either.
    pub(crate) fn ended(&mut self, over_one: bool) -> bool {
        self.closed = if over_one { self.closed.saturating_add(1) } else { 0 };
        let gives_up = self.closed >= 2 && self.feed.take().is_some();
        if gives_up {
            self.waiting.clear();
        }
        gives_up
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What stands, as the test says; nothing is said later.
    struct Feed(Arc<Mutex<Vec<&'static str>>>);

    impl AnnouncementFeed for Feed {
        fn standing(&mut self) -> Vec<Announcement> {
            let said = |topic: &&str| Announcement { topic: (*topic).to_owned(), payload: "x".into(), retain: true };
            self.0.lock().unwrap().iter().map(said).collect()
        }

        fn next<'a>(&'a mut self) -> Pin<Box<dyn Future<Output = Option<Announcement>> + Send + 'a>> {
            Box::pin(std::future::pending())
        }
    }

    /// What is said on a new connection, and whether there is something to be kept.
    fn said(announcements: &mut Announcements) -> Vec<(String, bool)> {
        announcements.begin();
        std::iter::from_fn(|| announcements.pop()).map(|said| (said.topic, !said.payload.is_empty())).collect()
    }

    #[test]
    fn what_ended_while_there_was_no_connection_is_taken_back_on_the_next_one_and_once_more() {
        let standing = Arc::new(Mutex::new(vec!["a/alarm", "a/state"]));
        let mut announcements = Announcements::of(Box::new(Feed(Arc::clone(&standing))));
        let both = [("a/alarm".to_owned(), true), ("a/state".to_owned(), true)];
        assert_eq!(said(&mut announcements), both);
        standing.lock().unwrap().remove(0);
        let taken_back = [("a/alarm".to_owned(), false), ("a/state".to_owned(), true)];
        assert_eq!(said(&mut announcements), taken_back);
        assert_eq!(said(&mut announcements), taken_back, "the broker may not have taken the first one");
        assert_eq!(said(&mut announcements), both[1..]);
        standing.lock().unwrap().insert(0, "a/alarm");
        assert_eq!(said(&mut announcements), both);
    }

    #[test]
    fn what_was_never_sent_is_not_taken_back() {
        let standing = Arc::new(Mutex::new(vec!["a/alarm"]));
        let mut announcements = Announcements::of(Box::new(Feed(Arc::clone(&standing))));
        announcements.begin();
        standing.lock().unwrap().clear();
        assert_eq!(said(&mut announcements), []);
    }
}
