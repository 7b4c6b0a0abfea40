//! What messages are made of, once it has been read.

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use tidegate_codec::block::{Batch, BlockError, BlockSchema, Decoder, Frame, GapRecord, Head, SchemaId, split};
use tidegate_model::{Column, Name, Reason, Slot, Timestamp};

use crate::{Account, Ranges, StreamKey, ledger::Arrival, nodes::Nodes, sink::Written, sparkplug::NUMBERED_HERE};

/// The largest number of a row that can be written: PostgreSQL's largest integer, and one less because a range names the
/// number behind its end.
const LAST_SEQ: u64 = i64::MAX.unsigned_abs() - 1;

/// Columns of a schema, at most: a forged one would hold up everything behind it.
const MOST_COLUMNS: usize = 100_000;
/// Bytes of a unit, at most: it has to find room in the index of a database.
const LONGEST_UNIT: usize = 1024;

/// A schema that is known, and the stream whose rows are read by it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) id: SchemaId,
    pub(crate) key: StreamKey,
    pub(crate) schema: BlockSchema,
    /// The document as it was received.
    pub(crate) document: Bytes,
}

/// Rows of one block.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) known: Arc<Known>,
    pub(crate) arrival: Arrival,
    pub(crate) batch: Batch,
    /// The block itself.
    pub(crate) frame: Bytes,
    /// Values of up to this time may have been written before under other numbers; only a sink that can be asked can tell.
    pub(crate) repeats: Option<Timestamp>,
}

/// Rows that will not come.
#[derive(Debug, Clone)]
pub(crate) struct Gap {
    pub(crate) known: Arc<Known>,
    pub(crate) arrival: Arrival,
    pub(crate) reason: String,
    /// The record itself.
    pub(crate) frame: Bytes,
}

/// Bytes that cannot be read.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// As the topic has it.
    pub(crate) gateway: String,
    pub(crate) fault: Fault,
    pub(crate) detail: String,
    /// The schema that is missing.
    pub(crate) schema: Option<SchemaId>,
    pub(crate) frame: Bytes,
}

/// One part of a message.
#[derive(Debug)]
pub(crate) enum Piece {
    Rows(Rows),
    Gap(Gap),
    Refused(Refused),
    /// What has been seen of edge nodes, as it now is.
    Nodes(Nodes),
}

/// Why bytes cannot be read. The words are in the database and in metrics: none is ever given another meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The topic names no gateway.
    Topic,
    /// The bytes are no block.
    NotABlock,
    /// A later gateway has written the block.
    NewerVersion,
    /// The block ends too early.
    Cut,
    /// The checksum is wrong: damaged or forged.
    Checksum,
    /// The rows are packed in an unknown way.
    UnknownCodec,
    /// The schema has not come.
    UnknownSchema,
    /// The checksum is right, the contents make no sense.
    Malformed,
    /// The block is larger than blocks may be.
    TooLarge,
    /// The message is no row and no gap record in JSON.
    Json,
    /// The message is none of Sparkplug B, or says what cannot be kept.
    Sparkplug,
    /// The rows have the numbers of others: the store of the gateway was set back.
    NumberedAgain,
    /// The sink refuses the values.
    Sink,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Fault; 13] = [
        Fault::Topic,
        Fault::NotABlock,
        Fault::NewerVersion,
        Fault::Cut,
        Fault::Checksum,
        Fault::UnknownCodec,
        Fault::UnknownSchema,
        Fault::Malformed,
        Fault::TooLarge,
        Fault::Json,
        Fault::Sparkplug,
        Fault::NumberedAgain,
        Fault::Sink,
    ];

    /// Its word, lower-case letters and underscores.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Topic => "topic",
            Fault::NotABlock => "not_a_block",
            Fault::NewerVersion => "newer_version",
            Fault::Cut => "cut",
            Fault::Checksum => "checksum",
            Fault::UnknownCodec => "unknown_codec",
            Fault::UnknownSchema => "unknown_schema",
            Fault::Malformed => "malformed",
            Fault::TooLarge => "too_large",
            Fault::Json => "json",
            Fault::Sparkplug => "sparkplug",
            Fault::NumberedAgain => "numbered_again",
            Fault::Sink => "sink",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&BlockError> for Fault {
    fn from(error: &BlockError) -> Fault {
        match error {
            BlockError::NotABlock => Fault::NotABlock,
            BlockError::NewerVersion { .. } => Fault::NewerVersion,
            BlockError::Cut { .. } => Fault::Cut,
            BlockError::Checksum { .. } => Fault::Checksum,
            BlockError::UnknownCodec { .. } => Fault::UnknownCodec,
            BlockError::UnknownSchema { .. } => Fault::UnknownSchema,
            BlockError::TooLarge { .. } => Fault::TooLarge,
            _ => Fault::Malformed,
        }
    }
}

impl Known {
    /// The schema with this document, which `gateway` has published.
    ///
    /// # Errors
    ///
    /// [`BlockError::Schema`] when it is none.
    pub(crate) fn read(gateway: Name, document: Bytes) -> Result<Known, BlockError> {
        let schema = BlockSchema::decode(&document)?;
        let refused = |detail: String| Err(BlockError::Schema { detail });
        if schema.columns.len() > MOST_COLUMNS {
            return refused(format!("it has {} columns; at most {MOST_COLUMNS} can be", schema.columns.len()));
        }
        let is_long = |column: &&Column| column.unit.as_ref().is_some_and(|unit| unit.len() > LONGEST_UNIT);
        if let Some(column) = schema.columns.iter().find(is_long) {
            return refused(format!("the unit of {} has more than {LONGEST_UNIT} bytes", column.name));
        }
        let id = BlockSchema::id_of(&document);
        let key =
            StreamKey { gateway, store: schema.store, device: schema.device.clone(), group: schema.group.clone() };
        Ok(Known { id, key, schema, document })
    }
}

/// A block whose frame is whole: its schema says what is in it.
#[derive(Debug, Clone)]
pub(crate) enum Whole {
    Data(Bytes),
    Gap(GapRecord, Bytes),
}

/// The blocks of a message, and what makes the rest of it unreadable.
pub(crate) fn blocks(message: &Bytes) -> (Vec<(SchemaId, Whole)>, Vec<BlockError>) {
    let (mut whole, mut errors) = (Vec::new(), Vec::new());
    for frame in split(message) {
        match frame {
            Ok(Frame::Data(head)) => whole.push((head.schema, Whole::Data(message.slice_ref(head.bytes)))),
            Ok(Frame::Gap(gap)) => {
                let mut frame = Vec::new();
                gap.encode(&mut frame);
                whole.push((gap.schema, Whole::Gap(gap, frame.into())));
            }
            Err(error) => errors.push(error),
        }
    }
    (whole, errors)
}

impl Whole {
    /// The block itself.
    pub(crate) fn frame(&self) -> &Bytes {
        match self {
            Whole::Data(frame) | Whole::Gap(_, frame) => frame,
        }
    }

    /// Unpacks it by its schema.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub(crate) fn unpack(&self, known: &Arc<Known>, decoder: &mut Decoder) -> Result<Piece, BlockError> {
        match self {
            Whole::Data(frame) => {
                let head = head(frame)?;
                let (first_seq, last_seq) = (head.first_seq, head.last_seq());
                let arrival = arrival(first_seq, last_seq, head.boot)?;
                let batch = decoder.decode(&head, known.id, &known.schema.columns)?;
                Ok(Piece::Rows(Rows { known: Arc::clone(known), arrival, batch, frame: frame.clone(), repeats: None }))
            }
            Whole::Gap(gap, frame) => {
                let arrival = arrival(gap.first_seq, gap.last_seq, gap.boot)?;
                let reason = reason(gap.reason);
                Ok(Piece::Gap(Gap { known: Arc::clone(known), arrival, reason, frame: frame.clone() }))
            }
        }
    }
}

fn head(frame: &[u8]) -> Result<Head<'_>, BlockError> {
    match split(frame).next() {
        Some(Ok(Frame::Data(head))) => Ok(head),
        Some(Err(error)) => Err(error),
        Some(Ok(Frame::Gap(_))) | None => Err(BlockError::NotABlock),
    }
}

pub(crate) fn arrival(first_seq: u64, last_seq: u64, boot: u64) -> Result<Arrival, BlockError> {
    if last_seq > LAST_SEQ || first_seq > last_seq {
        return Err(BlockError::Malformed { what: "the number of the last row" });
    }
    Ok(Arrival { first_seq, last_seq, boot: boot.min(LAST_SEQ) })
}

/// The word for the code of a reason. A later gateway may know more of them.
pub(crate) fn reason(code: u8) -> String {
    let known = REASONS.iter().find(|(known, _)| *known == code);
    known.map_or_else(|| format!("reason_{code}"), |(_, word)| (*word).to_owned())
}

/// The code for the word of a reason; the largest when it has none.
pub(crate) fn reason_code(word: &str) -> u8 {
    REASONS.iter().find(|(_, known)| *known == word).map_or(u8::MAX, |(code, _)| *code)
}

/// The reasons of gap records: those of the store below 128, those of targets and exports from there on.
const REASONS: [(u8, &str); 8] = [
    (1, "disk_failing"),
    (2, "too_old"),
    (3, "store_full"),
    (4, "damaged"),
    (5, "thinned"),
    (128, "too_large"),
    (129, "refused"),
    (130, "dropped"),
];

impl Refused {
    /// A block of `gateway` that cannot be read for this reason.
    pub(crate) fn new(gateway: &str, error: &BlockError, schema: SchemaId, frame: Bytes) -> Refused {
        let detail = error.to_string();
        Refused { gateway: gateway.to_owned(), fault: Fault::from(error), detail, schema: Some(schema), frame }
    }

    /// The first bytes, for the log.
    pub(crate) fn head(&self) -> String {
        self.frame.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Rows {
    /// Enters the rows into the account of their stream; returns the numbers of those that are new.
    pub(crate) fn deliver(&self, account: &mut Account, written: &mut Written) -> Ranges {
        let delivered = account.deliver(self.arrival, self.times());
        written.deliver(&delivered);
        if self.known.key.store == NUMBERED_HERE && account.delivered.last() == Some(self.arrival.last_seq) {
            account.died = self.died();
        }
        delivered.new
    }

    /// When the device went, in Unix milliseconds, where that is what the last row says.
    fn died(&self) -> Option<i64> {
        let (last, gone) = (self.batch.len().checked_sub(1)?, Some(Slot::Bad(Reason::Disconnected)));
        let columns = self.batch.columns();
        let is_death = columns > 0 && (0..columns).all(|column| self.batch.slot(last, column) == gone);
        self.batch.times().last().filter(|_| is_death).map(|time| time.as_millis())
    }

    /// What is put aside when some of the rows have the numbers of others.
    pub(crate) fn numbered_again(&self) -> Refused {
        let Arrival { first_seq, last_seq, boot } = self.arrival;
        let key = &self.known.key;
        let detail = format!(
            "rows {first_seq} to {last_seq} of {key}, start {boot}: some of these numbers are known from another start; the store of \
             the gateway was set back"
        );
        let (gateway, fault) = (key.gateway.to_string(), Fault::NumberedAgain);
        Refused { gateway, fault, detail, schema: Some(self.known.id), frame: self.frame.clone() }
    }

    /// The places of these numbers among the rows.
    pub(crate) fn places(&self, first: u64, last: u64) -> Range<usize> {
        let place = |seq: u64| usize::try_from(seq.saturating_sub(self.arrival.first_seq)).unwrap_or(usize::MAX);
        place(first)..place(last).saturating_add(1).min(self.batch.len())
    }

    /// How many values rows with these numbers have.
    pub(crate) fn values(&self, first: u64, last: u64) -> u64 {
        let mut values = 0;
        for row in self.places(first, last) {
            let slots = (0..self.batch.columns()).filter_map(|column| self.batch.slot(row, column));
            values += u64::try_from(slots.filter(|slot| *slot != Slot::Unchanged).count()).unwrap_or(u64::MAX);
        }
        values
    }

    /// The times of the earliest and the latest row, in Unix milliseconds.
    pub(crate) fn times(&self) -> Option<(i64, i64)> {
        let times = || self.batch.times().iter().map(|time| time.as_millis());
        times().min().zip(times().max())
    }
}

impl Piece {
    /// The schema that it was read by.
    pub(crate) fn known(&self) -> Option<&Arc<Known>> {
        match self {
            Piece::Rows(Rows { known, .. }) | Piece::Gap(Gap { known, .. }) => Some(known),
            Piece::Refused(_) | Piece::Nodes(_) => None,
        }
    }

    /// Samples that it gives a sink, at most.
    pub(crate) fn samples(&self) -> usize {
        match self {
            Piece::Rows(rows) => rows.batch.len().saturating_mul(rows.batch.columns()),
            Piece::Gap(_) | Piece::Refused(_) | Piece::Nodes(_) => 0,
        }
    }

    /// Bytes that it takes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Piece::Rows(rows) => rows.batch.heap_bytes().saturating_add(rows.frame.len()),
            Piece::Gap(gap) => gap.frame.len(),
            Piece::Refused(refused) => refused.frame.len(),
            Piece::Nodes(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{name, schema};

    #[test]
    fn a_schema_that_no_index_could_hold_is_refused_by_name() {
        let mut long = schema("meter", 2);
        let mut columns = long.columns.to_vec();
        columns[1].unit = Some("k".repeat(1025));
        long.columns = columns.into();
        let error = Known::read(name("line3"), long.encode().unwrap().into()).unwrap_err();
        assert!(error.to_string().contains("the unit of tag1 has more than 1024 bytes"), "{error}");
    }
}
