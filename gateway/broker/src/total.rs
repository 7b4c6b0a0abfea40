//! Bytes that wait for all clients together.
//!
//! A message counts once, however many clients it waits for, from when it is put into the first queue until the last has given it
//! away: that is what it takes in memory. Each place in a queue counts besides, and so does what a connection has made ready to be
//! sent. What waits for the gateway's own bridges has limits of its own and does not count.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Differences that are not told to all: clients that keep up cost nothing.
const STEP: usize = 4 * 1024;

/// Bytes of all.
#[derive(Debug, Default)]
pub(crate) struct Total(AtomicUsize);

impl Total {
    /// How many there are now.
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// Somebody's part of it, which goes with its owner. The default counts nowhere.
#[derive(Debug, Default)]
pub(crate) struct Part {
    total: Option<Arc<Total>>,
    told: usize,
}

impl Part {
    /// A part that has nothing yet.
    pub(crate) fn of(total: &Arc<Total>) -> Part {
        Part { total: Some(Arc::clone(total)), told: 0 }
    }

    /// A part with so many bytes.
    pub(crate) fn with(total: &Arc<Total>, bytes: usize) -> Part {
        let mut part = Part::of(total);
        part.tell(bytes);
        part
    }

    /// Brings the part up to date, to 4 KiB.
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes.abs_diff(self.told) >= STEP || (bytes == 0 && self.told > 0) {
            self.tell(bytes);
        }
    }

    fn tell(&mut self, bytes: usize) {
        let Some(Total(total)) = self.total.as_deref() else { return };
        if bytes >= self.told {
            total.fetch_add(bytes - self.told, Relaxed);
        } else {
            total.fetch_sub(self.told - bytes, Relaxed);
        }
        self.told = bytes;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.tell(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_in_steps_and_go_with_their_owners() {
        let total = Arc::default();
        let (mut one, two) = (Part::of(&total), Part::with(&total, 10));
        one.set(STEP - 1);
        assert_eq!(total.bytes(), 10);
        one.set(STEP);
        assert_eq!(total.bytes(), STEP + 10);
        one.set(1);
        assert_eq!(total.bytes(), STEP + 10, "less than a step less");
        one.set(0);
        assert_eq!(total.bytes(), 10);
        drop((one, two));
        assert_eq!(total.bytes(), 0);
        Part::default().set(STEP);
    }
}
