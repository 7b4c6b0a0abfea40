//! Pauses between tries. Pure: the dice are thrown by the caller.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);

/// Doubling pauses with full jitter, for ever.
#[derive(Debug)]
pub(crate) struct Backoff {
    longest: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// A back-off whose pauses are never longer than `longest`.
    pub(crate) fn new(longest: Duration) -> Backoff {
        Backoff { longest, ceiling: FIRST }
    }

    /// The pause before the next try. `dice` is between 0 and 1. `lasting`: only a person can change the outcome, and each try
    /// may count towards a lock-out.
    pub(crate) fn pause(&mut self, lasting: bool, dice: f64) -> Duration {
        let dice = dice.clamp(0.0, 1.0);
        if lasting {
            return self.longest.mul_f64(0.5 + 0.5 * dice);
        }
        let ceiling = self.ceiling.min(self.longest);
        self.ceiling = ceiling.saturating_mul(2).min(self.longest);
        ceiling.mul_f64(dice)
    }

    /// The next pause is a short one again.
    pub(crate) fn succeeded(&mut self) {
        self.ceiling = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_until_something_succeeds() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let mut pauses = || (0..5).map(|_| backoff.pause(false, 1.0).as_millis()).collect::<Vec<_>>();
        assert_eq!(pauses(), [250, 500, 1000, 1000, 1000]);
        backoff.succeeded();
        assert_eq!(backoff.pause(false, 0.5), Duration::from_millis(125));
        assert_eq!(backoff.pause(true, 0.0), Duration::from_millis(500));
    }
}
