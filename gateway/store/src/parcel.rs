//! Deliveries within the bounds of one call.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_model::Row;

use crate::{Delivery, Item, numbers::count, place::Place, ranges::Range};

/// Deliveries within the bounds of one call.
pub(crate) struct Parcel {
    pub(crate) deliveries: Vec<Delivery>,
    /// The start in which the rows in memory were numbered.
    pub(crate) boot: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: usize,
    pub(crate) max_rows: usize,
    pub(crate) max_bytes: usize,
}

impl Parcel {
    /// Whether so many rows and bytes fit in, and if so counts them.
    pub(crate) fn has_room(&mut self, rows: u64, bytes: usize) -> bool {
        let (rows, bytes) = (self.rows.saturating_add(rows), self.bytes.saturating_add(bytes));
        let fits = self.deliveries.is_empty() || (rows <= count(self.max_rows) && bytes <= self.max_bytes);
        if fits {
            (self.rows, self.bytes) = (rows, bytes);
        }
        fits
    }

    pub(crate) fn add_row(&mut self, place: &mut Place, position: u64, row: &Arc<Row>, payload: &Bytes) {
        let ticket = place.give(Range::new(position, position + 1), row.time);
        let item = Item::Row { row: Arc::clone(row), payload: Some(payload.clone()) };
        self.deliveries.push(Delivery { ticket, boot: self.boot, item });
    }
}
