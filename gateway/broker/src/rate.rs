//! How much in a second.

use tokio::time::{Duration, Instant};

/// What may be used up at once after a rest.
const BURST: Duration = Duration::from_secs(1);

/// Allows so much in a second, evenly, and after a rest the amount of one second at once.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: u64,
    /// When all that was used would have been used evenly.
    paid: Option<Instant>,
}

impl Rate {
    /// `None` when there is no limit.
    pub(crate) fn new(per_second: u32) -> Option<Rate> {
        (per_second > 0).then(|| Rate { per_second: per_second.into(), paid: None })
    }

    /// Uses some of it up. Returns until when to rest, if that was more than is allowed.
    pub(crate) fn spend(&mut self, amount: usize, now: Instant) -> Option<Instant> {
        let amount = u64::try_from(amount).unwrap_or(u64::MAX);
        let takes = Duration::from_nanos(amount.saturating_mul(1_000_000_000) / self.per_second);
        let paid = self.paid.map_or(now, |paid| paid.max(now)) + takes;
        self.paid = Some(paid);
        paid.checked_sub(BURST).filter(|rest| *rest > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_may_be_used_at_once_and_then_it_goes_evenly() {
        let mut rate = Rate::new(10).unwrap();
        let now = Instant::now();
        for _ in 0..10 {
            assert_eq!(rate.spend(1, now), None);
        }
        assert_eq!(rate.spend(1, now), Some(now + Duration::from_millis(100)));
        assert_eq!(rate.spend(2, now), Some(now + Duration::from_millis(300)));
        assert_eq!(rate.spend(1, now + Duration::from_millis(400)), None);
        assert_eq!(rate.spend(10, now + Duration::from_secs(60)), None);
        assert!(Rate::new(0).is_none());
    }
}
