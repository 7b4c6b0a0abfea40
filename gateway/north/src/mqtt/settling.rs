//! Acknowledgements that do not count yet.
//!
//! A broker may acknowledge a message before it has written it down, and forget it when it is killed. So an acknowledgement
//! counts only when the broker has lived on for a while: when it has answered something that was sent later than that. What it sent
//! itself may have been on its way for long, on a link that was silent for a while, and says nothing about when it lived. What has
//! not settled when a connection ends is sent again by the next one. Time is an argument.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Things that were acknowledged, in the order of their acknowledgements.
#[derive(Debug)]
pub(crate) struct Settling<T> {
    after: Duration,
    /// The broker has lived until here at least.
    lived: Option<Instant>,
    line: VecDeque<(Instant, T)>,
}

impl<T> Settling<T> {
    /// An acknowledgement counts so long after it has come.
    pub(crate) fn new(after: Duration) -> Settling<T> {
        Settling { after, lived: None, line: VecDeque::new() }
    }

    /// Notes what was acknowledged at `now`.
    pub(crate) fn acknowledged(&mut self, what: T, now: Instant) {
        self.line.push_back((now, what));
    }

    /// The broker has answered something that was sent at this moment.
    pub(crate) fn answered(&mut self, sent: Instant) {
        self.lived = self.lived.max(Some(sent));
    }

    /// Gives the next one that counts.
    pub(crate) fn settled(&mut self) -> Option<T> {
        let (after, lived) = (self.after, self.lived?);
        let settled = self.line.pop_front_if(|(at, _)| lived.saturating_duration_since(*at) >= after);
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
        assert_eq!(settling.settled(), None);
        settling.answered(start + 2 * SECOND);
        assert_eq!(settling.settled(), None);
        settling.answered(start + 3 * SECOND);
        assert_eq!(settling.settled(), Some('a'));
        // An answer to something older does not take back what is known.
        settling.answered(start);
        assert_eq!(settling.settled(), None);
        settling.answered(start + 9 * SECOND);
        assert_eq!(settling.settled(), Some('b'));
        assert_eq!(settling.settled(), None);
    }

    #[test]
    fn without_a_time_an_acknowledgement_counts_at_once() {
        let now = Instant::now();
        let mut settling = Settling::new(Duration::ZERO);
        settling.acknowledged('a', now);
        settling.answered(now - SECOND);
        assert_eq!(settling.settled(), Some('a'));
    }
}
