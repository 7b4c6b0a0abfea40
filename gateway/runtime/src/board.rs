//! What the gateway says of itself and its devices beside their rows: states, alarms, its own figures. It is on the local broker anyway;
//! here it is for targets that are to say the same elsewhere.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::broadcast::{Receiver, Sender, channel};

/// What is said and not yet read, at most; whoever is further behind asks for what stands.
const WAITING: usize = 1024;

/// One message, as it was published on the local broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Where to.
    pub topic: String,
    /// What; empty: nothing stands there any more.
    pub payload: Bytes,
    /// Whether it stays until something else is said there.
    pub retain: bool,
}

/// What stands, and who is told when it changes. Clones show the same.
#[derive(Debug, Clone)]
pub(crate) struct Board(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// One entry for each topic; devices, their alarms and three of the gateway's own bound it.
    standing: Mutex<BTreeMap<String, Bytes>>,
    news: Sender<Announcement>,
}

/// What is said from one moment on.
#[derive(Debug)]
pub struct BoardFeed {
    board: Board,
    news: Receiver<Announcement>,
}

impl Board {
    pub(crate) fn new() -> Board {
        Board(Arc::new(Inner { standing: Mutex::default(), news: channel(WAITING).0 }))
    }

    /// Notes what is published, and tells whoever listens.
    pub(crate) fn tell(&self, topic: &str, payload: &Bytes, retain: bool) {
        let mut standing = self.standing();
        if retain && payload.is_empty() {
            standing.remove(topic);
        } else if retain {
            standing.insert(topic.to_owned(), payload.clone());
        }
        // In the order of what stands, so under its lock. Nobody may listen.
        if self.0.news.receiver_count() > 0 {
            let _ = self.0.news.send(Announcement { topic: topic.to_owned(), payload: payload.clone(), retain });
        }
    }

    pub(crate) fn feed(&self) -> BoardFeed {
        BoardFeed { board: self.clone(), news: self.0.news.subscribe() }
    }

    fn standing(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        // Each change is complete in itself: a thread that panicked in between left nothing half done.
        self.0.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BoardFeed {
    /// Everything that stands now; what [`BoardFeed::next`] gives then is said later.
    pub fn standing(&mut self) -> Vec<Announcement> {
        let standing = self.board.standing();
        self.news = self.board.0.news.subscribe();
        let entry = |(topic, payload): (&String, &Bytes)| Announcement {
            topic: topic.clone(),
            payload: payload.clone(),
            retain: true,
        };
        standing.iter().map(entry).collect()
    }

    /// What is said next. `None` when something was missed: what stands has to be asked for again. May be dropped at any time.
    pub async fn next(&mut self) -> Option<Announcement> {
        // The sender lives as long as the board, which is held here.
        self.news.recv().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(board: &Board, topic: &str, payload: &'static str, retain: bool) {
        board.tell(topic, &Bytes::from_static(payload.as_bytes()), retain);
    }

    fn texts(announcements: &[Announcement]) -> Vec<(&str, &[u8], bool)> {
        announcements.iter().map(|said| (said.topic.as_str(), &said.payload[..], said.retain)).collect()
    }

    #[tokio::test]
    async fn what_stands_comes_first_and_then_what_is_said() {
        let board = Board::new();
        tell(&board, "a/state", "online", true);
        tell(&board, "b/state", "online", true);
        tell(&board, "b/state", "", true);
        tell(&board, "a/alarm/hot", "once", false);
        let mut feed = board.feed();
        tell(&board, "c/state", "before it is asked for", true);
        assert_eq!(
            texts(&feed.standing()),
            [("a/state", &b"online"[..], true), ("c/state", &b"before it is asked for"[..], true)]
        );
        tell(&board, "a/alarm/hot", "over", false);
        tell(&board, "a/state", "", true);
        let said = [feed.next().await.unwrap(), feed.next().await.unwrap()];
        assert_eq!(texts(&said), [("a/alarm/hot", &b"over"[..], false), ("a/state", &b""[..], true)]);
    }

    #[tokio::test]
    async fn whoever_is_too_far_behind_is_told_so() {
        let board = Board::new();
        let mut feed = board.feed();
        feed.standing();
        (0..2 * WAITING).for_each(|_| tell(&board, "a/state", "online", true));
        assert_eq!(feed.next().await, None);
        assert_eq!(feed.standing().len(), 1);
    }
}
