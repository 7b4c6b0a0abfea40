//! How long a link waits before it tries to connect again. Pure.

use std::time::Duration;

use tidegate_config::Retry;

/// Doubling pauses with jitter, for ever.
#[derive(Debug)]
pub(crate) struct Backoff {
    retry: Retry,
    /// The longest pause where trying soon can help.
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// A back-off that begins with the shortest pause. Where trying soon can help, `longest` bounds the pauses, too.
    pub(crate) fn new(retry: Retry, longest: Option<Duration>) -> Backoff {
        let longest = longest.unwrap_or(retry.longest).max(retry.first).min(retry.longest);
        Backoff { retry, longest, next: retry.first }
    }

    /// The connection works: the next pause is the shortest again.
    pub(crate) fn reset(&mut self) {
        self.next = self.retry.first;
    }

    /// The pause before the next try. `dice` is between 0 and 1; `soon` is false where trying soon cannot help.
    pub(crate) fn pause(&mut self, soon: bool, dice: f64) -> Duration {
        let full = if soon { self.next } else { self.retry.longest };
        self.next = full.saturating_mul(2).min(self.longest);
        // Between half and all of it, so that gateways that lost a switch together do not come back together.
        full.mul_f64(0.5 + 0.5 * dice.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again_after_a_success() {
        let retry = Retry { first: Duration::from_secs(1), longest: Duration::from_secs(5) };
        let mut backoff = Backoff::new(retry, None);
        let pauses: Vec<u64> = (0..4).map(|_| backoff.pause(true, 1.0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 5]);
        backoff.reset();
        assert_eq!(backoff.pause(true, 0.0), Duration::from_millis(500));
    }

    #[test]
    fn an_other_side_that_bears_it_is_asked_often() {
        let retry = Retry { first: Duration::from_secs(1), longest: Duration::from_secs(60) };
        let mut backoff = Backoff::new(retry, Some(Duration::from_secs(3)));
        let pauses: Vec<u64> = (0..4).map(|_| backoff.pause(true, 1.0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 3, 3]);
        // A refused login is tried no oftener for that, and what follows it is.
        assert_eq!(backoff.pause(false, 1.0), Duration::from_secs(60));
        assert_eq!(backoff.pause(true, 1.0), Duration::from_secs(3));
    }

    #[test]
    fn what_cannot_get_better_soon_waits_the_longest_pause() {
        let retry = Retry { first: Duration::from_secs(1), longest: Duration::from_secs(60) };
        assert_eq!(Backoff::new(retry, Some(Duration::from_secs(3))).pause(false, 1.0), Duration::from_secs(60));
    }
}
