//! Rows of one stream as columns in memory.

use std::{ops::Range, sync::Arc};

use tidegate_model::{Column, Row, Slot, Stream, Timestamp, Value};

use super::{
    BlockError, MAX_BYTES, MAX_ROWS,
    cells::{Cells, FOREIGN_BYTES},
    error::TOO_LARGE,
};

/// Rows of one stream, one after the other without a hole, as columns in memory: what a block is made of and what it gives.
///
/// A number takes eight bytes, a 32-bit float four, a bool one, each with one byte for its quality; texts, bytes and arrays are
/// kept once as long as they repeat soon. A batch holds at most [`MAX_ROWS`] rows and [`MAX_BYTES`] of memory.
#[derive(Debug, Clone)]
pub struct Batch {
    first_seq: u64,
    times: Vec<Timestamp>,
    /// Empty while no row has one.
    device_times: Vec<Option<Timestamp>>,
    cells: Vec<Cells>,
    /// What a row takes without texts, bytes, arrays and foreign values.
    row_bytes: usize,
    /// What those of all columns take.
    objects_bytes: usize,
}

impl Batch {
    /// An empty batch for rows with these columns.
    pub fn new(columns: &[Column]) -> Batch {
        let cells: Vec<Cells> = columns.iter().map(Cells::new).collect();
        let row_bytes = ROW_BYTES + cells.iter().map(Cells::slot_bytes).sum::<usize>();
        Batch { first_seq: 0, times: Vec::new(), device_times: Vec::new(), cells, row_bytes, objects_bytes: 0 }
    }

    /// Appends a row of any stream with the batch's columns.
    ///
    /// # Errors
    ///
    /// As [`Batch::push`].
    pub fn push_row(&mut self, row: &Row) -> Result<(), BlockError> {
        self.push(row.seq, row.time, row.device_time, &row.slots)
    }

    /// Appends a row.
    ///
    /// Every value comes back to the last bit, also one that is of another kind than its column; only arrays that are nested
    /// deeper than eight times, which nothing in the gateway makes, become bad with `invalid_value`.
    ///
    /// # Errors
    ///
    /// The batch is as before then.
    ///
    /// - [`BlockError::OtherColumns`] when there is not one slot per column.
    /// - [`BlockError::NotConsecutive`] when the number is not the one after the last row's.
    /// - [`BlockError::TooLarge`] when the batch is full.
    pub fn push(
        &mut self,
        seq: u64,
        time: Timestamp,
        device_time: Option<Timestamp>,
        slots: &[Slot],
    ) -> Result<(), BlockError> {
        let row = self.times.len();
        if slots.len() != self.cells.len() {
            return Err(BlockError::OtherColumns { expected: self.cells.len(), found: slots.len() });
        }
        self.expect(seq, 1)?;
        let more: usize = slots.iter().filter_map(Slot::value).map(Value::heap_bytes).sum();
        check_bytes(self.heap_bytes() + self.row_bytes + more + slots.len() * FOREIGN_BYTES)?;
        for (cells, slot) in self.cells.iter_mut().zip(slots) {
            self.objects_bytes += cells.push(row, slot);
        }
        if row == 0 {
            self.first_seq = seq;
        }
        self.push_times(time, device_time);
        Ok(())
    }

    pub(super) fn push_times(&mut self, time: Timestamp, device_time: Option<Timestamp>) {
        if device_time.is_some() && self.device_times.is_empty() {
            self.device_times.resize(self.times.len(), None);
        }
        if device_time.is_some() || !self.device_times.is_empty() {
            self.device_times.push(device_time);
        }
        self.times.push(time);
    }

    /// Whether `count` rows from the number `seq` on can follow.
    fn expect(&self, seq: u64, count: usize) -> Result<(), BlockError> {
        if self.times.len().saturating_add(count) > MAX_ROWS {
            return Err(BlockError::TooLarge { what: "the number of rows", limit: MAX_ROWS });
        }
        match self.last_seq() {
            Some(last) if last.checked_add(1) != Some(seq) => Err(BlockError::NotConsecutive { last, found: seq }),
            _ => Ok(()),
        }
    }

    /// Appends all rows of another batch with the same columns.
    ///
    /// # Errors
    ///
    /// As [`Batch::push`]; the batch is as before then.
    pub fn append(&mut self, other: &Batch) -> Result<(), BlockError> {
        let alike = self.cells.iter().zip(&other.cells).all(|(cells, more)| cells.is_like(more));
        if !alike || self.cells.len() != other.cells.len() {
            return Err(BlockError::OtherColumns { expected: self.cells.len(), found: other.cells.len() });
        }
        if other.is_empty() {
            return Ok(());
        }
        self.expect(other.first_seq, other.len())?;
        check_bytes(self.heap_bytes().saturating_add(other.heap_bytes()))?;
        let row = self.len();
        for (cells, more) in self.cells.iter_mut().zip(&other.cells) {
            self.objects_bytes += cells.append(row, more, other.len());
        }
        if row == 0 {
            self.first_seq = other.first_seq;
        }
        for (at, time) in other.times.iter().enumerate() {
            self.push_times(*time, other.device_time(at));
        }
        Ok(())
    }

    /// Takes all rows out; columns and memory stay.
    pub fn clear(&mut self) {
        self.first_seq = 0;
        self.times.clear();
        self.device_times.clear();
        self.objects_bytes = 0;
        for cells in &mut self.cells {
            cells.clear();
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        self.cells.len()
    }

    /// The number of the first row, if there is one.
    pub fn first_seq(&self) -> Option<u64> {
        self.seq(0)
    }

    /// The number of the last row, if there is one.
    pub fn last_seq(&self) -> Option<u64> {
        self.len().checked_sub(1).and_then(|last| self.seq(last))
    }

    /// The number of a row; `None` beyond the last.
    pub fn seq(&self, row: usize) -> Option<u64> {
        (row < self.len()).then(|| self.first_seq.saturating_add(super::convert::count(row)))
    }

    /// The time of a row; `None` beyond the last.
    pub fn time(&self, row: usize) -> Option<Timestamp> {
        self.times.get(row).copied()
    }

    /// The times of all rows.
    pub fn times(&self) -> &[Timestamp] {
        &self.times
    }

    /// The device's own time of a row, where it has one.
    pub fn device_time(&self, row: usize) -> Option<Timestamp> {
        self.device_times.get(row).copied().flatten()
    }

    /// Whether any row has the device's own time.
    pub fn has_device_times(&self) -> bool {
        !self.device_times.is_empty()
    }

    /// What a row says about a column; `None` beyond the last of either.
    pub fn slot(&self, row: usize, column: usize) -> Option<Slot> {
        let cells = self.cells.get(column).filter(|_| row < self.len())?;
        cells.slot(row)
    }

    /// What all rows say about a column, in their order; nothing when there is no such column.
    pub fn slots(&self, column: usize) -> impl Iterator<Item = Slot> + '_ {
        let cells = self.cells.get(column).into_iter();
        cells.flat_map(|cells| (0..self.len()).filter_map(|row| cells.slot(row)))
    }

    /// The values of a column as 64-bit floats, one per row; nothing when there is no such column.
    ///
    /// `None` where a row has no value, or one that is no number. Bools are 0 and 1, integers beyond 2^53 are rounded.
    pub fn numbers(&self, column: usize) -> impl Iterator<Item = Option<f64>> + '_ {
        let cells = self.cells.get(column).into_iter();
        cells.flat_map(|cells| (0..self.len()).map(|row| cells.number(row)))
    }

    /// A row, as one of `stream`; `None` beyond the last, and when the stream has another number of columns.
    pub fn row(&self, row: usize, stream: &Arc<Stream>) -> Option<Row> {
        let (seq, time) = (self.seq(row)?, self.time(row)?);
        if stream.columns().len() != self.cells.len() {
            return None;
        }
        let slots = self.cells.iter().map(|cells| cells.slot(row)).collect::<Option<_>>()?;
        Some(Row { stream: Arc::clone(stream), seq, time, device_time: self.device_time(row), slots })
    }

    /// A batch of some of the rows; what is beyond the last row is left out.
    pub fn slice(&self, rows: Range<usize>) -> Batch {
        let to = rows.end.min(self.len());
        let from = rows.start.min(to);
        let device_times = self.device_times.get(from..to).unwrap_or_default();
        let any = device_times.iter().any(Option::is_some);
        let cells: Vec<Cells> = self.cells.iter().map(|cells| cells.slice(from, to)).collect();
        Batch {
            first_seq: self.first_seq.saturating_add(super::convert::count(from)),
            times: self.times.get(from..to).unwrap_or_default().to_vec(),
            device_times: if any { device_times.to_vec() } else { Vec::new() },
            row_bytes: self.row_bytes,
            objects_bytes: cells.iter().map(Cells::objects_bytes).sum(),
            cells,
        }
    }

    /// Bytes that the rows take in memory, about, as FORMAT.md counts them.
    pub fn heap_bytes(&self) -> usize {
        self.len() * self.row_bytes + self.objects_bytes
    }

    /// What a row takes without texts, bytes, arrays and foreign values.
    pub(super) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    pub(super) fn cells(&self) -> &[Cells] {
        &self.cells
    }

    pub(super) fn cells_mut(&mut self) -> &mut [Cells] {
        &mut self.cells
    }

    /// Begins the rows that a decoder reads.
    pub(super) fn begin(&mut self, first_seq: u64) {
        self.clear();
        self.first_seq = first_seq;
    }

    /// Ends them: all columns are there.
    pub(super) fn end(&mut self) {
        self.objects_bytes = self.cells.iter().map(Cells::objects_bytes).sum();
    }
}

/// What a row takes beside its slots: its times.
const ROW_BYTES: usize = 16;

fn check_bytes(bytes: usize) -> Result<(), BlockError> {
    if bytes > MAX_BYTES { Err(TOO_LARGE) } else { Ok(()) }
}
