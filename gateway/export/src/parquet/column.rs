//! What waits in memory for its row group: one tag's values, where there are any, and what is said about them.

use ::parquet::{
    column::writer::{ColumnWriter, ColumnWriterImpl},
    data_type::{ByteArray, DataType},
    errors::ParquetError,
};
use tidegate_model::{Slot, Value, ValueKind, ValueType};

use crate::state::State;

/// Values of one physical type.
pub(super) enum Values {
    Bool(Vec<bool>),
    /// Unsigned ones too, bit by bit.
    Int(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bytes(Vec<ByteArray>),
}

/// A column of integers without a quality.
#[derive(Default)]
pub(super) struct Numbers {
    pub(super) values: Vec<i64>,
    /// 1 where there is a value, 0 where there is none.
    pub(super) defined: Vec<i16>,
}

/// One tag.
pub(super) struct TagColumn {
    kind: ValueKind,
    items: bool,
    taken: Taken,
    bytes: usize,
}

/// What a tag has said since the last row group.
pub(super) struct Taken {
    pub(super) values: Values,
    /// How much of the path to a value there is: for single values 0 or 1, for arrays 0 (none), 1 (no items), 2 (an item of
    /// another type) or 3.
    pub(super) defined: Vec<i16>,
    /// For arrays: 0 at the first item of each, 1 at the others.
    pub(super) repeated: Option<Vec<i16>>,
    /// One for each row.
    pub(super) states: Vec<State>,
}

impl Numbers {
    pub(super) fn push(&mut self, number: Option<i64>) {
        self.values.extend(number);
        self.defined.push(i16::from(number.is_some()));
    }

    pub(super) fn take(&mut self) -> Numbers {
        std::mem::take(self)
    }
}

impl TagColumn {
    pub(super) fn new(value_type: ValueType) -> TagColumn {
        let items = value_type.items.is_some();
        TagColumn { kind: value_type.kind, items, taken: Taken::new(value_type.kind, items), bytes: 0 }
    }

    /// Takes up one slot (none: the row does not have the tag), whose value may have been drawn, and says what its quality column will say.
    pub(super) fn push(&mut self, slot: Option<Slot>, is_drawn: bool) -> State {
        let state = match &slot {
            None => State::Absent,
            Some(slot) => match (slot.value(), self.items) {
                (None, _) => State::of(slot),
                (Some(Value::Array(items)), true) => self.array(items, State::of(slot)),
                (Some(value), false) => self.single(value, State::of(slot)),
                (Some(_), true) => State::OtherType,
            },
        };
        let state = state.drawn(is_drawn);
        if state == State::OtherType || slot.as_ref().and_then(Slot::value).is_none() {
            self.nothing();
        }
        self.taken.states.push(state);
        self.bytes += size_of::<State>();
        state
    }

    /// No value, or no array.
    fn nothing(&mut self) {
        self.level(0, 0);
    }

    fn level(&mut self, defined: i16, repeated: i16) {
        self.taken.defined.push(defined);
        self.bytes += 2;
        if let Some(levels) = &mut self.taken.repeated {
            levels.push(repeated);
            self.bytes += 2;
        }
    }

    fn single(&mut self, value: &Value, state: State) -> State {
        let Some(bytes) = self.taken.values.push(self.kind, value) else { return State::OtherType };
        self.bytes += bytes;
        self.level(1, 0);
        state
    }

    /// An array as a whole: one item of another type and none of it is taken.
    fn array(&mut self, items: &[Value], state: State) -> State {
        if !items.iter().all(|item| kind(item) == Some(self.kind)) {
            return State::OtherType;
        }
        if items.is_empty() {
            self.level(1, 0);
        }
        for (index, item) in items.iter().enumerate() {
            self.bytes += self.taken.values.push(self.kind, item).unwrap_or(0);
            self.level(3, i16::from(index > 0));
        }
        state
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.bytes
    }

    /// Everything since the last time.
    pub(super) fn take(&mut self) -> Taken {
        self.bytes = 0;
        std::mem::replace(&mut self.taken, Taken::new(self.kind, self.items))
    }
}

impl Taken {
    fn new(kind: ValueKind, items: bool) -> Taken {
        let values = match kind {
            ValueKind::Bool => Values::Bool(Vec::new()),
            ValueKind::Int | ValueKind::Uint => Values::Int(Vec::new()),
            ValueKind::F32 => Values::F32(Vec::new()),
            ValueKind::F64 => Values::F64(Vec::new()),
            ValueKind::Text | ValueKind::Bytes => Values::Bytes(Vec::new()),
        };
        Taken { values, defined: Vec::new(), repeated: items.then(Vec::new), states: Vec::new() }
    }
}

/// The kind of a single value.
fn kind(value: &Value) -> Option<ValueKind> {
    Some(match value {
        Value::Bool(_) => ValueKind::Bool,
        Value::Int(_) => ValueKind::Int,
        Value::Uint(_) => ValueKind::Uint,
        Value::F32(_) => ValueKind::F32,
        Value::F64(_) => ValueKind::F64,
        Value::Text(_) => ValueKind::Text,
        Value::Bytes(_) => ValueKind::Bytes,
        Value::Array(_) => return None,
    })
}

impl Values {
    /// Appends a value of that kind and says what it takes in memory, in bytes; `None`, and nothing is appended, when it is
    /// of another kind.
    fn push(&mut self, wanted: ValueKind, value: &Value) -> Option<usize> {
        if kind(value) != Some(wanted) {
            return None;
        }
        let bytes = |values: &mut Vec<ByteArray>, content: &[u8]| {
            values.push(content.to_vec().into());
            size_of::<ByteArray>() + content.len() + 32
        };
        Some(match (self, value) {
            (Values::Bool(values), Value::Bool(on)) => {
                values.push(*on);
                1
            }
            (Values::Int(values), Value::Int(number)) => {
                values.push(*number);
                8
            }
            (Values::Int(values), Value::Uint(number)) => {
                values.push(number.cast_signed());
                8
            }
            (Values::F32(values), Value::F32(number)) => {
                values.push(*number);
                4
            }
            (Values::F64(values), Value::F64(number)) => {
                values.push(*number);
                8
            }
            (Values::Bytes(values), Value::Text(text)) => bytes(values, text.as_bytes()),
            (Values::Bytes(values), Value::Bytes(content)) => bytes(values, content),
            _ => return None,
        })
    }

    /// Writes all of them; `None` when the file's column is of another type.
    pub(super) fn write(
        &self,
        to: &mut ColumnWriter<'_>,
        defined: &[i16],
        repeated: Option<&[i16]>,
    ) -> Result<Option<()>, ParquetError> {
        // A column that is always there has no levels.
        let defined = (!defined.is_empty()).then_some(defined);
        match (self, to) {
            (Values::Bool(values), ColumnWriter::BoolColumnWriter(to)) => batch(to, values, defined, repeated),
            (Values::Int(values), ColumnWriter::Int64ColumnWriter(to)) => batch(to, values, defined, repeated),
            (Values::F32(values), ColumnWriter::FloatColumnWriter(to)) => batch(to, values, defined, repeated),
            (Values::F64(values), ColumnWriter::DoubleColumnWriter(to)) => batch(to, values, defined, repeated),
            (Values::Bytes(values), ColumnWriter::ByteArrayColumnWriter(to)) => batch(to, values, defined, repeated),
            _ => Ok(None),
        }
    }
}

fn batch<T: DataType>(
    to: &mut ColumnWriterImpl<'_, T>,
    values: &[T::T],
    defined: Option<&[i16]>,
    repeated: Option<&[i16]>,
) -> Result<Option<()>, ParquetError> {
    to.write_batch(values, defined, repeated).map(|_| Some(()))
}
