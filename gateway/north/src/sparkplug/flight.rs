//! What has been sent and is not known to have been read by the broker. Pure: the time is an argument.

use std::{collections::VecDeque, time::Duration};

use tidegate_store::Ticket;
use tokio::time::Instant;

use super::suspicion::Sent;

/// Bytes on their way: at the start, at least, at most.
const FIRST: usize = 64 * 1024;
const LEAST: usize = 16 * 1024;
const MOST: usize = 4 * 1024 * 1024;
/// Rows on their way, at most.
const MOST_ROWS: usize = 16_384;
/// A ping that is answered so soon has found a link with room for more; one that takes so long has found one that is full.
const SOON: Duration = Duration::from_millis(500);
const LATE: Duration = Duration::from_secs(3);
/// Between two pings, at least, unless much is on its way.
const PING_EVERY: Duration = Duration::from_millis(100);

/// Rows that were sent together, or a birth or a death.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) tickets: Vec<Ticket>,
    pub(super) bytes: usize,
    /// What is in it.
    pub(super) sent: Vec<Sent>,
    /// Whether the broker may close the connection over it.
    pub(super) suspect: bool,
}

/// What is on its way while something is suspected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Doubts {
    /// Bytes of suspects; `None`: there is none on its way.
    pub(super) suspects: Option<usize>,
    /// Whether anything else is on its way.
    pub(super) others: bool,
}

/// Batches in the order in which they were sent.
#[derive(Debug, Default)]
pub(super) struct Flight {
    line: VecDeque<(Instant, Batch)>,
    bytes: usize,
    rows: usize,
    pinged: Option<Instant>,
}

/// How much may be on its way: as much as the broker takes within a moment, so that a ping is not behind minutes of rows.
#[derive(Debug)]
pub(super) struct Window(usize);

impl Default for Window {
    fn default() -> Window {
        Window(FIRST)
    }
}

impl Window {
    /// A ping was answered after this time.
    fn answered(&mut self, after: Duration, full: bool) {
        if after >= LATE {
            self.0 = (self.0 / 2).max(LEAST);
        } else if after <= SOON && full {
            self.0 = (self.0 * 2).min(MOST);
        }
    }
}

impl Flight {
    /// All messages of the batch have been handed over.
    pub(super) fn sent(&mut self, batch: Batch, now: Instant) {
        self.bytes += batch.bytes;
        self.rows += batch.tickets.len();
        self.line.push_back((now, batch));
    }

    pub(super) fn has_room(&self, window: &Window, waiting: usize) -> bool {
        self.bytes + waiting < window.0 && self.rows < MOST_ROWS
    }

    /// What is in the batches that are not known to have been read.
    pub(super) fn unread(&self) -> impl Iterator<Item = &Sent> {
        self.line.iter().flat_map(|(_, batch)| &batch.sent)
    }

    /// How much of what is on its way is suspected.
    pub(super) fn doubts(&self) -> Doubts {
        let mut doubts = Doubts::default();
        for (_, batch) in &self.line {
            match batch.suspect {
                true => doubts.suspects = Some(doubts.suspects.unwrap_or(0) + batch.bytes),
                false => doubts.others = true,
            }
        }
        doubts
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Messages that are not known to have been read: batches, bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.line.len(), self.bytes)
    }

    /// When a ping is to be sent for what is on its way; `None` when nothing is.
    pub(super) fn ping_at(&self, window: &Window, now: Instant) -> Option<Instant> {
        if self.line.is_empty() {
            return None;
        }
        let soon = self.pinged.map_or(now, |pinged| pinged + PING_EVERY);
        Some(if self.bytes * 2 >= window.0 { now } else { soon.max(now) })
    }

    /// A ping was sent.
    pub(super) fn pinged(&mut self, now: Instant) {
        self.pinged = Some(now);
    }

    /// The ping that was sent at that moment has been answered: what was sent before has been read. Gives it.
    pub(super) fn answered(&mut self, sent: Instant, window: &mut Window, now: Instant) -> Vec<Batch> {
        window.answered(now.saturating_duration_since(sent), self.bytes * 2 >= window.0);
        let mut read = Vec::new();
        while let Some((_, batch)) = self.line.pop_front_if(|(at, _)| *at < sent) {
            self.bytes = self.bytes.saturating_sub(batch.bytes);
            self.rows = self.rows.saturating_sub(batch.tickets.len());
            read.push(batch);
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(bytes: usize) -> Batch {
        Batch { tickets: Vec::new(), bytes, sent: Vec::new(), suspect: false }
    }

    #[test]
    fn an_answer_proves_what_was_sent_before_its_ping_and_nothing_else() {
        let (start, ms) = (Instant::now(), Duration::from_millis(1));
        let (mut flight, mut window) = (Flight::default(), Window::default());
        flight.sent(batch(1), start);
        flight.sent(batch(2), start + ms);
        flight.pinged(start + ms * 2);
        flight.sent(batch(4), start + ms * 2);
        flight.sent(batch(8), start + ms * 3);
        let read = flight.answered(start + ms * 2, &mut window, start + ms * 9);
        assert_eq!(read.iter().map(|batch| batch.bytes).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(flight.size(), (2, 12));
        // A late answer to an older ping proves nothing more.
        assert!(flight.answered(start + ms, &mut window, start + ms * 10).is_empty());
        assert_eq!(flight.answered(start + ms * 4, &mut window, start + ms * 11).len(), 2);
        assert!(flight.is_empty());
    }

    #[test]
    fn a_ping_follows_what_was_sent_at_once_and_then_not_too_often() {
        let start = Instant::now();
        let (mut flight, window) = (Flight::default(), Window::default());
        assert_eq!(flight.ping_at(&window, start), None);
        flight.sent(batch(1), start);
        assert_eq!(flight.ping_at(&window, start), Some(start));
        flight.pinged(start);
        assert_eq!(flight.ping_at(&window, start), Some(start + PING_EVERY));
        flight.sent(batch(FIRST), start);
        assert_eq!(flight.ping_at(&window, start), Some(start), "much is on its way");
    }

    #[test]
    fn a_thin_link_gets_little_on_its_way_and_a_fast_one_much() {
        let start = Instant::now();
        let (mut flight, mut window) = (Flight::default(), Window::default());
        for round in 0..20_u32 {
            let now = start + Duration::from_secs(10) * round;
            flight.sent(batch(MOST), now);
            flight.answered(now + SOON / 2, &mut window, now + SOON);
        }
        assert_eq!(window.0, MOST);
        for round in 30..50_u32 {
            let now = start + Duration::from_secs(10) * round;
            flight.sent(batch(MOST), now);
            flight.answered(now + SOON / 2, &mut window, now + LATE * 2);
        }
        assert_eq!(window.0, LEAST);
        assert!(flight.has_room(&window, 0) && !flight.has_room(&window, LEAST));
    }
}
