//! How long to wait before the next try to connect. Pure: the dice are thrown by the caller.

use std::time::Duration;

/// Ceiling of the pause after a connection that made progress and broke.
const FIRST: Duration = Duration::from_millis(250);
/// Ceiling of the pause after a connection that had lived long: the first try comes as good as at once.
const AT_ONCE: Duration = Duration::from_millis(50);

/// What the connection was that has just ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It had worked for a while.
    Healthy,
    /// It moved the cursor, and did not last.
    Short,
    /// It moved nothing, or there was none.
    Useless,
    /// The other side refused it in a way that only a person can change.
    Refused,
}

/// Doubling pauses with full jitter, for ever.
#[derive(Debug)]
pub struct Backoff {
    longest: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// A back-off whose pauses are never longer than `longest`.
    pub fn new(longest: Duration) -> Backoff {
        Backoff { longest, ceiling: FIRST }
    }

    /// The pause before the next try. `dice` is between 0 and 1.
    ///
    /// The pause is drawn from the whole of its ceiling, so that a thousand gateways that lost one broker do not come
    /// back in the same moment. Only a refused login waits at least half of it: each try may count towards a lock-out.
    pub fn pause(&mut self, ended: Ended, dice: f64) -> Duration {
        let dice = dice.clamp(0.0, 1.0);
        match ended {
            Ended::Healthy => {
                self.ceiling = FIRST;
                AT_ONCE.min(self.longest).mul_f64(dice)
            }
            Ended::Short => {
                self.ceiling = FIRST;
                self.next().mul_f64(dice)
            }
            Ended::Useless => self.next().mul_f64(dice),
            Ended::Refused => {
                self.ceiling = self.longest;
                self.next().mul_f64(0.5 + 0.5 * dice)
            }
        }
    }

    /// The next pause is a short one again.
    pub fn succeeded(&mut self) {
        self.ceiling = FIRST;
    }

    fn next(&mut self) -> Duration {
        let ceiling = self.ceiling.min(self.longest);
        self.ceiling = ceiling.saturating_mul(2).min(self.longest);
        ceiling
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(backoff: &mut Backoff, ended: Ended) -> u128 {
        backoff.pause(ended, 1.0).as_millis()
    }

    #[test]
    fn pauses_double_up_to_the_longest_for_ever() {
        let mut backoff = Backoff::new(Duration::from_secs(3));
        let pauses: Vec<u128> = (0..8).map(|_| millis(&mut backoff, Ended::Useless)).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 3000, 3000, 3000, 3000]);
    }

    #[test]
    fn a_healthy_connection_is_made_again_at_once_and_the_doubling_begins_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(30));
        for _ in 0..10 {
            backoff.pause(Ended::Useless, 1.0);
        }
        assert_eq!(millis(&mut backoff, Ended::Healthy), 50);
        assert_eq!(millis(&mut backoff, Ended::Useless), 250);
    }

    #[test]
    fn connections_that_only_last_for_a_moment_do_not_become_a_storm() {
        let mut backoff = Backoff::new(Duration::from_secs(30));
        let pauses: Vec<u128> = (0..3).map(|_| millis(&mut backoff, Ended::Short)).collect();
        assert_eq!(pauses, [250, 250, 250]);
    }

    #[test]
    fn a_refused_login_waits_between_half_and_all_of_the_longest_pause() {
        let mut backoff = Backoff::new(Duration::from_secs(30));
        assert_eq!(backoff.pause(Ended::Refused, 0.0), Duration::from_secs(15));
        assert_eq!(backoff.pause(Ended::Refused, 1.0), Duration::from_secs(30));
        assert_eq!(backoff.pause(Ended::Useless, 1.0), Duration::from_secs(30));
    }

    #[test]
    fn the_jitter_reaches_down_to_nothing() {
        assert_eq!(Backoff::new(Duration::from_secs(30)).pause(Ended::Useless, 0.0), Duration::ZERO);
    }
}
