//! A disk that fails where a test tells it to. Each thread has its own.

use std::{cell::Cell, io};

#[derive(Debug, Clone, Copy)]
struct Plan {
    /// Changes until now.
    done: usize,
    /// The first change that fails, and the first one after it that does not.
    fails: (usize, usize),
}

thread_local! {
    static PLAN: Cell<Plan> = const { Cell::new(Plan { done: 0, fails: (usize::MAX, usize::MAX) }) };
}

/// From now on, so many changes succeed, and the next so many fail.
pub(crate) fn plan(succeed: usize, fail: usize) {
    PLAN.set(Plan { done: 0, fails: (succeed, succeed.saturating_add(fail)) });
}

/// Nothing fails any more. Returns how many changes there were since the plan was made.
pub(crate) fn mended() -> usize {
    let done = PLAN.get().done;
    plan(usize::MAX, 0);
    done
}

/// Whether a change has failed since the plan was made.
pub(crate) fn has_failed() -> bool {
    let Plan { done, fails } = PLAN.get();
    done > fails.0
}

pub(super) fn step() -> io::Result<()> {
    let Plan { done, fails } = PLAN.get();
    PLAN.set(Plan { done: done + 1, fails });
    match (fails.0..fails.1).contains(&done) {
        true => Err(io::Error::from(io::ErrorKind::StorageFull)),
        false => Ok(()),
    }
}
