//! Log lines that outsiders could bring about as often as they like.

use std::sync::{Mutex, PoisonError};

use tokio::time::{Duration, Instant};

/// The shortest time between two such lines.
const SELDOM: Duration = Duration::from_secs(10);

/// Says when a line is due again; a counter tells about those in between.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether the line is due; then it is due again after a while.
    pub(crate) fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_some_and(|next| now < next) {
            return false;
        }
        *next = now.checked_add(SELDOM);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_is_due_at_once_and_again_after_a_while() {
        let seldom = Seldom::default();
        assert!(seldom.is_due());
        tokio::time::advance(SELDOM / 2).await;
        assert!(!seldom.is_due());
        tokio::time::advance(SELDOM).await;
        assert!(seldom.is_due());
        assert!(!seldom.is_due());
    }
}
