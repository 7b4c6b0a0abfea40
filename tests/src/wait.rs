//! Waiting for something to become true, for a limited time.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;

/// How long a test waits for what should take a moment. Long, because machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often something without a signal of its own is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Asks `found` again and again until it has an answer.
///
/// # Errors
///
/// When there is none within that time; the text names `what`.
pub fn wait_until<T>(within: Duration, what: &str, mut found: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = found() {
            return Ok(answer);
        }
        if started.elapsed() > within {
            bail!("waited {within:?} for {what} in vain");
        }
        thread::park_timeout(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_in_vain_names_what_it_waited_for() {
        let error = wait_until(Duration::from_millis(20), "the flood", || None::<()>).expect_err("no flood");
        assert_eq!(error.to_string(), "waited 20ms for the flood in vain");
    }

    #[test]
    fn a_wait_ends_with_the_first_answer() {
        let mut asked = 0;
        let answer = wait_until(PATIENCE, "the third question", || {
            asked += 1;
            (asked == 3).then_some("tide")
        });
        assert_eq!((answer.expect("an answer"), asked), ("tide", 3));
    }
}
