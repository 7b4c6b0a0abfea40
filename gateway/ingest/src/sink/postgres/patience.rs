//! How long a database may take. Something large may take long, as long as it moves.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::timeout;

/// Something that moves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// It has moved.
    pub(crate) fn made(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Waits for the work as long as it makes progress; `None` when it has not moved for `patience`.
    pub(crate) async fn wait<T>(&self, patience: Duration, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let before = self.0.load(Relaxed);
            match timeout(patience, &mut work).await {
                Ok(done) => return Some(done),
                Err(_) if self.0.load(Relaxed) != before => {}
                Err(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[test]
    fn what_moves_may_take_long_and_what_does_not_may_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (progress, patience) = (Progress::default(), Duration::from_millis(200));
            let slow = async {
                for _ in 0..20 {
                    sleep(Duration::from_millis(20)).await;
                    progress.made();
                }
                7
            };
            assert_eq!(progress.wait(patience, slow).await, Some(7));
            assert_eq!(progress.wait(patience, std::future::pending::<()>()).await, None);
        });
    }
}
