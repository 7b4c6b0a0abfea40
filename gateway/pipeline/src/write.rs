//! Whether a value may be written, and the device's number for it.

use base64::{Engine, prelude::BASE64_STANDARD};
use tidegate_config::Access;
use tidegate_model::{Value, ValueKind, ValueType};

use crate::{
    Stages,
    invalid::Invalid,
    number::{Number, float_to_integer, integer_value, to_f32},
    scale::NoRaw,
    stages::Convert,
};

/// Why a value is not written. The text is for whoever wants to write it, and is part of `…/set/reply`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WriteRefusal {
    /// There is no tag in this column.
    #[error("unknown tag")]
    UnknownColumn,
    /// The profile does not let the tag be written, or it is a constant or calculated.
    #[error("not writable")]
    NotWritable,
    /// The value is of another kind than the tag.
    #[error("{expected} expected, got {found}")]
    WrongKind {
        /// What the tag takes (`number`).
        expected: &'static str,
        /// What came (`text`).
        found: &'static str,
    },
    /// The number is larger than the profile allows.
    #[error("above maximum {maximum}")]
    AboveMaximum {
        /// Largest value that may be written.
        maximum: f64,
    },
    /// The number is smaller than the profile allows.
    #[error("below minimum {minimum}")]
    BelowMinimum {
        /// Smallest value that may be written.
        minimum: f64,
    },
    /// The tag is an enumeration and this is none of its texts.
    #[error("unknown text {text:?}; known are {}", quoted(known))]
    UnknownText {
        /// What came.
        text: String,
        /// The texts of the tag.
        known: Vec<String>,
    },
    /// The device's number cannot hold the value exactly.
    #[error("{} falls between the steps {} and {}", shown(value), shown(below), shown(above))]
    BetweenSteps {
        /// What came.
        value: Value,
        /// The next smaller value that can be written.
        below: Value,
        /// The next larger value that can be written.
        above: Value,
    },
    /// The device's number has no room for the value.
    #[error("{} is beyond what the device's number can hold", shown(value))]
    OutOfReach {
        /// What came.
        value: Value,
    },
    /// The device's number for the value is one by which it says that it has none.
    #[error("{} is {} in the device, which means \"no value\" there", shown(value), shown(raw))]
    Invalid {
        /// What came.
        value: Value,
        /// The device's number for it.
        raw: Value,
    },
    /// The tag is an array with another number of items.
    #[error("{expected} items expected, got {found}")]
    ItemCount {
        /// Items that the tag has.
        expected: u32,
        /// Items that came.
        found: usize,
    },
    /// One item of an array is refused.
    #[error("item {number}: {refusal}")]
    Item {
        /// Number of the item, from 1.
        number: usize,
        /// What is wrong with it.
        refusal: Box<WriteRefusal>,
    },
}

fn quoted(texts: &[String]) -> String {
    texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ")
}

/// A number with the digits it was written with; floats show that they are some.
fn shown(value: &Value) -> String {
    match value {
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::F32(number) => format!("{number:?}"),
        Value::F64(number) => format!("{number:?}"),
        Value::Text(text) => format!("{text:?}"),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        other => format!("{other:?}"),
    }
}

/// What a tag that may be written takes.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// What the device takes.
    pub(crate) raw: ValueType,
    pub(crate) convert: Convert,
    /// What the device takes for "no value".
    pub(crate) invalid: Option<Invalid>,
    pub(crate) minimum: Option<f64>,
    pub(crate) maximum: Option<f64>,
}

/// Whether a tag with this access may be written.
pub(crate) fn is_writable(access: Access) -> bool {
    matches!(access, Access::ReadWrite | Access::Write)
}

impl Stages {
    /// The device's own value for a delivered one: checks that it may be written and undoes the texts or the scaling; a number of
    /// `invalid` may not come out.
    ///
    /// `value` is as it comes out of JSON: any number for any tag that is a number, 0 or 1 for a bool too, and base64 for bytes. Reading the answer back
    /// delivers `value` again; where the device holds floats, the nearest it can hold. A list of arguments is let pass as it is, and one
    /// value as a list of one.
    ///
    /// # Errors
    ///
    /// [`WriteRefusal`], each kind of which says what is wrong with the value or the tag.
    pub fn to_raw(&self, column: usize, value: &Value) -> Result<Value, WriteRefusal> {
        let target = self.targets.get(column).ok_or(WriteRefusal::UnknownColumn)?;
        let target = target.as_ref().ok_or(WriteRefusal::NotWritable)?;
        if self.arguments.contains(&column) {
            return Ok(match value {
                Value::Array(_) => value.clone(),
                single => Value::Array([single.clone()].into()),
            });
        }
        target.to_raw(value)
    }
}

impl Target {
    fn to_raw(&self, value: &Value) -> Result<Value, WriteRefusal> {
        let Some(expected) = self.raw.items else {
            return self.single(value);
        };
        let Value::Array(items) = value else {
            return Err(WriteRefusal::WrongKind { expected: "array", found: kind_word(value) });
        };
        if u32::try_from(items.len()) != Ok(expected) {
            return Err(WriteRefusal::ItemCount { expected, found: items.len() });
        }
        let item = |(index, item)| {
            let refused = |refusal| WriteRefusal::Item { number: index + 1, refusal: Box::new(refusal) };
            self.single(item).map_err(refused)
        };
        items.iter().enumerate().map(item).collect::<Result<_, _>>().map(Value::Array)
    }

    fn single(&self, value: &Value) -> Result<Value, WriteRefusal> {
        let raw = self.convert(value)?;
        if self.invalid.as_ref().is_some_and(|invalid| invalid.contains(&raw)) {
            return Err(WriteRefusal::Invalid { value: value.clone(), raw });
        }
        Ok(raw)
    }

    fn convert(&self, value: &Value) -> Result<Value, WriteRefusal> {
        if let Convert::Texts(texts) = &self.convert {
            let Value::Text(text) = value else { return Err(wrong_kind("text", value)) };
            return texts.invert(text, self.raw.kind).ok_or_else(|| WriteRefusal::UnknownText {
                text: text.to_string(),
                known: texts.known().map(str::to_owned).collect(),
            });
        }
        match self.raw.kind {
            ValueKind::Text => match value {
                Value::Text(_) => Ok(value.clone()),
                _ => Err(wrong_kind("text", value)),
            },
            ValueKind::Bytes => match value {
                Value::Bytes(_) => Ok(value.clone()),
                // As they are delivered in JSON.
                Value::Text(text) => BASE64_STANDARD
                    .decode(text.as_bytes())
                    .map(|bytes| Value::Bytes(bytes.into()))
                    .map_err(|_| wrong_kind("bytes as base64", value)),
                _ => Err(wrong_kind("bytes as base64", value)),
            },
            ValueKind::Bool => to_bool(value),
            ValueKind::Int | ValueKind::Uint | ValueKind::F32 | ValueKind::F64 => self.number(value),
        }
    }

    fn number(&self, value: &Value) -> Result<Value, WriteRefusal> {
        if let Value::Text(word) = value
            && let Some(number) = not_finite(word)
        {
            return Err(WriteRefusal::OutOfReach { value: Value::F64(number) });
        }
        let number = Number::of(value).ok_or_else(|| wrong_kind("number", value))?;
        // NaN is neither below nor above anything, and no device's number means it.
        if matches!(number, Number::Float(float) if !float.is_finite()) {
            return Err(WriteRefusal::OutOfReach { value: value.clone() });
        }
        if let Some(maximum) =
            self.maximum.filter(|maximum| number.compare(*maximum).is_some_and(|order| order.is_gt()))
        {
            return Err(WriteRefusal::AboveMaximum { maximum });
        }
        if let Some(minimum) =
            self.minimum.filter(|minimum| number.compare(*minimum).is_some_and(|order| order.is_lt()))
        {
            return Err(WriteRefusal::BelowMinimum { minimum });
        }
        let raw = match &self.convert {
            Convert::Scale(scale) => scale.invert(number, self.raw.kind),
            Convert::Nothing | Convert::Texts(_) => unscaled(number, self.raw.kind),
        };
        raw.map_err(|no_raw| match no_raw {
            NoRaw::OutOfReach => WriteRefusal::OutOfReach { value: value.clone() },
            NoRaw::Between(below, above) => WriteRefusal::BetweenSteps { value: value.clone(), below, above },
        })
    }
}

/// The numbers that JSON has only words for. To a tag that is text they are texts like any other.
fn not_finite(word: &str) -> Option<f64> {
    match word {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// The number as the device's kind.
fn unscaled(number: Number, kind: ValueKind) -> Result<Value, NoRaw> {
    match (kind, number) {
        (ValueKind::F64, Number::Float(float)) => Ok(Value::F64(float)),
        (ValueKind::F32, Number::Float(float)) if float.fract() != 0.0 => to_single(float),
        (ValueKind::F64 | ValueKind::F32, number) => whole_float(number, kind),
        (_, Number::Integer(integer)) => integer_value(integer, kind).ok_or(NoRaw::OutOfReach),
        (_, Number::Float(float)) => {
            let below = float_to_integer(float.floor());
            let step = |integer| integer_value(integer, kind).ok_or(NoRaw::OutOfReach);
            if float.fract() == 0.0 {
                return step(below);
            }
            Err(NoRaw::Between(step(below)?, step(below.saturating_add(1))?))
        }
    }
}

/// A number with a fraction is the nearest one the device can hold: whoever writes 42.1 means its 42.1.
fn to_single(float: f64) -> Result<Value, NoRaw> {
    let single = to_f32(float);
    if single.is_finite() { Ok(Value::F32(single)) } else { Err(NoRaw::OutOfReach) }
}

/// A whole number that a float has to hold exactly: whoever writes 16777217 does not mean 16777216.
fn whole_float(number: Number, kind: ValueKind) -> Result<Value, NoRaw> {
    let nearest = number.to_float();
    let (nearest, value) = match kind {
        ValueKind::F32 => (f64::from(to_f32(nearest)), Value::F32(to_f32(nearest))),
        _ => (nearest, Value::F64(nearest)),
    };
    if !nearest.is_finite() {
        return Err(NoRaw::OutOfReach);
    }
    let neighbour = |up: bool| match &value {
        Value::F32(single) => Value::F32(if up { single.next_up() } else { single.next_down() }),
        _ => Value::F64(if up { nearest.next_up() } else { nearest.next_down() }),
    };
    match number.compare(nearest) {
        Some(std::cmp::Ordering::Less) => Err(NoRaw::Between(neighbour(false), value)),
        Some(std::cmp::Ordering::Greater) => Err(NoRaw::Between(value.clone(), neighbour(true))),
        _ => Ok(value),
    }
}

/// `true` and `false`, and 0 and 1, which is how many tools write a coil.
fn to_bool(value: &Value) -> Result<Value, WriteRefusal> {
    if let Value::Bool(_) = value {
        return Ok(value.clone());
    }
    match Number::of(value) {
        Some(Number::Integer(0) | Number::Float(0.0)) => Ok(Value::Bool(false)),
        Some(Number::Integer(1) | Number::Float(1.0)) => Ok(Value::Bool(true)),
        _ => Err(wrong_kind("bool", value)),
    }
}

fn wrong_kind(expected: &'static str, value: &Value) -> WriteRefusal {
    WriteRefusal::WrongKind { expected, found: kind_word(value) }
}

/// What somebody who writes JSON calls it.
fn kind_word(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Uint(_) | Value::F32(_) | Value::F64(_) => "number",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
        Value::Array(_) => "array",
    }
}
