//! Apache Parquet: typed columns, compressed with zstd.

mod column;
mod schema;

use std::{io::Write, ops::Range, sync::Arc};

use ::parquet::{
    basic::{Compression, ZstdLevel},
    data_type::ByteArray,
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
};
use tidegate_codec::block::Batch;
use tidegate_model::Timestamp;

use crate::{ExportError, Places, Table, fill::Drawn, state::State};
use column::{Numbers, TagColumn, Values};

/// A row group ends at so many rows …
const GROUP_ROWS: usize = 131_072;
/// … or at so many bytes in memory, whichever comes first.
const GROUP_BYTES: usize = 32 * 1024 * 1024;
/// Rows that are taken up between two looks at the bounds.
const STEP: usize = 1024;

/// Writes one table as Parquet.
pub(crate) struct ParquetWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    time: Numbers,
    device_time: Numbers,
    seq: Numbers,
    tags: Vec<TagColumn>,
    rows: usize,
    left_out: u64,
    words: Vec<(State, ByteArray)>,
}

impl<W: Write + Send> ParquetWriter<W> {
    pub(crate) fn new(to: W, table: &Table) -> Result<ParquetWriter<W>, ExportError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_created_by(concat!("tidegate version ", env!("CARGO_PKG_VERSION")).to_owned());
        let schema = Arc::new(schema::of(table)?);
        let mut file = SerializedFileWriter::new(to, schema, Arc::new(properties.build()))?;
        for (key, value) in schema::notes(table) {
            file.append_key_value_metadata(KeyValue::new(key, value));
        }
        Ok(ParquetWriter {
            file,
            time: Numbers::default(),
            device_time: Numbers::default(),
            seq: Numbers::default(),
            tags: table.columns().iter().map(|column| TagColumn::new(column.value_type)).collect(),
            rows: 0,
            left_out: 0,
            words: State::all_but_good().map(|state| (state, state.to_string().as_str().into())).collect(),
        })
    }

    pub(crate) fn note(&mut self, key: &str, value: String) {
        self.file.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
    }

    pub(crate) fn write(
        &mut self,
        batch: &Batch,
        drawn: Drawn<'_>,
        rows: Range<usize>,
        places: &Places,
    ) -> Result<(), ExportError> {
        let mut start = rows.start;
        while start < rows.end {
            let end = rows.end.min(start + STEP);
            self.take_up(batch, drawn, start..end, places);
            if self.rows >= GROUP_ROWS || self.waiting_bytes() >= GROUP_BYTES {
                self.write_group()?;
            }
            start = end;
        }
        Ok(())
    }

    fn take_up(&mut self, batch: &Batch, drawn: Drawn<'_>, rows: Range<usize>, places: &Places) {
        self.rows += rows.len();
        for row in rows.clone() {
            self.time.push(batch.time(row).map(Timestamp::as_millis));
            self.device_time.push(batch.device_time(row).map(Timestamp::as_millis));
            self.seq.push(batch.seq(row).map(u64::cast_signed));
        }
        for (tag, place) in self.tags.iter_mut().zip(places.iter()) {
            for row in rows.clone() {
                let is_drawn = drawn.has(row, place);
                let state = tag.push(place.and_then(|place| batch.slot(row, place)), is_drawn);
                self.left_out += u64::from(state == State::OtherType);
            }
        }
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        // 8 bytes each for time, device time and number, and 2 for whether it is there.
        self.rows * 30 + self.tags.iter().map(TagColumn::waiting_bytes).sum::<usize>()
    }

    /// Writes what has been taken up as one row group.
    fn write_group(&mut self) -> Result<(), ExportError> {
        let mut group = self.file.next_row_group()?;
        required(&mut group, self.time.take())?;
        optional(&mut group, self.device_time.take())?;
        required(&mut group, self.seq.take())?;
        let mut qualities = Vec::with_capacity(self.tags.len());
        for tag in &mut self.tags {
            let taken = tag.take();
            column(&mut group, &taken.values, &taken.defined, taken.repeated.as_deref())?;
            qualities.push(taken.states);
        }
        for states in qualities {
            let defined: Vec<i16> = states.iter().map(|state| i16::from(*state != State::Good)).collect();
            let word =
                |state: &State| self.words.iter().find(|(known, _)| known == state).map(|(_, word)| word.clone());
            let words: Vec<ByteArray> = states.iter().filter_map(word).collect();
            column(&mut group, &Values::Bytes(words), &defined, None)?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<(W, u64), ExportError> {
        if self.rows > 0 {
            self.write_group()?;
        }
        let mut to = self.file.into_inner()?;
        to.flush()?;
        Ok((to, self.left_out))
    }
}

type Group<'a, W> = SerializedRowGroupWriter<'a, W>;

fn required<W: Write + Send>(group: &mut Group<'_, W>, numbers: Numbers) -> Result<(), ExportError> {
    column(group, &Values::Int(numbers.values), &[], None)
}

fn optional<W: Write + Send>(group: &mut Group<'_, W>, numbers: Numbers) -> Result<(), ExportError> {
    column(group, &Values::Int(numbers.values), &numbers.defined, None)
}

/// Writes the next column of a row group.
fn column<W: Write + Send>(
    group: &mut Group<'_, W>,
    values: &Values,
    defined: &[i16],
    repeated: Option<&[i16]>,
) -> Result<(), ExportError> {
    let missing = || ExportError::Parquet { detail: "the columns are not those of the schema".to_owned() };
    let mut writer = group.next_column()?.ok_or_else(missing)?;
    values.write(writer.untyped(), defined, repeated)?.ok_or_else(missing)?;
    Ok(writer.close()?)
}
