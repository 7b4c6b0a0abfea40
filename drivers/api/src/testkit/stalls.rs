//! How long the process that runs a test stood still.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// A pause, again and again: what one takes longer than it may is a stall.
const PAUSE: Duration = Duration::from_millis(10);
/// What a pause may take: an idle machine too wakes a thread a little late.
const ALLOWED: Duration = Duration::from_millis(12);

/// Counts for how long this process has stood still since [`Stalls::watch`], so that a test can hold a time against it.
///
/// It counts on a thread of its own: code under test that blocks the thread which it runs on finds no excuse here.
pub struct Stalls(Arc<Mutex<Count>>);

struct Count {
    /// When the pause began that is under way.
    begun: Instant,
    /// Of the pauses before.
    sum: Duration,
}

impl Count {
    fn so_far(&self) -> Duration {
        self.sum + self.begun.elapsed().saturating_sub(ALLOWED)
    }
}

impl Stalls {
    /// Counts from now on, until it is dropped.
    #[must_use]
    pub fn watch() -> Stalls {
        let count = Arc::new(Mutex::new(Count { begun: Instant::now(), sum: Duration::ZERO }));
        let watched = Arc::downgrade(&count);
        thread::spawn(move || {
            while let Some(count) = watched.upgrade() {
                {
                    let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
                    *count = Count { sum: count.so_far(), begun: Instant::now() };
                }
                drop(count);
                thread::park_timeout(PAUSE);
            }
        });
        Stalls(count)
    }

    /// For how long it has stood still so far, also when that has only just ended.
    #[must_use]
    pub fn so_far(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).so_far()
    }
}
