//! One column of a batch.

use tidegate_model::{Column, Reason, Slot, Value, ValueKind, ValueType};

use super::{
    convert::{self, float, float_unsigned},
    mark::Mark,
};

/// How many of the last texts (bytes, arrays) of a column are looked at for one that is the same.
const LOOK_BACK: usize = 16;
/// Arrays in arrays, deeper than this, are no value a batch holds.
const DEPTH: usize = 8;
/// What a text, bytes or an array takes beside what it holds, and what a value of another type takes.
pub(super) const OBJECT_BYTES: usize = size_of::<Value>();
pub(super) const FOREIGN_BYTES: usize = size_of::<(usize, Value)>();

/// The values of one column and what is said of them. One word per row, 0 where there is no value of the column's own type.
#[derive(Debug, Clone)]
pub(super) struct Cells {
    pub(super) value_type: ValueType,
    pub(super) words: Words,
    /// Empty while all slots are good and of the column's own type.
    pub(super) marks: Vec<Mark>,
    /// What the words of texts, bytes and arrays count.
    pub(super) objects: Vec<Value>,
    /// Rows, ascending, with the values that are of another type.
    pub(super) foreign: Vec<(usize, Value)>,
    /// Bytes that objects and foreign values take.
    objects_bytes: usize,
}

/// The width that the column's type needs.
#[derive(Debug, Clone)]
pub(super) enum Words {
    /// Integers and 64-bit floats: their bits.
    Wide(Vec<u64>),
    /// 32-bit floats: their bits; texts, bytes and arrays: which of the objects.
    Narrow(Vec<u32>),
    /// Bools.
    Flags(Vec<bool>),
}

impl Words {
    pub(super) fn of(value_type: ValueType) -> Words {
        match (value_type.kind, value_type.items) {
            (ValueKind::Int | ValueKind::Uint | ValueKind::F64, None) => Words::Wide(Vec::new()),
            (ValueKind::Bool, None) => Words::Flags(Vec::new()),
            _ => Words::Narrow(Vec::new()),
        }
    }

    fn push_none(&mut self) {
        match self {
            Words::Wide(words) => words.push(0),
            Words::Narrow(words) => words.push(0),
            Words::Flags(words) => words.push(false),
        }
    }

    fn clear(&mut self) {
        match self {
            Words::Wide(words) => words.clear(),
            Words::Narrow(words) => words.clear(),
            Words::Flags(words) => words.clear(),
        }
    }

    fn slice(&self, from: usize, to: usize) -> Words {
        match self {
            Words::Wide(words) => Words::Wide(words.get(from..to).unwrap_or_default().to_vec()),
            Words::Narrow(words) => Words::Narrow(words.get(from..to).unwrap_or_default().to_vec()),
            Words::Flags(words) => Words::Flags(words.get(from..to).unwrap_or_default().to_vec()),
        }
    }

    /// Bytes a word takes.
    pub(super) fn size(&self) -> usize {
        match self {
            Words::Wide(_) => 8,
            Words::Narrow(_) => 4,
            Words::Flags(_) => 1,
        }
    }
}

impl Cells {
    pub(super) fn new(column: &Column) -> Cells {
        Cells {
            value_type: column.value_type,
            words: Words::of(column.value_type),
            marks: Vec::new(),
            objects: Vec::new(),
            foreign: Vec::new(),
            objects_bytes: 0,
        }
    }

    /// The same column without rows; memory is kept.
    pub(super) fn clear(&mut self) {
        self.words.clear();
        self.marks.clear();
        self.objects.clear();
        self.foreign.clear();
        self.objects_bytes = 0;
    }

    /// Whether values of the other column can stand in this one.
    pub(super) fn is_like(&self, other: &Cells) -> bool {
        self.value_type == other.value_type
    }

    /// Bytes that a slot takes: its word, and one for its mark.
    pub(super) fn slot_bytes(&self) -> usize {
        self.words.size() + 1
    }

    /// Bytes that objects and foreign values take.
    pub(super) fn objects_bytes(&self) -> usize {
        self.objects_bytes
    }

    /// Appends a slot to the `row` slots there are. Returns how many more bytes objects and foreign values take.
    #[inline]
    pub(super) fn push(&mut self, row: usize, slot: &Slot) -> usize {
        if let Slot::Good(value) = slot
            && self.marks.is_empty()
            && self.push_number(value)
        {
            return 0;
        }
        let before = self.objects_bytes;
        self.push_any(row, slot);
        self.objects_bytes - before
    }

    fn push_any(&mut self, row: usize, slot: &Slot) {
        let mut mark = Mark::of(slot);
        match slot.value() {
            None => self.words.push_none(),
            Some(value) if self.push_number(value) || self.push_object(value) => {}
            Some(value) => {
                self.words.push_none();
                if depth_within(value, DEPTH) {
                    self.objects_bytes += FOREIGN_BYTES + value.heap_bytes();
                    self.foreign.push((row, value.clone()));
                    mark = mark.foreign();
                } else {
                    mark = Mark::of(&Slot::Bad(Reason::InvalidValue));
                }
            }
        }
        self.push_mark(row, mark);
    }

    /// Notes the mark of the slot after `row` slots.
    #[inline]
    pub(super) fn push_mark(&mut self, row: usize, mark: Mark) {
        if self.marks.is_empty() && mark != Mark::GOOD {
            self.marks.resize(row, Mark::GOOD);
        }
        if mark != Mark::GOOD || !self.marks.is_empty() {
            self.marks.push(mark);
        }
    }

    /// Appends a number or a bool of the column's own type.
    #[inline]
    fn push_number(&mut self, value: &Value) -> bool {
        match (&mut self.words, value, self.value_type.kind) {
            (Words::Wide(words), Value::F64(number), ValueKind::F64) => words.push(number.to_bits()),
            (Words::Wide(words), Value::Int(number), ValueKind::Int) => words.push(number.cast_unsigned()),
            (Words::Wide(words), Value::Uint(number), ValueKind::Uint) => words.push(*number),
            (Words::Narrow(words), Value::F32(number), ValueKind::F32) if self.value_type.items.is_none() => {
                words.push(number.to_bits());
            }
            (Words::Flags(words), Value::Bool(on), _) => words.push(*on),
            _ => return false,
        }
        true
    }

    /// Appends a text, bytes or an array of the column's own type.
    fn push_object(&mut self, value: &Value) -> bool {
        if !is_own_object(self.value_type, value) {
            return false;
        }
        let place = self.find_object(value);
        let place = place.unwrap_or_else(|| {
            self.objects_bytes += OBJECT_BYTES + value.heap_bytes();
            self.objects.push(value.clone());
            self.objects.len() - 1
        });
        if let (Words::Narrow(words), Ok(place)) = (&mut self.words, u32::try_from(place)) {
            words.push(place);
        }
        true
    }

    fn find_object(&self, value: &Value) -> Option<usize> {
        let recent = self.objects.len().saturating_sub(LOOK_BACK);
        let objects = self.objects.get(recent..).unwrap_or_default();
        objects.iter().rposition(|object| object.same_as(value)).map(|place| recent + place)
    }

    /// The mark of a row.
    #[inline]
    pub(super) fn mark(&self, row: usize) -> Mark {
        self.marks.get(row).copied().unwrap_or(Mark::GOOD)
    }

    /// The slot of a row; `None` beyond the last.
    pub(super) fn slot(&self, row: usize) -> Option<Slot> {
        let mark = self.mark(row);
        mark.slot(|| if mark.is_foreign() { self.foreign_value(row) } else { self.own_value(row) })
    }

    fn foreign_value(&self, row: usize) -> Option<Value> {
        let place = self.foreign.binary_search_by_key(&row, |(row, _)| *row).ok()?;
        self.foreign.get(place).map(|(_, value)| value.clone())
    }

    fn own_value(&self, row: usize) -> Option<Value> {
        match &self.words {
            Words::Wide(words) => {
                let word = *words.get(row)?;
                Some(match self.value_type.kind {
                    ValueKind::Int => Value::Int(word.cast_signed()),
                    ValueKind::Uint => Value::Uint(word),
                    _ => Value::F64(f64::from_bits(word)),
                })
            }
            Words::Narrow(words) => {
                let word = *words.get(row)?;
                if self.value_type == ValueType::single(ValueKind::F32) {
                    return Some(Value::F32(f32::from_bits(word)));
                }
                self.objects.get(convert::index(word)).cloned()
            }
            Words::Flags(words) => words.get(row).copied().map(Value::Bool),
        }
    }

    /// The number of a row, if it has one of the column's own type; bools are 0 and 1.
    #[inline]
    pub(super) fn number(&self, row: usize) -> Option<f64> {
        if !self.mark(row).has_own_value() {
            return self.foreign_value(row)?.as_f64();
        }
        match &self.words {
            Words::Wide(words) => {
                let word = *words.get(row)?;
                Some(match self.value_type.kind {
                    ValueKind::Int => float(word.cast_signed()),
                    ValueKind::Uint => float_unsigned(word),
                    _ => f64::from_bits(word),
                })
            }
            Words::Narrow(words) if self.value_type == ValueType::single(ValueKind::F32) => {
                words.get(row).map(|word| f64::from(f32::from_bits(*word)))
            }
            Words::Narrow(_) => None,
            Words::Flags(words) => words.get(row).map(|on| f64::from(u8::from(*on))),
        }
    }

    /// The rows from `from` to before `to`.
    pub(super) fn slice(&self, from: usize, to: usize) -> Cells {
        let marks = self.marks.get(from..to).unwrap_or_default();
        let plain = marks.iter().all(|mark| *mark == Mark::GOOD);
        let within = self.foreign.iter().filter(|(row, _)| (from..to).contains(row));
        let foreign: Vec<(usize, Value)> = within.map(|(row, value)| (row - from, value.clone())).collect();
        Cells {
            value_type: self.value_type,
            words: self.words.slice(from, to),
            marks: if plain { Vec::new() } else { marks.to_vec() },
            objects: self.objects.clone(),
            foreign,
            objects_bytes: self.objects_bytes,
        }
    }

    /// Appends the `count` rows of a column like this to the `row` rows there are. Returns how many more bytes objects and
    /// foreign values take.
    pub(super) fn append(&mut self, row: usize, other: &Cells, count: usize) -> usize {
        let before = self.objects_bytes;
        self.append_rows(row, other, count);
        self.objects_bytes - before
    }

    fn append_rows(&mut self, row: usize, other: &Cells, count: usize) {
        match (&mut self.words, &other.words) {
            (Words::Wide(words), Words::Wide(more)) => words.extend_from_slice(more),
            (Words::Flags(words), Words::Flags(more)) => words.extend_from_slice(more),
            (Words::Narrow(words), Words::Narrow(more)) if other.objects.is_empty() => words.extend_from_slice(more),
            _ => {
                for at in 0..count {
                    if let Some(slot) = other.slot(at) {
                        self.push(row + at, &slot);
                    }
                }
                return;
            }
        }
        for (at, value) in &other.foreign {
            self.objects_bytes += FOREIGN_BYTES + value.heap_bytes();
            self.foreign.push((row + at, value.clone()));
        }
        if !(self.marks.is_empty() && other.marks.is_empty()) {
            self.marks.resize(row, Mark::GOOD);
            self.marks.extend_from_slice(&other.marks);
            self.marks.resize(row + count, Mark::GOOD);
        }
    }

    /// Sets what a decoder has read: all objects, and how many bytes they take.
    pub(super) fn set_objects(&mut self, objects: Vec<Value>) {
        self.objects_bytes += objects.iter().map(|value| OBJECT_BYTES + value.heap_bytes()).sum::<usize>();
        self.objects = objects;
    }

    /// Sets what a decoder has read: the foreign values with their rows, ascending.
    pub(super) fn set_foreign(&mut self, foreign: Vec<(usize, Value)>) {
        let bytes = |(_, value): &(usize, Value)| FOREIGN_BYTES + value.heap_bytes();
        self.objects_bytes += foreign.iter().map(bytes).sum::<usize>();
        self.foreign = foreign;
    }
}

/// Whether the value is a text, bytes or an array as a column of this type has it.
fn is_own_object(value_type: ValueType, value: &Value) -> bool {
    match (value, value_type.items) {
        (Value::Array(items), Some(_)) => items.iter().all(|item| kind_of(item) == Some(value_type.kind)),
        (Value::Text(_), None) => value_type.kind == ValueKind::Text,
        (Value::Bytes(_), None) => value_type.kind == ValueKind::Bytes,
        _ => false,
    }
}

/// The kind of a single value.
pub(super) fn kind_of(value: &Value) -> Option<ValueKind> {
    match value {
        Value::Bool(_) => Some(ValueKind::Bool),
        Value::Int(_) => Some(ValueKind::Int),
        Value::Uint(_) => Some(ValueKind::Uint),
        Value::F32(_) => Some(ValueKind::F32),
        Value::F64(_) => Some(ValueKind::F64),
        Value::Text(_) => Some(ValueKind::Text),
        Value::Bytes(_) => Some(ValueKind::Bytes),
        Value::Array(_) => None,
    }
}

/// Whether arrays are nested in the value at most so deep.
fn depth_within(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|item| depth_within(item, depth - 1)),
        _ => true,
    }
}
