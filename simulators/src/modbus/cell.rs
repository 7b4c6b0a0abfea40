//! One tag of the profile as the simulated device has it: where it lies, how it moves, and what its numbers mean.

use std::sync::Arc;

use tidegate_config::{DeviceTimeUnit, Tag};
use tidegate_driver_modbus::{Encoded, Format, Point, Refusal};
use tidegate_model::{TagName, Value, ValueKind};

use crate::{
    motion::{Moment, Motion},
    noise::mix,
    plausible::{self, Holds},
    scaling::{Scale, narrow},
};

/// A tag of the device, shared by all devices of a simulator.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) name: TagName,
    pub(crate) point: Point,
    scale: Option<Scale>,
    texts: Box<[(i64, Arc<str>)]>,
    motion: Motion,
    /// Steps of one unit that the moving value is rounded to, so that it reads like one of a device.
    rounding: Option<f64>,
    /// What a text says.
    text: Arc<str>,
}

/// How values move, for all tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Style {
    /// Each float differs from what was read a step before.
    pub(crate) all_change: bool,
    /// Floats are not rounded to the decimals that a device would show.
    pub(crate) full_precision: bool,
}

impl Cell {
    /// The cell of a tag; `clock` says that it is the time of the device.
    pub(crate) fn new(tag: &Tag, point: Point, clock: Option<DeviceTimeUnit>, style: Style) -> Cell {
        let scale = tag.scaling.as_ref().map(|scaling| Scale::new(scaling));
        let motion = match clock {
            Some(DeviceTimeUnit::Seconds) => Motion::Clock { millis: 1_000 },
            Some(DeviceTimeUnit::Millis) => Motion::Clock { millis: 1 },
            None => plausible::motion(tag, holds(point.format()), scale.as_ref(), style.all_change),
        };
        let is_float = matches!(point.format().kind(), ValueKind::F32 | ValueKind::F64);
        let exact = !is_float || style.full_precision || clock.is_some();
        let texts = tag.texts.iter().flat_map(|texts| texts.iter());
        Cell {
            name: tag.name.clone(),
            point,
            texts: texts.map(|(number, text)| (*number, Arc::from(text.as_str()))).collect(),
            rounding: if exact { None } else { Some(plausible::rounding(&motion)) },
            motion,
            text: text_that_fits(tag, point.format()),
            scale,
        }
    }

    /// Whether the value moves by itself.
    pub(crate) fn moves(&self) -> bool {
        let rests = matches!(self.point.format().kind(), ValueKind::Text | ValueKind::Bytes);
        !matches!(self.motion, Motion::Constant(_)) && !rests
    }

    /// The bytes of the registers at this moment, when the tag is one 32-bit float: the most common type, without an allocation.
    /// `turn` is another one at each call when every value has to differ from the one before.
    pub(crate) fn encoded_single(&self, seed: u64, moment: Moment, turn: Option<bool>) -> Option<[u8; 4]> {
        match (self.point.format(), self.point.items()) {
            (Format::F32(order), None) => Some(order.split4(narrow(self.number(seed, moment, turn)).to_bits())),
            _ => None,
        }
    }

    /// What has to stand in the device at this moment.
    pub(crate) fn encoded(&self, seed: u64, moment: Moment, turn: Option<bool>) -> Result<Encoded, Refusal> {
        match self.point.items() {
            None => self.point.encode(&self.item(seed, moment, turn)),
            Some(items) => {
                let values = (0..items).map(|item| self.item(mix(seed, u64::from(item)), moment, turn));
                self.point.encode(&Value::Array(values.collect()))
            }
        }
    }

    fn item(&self, seed: u64, moment: Moment, turn: Option<bool>) -> Value {
        let format = self.point.format();
        match format.kind() {
            ValueKind::Text => Value::Text(Arc::clone(&self.text)),
            ValueKind::Bytes => Value::Bytes(self.bytes()),
            ValueKind::Bool => Value::Bool(self.number(seed, moment, turn) >= 0.5),
            ValueKind::F32 => Value::F32(narrow(self.number(seed, moment, turn))),
            ValueKind::F64 => Value::F64(self.number(seed, moment, turn)),
            ValueKind::Int | ValueKind::Uint => {
                let (low, high) = limits(format);
                Value::F64(self.number(seed, moment, turn).round().clamp(low, high))
            }
        }
    }

    /// The tag's name and NULs, as long as the value is.
    fn bytes(&self) -> Arc<[u8]> {
        let Format::Bytes { bytes: length, .. } = self.point.format() else { return Arc::default() };
        self.text.bytes().chain(std::iter::repeat(0)).take(length.into()).collect()
    }

    /// The device's number at this moment.
    fn number(&self, seed: u64, moment: Moment, turn: Option<bool>) -> f64 {
        let delivered = self.motion.at(seed, moment);
        let delivered = match (self.rounding, turn) {
            (None, _) => delivered,
            (Some(steps), None) => (delivered * steps).round() / steps,
            // Odd and even steps by turns: never the same twice.
            (Some(steps), Some(odd)) => ((delivered * steps / 2.0).floor() * 2.0 + f64::from(u8::from(odd))) / steps,
        };
        match &self.scale {
            Some(scale) if self.texts.is_empty() => scale.undo(delivered),
            _ => delivered,
        }
    }

    /// The device's number as the gateway delivers it.
    pub(crate) fn deliver(&self, raw: &Value) -> Value {
        let number = match raw {
            Value::Int(number) => Some(*number),
            Value::Uint(number) => i64::try_from(*number).ok(),
            _ => None,
        };
        if let Some((_, text)) = self.texts.iter().find(|(of, _)| Some(*of) == number) {
            return Value::Text(Arc::clone(text));
        }
        self.scale.as_ref().map_or_else(|| raw.clone(), |scale| scale.deliver(raw))
    }

    /// The device's number for a delivered value; an integer type takes the nearest one.
    pub(crate) fn undo(&self, delivered: &Value) -> Value {
        match delivered {
            Value::Text(text) => match self.texts.iter().find(|(_, known)| known == text) {
                Some((number, _)) => Value::Int(*number),
                None => delivered.clone(),
            },
            Value::Array(items) => Value::Array(items.iter().map(|item| self.undo(item)).collect()),
            _ => match (&self.scale, delivered.as_f64()) {
                (Some(scale), Some(number)) => {
                    let raw = scale.undo(number);
                    let whole = matches!(self.point.format().kind(), ValueKind::Int | ValueKind::Uint);
                    Value::F64(if whole { raw.round() } else { raw })
                }
                _ => delivered.clone(),
            },
        }
    }
}

fn holds(format: Format) -> Holds {
    let (low, high) = limits(format);
    Holds { kind: format.kind(), low, high }
}

/// What the device's type can hold, from its lowest to its highest number.
fn limits(format: Format) -> (f64, f64) {
    /// Integers are exact up to here in the floats that the motions calculate with.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match format {
        Format::Coil | Format::Flag | Format::Bit(_) => (0.0, 1.0),
        Format::U8(_) => (0.0, u8::MAX.into()),
        Format::I8(_) => (i8::MIN.into(), i8::MAX.into()),
        Format::U16(_) => (0.0, u16::MAX.into()),
        Format::I16(_) => (i16::MIN.into(), i16::MAX.into()),
        Format::U32(_) => (0.0, u32::MAX.into()),
        Format::I32(_) => (i32::MIN.into(), i32::MAX.into()),
        Format::U64(_) => (0.0, EXACT),
        Format::I64(_) => (-EXACT, EXACT),
        Format::Bcd16(_) => (0.0, 9_999.0),
        Format::Bcd32(_) => (0.0, 99_999_999.0),
        Format::F32(_) => (f32::MIN.into(), f32::MAX.into()),
        Format::F64(_) | Format::Text { .. } | Format::Bytes { .. } => (f64::MIN, f64::MAX),
    }
}

/// The tag's name, as far as there is room; a Modbus string has one or two characters a register.
fn text_that_fits(tag: &Tag, format: Format) -> Arc<str> {
    let room = match format {
        Format::Text { bytes, .. } | Format::Bytes { bytes, .. } => usize::from(bytes),
        _ => 0,
    };
    // A tag's name is ASCII: every cut is between characters.
    tag.name.as_str().get(..room.min(tag.name.as_str().len())).unwrap_or_default().into()
}
