//! The simulator's clock: the only place here that asks for the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::motion::Moment;

/// Counts from the simulator's start, in steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    started_unix_millis: u64,
    step: Duration,
    still: bool,
}

impl Clock {
    /// A clock that starts now. Values move every `step` (at least 1 ms), or never when it is `still`.
    pub(crate) fn start(step: Duration, still: bool) -> Clock {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock {
            started: Instant::now(),
            started_unix_millis: millis(unix),
            step: step.max(Duration::from_millis(1)),
            still,
        }
    }

    /// Time since the start, for the faults; it goes on when the values stand still.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The moment so long after the start, not rounded to a step, whether values move or not.
    pub(crate) fn exact(&self, since_start: Duration) -> Moment {
        let millis = millis(since_start);
        Moment { millis, step: 0, unix_millis: self.started_unix_millis + millis }
    }

    /// The instant that is so long after the start.
    pub(crate) fn instant(&self, since_start: Duration) -> Instant {
        self.started + since_start
    }

    /// The moment that the values show, so long after the start.
    pub(crate) fn moment(&self, since_start: Duration) -> Moment {
        if self.still {
            return Moment { millis: 0, step: 0, unix_millis: self.started_unix_millis };
        }
        let step_millis = millis(self.step);
        let step = millis(since_start) / step_millis;
        let millis = step * step_millis;
        let unix_millis = self.started_unix_millis + millis;
        // After 2^32 steps the numbers begin again; two neighbours still differ, and that is all they are for.
        Moment { millis, step: u32::try_from(step % u64::from(u32::MAX)).unwrap_or(0), unix_millis }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
