//! The only place of the runtime that knows what time it is and that waits.
//!
//! Rows carry wall-clock milliseconds that are counted from a monotonic base, so a step of the system clock does not
//! reorder a stream. [`Clock::follow`] compares the two once in a while: a small difference is made up for slowly, a
//! large one is a step: it is logged and counted, and the rows after it use the new base.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tidegate_model::Timestamp;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

/// Beyond this difference between the two clocks, the system clock has been set.
const STEP_MILLIS: i64 = 1_000;
/// A difference smaller than that is made up for by at most this much a second. Less than the shortest interval
/// of a group, so that the times of a stream keep their order.
const SLEW_MILLIS: i64 = 5;
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// The clock of a gateway. Clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock {
    start: Instant,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Wall-clock milliseconds at `start`.
    base: AtomicI64,
    steps: AtomicU64,
}

/// What [`Clock::compare`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Difference {
    Small,
    /// The system clock was set; by how many milliseconds.
    Step(i64),
}

impl Clock {
    /// A clock that starts with the system's time.
    pub fn start() -> Clock {
        let base = AtomicI64::new(system_millis());
        Clock { start: Instant::now(), shared: Arc::new(Shared { base, steps: AtomicU64::new(0) }) }
    }

    /// The present moment.
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// How long the clock has been running.
    pub fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    /// How long the clock had been running at `moment`.
    pub fn since_start(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.start)
    }

    /// The wall-clock time of a moment.
    pub fn timestamp(&self, moment: Instant) -> Timestamp {
        let base = self.shared.base.load(Ordering::Relaxed);
        Timestamp::from_millis(base.saturating_add(millis(self.since_start(moment))))
    }

    /// How often the system clock has been set since the start.
    pub fn steps(&self) -> u64 {
        self.shared.steps.load(Ordering::Relaxed)
    }

    /// Waits until the moment has come.
    pub async fn sleep_until(&self, moment: Instant) {
        tokio::time::sleep_until(moment.into()).await;
    }

    /// Waits that long.
    pub async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Runs `work`, at most until the moment has come; `None` when it was not done by then.
    pub async fn until<T>(&self, moment: Instant, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(moment.into(), work).await.ok()
    }

    /// Follows the system clock until cancelled.
    pub async fn follow(self, cancel: CancellationToken) {
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.sleep(FOLLOW_EVERY) => {}
            }
            if let Difference::Step(by) = self.compare(system_millis(), self.now()) {
                tracing::warn!(by_ms = by, "the system clock was set; rows from now on carry the new time");
            }
        }
    }

    fn compare(&self, system: i64, moment: Instant) -> Difference {
        let difference = system.saturating_sub(self.timestamp(moment).as_millis());
        if difference.abs() >= STEP_MILLIS {
            self.shared.base.fetch_add(difference, Ordering::Relaxed);
            self.shared.steps.fetch_add(1, Ordering::Relaxed);
            return Difference::Step(difference);
        }
        self.shared.base.fetch_add(difference.clamp(-SLEW_MILLIS, SLEW_MILLIS), Ordering::Relaxed);
        Difference::Small
    }
}

/// A deadline for one call after the other. To move it on costs next to nothing, where a new timer for each call would
/// have to be put into the runtime's books and taken out again.
#[derive(Debug)]
pub(crate) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// An alarm for the tasks of the runtime that this is called on.
    pub(crate) fn new() -> Alarm {
        Alarm(Box::pin(tokio::time::sleep(Duration::ZERO)))
    }

    /// Runs `work`, at most until the moment has come; `None` when it was not done by then and has been dropped.
    pub(crate) async fn until<T>(&mut self, moment: Instant, work: impl Future<Output = T>) -> Option<T> {
        self.0.as_mut().reset(moment.into());
        tokio::select! {
            biased;
            result = work => Some(result),
            () = &mut self.0 => None,
        }
    }
}

/// The system's time in milliseconds since 1970.
fn system_millis() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(before) => millis(before.duration()).saturating_neg(),
    }
}

/// Whole milliseconds; durations beyond 292 million years are cut off.
pub(crate) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_difference_is_made_up_for_slowly() {
        let clock = Clock::start();
        let moment = clock.now();
        let before = clock.timestamp(moment).as_millis();
        assert_eq!(clock.compare(before + 300, moment), Difference::Small);
        assert_eq!(clock.timestamp(moment).as_millis(), before + SLEW_MILLIS);
        assert_eq!(clock.steps(), 0);
    }

    #[test]
    fn a_clock_that_was_set_is_followed_at_once_and_counted() {
        let clock = Clock::start();
        let moment = clock.now();
        let before = clock.timestamp(moment).as_millis();
        assert_eq!(clock.compare(before - 3_600_000, moment), Difference::Step(-3_600_000));
        assert_eq!(clock.timestamp(moment).as_millis(), before - 3_600_000);
        assert_eq!(clock.steps(), 1);
    }

    #[tokio::test]
    async fn an_alarm_ends_each_call_at_the_moment_of_that_call() {
        let mut alarm = Alarm::new();
        for milliseconds in [60, 5, 30] {
            let (began, limit) = (Instant::now(), Duration::from_millis(milliseconds));
            assert_eq!(alarm.until(began + limit, std::future::pending::<()>()).await, None);
            assert!(began.elapsed() >= limit, "{:?} of {limit:?}", began.elapsed());
            assert_eq!(alarm.until(Instant::now() + limit, async { 7 }).await, Some(7));
        }
        let slow = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            7
        };
        assert_eq!(alarm.until(Instant::now() + Duration::from_secs(10), slow).await, Some(7));
    }
}
