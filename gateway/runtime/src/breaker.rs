//! The circuit breaker of one device: a machine that does not answer costs its neighbours nothing.
//!
//! Pure: the caller says what time it is and how the dice fell.

use std::time::{Duration, Instant};

use tidegate_config::Retry;

/// So many polls in a row have to fail before the device is left alone: one lost answer is not a dead device.
const FAILURES_TO_OPEN: u32 = 2;
/// The first pause is at least so many times as long as the timeout, so that the probes of a dead device take at most a
/// tenth of its bus.
const TIMEOUTS_IN_FIRST_PAUSE: u32 = 10;

/// Whether a device may be polled.
#[derive(Debug)]
pub(crate) struct Breaker {
    first: Duration,
    longest: Duration,
    failures: u32,
    /// Set while the device is left alone.
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    pause: Duration,
    until: Instant,
}

impl Breaker {
    /// A closed breaker of a device on a link with this timeout.
    pub(crate) fn new(retry: Retry, timeout: Duration) -> Breaker {
        let first = retry.first.max(timeout.saturating_mul(TIMEOUTS_IN_FIRST_PAUSE)).min(retry.longest);
        Breaker { first, longest: retry.longest, failures: 0, open: None }
    }

    /// Whether the device may be polled now: always while closed, once per pause while open.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        self.open.is_none_or(|open| now >= open.until)
    }

    /// When the device is tried again; `None` while it is polled as usual.
    pub(crate) fn next_try(&self) -> Option<Instant> {
        self.open.map(|open| open.until)
    }

    /// Whether the device has answered the last time.
    pub(crate) fn is_clean(&self) -> bool {
        self.failures == 0
    }

    /// The device has answered.
    pub(crate) fn success(&mut self) {
        self.failures = 0;
        self.open = None;
    }

    /// The device has not answered. `dice` is between 0 and 1 and spreads the probes of devices that died together.
    pub(crate) fn failure(&mut self, now: Instant, dice: f64) {
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES_TO_OPEN {
            return;
        }
        let pause = match self.open {
            None => self.first,
            Some(open) => open.pause.saturating_mul(2).min(self.longest),
        };
        // Between 80 and 100 % of the pause.
        let until = now + pause.mul_f64(0.8 + 0.2 * dice.clamp(0.0, 1.0));
        self.open = Some(Open { pause, until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry = Retry { first: Duration::from_secs(1), longest: Duration::from_secs(60) };

    #[test]
    fn one_lost_answer_does_not_open_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new(RETRY, Duration::from_millis(50));
        breaker.failure(now, 1.0);
        assert!(breaker.allows(now));
        breaker.success();
        breaker.failure(now, 1.0);
        assert!(breaker.allows(now));
    }

    #[test]
    fn a_dead_device_is_probed_once_per_pause_and_the_pauses_grow_to_their_limit() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(RETRY, Duration::from_millis(500));
        breaker.failure(now, 1.0);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            breaker.failure(now, 1.0);
            let until = breaker.next_try().unwrap();
            assert!(!breaker.allows(now));
            assert!(breaker.allows(until));
            pauses.push((until - now).as_secs());
            now = until;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
    }

    #[test]
    fn an_answer_closes_it_at_once() {
        let now = Instant::now();
        let mut breaker = Breaker::new(RETRY, Duration::from_millis(50));
        breaker.failure(now, 0.0);
        breaker.failure(now, 0.0);
        assert!(!breaker.allows(now));
        breaker.success();
        assert!(breaker.allows(now));
        assert_eq!(breaker.next_try(), None);
    }
}
