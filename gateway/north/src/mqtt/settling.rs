//! Acknowledgements that do not count yet.
//!
//! A broker may acknowledge a message before it has written it down, and forget it when it is killed. So an acknowledgement
//! counts only when the broker has lived on for a while: when something has come from it later than that. What has not settled
//! when a connection ends is sent again by the next one. Time is an argument.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Things that were acknowledged, in the order of their acknowledgements.
#[derive(Debug)]
pub(crate) struct Settling<T> {
    after: Duration,
    line: VecDeque<(Instant, T)>,
}

impl<T> Settling<T> {
    /// An acknowledgement counts so long after it has come.
    pub(crate) fn new(after: Duration) -> Settling<T> {
        Settling { after, line: VecDeque::new() }
    }

    /// Notes what was acknowledged at `now`.
    pub(crate) fn acknowledged(&mut self, what: T, now: Instant) {
        self.line.push_back((now, what));
    }

    /// Gives the next one that counts, as something has come from the broker at `now`.
    pub(crate) fn settled(&mut self, now: Instant) -> Option<T> {
        let after = self.after;
        let settled = self.line.pop_front_if(|(at, _)| now.saturating_duration_since(*at) >= after);
        settled.map(|(_, what)| what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_acknowledgement_counts_once_the_broker_has_lived_on() {
        let start = Instant::now();
        let mut settling = Settling::new(3 * SECOND);
        settling.acknowledged('a', start);
        settling.acknowledged('b', start + SECOND);
        assert_eq!(settling.settled(start + 2 * SECOND), None);
        assert_eq!(settling.settled(start + 3 * SECOND), Some('a'));
        assert_eq!(settling.settled(start + 3 * SECOND), None);
        assert_eq!(settling.settled(start + 9 * SECOND), Some('b'));
        assert_eq!(settling.settled(start + 9 * SECOND), None);
    }

    #[test]
    fn without_a_time_an_acknowledgement_counts_at_once() {
        let now = Instant::now();
        let mut settling = Settling::new(Duration::ZERO);
        settling.acknowledged('a', now);
        assert_eq!(settling.settled(now), Some('a'));
    }
}
