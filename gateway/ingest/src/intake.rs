//! The messages that have come and are not acknowledged yet. Pure: the time is an argument.
//!
//! A message stays until each of its blocks is written, or put aside for good, and all messages before it have gone: MQTT
//! wants acknowledgements in the order of the messages (MQTT 5.0 §4.6). How many there can be is bounded by the receive
//! maximum that the broker was told, and their bytes by [`Intake::is_full`]; they are unpacked only when the writer has room.
//! Messages at QoS 0, which the receive maximum does not bound, are dropped and counted before they take the room of others.

use std::{
    collections::{HashSet, VecDeque},
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
    schemas::Schemas,
    topics::{Kind, Topics},
};

/// A batch is closed once it has unpacked this many bytes of memory; one block more may be in it.
const BATCH_BYTES: usize = 16 * 1024 * 1024;
/// A batch has at most this many pieces.
const BATCH_PIECES: usize = 4096;
/// A batch is closed once it has so many samples, which may take little memory here and much on their way to a sink.
const BATCH_SAMPLES: usize = 2_000_000;
/// No more messages are taken from the broker while so many bytes wait here; one message more may.
const MOST_BYTES: usize = 128 << 20;
/// A message at QoS 0 is dropped when it would make more bytes than this wait.
const MOST_BYTES_AT_QOS_0: usize = 32 << 20;
/// What a part of a message takes beside its bytes, about.
const PART_BYTES: usize = 256;
/// Bytes of a topic that are told when it names no gateway; a topic may have 64 KiB.
const TOLD_TOPIC: usize = 200;
/// Faults of one message that are told.
const TOLD_FAULTS: usize = 5;

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

impl Batch {
    /// A batch of pieces that belong to no message.
    pub(crate) fn of(pieces: Vec<Piece>) -> Batch {
        Batch { pieces, ..Batch::default() }
    }
}

#[derive(Debug)]
struct Message {
    packet_id: u16,
    gateway: Option<Name>,
    waiting: VecDeque<Waiting>,
    refused: Option<Refused>,
    /// Pieces with the writer.
    open: usize,
    /// What it takes in memory, about.
    bytes: usize,
}

impl Message {
    /// Whether nothing of it is left to be written.
    fn is_done(&self) -> bool {
        self.open == 0 && self.is_handed_over()
    }

    /// Whether all of it is with the writer.
    fn is_handed_over(&self) -> bool {
        self.waiting.is_empty() && self.refused.is_none()
    }
}

/// A part of a message that has not been unpacked.
#[derive(Debug)]
enum Waiting {
    Block(SchemaId, Whole),
    Row(Group, Bytes),
    Gap(Group, Bytes),
}

/// The messages that have come and are not acknowledged yet, and the schemas to read them by.
pub(crate) struct Intake {
    topics: Topics,
    schema_wait: Duration,
    decoder: Decoder,
    json: JsonGroups,
    schemas: Schemas,
    messages: VecDeque<Message>,
    /// What they take in memory, about.
    bytes: usize,
    /// The number of the first message.
    first: u64,
    counters: Arc<Counters>,
    /// What has been said about blocks that cannot be read: gateway and fault.
    said: HashSet<(String, Fault)>,
    said_dropped: bool,
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
            schemas: Schemas::new(wanted),
            messages: VecDeque::new(),
            bytes: 0,
            first: 0,
            counters,
            said: HashSet::new(),
            said_dropped: false,
        }
    }

    /// Takes a message; one at QoS 0 has the number 0. True when it has to be acknowledged at once: nothing in it is to be written.
    pub(crate) fn take(&mut self, topic: &[u8], payload: &Bytes, packet_id: u16) -> bool {
        let read = self.topics.read(topic);
        if let Some((gateway, Kind::Schema(id))) = read {
            self.learn(gateway, id, payload);
            return true;
        }
        if packet_id == 0 && self.bytes.saturating_add(payload.len()) > MOST_BYTES_AT_QOS_0 {
            self.dropped(1);
            return true;
        }
        let message = self.message(topic, read, payload, packet_id);
        if message.is_done() && self.messages.is_empty() {
            return true;
        }
        self.bytes = self.bytes.saturating_add(message.bytes);
        self.messages.push_back(message);
        false
    }

    fn message(&self, topic: &[u8], read: Option<(Name, Kind)>, payload: &Bytes, packet_id: u16) -> Message {
        let (mut refused, mut waiting) = (None, VecDeque::new());
        let gateway = match read {
            Some((gateway, Kind::Block)) => {
                let (whole, errors) = piece::blocks(payload);
                refused = self::refused(gateway.as_str(), &errors, payload);
                waiting = whole.into_iter().map(|(schema, whole)| Waiting::Block(schema, whole)).collect();
                Some(gateway)
            }
            Some((gateway, Kind::Rows(group))) => {
                waiting.push_back(Waiting::Row(group, payload.clone()));
                Some(gateway)
            }
            Some((gateway, Kind::Gaps(group))) => {
                waiting.push_back(Waiting::Gap(group, payload.clone()));
                Some(gateway)
            }
            Some((_, Kind::Schema(_))) | None => {
                let told = topic.split_at(topic.len().min(TOLD_TOPIC)).0;
                let gateway = String::from_utf8_lossy(told).into_owned();
                let detail = "the topic names no gateway that can be".to_owned();
                refused = Some(Refused { gateway, fault: Fault::Topic, detail, schema: None, frame: payload.clone() });
                None
            }
        };
        let bytes = payload.len().saturating_add((waiting.len() + 1).saturating_mul(PART_BYTES));
        Message { packet_id, gateway, waiting, refused, open: 0, bytes }
    }

    /// Messages at QoS 0 were dropped: nobody sends them again.
    fn dropped(&mut self, messages: u64) {
        self.counters.dropped(messages);
        if messages > 0 && !std::mem::replace(&mut self.said_dropped, true) {
            tracing::warn!(
                messages,
                "messages at QoS 0 came faster than they are written, or the connection broke before they were; they are dropped and \
                 counted; let gateways publish at QoS 1, at which the broker keeps them"
            );
        }
    }

    /// Whether so much waits that no more may be taken from the broker.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= MOST_BYTES
    }

    /// Takes a schema from wherever it is known.
    pub(crate) fn know(&mut self, known: Known) {
        let known = Arc::new(known);
        self.json.know(&known);
        self.schemas.know(known);
    }

    fn learn(&mut self, gateway: Name, id: SchemaId, document: &Bytes) {
        let place = (gateway, id);
        let before = self.schemas.get(&place);
        // An empty retained message is how a schema is taken back; what was read by it stays readable.
        if document.is_empty() || before.is_some_and(|known| known.document == *document) {
            return;
        }
        let (is_other, gateway) = (before.is_some(), place.0);
        if BlockSchema::id_of(document) != id {
            tracing::warn!(%gateway, schema = %id, "a schema is damaged: it is not the one that its topic names");
            return;
        }
        // A document of its own: the bytes of the message hang together with what was received around them.
        match Known::read(gateway.clone(), Bytes::copy_from_slice(document)) {
            Ok(known) => {
                if is_other {
                    tracing::warn!(
                        %gateway, schema = %id, stream = %known.key, store = %known.key.store,
                        "another schema has the checksum of one that was known; blocks are read by the newer from now on"
                    );
                }
                self.know(known);
            }
            Err(error) => tracing::warn!(%gateway, schema = %id, %error, "a schema cannot be read"),
        }
    }

    /// The next batch for the writer; `None` when there is nothing that can be written now.
    pub(crate) fn batch(&mut self, now: Instant) -> Option<Batch> {
        let mut batch = Batch { arrived: self.schemas.take_arrived(), ..Batch::default() };
        let (mut bytes, mut samples) = (0_usize, 0_usize);
        let mut messages = std::mem::take(&mut self.messages);
        for (message, number) in messages.iter_mut().zip(self.first..) {
            if bytes >= BATCH_BYTES || samples >= BATCH_SAMPLES || batch.pieces.len() >= BATCH_PIECES {
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
                let has_room = bytes < BATCH_BYTES && samples < BATCH_SAMPLES;
                let piece = if has_room { self.unpack(&gateway, &waiting, now) } else { None };
                if let Some(piece) = piece {
                    bytes = bytes.saturating_add(piece.bytes());
                    samples = samples.saturating_add(piece.samples());
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
        // What waits while everything is full keeps the schema itself from coming.
        if self.is_full() {
            self.schemas.want(&place);
        } else if self.schemas.is_waited_for(&place, now, self.schema_wait) {
            return None;
        }
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

    /// The topics of schemas that are waited for, at most so many, to ask for them.
    pub(crate) fn missing_topics(&mut self, most: usize) -> Vec<String> {
        let places = self.schemas.asks_for(most);
        places.iter().map(|(gateway, id)| self.topics.schema(gateway, *id)).collect()
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
        while let Some(message) = self.messages.pop_front_if(|message| message.is_done()) {
            self.first += 1;
            self.bytes = self.bytes.saturating_sub(message.bytes);
            done.push(message.packet_id);
        }
        done
    }

    /// The connection has ended: what was not acknowledged comes again, unless it came at QoS 0.
    pub(crate) fn forget(&mut self) {
        let lost = self.messages.iter().filter(|message| message.packet_id == 0 && !message.is_handed_over()).count();
        self.dropped(u64::try_from(lost).unwrap_or(u64::MAX));
        self.first += u64::try_from(self.messages.len()).unwrap_or(u64::MAX);
        self.messages.clear();
        self.bytes = 0;
    }

    /// Messages that are not acknowledged yet.
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }
}

/// What of a message cannot be read. The message is kept whole: where its blocks end cannot be known any more.
fn refused(gateway: &str, errors: &[BlockError], message: &Bytes) -> Option<Refused> {
    let first = errors.first()?;
    let detail = errors.iter().take(TOLD_FAULTS).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let frame = message.clone();
    Some(Refused { gateway: gateway.to_owned(), fault: Fault::from(first), detail, schema: None, frame })
}

#[cfg(test)]
mod tests;
