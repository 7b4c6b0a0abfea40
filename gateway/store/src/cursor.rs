//! Reading the log for one target, in order, and remembering how far it is.

use crate::{Delivery, StoreError, Ticket};

/// The place of one target in the log. There is at most one per target; dropping it frees the target's name, its place stays.
#[derive(Debug)]
pub struct Cursor {}

impl Cursor {
    /// The next committed rows and gaps, at least one and at most `max_rows`; waits until there is something.
    ///
    /// Stops before the sum of the payloads (where a payload is not in memory, of the row's values) exceeds `max_bytes`, but never
    /// before the first. A future that is dropped while it waits loses nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`] once the store has been closed and everything has been read; [`StoreError::Database`] when the disk
    /// cannot be read now, in which case a later call goes on at the same place.
    pub async fn next(&mut self, _max_rows: usize, _max_bytes: usize) -> Result<Vec<Delivery>, StoreError> {
        Err(StoreError::Closed)
    }

    /// Says that the other side has it. In any order; the place kept on disk is the first row that has not been acknowledged, and
    /// is saved with the next commit.
    pub fn acknowledge(&self, _ticket: Ticket) {}

    /// A handle that acknowledges for this cursor while [`Cursor::next`] is waiting or reading.
    ///
    /// A target gets acknowledgements all the time; were it to drop `next` for each of them, a slow disk would never finish a read.
    pub fn acknowledger(&self) -> Acknowledger {
        Acknowledger {}
    }

    /// Goes back to the first row that has not been acknowledged; what was acknowledged behind it is not delivered again.
    pub fn rewind(&mut self) {}
}

/// Acknowledges for one cursor; see [`Cursor::acknowledger`]. Does nothing once the cursor has been dropped.
#[derive(Debug, Clone)]
pub struct Acknowledger {}

impl Acknowledger {
    /// As [`Cursor::acknowledge`].
    pub fn acknowledge(&self, _ticket: Ticket) {}
}
