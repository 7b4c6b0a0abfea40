//! What a target says beside rows: states of devices, alarms, the gateway's own figures, as on the local broker.
//!
//! Nothing of it is in the store: what stands is said anew on each connection, and what was said while there was none and does not stand
//! is not said any more.

use std::{collections::VecDeque, future::Future, pin::Pin};

use bytes::Bytes;

/// Larger ones are not sent: they are figures about a gateway, not worth a connection that a broker closes over them.
const LARGEST: usize = 128 * 1024;
/// More are not taken from the feed while so many wait; what stands may be more.
const WAITING: usize = 1024;
/// Sent between two looks at the rows.
pub(super) const AT_ONCE: usize = 16;

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
    /// Connections in a row that were closed over one.
    closed: u8,
}

impl Announcements {
    pub(crate) fn of(feed: Box<dyn AnnouncementFeed>) -> Announcements {
        Announcements { feed: Some(feed), waiting: VecDeque::new(), closed: 0 }
    }

    /// A new connection: everything that stands is to be said.
    pub(crate) fn begin(&mut self) {
        self.waiting.clear();
        if let Some(feed) = &mut self.feed {
            self.waiting.extend(feed.standing().into_iter().filter(|said| said.payload.len() <= LARGEST));
        }
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
        self.waiting.pop_front()
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
