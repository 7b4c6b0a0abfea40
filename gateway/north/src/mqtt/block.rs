//! `format = "block"`: many rows a message, as blocks of a few streams one after the other.
//!
//! Blocks that the store hands over travel as they are. Single rows, which are the live ones and the newest of the backlog, are
//! put into one block for each stream.

use std::{collections::HashMap, mem, sync::Arc};

use bytes::Bytes;
use tidegate_codec::block::{Batch, BlockError, Codec, Encoder, GapRecord, Origin};
use tidegate_model::{Row, Stream, StreamId};
use tidegate_store::{Delivery, Item, Ticket, WireSchema};

use super::{
    flight::Carried,
    message::{LARGEST_PAYLOAD, LeftOut, Message, Portion, Topics, one_row},
    suspicion::{Span, Suspicion, Treatment},
};

/// A message ends before it would be longer than this; a block that is longer travels alone. Far below what any broker takes.
const MESSAGE_BYTES: usize = 64 * 1024;
/// Nor has it more values, where it has more than one block: a live row waits until the receiver has unpacked what came before it.
const MESSAGE_VALUES: usize = 100_000;
/// Rows of one block, at most, and memory of their values.
const BLOCK_ROWS: usize = 600;
const BLOCK_BYTES: usize = 512 * 1024;
/// The same once a broker has closed the connection over a block: uncompressed it is below the limit of every broker we know of.
const SMALL_BLOCK_BYTES: usize = 96 * 1024;

/// What the store knows of a stream's schema.
pub(crate) type SchemaOf = Box<dyn Fn(&Stream) -> Arc<WireSchema> + Send + Sync>;

/// Makes the messages.
pub(crate) struct BlockMessages {
    topics: Topics,
    schema_of: SchemaOf,
    /// The present start of the gateway, which states what is missing.
    boot: u64,
    encoder: Encoder,
    /// Memory of the values of a block, at most.
    block_bytes: usize,
    /// Bytes of topic and payload of a message, at most.
    pub(super) most: usize,
}

/// One block, and what it carries.
struct Piece {
    bytes: Bytes,
    schema: Arc<WireSchema>,
    values: usize,
    carried: Vec<Carried>,
    divisible: bool,
    alone: bool,
    left_out: Option<LeftOut>,
}

/// Rows of one stream that share a block, all numbered in one start of the gateway.
struct Group {
    boot: u64,
    rows: Vec<(Ticket, Arc<Row>)>,
    bytes: usize,
}

/// What becomes of the deliveries, in their order.
#[derive(Default)]
struct Draft {
    parts: Vec<Part>,
    /// The group of each stream that takes further rows.
    open: HashMap<StreamId, usize>,
}

enum Part {
    Group(Group),
    Piece(Piece),
}

impl BlockMessages {
    pub(crate) fn new(topics: Topics, schema_of: SchemaOf, boot: u64) -> BlockMessages {
        let encoder = Encoder::new(Codec::Range);
        BlockMessages { topics, schema_of, boot, encoder, block_bytes: BLOCK_BYTES, most: LARGEST_PAYLOAD }
    }

    /// Makes smaller blocks from now on.
    pub(crate) fn divide(&mut self) {
        self.block_bytes = SMALL_BLOCK_BYTES;
    }

    /// The messages for these deliveries. The rows of each stream are in them in their order.
    pub(crate) fn messages(&mut self, deliveries: Vec<Delivery>, suspicion: &Suspicion) -> Vec<Message> {
        let mut draft = Draft::default();
        for Delivery { ticket, boot, item } in deliveries {
            match item {
                Item::Row { row, .. } => self.add_row(&mut draft, (ticket, boot), row, suspicion),
                Item::Block { bytes, stream, first_seq, rows, .. } => {
                    let count = u64::from(rows);
                    let last = first_seq.saturating_add(count).saturating_sub(1);
                    let span = Span { stream: stream.id(), first: first_seq, last };
                    draft.close(&stream);
                    draft.parts.push(Part::Piece(Piece {
                        bytes,
                        schema: (self.schema_of)(&stream),
                        values: values(u64::from(rows), &stream),
                        carried: vec![Carried { ticket, span, count }],
                        divisible: rows > 1,
                        alone: suspicion.treatment(span) != Treatment::Usual,
                        left_out: None,
                    }));
                }
                Item::Gap { stream, from, to, reason } => {
                    let span = Span { stream: stream.id(), first: from, last: to };
                    let mut piece = self.gap(&stream, ticket, span, reason.code());
                    piece.alone = suspicion.treatment(span) != Treatment::Usual;
                    draft.close(&stream);
                    draft.parts.push(Part::Piece(piece));
                }
            }
        }
        let mut pieces = Vec::new();
        for part in draft.parts {
            match part {
                Part::Piece(piece) => pieces.push(piece),
                Part::Group(group) => self.encode(group.boot, &group.rows, &mut pieces),
            }
        }
        self.pack(pieces)
    }

    fn add_row(&mut self, draft: &mut Draft, (ticket, boot): (Ticket, u64), row: Arc<Row>, suspicion: &Suspicion) {
        let span = one_row(&row.stream, row.seq);
        let treatment = suspicion.treatment(span);
        if treatment == Treatment::Usual {
            draft.add(ticket, boot, row, self.block_bytes);
            return;
        }
        draft.close(&row.stream);
        let mut pieces = Vec::new();
        if treatment == Treatment::Replaced {
            pieces.push(self.left_out(&row, ticket, LeftOut::Refused));
        } else {
            self.encode(boot, &[(ticket, row)], &mut pieces);
        }
        draft.parts.extend(pieces.into_iter().map(|piece| Part::Piece(Piece { alone: true, ..piece })));
    }

    /// The block of these rows, which follow one another and are of one start; more than one where a single one would be too
    /// large.
    fn encode(&mut self, boot: u64, rows: &[(Ticket, Arc<Row>)], pieces: &mut Vec<Piece>) {
        let Some((ticket, first)) = rows.first() else { return };
        let schema = (self.schema_of)(&first.stream);
        match self.block(boot, rows, &schema) {
            Ok(bytes) if bytes.len() + self.topics.block().len() <= self.most => pieces.push(Piece {
                bytes: bytes.into(),
                schema,
                values: values(u64::try_from(rows.len()).unwrap_or(u64::MAX), &first.stream),
                carried: rows.iter().map(|(ticket, row)| carried(*ticket, row)).collect(),
                divisible: rows.len() > 1,
                alone: false,
                left_out: None,
            }),
            _ if rows.len() > 1 => {
                let (one, other) = rows.split_at(rows.len() / 2);
                self.encode(boot, one, pieces);
                self.encode(boot, other, pieces);
            }
            _ => pieces.push(self.left_out(first, *ticket, LeftOut::TooLarge)),
        }
    }

    fn block(&mut self, boot: u64, rows: &[(Ticket, Arc<Row>)], schema: &WireSchema) -> Result<Vec<u8>, BlockError> {
        let (_, first) = rows.first().ok_or(BlockError::Empty)?;
        let mut batch = Batch::new(first.stream.columns());
        for (_, row) in rows {
            batch.push_row(row)?;
        }
        let mut bytes = Vec::new();
        let origin = Origin { stream: first.stream.id(), schema: schema.id, boot };
        self.encoder.encode(&origin, &batch, &mut bytes)?;
        Ok(bytes)
    }

    /// A gap record in place of a row.
    fn left_out(&self, row: &Row, ticket: Ticket, why: LeftOut) -> Piece {
        let mut piece = self.gap(&row.stream, ticket, one_row(&row.stream, row.seq), why.code());
        piece.left_out = Some(why);
        piece
    }

    fn gap(&self, stream: &Stream, ticket: Ticket, span: Span, reason: u8) -> Piece {
        let schema = (self.schema_of)(stream);
        let (first_seq, last_seq) = (span.first, span.last);
        let record = GapRecord { stream: span.stream, schema: schema.id, boot: self.boot, first_seq, last_seq, reason };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        let carried = vec![Carried { ticket, span, count: 1 }];
        Piece { bytes: bytes.into(), schema, values: 1, carried, divisible: false, alone: false, left_out: None }
    }

    /// Puts blocks into messages, in their order.
    fn pack(&self, pieces: Vec<Piece>) -> Vec<Message> {
        let (mut messages, mut together, mut bytes, mut values) = (Vec::new(), Vec::new(), 0, 0_usize);
        let most = MESSAGE_BYTES.min(self.most.saturating_sub(self.topics.block().len()));
        for piece in pieces {
            // A row that is left out has a line in the log when its message arrives: one a message.
            let alone = piece.alone || piece.left_out.is_some();
            let is_full = bytes + piece.bytes.len() > most || values.saturating_add(piece.values) > MESSAGE_VALUES;
            if alone || is_full {
                messages.extend(self.message(mem::take(&mut together)));
                (bytes, values) = (0, 0);
            }
            bytes += piece.bytes.len();
            values = values.saturating_add(piece.values);
            together.push(piece);
            if alone {
                messages.extend(self.message(mem::take(&mut together)));
                (bytes, values) = (0, 0);
            }
        }
        messages.extend(self.message(together));
        messages
    }

    fn message(&self, pieces: Vec<Piece>) -> Option<Message> {
        let alone = pieces.first()?.alone;
        let left_out = pieces.first()?.left_out;
        let divisible = pieces.len() > 1 || pieces.iter().any(|piece| piece.divisible);
        let mut schemas: Vec<Arc<WireSchema>> = Vec::new();
        for piece in &pieces {
            if schemas.iter().all(|schema| schema.id != piece.schema.id) {
                schemas.push(Arc::clone(&piece.schema));
            }
        }
        let payload = match &pieces[..] {
            [piece] => piece.bytes.clone(),
            pieces => pieces.iter().map(|piece| &piece.bytes[..]).collect::<Vec<_>>().concat().into(),
        };
        let values = pieces.iter().fold(0, |sum: usize, piece| sum.saturating_add(piece.values));
        let carried = pieces.into_iter().flat_map(|piece| piece.carried).collect();
        let (topic, kept, portion) = (self.topics.block(), None, Portion::WHOLE);
        Some(Message { topic, payload, kept, portion, values, carried, schemas, divisible, alone, left_out })
    }
}

impl Draft {
    /// Adds a row to the group of its stream, or begins a new one where it does not follow or would be too much.
    fn add(&mut self, ticket: Ticket, boot: u64, row: Arc<Row>, most_bytes: usize) {
        let bytes = row.heap_bytes();
        let open = self.open.get(&row.stream.id()).and_then(|at| self.parts.get_mut(*at));
        if let Some(Part::Group(group)) = open {
            let follows = group.boot == boot
                && group.rows.last().is_some_and(|(_, last)| last.seq.checked_add(1) == Some(row.seq));
            if follows && group.rows.len() < BLOCK_ROWS && group.bytes.saturating_add(bytes) <= most_bytes {
                group.bytes += bytes;
                group.rows.push((ticket, row));
                return;
            }
        }
        self.open.insert(row.stream.id(), self.parts.len());
        self.parts.push(Part::Group(Group { boot, rows: vec![(ticket, row)], bytes }));
    }

    /// Further rows of the stream come behind what is added next.
    fn close(&mut self, stream: &Stream) {
        self.open.remove(&stream.id());
    }
}

/// So many rows times the columns of the stream.
fn values(rows: u64, stream: &Stream) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX).saturating_mul(stream.columns().len())
}

fn carried(ticket: Ticket, row: &Row) -> Carried {
    Carried { ticket, span: one_row(&row.stream, row.seq), count: 1 }
}
