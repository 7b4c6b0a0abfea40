//! From stored bytes to rows and batches.

use std::sync::Arc;

use tidegate_codec::{
    block::{Batch, Decoder, Frame, Head, split},
    record::{RawRow, Record},
};
use tidegate_model::{Row, Stream, StreamId};

use crate::{
    disk::{Form, Stored},
    numbering,
    numbers::{count, length},
};

/// What rows of a block are, besides their values.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// The rows; their numbers follow each other here.
    pub(crate) batch: Batch,
    /// Their numbers, when they do not.
    pub(crate) seqs: Option<Vec<u64>>,
}

impl Unpacked {
    /// A row, with its number.
    pub(crate) fn row(&self, at: usize, stream: &Arc<Stream>) -> Option<Row> {
        let mut row = self.batch.row(at, stream)?;
        if let Some(seqs) = &self.seqs {
            row.seq = *seqs.get(at)?;
        }
        Some(row)
    }
}

/// The one block of rows that these bytes are.
pub(crate) fn head(bytes: &[u8]) -> Result<Head<'_>, String> {
    let mut frames = split(bytes);
    let frame = frames.next().ok_or("its block has vanished")?.map_err(|error| error.to_string())?;
    match (frame, frames.next()) {
        (Frame::Data(head), None) => Ok(head),
        _ => Err("it is something else than one block of rows".to_owned()),
    }
}

/// The rows of a block, or what is wrong with it.
pub(crate) fn unpack(
    decoder: &mut Decoder,
    bytes: &[u8],
    rows: u64,
    first_seq: u64,
    seqs: Option<&[u8]>,
    stream: &Stream,
) -> Result<Unpacked, String> {
    let head = head(bytes)?;
    if head.stream != stream.id() || head.first_seq != first_seq || u64::from(head.rows) != rows {
        return Err("its block is another one".to_owned());
    }
    let batch = decoder.decode(&head, head.schema, stream.columns()).map_err(|error| error.to_string())?;
    let seqs = match seqs {
        Some(seqs) => Some(numbering::decode(seqs, batch.len()).ok_or("the numbers of its rows are damaged")?),
        None => None,
    };
    Ok(Unpacked { batch, seqs })
}

/// The rows of a record, or what is wrong with it.
pub(crate) fn record(stored: &Stored) -> Result<Vec<RawRow>, String> {
    let rows = Record::decode(&stored.body).map_err(|error| error.to_string())?.into_rows();
    if count(rows.len()) != stored.range.len() {
        return Err(format!("it holds {} rows instead of {}", rows.len(), stored.range.len()));
    }
    Ok(rows)
}

/// The rows of a block, one by one.
pub(crate) fn block(stored: &Stored, stream: &Arc<Stream>) -> Result<Vec<Arc<Row>>, String> {
    let Form::Block { first_seq, seqs, .. } = &stored.form else { return Err("it is no block".to_owned()) };
    let rows = stored.range.len();
    let unpacked = unpack(&mut Decoder::new(), &stored.body, rows, *first_seq, seqs.as_deref(), stream)?;
    let row = |at| unpacked.row(at, stream).map(Arc::new);
    (0..length(rows)).map(row).collect::<Option<_>>().ok_or_else(|| does_not_fit(stream))
}

/// A row of a record, with its stream.
pub(crate) fn row(raw: RawRow, stream: &Arc<Stream>) -> Result<Arc<Row>, String> {
    raw.into_row(stream).map(Arc::new).ok_or_else(|| does_not_fit(stream))
}

fn does_not_fit(stream: &Stream) -> String {
    format!("a row of {}/{} does not fit its columns", stream.device(), stream.group())
}

/// The streams of rows, each once.
pub(crate) fn streams(rows: &[RawRow]) -> Vec<StreamId> {
    let mut streams: Vec<StreamId> = rows.iter().map(|row| row.stream).collect();
    streams.sort_unstable();
    streams.dedup();
    streams
}
