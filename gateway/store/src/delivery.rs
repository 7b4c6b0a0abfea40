//! What a cursor hands to its target: rows, whole blocks of them, and the gaps where rows have been dropped.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use tidegate_model::{Row, Stream, Timestamp};

/// One thing for a target to send, and the ticket to acknowledge it with.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// For [`Cursor::acknowledge`](crate::Cursor::acknowledge), once the other side has it.
    pub ticket: Ticket,
    /// The start in which the rows were numbered ([`Store::boot`](crate::Store::boot) at
    /// that time); of a gap, by now. 0 when it is not known.
    pub boot: u64,
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
    /// Rows of one stream as they are stored, for [`Shape::Blocks`]: a frame of `tidegate_codec::block`.
    Block {
        /// The frame.
        bytes: Bytes,
        /// The stream.
        stream: Arc<Stream>,
        /// `seq` of the first row; the others follow without holes.
        first_seq: u64,
        /// How many rows.
        rows: u32,
        /// Time of the first row.
        time: Timestamp,
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

/// In which form a target takes rows from the disk. The newest rows, which are still in memory, are always single ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One by one.
    Rows,
    /// As the blocks in which they are stored, where nothing of a block has been acknowledged.
    Blocks,
}

/// Names one delivery of one cursor. A ticket from before a [`rewind`](crate::Cursor::rewind) still acknowledges its
/// rows, unless they have been moved within the store since; a gap from before it has to be delivered and acknowledged
/// again, as it may have grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub(crate) TicketOf);

/// What a ticket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TicketOf {
    /// The rows at these positions, delivered after so many rewinds.
    Rows { first: u64, end: u64, rewinds: u64 },
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
    /// The store had reached `max_size`, and they were neither extremes of their minute nor alarms.
    Thinned,
}

impl GapReason {
    /// Every reason, in the order of its code.
    pub const ALL: [GapReason; 5] =
        [GapReason::DiskFailing, GapReason::TooOld, GapReason::StoreFull, GapReason::Damaged, GapReason::Thinned];

    /// The word used in payloads: `disk_failing`, `too_old`, `store_full`, `damaged` or `thinned`.
    pub fn as_str(self) -> &'static str {
        match self {
            GapReason::DiskFailing => "disk_failing",
            GapReason::TooOld => "too_old",
            GapReason::StoreFull => "store_full",
            GapReason::Damaged => "damaged",
            GapReason::Thinned => "thinned",
        }
    }

    /// The code used on disk, 1 to 5. Codes are never given a new meaning.
    pub fn code(self) -> u8 {
        match self {
            GapReason::DiskFailing => 1,
            GapReason::TooOld => 2,
            GapReason::StoreFull => 3,
            GapReason::Damaged => 4,
            GapReason::Thinned => 5,
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
        assert_eq!(GapReason::from_code(6), None);
    }
}
