//! What has been acknowledged in parts. Pure.

use std::collections::HashMap;

use tidegate_store::Ticket;

use super::flight::Carried;

/// What several messages carry together, and not all of them have arrived.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// How many are still missing.
    missing: HashMap<Ticket, usize>,
}

impl Parts {
    /// One of `of` messages that carry this has arrived: whether it was the last of them. Each arrives once.
    pub(crate) fn is_whole(&mut self, carried: &[Carried], of: usize) -> bool {
        let Some(carried) = carried.first().filter(|_| of > 1) else { return true };
        let missing = self.missing.entry(carried.ticket).or_insert(of);
        *missing = missing.saturating_sub(1);
        if *missing > 0 {
            return false;
        }
        self.missing.remove(&carried.ticket);
        true
    }
}
