//! One file of one table, in whatever format.

use std::{io::Write, ops::Range};

use tidegate_codec::block::Batch;
use tidegate_model::Column;

use crate::{
    ExportError, Filled, Format, Places, Table, csv::CsvWriter, fill::Drawn, json_lines, parquet::ParquetWriter,
};

/// Writes one table to one file, batch after batch.
pub struct Writer<W: Write + Send> {
    table: Table,
    rows: u64,
    to: Inner<W>,
}

/// A file that is whole.
#[derive(Debug)]
pub struct Finished<W> {
    /// What was written to, flushed.
    pub to: W,
    /// Rows in the file.
    pub rows: u64,
    /// Values that are not in the file because they are not of their column's type; their quality says `other_type`. Only
    /// Parquet leaves them out.
    pub left_out: u64,
}

enum Inner<W: Write + Send> {
    Csv(CsvWriter<W>),
    JsonLines(W),
    Parquet(Box<ParquetWriter<W>>),
}

impl<W: Write + Send> Writer<W> {
    /// Begins a file of `table`.
    ///
    /// # Errors
    ///
    /// [`ExportError::Write`] and [`ExportError::Parquet`].
    pub fn new(format: Format, to: W, table: Table) -> Result<Writer<W>, ExportError> {
        let to = match format {
            Format::Csv => Inner::Csv(CsvWriter::new(to, &table)),
            Format::JsonLines => Inner::JsonLines(to),
            Format::Parquet => Inner::Parquet(Box::new(ParquetWriter::new(to, &table)?)),
        };
        Ok(Writer { table, rows: 0, to })
    }

    /// The table that is being written.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Rows that the file has by now.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes that wait in memory for their part of the file to be complete, about.
    pub fn waiting_bytes(&self) -> usize {
        match &self.to {
            Inner::Csv(_) | Inner::JsonLines(_) => 0,
            Inner::Parquet(parquet) => parquet.waiting_bytes(),
        }
    }

    /// Where the columns of the table are in batches with `columns`; `None` when the format has a type for each column
    /// ([`Format::is_typed`]) and a tag has another one there, so that these batches need a file of their own.
    pub fn places(&self, columns: &[Column]) -> Option<Places> {
        let is_typed = matches!(self.to, Inner::Parquet(_));
        (!is_typed || !self.table.differs_from(columns)).then(|| self.table.places(columns))
    }

    /// Appends some rows of a batch whose columns have these `places` in the table ([`Writer::places`]).
    ///
    /// # Errors
    ///
    /// [`ExportError::Write`] and [`ExportError::Parquet`]; the file is of no use then.
    pub fn write(&mut self, batch: &Batch, rows: Range<usize>, places: &Places) -> Result<(), ExportError> {
        let rows = rows.start.min(batch.len())..rows.end.min(batch.len());
        self.rows += u64::try_from(rows.len()).unwrap_or(u64::MAX);
        self.put(batch, Drawn::NONE, rows, places)
    }

    /// Appends rows some values of which were drawn between others; their quality says `interpolated`.
    ///
    /// # Errors
    ///
    /// As [`Writer::write`].
    pub fn write_filled(&mut self, filled: &Filled, places: &Places) -> Result<(), ExportError> {
        let rows = 0..filled.batch.len();
        self.rows += u64::try_from(rows.len()).unwrap_or(u64::MAX);
        self.put(&filled.batch, Drawn::of(filled), rows, places)
    }

    fn put(&mut self, batch: &Batch, drawn: Drawn<'_>, rows: Range<usize>, places: &Places) -> Result<(), ExportError> {
        match &mut self.to {
            Inner::Csv(csv) => csv.write(batch, drawn, rows, places)?,
            Inner::JsonLines(to) => json_lines::write_drawn(to, &self.table, batch, drawn, rows, places)?,
            Inner::Parquet(parquet) => parquet.write(batch, drawn, rows, places)?,
        }
        Ok(())
    }

    /// Notes something about the file in the file, under a key of the caller's; only Parquet has a place for it, the others
    /// ignore it.
    pub fn note(&mut self, key: &str, value: String) {
        if let Inner::Parquet(parquet) = &mut self.to {
            parquet.note(key, value);
        }
    }

    /// Completes the file. Without it, the file is cut off.
    ///
    /// # Errors
    ///
    /// [`ExportError::Write`] and [`ExportError::Parquet`].
    pub fn finish(self) -> Result<Finished<W>, ExportError> {
        let (to, left_out) = match self.to {
            Inner::Csv(csv) => (csv.finish()?, 0),
            Inner::JsonLines(mut to) => {
                to.flush()?;
                (to, 0)
            }
            Inner::Parquet(parquet) => parquet.finish()?,
        };
        Ok(Finished { to, rows: self.rows, left_out })
    }
}
