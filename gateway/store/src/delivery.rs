//! What a cursor hands to its target: rows, and the gaps where rows have been dropped.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use tidegate_model::{Row, Stream};

/// One thing for a target to send, and the ticket to acknowledge it with.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// For [`Cursor::acknowledge`](crate::Cursor::acknowledge), once the other side has it.
    pub ticket: Ticket,
    /// What to send.
    pub item: Item,
}

/// What to send.
#[derive(Debug, Clone)]
pub enum Item {
    /// A committed row.
    Row {
        /// The row.
        row: Arc<Row>,
        /// The payload that the row was appended with, while it is still in memory; `None` when the row was read from
        /// the disk.
        payload: Option<Bytes>,
    },
    /// Rows that will never come: they have been dropped on purpose or lost to damage.
    Gap {
        /// The stream, with the columns it had at the end of the gap.
        stream: Arc<Stream>,
        /// `seq` of the first row that is missing.
        from: u64,
        /// `seq` of the last row that is missing; not less than `from`.
        to: u64,
        /// Why they are missing.
        reason: GapReason,
    },
}

/// Names one delivery of one cursor. A ticket from before a [`rewind`](crate::Cursor::rewind) still acknowledges its
/// row; a gap from before it has to be delivered and acknowledged again, as it may have grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub(crate) TicketOf);

/// What a ticket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TicketOf {
    /// The row at this position.
    Row(u64),
    /// The gap with this id, delivered after so many rewinds.
    Gap { id: u64, rewinds: u64 },
}

/// Why rows are missing. The text form is part of the public surface
/// (`{"gap":{"from":..,"to":..,"reason":"store_full"}}`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// They could not be written to the disk, and the memory set aside for such rows was full.
    DiskFailing,
    /// They were older than `max_age`.
    TooOld,
    /// The store had reached `max_size`.
    StoreFull,
    /// The place on the disk where they were is damaged.
    Damaged,
}

impl GapReason {
    /// Every reason, in the order of its code.
    pub const ALL: [GapReason; 4] =
        [GapReason::DiskFailing, GapReason::TooOld, GapReason::StoreFull, GapReason::Damaged];

    /// The word used in payloads: `disk_failing`, `too_old`, `store_full` or `damaged`.
    pub fn as_str(self) -> &'static str {
        match self {
            GapReason::DiskFailing => "disk_failing",
            GapReason::TooOld => "too_old",
            GapReason::StoreFull => "store_full",
            GapReason::Damaged => "damaged",
        }
    }

    /// The code used on disk, 1 to 4. Codes are never given a new meaning.
    pub fn code(self) -> u8 {
        match self {
            GapReason::DiskFailing => 1,
            GapReason::TooOld => 2,
            GapReason::StoreFull => 3,
            GapReason::Damaged => 4,
        }
    }

    /// The reason with that code, if there is one.
    pub fn from_code(code: u8) -> Option<GapReason> {
        GapReason::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gap_reason_comes_back_from_its_code() {
        for reason in GapReason::ALL {
            assert_eq!(GapReason::from_code(reason.code()), Some(reason));
        }
        assert_eq!(GapReason::from_code(0), None);
        assert_eq!(GapReason::from_code(5), None);
    }
}
