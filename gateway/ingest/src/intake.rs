//! The messages that have come and are not acknowledged yet. Pure: the time is an argument.
//!
//! A message stays until each of its blocks is written, or put aside for good, and all messages before it have gone: MQTT
//! wants acknowledgements in the order of the messages (MQTT 5.0 §4.6). How many there can be is bounded by the receive
//! maximum that the broker was told; they are unpacked only when the writer has room.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tidegate_codec::block::{BlockError, BlockSchema, Decoder, SchemaId};
use tidegate_model::Name;
use tokio::time::Instant;

use crate::{
    Counters,
    json::{Group, JsonGroups},
    piece::{self, Fault, Known, Piece, Refused, Whole},
    topics::{Kind, Topics},
};

/// A batch is closed once it has unpacked this many bytes of memory; one block more may be in it.
const BATCH_BYTES: usize = 16 * 1024 * 1024;
/// A batch has at most this many pieces.
const BATCH_PIECES: usize = 4096;
/// Schemas that are kept; beyond, all are forgotten and come again from the broker as they are needed.
const MOST_SCHEMAS: usize = 100_000;
/// Schemas that are waited for; beyond, all waits begin anew.
const MOST_MISSING: usize = 10_000;

/// Gateways and faults that lines are written for.
const MOST_SAID: usize = 10_000;

/// What the writer gets in one go.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) pieces: Vec<Piece>,
    /// Schemas that have come at last: blocks that were put aside for the lack of them can be read now.
    pub(crate) arrived: Vec<Arc<Known>>,
    /// For each piece that is of a message, the number of the message.
    messages: Vec<u64>,
}

#[derive(Debug)]
struct Message {
    packet_id: u16,
    gateway: Option<Name>,
    waiting: VecDeque<Waiting>,
    refused: Option<Refused>,
    /// Pieces with the writer.
    open: usize,
}

/// A part of a message that has not been unpacked.
#[derive(Debug)]
enum Waiting {
    Block(SchemaId, Whole),
    Row(Group, Bytes),
    Gap(Group, Bytes),
}

#[derive(Debug)]
struct Missing {
    since: Instant,
    /// It was waited for long enough: blocks that need it are put aside at once.
    given_up: bool,
}

/// The messages that have come and are not acknowledged yet, and the schemas to read them by.
pub(crate) struct Intake {
    topics: Topics,
    schema_wait: Duration,
    decoder: Decoder,
    json: JsonGroups,
    schemas: HashMap<(Name, SchemaId), Arc<Known>>,
    missing: HashMap<(Name, SchemaId), Missing>,
    /// Schemas for the lack of which blocks have been put aside.
    wanted: HashSet<(String, SchemaId)>,
    arrived: Vec<Arc<Known>>,
    messages: VecDeque<Message>,
    /// The number of the first message.
    first: u64,
    counters: Arc<Counters>,
    /// What has been said about blocks that cannot be read: gateway and fault.
    said: HashSet<(String, Fault)>,
}

impl Intake {
    /// An intake that has no message. `wanted`: the schemas for the lack of which blocks had been put aside before.
    pub(crate) fn new(
        topics: Topics,
        schema_wait: Duration,
        wanted: HashSet<(String, SchemaId)>,
        counters: Arc<Counters>,
    ) -> Intake {
        Intake {
            topics,
            schema_wait,
            decoder: Decoder::new(),
            json: JsonGroups::new(),
            schemas: HashMap::new(),
            missing: HashMap::new(),
            wanted,
            arrived: Vec::new(),
            messages: VecDeque::new(),
            first: 0,
            counters,
            said: HashSet::new(),
        }
    }

    /// Takes a message. True when it has to be acknowledged at once: nothing in it is to be written.
    pub(crate) fn take(&mut self, topic: &[u8], payload: &Bytes, packet_id: u16) -> bool {
        let message = match self.topics.read(topic) {
            Some((gateway, Kind::Schema(id))) => {
                self.learn(gateway, id, payload);
                return true;
            }
            Some((gateway, Kind::Block)) => {
                let (waiting, errors) = piece::blocks(payload);
                let refused = refused(gateway.as_str(), &errors, payload);
                let waiting = waiting.into_iter().map(|(schema, whole)| Waiting::Block(schema, whole)).collect();
                Message { packet_id, gateway: Some(gateway), waiting, refused, open: 0 }
            }
            Some((gateway, kind @ (Kind::Rows(_) | Kind::Gaps(_)))) => {
                let waiting = match kind {
                    Kind::Rows(group) => Some(Waiting::Row(group, payload.clone())),
                    Kind::Gaps(group) => Some(Waiting::Gap(group, payload.clone())),
                    Kind::Block | Kind::Schema(_) => None,
                };
                let waiting = waiting.into_iter().collect();
                Message { packet_id, gateway: Some(gateway), waiting, refused: None, open: 0 }
            }
            None => {
                let gateway = String::from_utf8_lossy(topic).into_owned();
                let detail = "the topic names no gateway that can be".to_owned();
                let refused = Refused { gateway, fault: Fault::Topic, detail, schema: None, frame: payload.clone() };
                Message { packet_id, gateway: None, waiting: VecDeque::new(), refused: Some(refused), open: 0 }
            }
        };
        if message.waiting.is_empty() && message.refused.is_none() && self.messages.is_empty() {
            return true;
        }
        self.messages.push_back(message);
        false
    }

    /// Takes a schema from wherever it is known.
    pub(crate) fn know(&mut self, known: Known) {
        let place = (known.key.gateway.clone(), known.id);
        if self.schemas.contains_key(&place) {
            return;
        }
        if self.schemas.len() >= MOST_SCHEMAS {
            self.schemas.clear();
        }
        let known = Arc::new(known);
        self.json.know(&known);
        self.missing.remove(&place);
        if self.wanted.remove(&(place.0.to_string(), place.1)) {
            self.arrived.push(Arc::clone(&known));
        }
        self.schemas.insert(place, known);
    }

    fn learn(&mut self, gateway: Name, id: SchemaId, document: &Bytes) {
        // An empty retained message is how a schema is taken back; what was read by it stays readable.
        if document.is_empty() || self.schemas.contains_key(&(gateway.clone(), id)) {
            return;
        }
        if BlockSchema::id_of(document) != id {
            tracing::warn!(%gateway, schema = %id, "a schema is damaged: it is not the one that its topic names");
            return;
        }
        // A document of its own: the bytes of the message hang together with what was received around them.
        match Known::read(gateway.clone(), Bytes::copy_from_slice(document)) {
            Ok(known) => self.know(known),
            Err(error) => tracing::warn!(%gateway, schema = %id, %error, "a schema cannot be read"),
        }
    }

    /// The next batch for the writer; `None` when there is nothing that can be written now.
    pub(crate) fn batch(&mut self, now: Instant) -> Option<Batch> {
        let mut batch = Batch { arrived: std::mem::take(&mut self.arrived), ..Batch::default() };
        let mut bytes = 0;
        let mut messages = std::mem::take(&mut self.messages);
        for (message, number) in messages.iter_mut().zip(self.first..) {
            if bytes >= BATCH_BYTES || batch.pieces.len() >= BATCH_PIECES {
                break;
            }
            let mut put = |message: &mut Message, piece: Piece| {
                message.open += 1;
                batch.pieces.push(piece);
                batch.messages.push(number);
            };
            if let Some(refused) = message.refused.take() {
                put(message, Piece::Refused(refused));
            }
            let Some(gateway) = message.gateway.clone() else { continue };
            for waiting in std::mem::take(&mut message.waiting) {
                let piece = if bytes >= BATCH_BYTES { None } else { self.unpack(&gateway, &waiting, now) };
                if let Some(piece) = piece {
                    bytes += piece.bytes();
                    put(message, piece);
                } else {
                    message.waiting.push_back(waiting);
                }
            }
        }
        self.messages = messages;
        for piece in &batch.pieces {
            if let Piece::Refused(refused) = piece {
                self.complain(refused);
            }
        }
        (!batch.pieces.is_empty() || !batch.arrived.is_empty()).then_some(batch)
    }

    /// What becomes of a part of a message; `None` when it has to wait for its schema.
    fn unpack(&mut self, gateway: &Name, waiting: &Waiting, now: Instant) -> Option<Piece> {
        let (made, frame) = match waiting {
            Waiting::Block(schema, whole) => return self.unpack_block(gateway, *schema, whole, now),
            Waiting::Row(group, payload) => (self.json.row(group, payload), payload),
            Waiting::Gap(group, payload) => (self.json.gap(group, payload), payload),
        };
        Some(made.unwrap_or_else(|detail| {
            let gateway = gateway.as_str().to_owned();
            Piece::Refused(Refused { gateway, fault: Fault::Json, detail, schema: None, frame: frame.clone() })
        }))
    }

    /// What becomes of a block; `None` when it has to wait for its schema.
    fn unpack_block(&mut self, gateway: &Name, schema: SchemaId, whole: &Whole, now: Instant) -> Option<Piece> {
        let place = (gateway.clone(), schema);
        let refused = |error: &BlockError| Refused::new(gateway.as_str(), error, schema, whole.frame().clone());
        if let Some(known) = self.schemas.get(&place) {
            return Some(match whole.unpack(known, &mut self.decoder) {
                Ok(piece) => piece,
                Err(error) => Piece::Refused(refused(&error)),
            });
        }
        if self.missing.len() >= MOST_MISSING {
            self.missing.clear();
        }
        let missing = self.missing.entry(place).or_insert(Missing { since: now, given_up: false });
        if !missing.given_up && now.saturating_duration_since(missing.since) < self.schema_wait {
            return None;
        }
        missing.given_up = true;
        self.wanted.insert((gateway.to_string(), schema));
        let mut refused = refused(&BlockError::NotABlock);
        refused.fault = Fault::UnknownSchema;
        refused.detail = format!("its schema {schema} has not come");
        Some(Piece::Refused(refused))
    }

    /// One line per gateway and kind of fault, not one per block: the counters and the quarantine tell the rest.
    fn complain(&mut self, refused: &Refused) {
        self.counters.refused();
        let (gateway, fault) = (&refused.gateway, refused.fault);
        if self.said.len() < MOST_SAID && self.said.insert((gateway.clone(), fault)) {
            tracing::warn!(
                %gateway, %fault, detail = %refused.detail, bytes = refused.frame.len(), head = %refused.head(),
                "a message cannot be read; what cannot is put aside, and the rest goes on"
            );
        }
    }

    /// The topics of the schemas that are waited for, at most so many.
    pub(crate) fn missing_topics(&self, most: usize) -> Vec<String> {
        let waiting = self.missing.iter().filter(|(_, missing)| !missing.given_up);
        waiting.take(most).map(|((gateway, id), _)| self.topics.schema(gateway, *id)).collect()
    }

    /// A batch has been written: the packet ids to acknowledge now, in their order.
    pub(crate) fn written(&mut self, batch: &Batch) -> Vec<u16> {
        for number in &batch.messages {
            let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
            if let Some(message) = index.and_then(|index| self.messages.get_mut(index)) {
                message.open = message.open.saturating_sub(1);
            }
        }
        let mut done = Vec::new();
        let is_done =
            |message: &mut Message| message.open == 0 && message.waiting.is_empty() && message.refused.is_none();
        while let Some(message) = self.messages.pop_front_if(is_done) {
            self.first += 1;
            done.push(message.packet_id);
        }
        done
    }

    /// The connection has ended: what was not acknowledged comes again.
    pub(crate) fn forget(&mut self) {
        self.first += u64::try_from(self.messages.len()).unwrap_or(u64::MAX);
        self.messages.clear();
    }

    /// Messages that are not acknowledged yet.
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }
}

/// What of a message cannot be read. The message is kept whole: where its blocks end cannot be known any more.
fn refused(gateway: &str, errors: &[BlockError], message: &Bytes) -> Option<Refused> {
    let first = errors.first()?;
    let detail = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let frame = message.clone();
    Some(Refused { gateway: gateway.to_owned(), fault: Fault::from(first), detail, schema: None, frame })
}

#[cfg(test)]
mod tests {}
