//! What a driver gets with every call: how long it may take, and what time it is.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// The deadline has passed, or the gateway is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Expired {
    /// No result within the time allowed.
    #[error("no result within the time allowed")]
    Deadline,
    /// The call is not wanted any more.
    #[error("the call was cancelled")]
    Cancelled,
}

/// The context of one call into a driver.
#[derive(Debug, Clone)]
pub struct Cx {
    now: Instant,
    timeout: Duration,
    cancel: CancellationToken,
}

impl Cx {
    /// A context for a call that starts `now` and may take `timeout`.
    pub fn new(now: Instant, timeout: Duration, cancel: CancellationToken) -> Cx {
        Cx { now, timeout, cancel }
    }

    /// When the call started. Drivers read no clock of their own.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// How long the call may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Runs `work` until it is done, the deadline passes or the call is cancelled.
    ///
    /// # Errors
    ///
    /// [`Expired`] when `work` was dropped half-way; whatever connection it used must be dropped with it.
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Expired> {
        tokio::select! {
            biased;
            result = tokio::time::timeout_at((self.now + self.timeout).into(), work) => result.map_err(|_| Expired::Deadline),
            () = self.cancel.cancelled() => Err(Expired::Cancelled),
        }
    }
}
