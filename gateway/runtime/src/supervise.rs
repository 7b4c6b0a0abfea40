//! The watch over calls into a driver: none takes for ever, and none takes the link's task down with it.
//!
//! A driver keeps to the deadline of each call by itself. What is here is for the one that does not, or that panics: the
//! call is dropped, and its session has to be dropped too, so that a late answer is never taken for the next one.

use std::{any::Any, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tidegate_driver_api::{Cause, Cx};

use crate::clock::Alarm;

/// How much longer than it may a driver's call can take before it is dropped.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

/// Why a driver's call brought no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GivenUp {
    /// It was still running after its deadline and the grace.
    #[error("the driver did not end its call after {0:?} as it must; the call was dropped")]
    Overdue(Duration),
    /// It panicked.
    #[error("the driver panicked: {0}")]
    Panicked(String),
}

impl GivenUp {
    /// The nearest thing that a driver itself would have said.
    pub(crate) fn cause(&self) -> Cause {
        match self {
            GivenUp::Overdue(_) => Cause::Timeout,
            GivenUp::Panicked(_) => Cause::Malformed,
        }
    }
}

/// Runs one call into a driver.
///
/// # Errors
///
/// [`GivenUp`]; the session that the call was made on must not be used any more.
pub(crate) async fn call<T>(alarm: &mut Alarm, cx: &Cx, work: impl Future<Output = T>) -> Result<T, GivenUp> {
    match alarm.until(cx.now() + cx.timeout() + GRACE, caught(work)).await {
        Some(result) => result.map_err(GivenUp::Panicked),
        None => Err(GivenUp::Overdue(cx.timeout())),
    }
}

/// Runs `work`; when it panics, the error is what it said.
///
/// # Errors
///
/// The text of the panic.
pub(crate) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    // What `work` has borrowed may be half changed: whoever calls this drops the session, and everything else that a link's
    // task keeps is complete at every step.
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| text_of(&*panic))
}

/// What a panic said.
fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio_util::sync::CancellationToken;

    use super::*;

    fn cx(timeout: Duration) -> Cx {
        Cx::new(Instant::now(), timeout, CancellationToken::new())
    }

    #[tokio::test]
    async fn a_call_that_does_not_end_is_dropped_after_its_deadline_and_the_grace() {
        let (began, timeout) = (Instant::now(), Duration::from_millis(20));
        let result = call(&mut Alarm::new(), &cx(timeout), std::future::pending::<()>()).await;
        assert_eq!(result, Err(GivenUp::Overdue(timeout)));
        assert!(began.elapsed() >= timeout + GRACE);
    }

    #[tokio::test]
    async fn a_panic_becomes_an_error_with_its_text() {
        let texts = [call(&mut Alarm::new(), &cx(GRACE), async { panic!("unit {}", 7) }).await, {
            call(&mut Alarm::new(), &cx(GRACE), async { panic!("no unit") }).await
        }];
        let expected = ["unit 7", "no unit"].map(|text| Err::<(), _>(GivenUp::Panicked(text.to_owned())));
        assert_eq!(texts, expected);
    }
}
