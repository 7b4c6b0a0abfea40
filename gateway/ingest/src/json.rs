//! Rows and gap records that came as JSON (`format = "json"`), made into the pieces that blocks become. Pure.
//!
//! A message of JSON says neither which store has numbered its row nor of what type and unit its tags are. So all rows of a group
//! belong to one stream with the store 0, and its columns are the tags that have come so far, with the kinds that JSON shows.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value as Json;
use tidegate_codec::block::{Batch, BlockSchema, Codec, Encoder, GapRecord, Origin, StoreId};
use tidegate_model::{Column, Name, Reason, Slot, StreamId, TagName, Timestamp, Value, ValueKind, ValueType};

use crate::piece::{Gap, Known, Piece, Rows, arrival, reason_code};

/// The store of rows that do not say by which one they were numbered.
pub(crate) const NO_STORE: StoreId = StoreId(0);
/// Tags of one group, at most; a row with more is refused.
const MOST_TAGS: usize = 16_384;
/// Groups whose columns are kept; beyond, all are forgotten and begin with the next rows.
const MOST_STREAMS: usize = 20_000;
/// Integers up to this are exact as 64-bit floats.
const EXACT: u64 = 1 << 53;

/// A group of a device of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Group {
    pub(crate) gateway: Name,
    pub(crate) device: Name,
    pub(crate) group: Name,
}

/// The groups whose rows come as JSON.
pub(crate) struct JsonGroups {
    streams: HashMap<Group, Stream>,
    encoder: Encoder,
}

/// The columns of a group, as far as they have shown.
struct Stream {
    known: Arc<Known>,
    places: HashMap<TagName, usize>,
    /// For each column whether its kind is a guess: the tag has had no value yet, or only one that says little.
    guessed: Vec<bool>,
}

/// A row as `gateway/codec` writes it.
#[derive(Deserialize)]
struct RowMessage<'a> {
    ts: i64,
    seq: u64,
    device_ts: Option<i64>,
    #[serde(borrow)]
    values: BTreeMap<&'a str, Json>,
    #[serde(borrow, default)]
    uncertain: BTreeMap<&'a str, &'a str>,
    #[serde(borrow, default)]
    bad: BTreeMap<&'a str, &'a str>,
}

#[derive(Deserialize)]
struct GapMessage {
    gap: GapBody,
}

#[derive(Deserialize)]
struct GapBody {
    from: u64,
    to: u64,
    reason: String,
}

impl JsonGroups {
    /// No group yet.
    pub(crate) fn new() -> JsonGroups {
        JsonGroups { streams: HashMap::new(), encoder: Encoder::new(Codec::Range) }
    }

    /// Takes the columns that a sink has kept from before. Schemas of blocks say nothing here.
    pub(crate) fn know(&mut self, known: &Arc<Known>) {
        if known.key.store != NO_STORE {
            return;
        }
        let group = Group {
            gateway: known.key.gateway.clone(),
            device: known.key.device.clone(),
            group: known.key.group.clone(),
        };
        let before = self.streams.get(&group).map_or(0, |stream| stream.known.schema.columns.len());
        // Of several that were kept, the one with the most tags is the latest.
        if before <= known.schema.columns.len() {
            self.put(group, Stream::of(Arc::clone(known), Vec::new()));
        }
    }

    /// The row of a message.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a fragment.
    pub(crate) fn row(&mut self, group: &Group, payload: &Bytes) -> Result<Piece, String> {
        let row: RowMessage<'_> = serde_json::from_slice(payload).map_err(|error| format!("it is no row: {error}"))?;
        let stream = self.stream(group)?;
        stream.learn(&row)?;
        let mut slots = vec![Slot::Unchanged; stream.known.schema.columns.len()];
        for (tag, json) in &row.values {
            let value = stream.value(tag, json)?;
            let slot = match row.uncertain.get(tag) {
                Some(word) => Slot::Uncertain(value, reason(tag, word)?),
                None => Slot::Good(value),
            };
            stream.fill(&mut slots, tag, slot);
        }
        for (tag, word) in &row.bad {
            stream.fill(&mut slots, tag, Slot::Bad(reason(tag, word)?));
        }
        let known = Arc::clone(&stream.known);
        let arrival = arrival(row.seq, row.seq, 0).map_err(|error| error.to_string())?;
        let mut batch = Batch::new(&known.schema.columns);
        let device_time = row.device_ts.map(Timestamp::from_millis);
        let pushed = batch.push(row.seq, Timestamp::from_millis(row.ts), device_time, &slots);
        pushed.map_err(|error| error.to_string())?;
        let origin = Origin { stream: StreamId(0), schema: known.id, boot: 0 };
        let mut frame = Vec::new();
        self.encoder.encode(&origin, &batch, &mut frame).map_err(|error| error.to_string())?;
        Ok(Piece::Rows(Rows { known, arrival, batch, frame: frame.into(), repeats: None }))
    }

    /// The gap record of a message.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a fragment.
    pub(crate) fn gap(&mut self, group: &Group, payload: &Bytes) -> Result<Piece, String> {
        let message: GapMessage =
            serde_json::from_slice(payload).map_err(|error| format!("it is no gap record: {error}"))?;
        let GapBody { from, to, reason } = message.gap;
        let arrival = arrival(from, to, 0).map_err(|error| error.to_string())?;
        let known = Arc::clone(&self.stream(group)?.known);
        let code = reason_code(&reason);
        let (stream, schema) = (StreamId(0), known.id);
        let record = GapRecord { stream, schema, boot: 0, first_seq: from, last_seq: to, reason: code };
        let mut frame = Vec::new();
        record.encode(&mut frame);
        Ok(Piece::Gap(Gap { known, arrival, reason, frame: frame.into() }))
    }

    fn stream(&mut self, group: &Group) -> Result<&mut Stream, String> {
        if !self.streams.contains_key(group) {
            let known = known(group, Vec::new())?;
            self.put(group.clone(), Stream::of(known, Vec::new()));
        }
        self.streams.get_mut(group).ok_or_else(|| "its group is not known".to_owned())
    }

    fn put(&mut self, group: Group, stream: Stream) {
        if self.streams.len() >= MOST_STREAMS && !self.streams.contains_key(&group) {
            self.streams.clear();
        }
        self.streams.insert(group, stream);
    }
}

impl Stream {
    /// `guessed`: shorter than the columns when those behind are certain.
    fn of(known: Arc<Known>, mut guessed: Vec<bool>) -> Stream {
        let columns = &known.schema.columns;
        guessed.resize(columns.len(), false);
        let places = columns.iter().enumerate().map(|(place, column)| (column.name.clone(), place)).collect();
        Stream { known, places, guessed }
    }

    /// Makes columns for what is new in the row.
    fn learn(&mut self, row: &RowMessage<'_>) -> Result<(), String> {
        let is_settled = |tag: &str, shown: Option<&Json>| match self.places.get(tag) {
            Some(place) => shown.and_then(shown_type).is_none() || self.guessed.get(*place) == Some(&false),
            None => false,
        };
        let values = row.values.iter().map(|(tag, json)| (*tag, Some(json)));
        let bad = row.bad.keys().filter(|tag| !row.values.contains_key(*tag)).map(|tag| (*tag, None));
        let news: Vec<(&str, Option<&Json>)> =
            values.chain(bad).filter(|(tag, shown)| !is_settled(tag, *shown)).collect();
        if news.is_empty() {
            return Ok(());
        }
        let mut columns = self.known.schema.columns.to_vec();
        let mut guessed = self.guessed.clone();
        for (tag, shown) in news {
            let shown = shown.and_then(shown_type);
            let value_type = shown.unwrap_or(ValueType::single(ValueKind::F64));
            match self.places.get(tag).and_then(|place| columns.get_mut(*place).zip(guessed.get_mut(*place))) {
                Some((column, guess)) => (column.value_type, *guess) = (value_type, false),
                None => {
                    let name = tag.parse().map_err(|error| format!("it has a tag that cannot be: {error}"))?;
                    columns.push(Column::new(name, value_type));
                    guessed.push(shown.is_none());
                }
            }
        }
        if columns.len() > MOST_TAGS {
            return Err(format!("its group would have more than {MOST_TAGS} tags"));
        }
        let key = &self.known.key;
        let group = Group { gateway: key.gateway.clone(), device: key.device.clone(), group: key.group.clone() };
        *self = Stream::of(known(&group, columns)?, guessed);
        Ok(())
    }

    fn fill(&self, slots: &mut [Slot], tag: &str, slot: Slot) {
        if let Some(place) = self.places.get(tag).and_then(|place| slots.get_mut(*place)) {
            *place = slot;
        }
    }

    /// The value, which its column may have another opinion of: 230 of a float is a float.
    fn value(&self, tag: &str, json: &Json) -> Result<Value, String> {
        let column = self.places.get(tag).and_then(|place| self.known.schema.columns.get(*place));
        let kind = column.map_or(ValueKind::F64, |column| column.value_type.kind);
        value(json, kind).ok_or_else(|| format!("the value of {tag} is none: {json}"))
    }
}

fn known(group: &Group, columns: Vec<Column>) -> Result<Arc<Known>, String> {
    let Group { gateway, device, group } = group.clone();
    let schema = BlockSchema { store: NO_STORE, device, group, columns: columns.into(), salt: 0 };
    let document = schema.encode().map_err(|error| error.to_string())?;
    Known::read(gateway, document.into()).map(Arc::new).map_err(|error| error.to_string())
}

/// The type that a value shows, if it shows one: `"NaN"` may be a number or a text.
fn shown_type(json: &Json) -> Option<ValueType> {
    let single = |kind| Some(ValueType::single(kind));
    match json {
        Json::Bool(_) => single(ValueKind::Bool),
        Json::Number(number) if number.is_i64() => single(ValueKind::Int),
        Json::Number(number) if number.is_u64() => single(ValueKind::Uint),
        Json::Number(_) => single(ValueKind::F64),
        Json::String(text) if no_number(text).is_some() => None,
        Json::String(_) => single(ValueKind::Text),
        Json::Array(items) => {
            let kind = items.iter().find_map(shown_type)?.kind;
            Some(ValueType { kind, items: u32::try_from(items.len()).ok() })
        }
        Json::Null | Json::Object(_) => None,
    }
}

/// What JSON has no number for.
fn no_number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// `None` for what is no value.
fn value(json: &Json, kind: ValueKind) -> Option<Value> {
    let is_float = matches!(kind, ValueKind::F32 | ValueKind::F64);
    Some(match json {
        Json::Null | Json::Object(_) => return None,
        Json::Bool(on) => Value::Bool(*on),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) if !(is_float && integer.unsigned_abs() <= EXACT) => Value::Int(integer),
            (None, Some(integer)) => Value::Uint(integer),
            _ => Value::F64(number.as_f64()?),
        },
        Json::String(text) => match no_number(text).filter(|_| is_float) {
            Some(number) => Value::F64(number),
            None => Value::Text(text.as_str().into()),
        },
        Json::Array(items) => {
            Value::Array(items.iter().map(|item| value(item, kind)).collect::<Option<Arc<[Value]>>>()?)
        }
    })
}

fn reason(tag: &str, word: &str) -> Result<Reason, String> {
    let known = Reason::ALL.into_iter().find(|reason| reason.as_str() == word);
    known.ok_or_else(|| format!("the reason {word} of {tag} is not known to this version"))
}

#[cfg(test)]
mod tests;
