//! Whether messages go to a client one by one or several at a time.
//!
//! Each piece that is sent costs a system call, and wakes the client; a message in it costs next to nothing. So where
//! messages come densely they wait for each other a moment; where they do not, none waits.

use tokio::time::{Duration, Instant};

use crate::session::MANY;

/// Messages of one [`SPAN`] from which on they come densely: 8,000 a second.
const DENSE: usize = 80;
/// How long messages are counted.
const SPAN: Duration = Duration::from_millis(10);
/// How long messages that come densely wait for more. Timers here are as coarse as a millisecond.
const MOMENT: Duration = Duration::from_micros(500);

/// The pace of one client's messages.
#[derive(Debug)]
pub(crate) struct Pace {
    since: Instant,
    count: usize,
    is_dense: bool,
    next: Instant,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Pace {
        Pace { since: now, count: 0, is_dense: false, next: now }
    }

    /// How many messages have to wait now, before they are taken.
    pub(crate) fn least(&self, now: Instant) -> usize {
        if self.is_dense && now < self.next { MANY } else { 1 }
    }

    /// When fewer are taken.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// So many have been taken.
    pub(crate) fn taken(&mut self, count: usize, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        if passed >= SPAN {
            self.is_dense = self.count >= DENSE && passed < 2 * SPAN;
            (self.since, self.count) = (now, 0);
        }
        self.count += count;
        self.is_dense |= self.count >= DENSE;
        self.next = now + MOMENT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn messages_wait_for_each_other_only_while_they_come_densely() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..500 {
            assert_eq!(pace.least(now), 1, "5,000 a second");
            pace.taken(1, now);
            now += Duration::from_micros(200);
        }
        for n in 0..500 {
            pace.taken(2, now);
            now += Duration::from_micros(100);
            assert!(n < 100 || pace.least(now) == MANY, "20,000 a second");
        }
        assert_eq!(pace.least(pace.next()), 1);
        now += Duration::from_secs(1);
        pace.taken(1, now);
        assert_eq!(pace.least(now), 1, "after a rest");
    }
}
