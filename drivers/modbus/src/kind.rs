//! The keys of a tag that say what its registers mean: `type`, `bit`, `byte`, `byte_order`, `length`.

use tidegate_driver_api::config::{At, Origin, Report, Table, Tag};

use crate::{ByteOrder, Format, Half, PrimaryTable};

/// The words of the key `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Bool,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
    Bcd16,
    Bcd32,
    Text,
    Bytes,
}

const TYPES: [(&str, Type); 15] = [
    ("bool", Type::Bool),
    ("i8", Type::I8),
    ("u8", Type::U8),
    ("i16", Type::I16),
    ("u16", Type::U16),
    ("i32", Type::I32),
    ("u32", Type::U32),
    ("i64", Type::I64),
    ("u64", Type::U64),
    ("f32", Type::F32),
    ("f64", Type::F64),
    ("bcd16", Type::Bcd16),
    ("bcd32", Type::Bcd32),
    ("string", Type::Text),
    ("bytes", Type::Bytes),
];

const HALVES: [(&str, Half); 2] = [("high", Half::High), ("low", Half::Low)];

/// Takes `type`, `bit`, `byte`, `byte_order` and `length`.
pub(crate) fn format(tag: &Tag, keys: &Table, table: Option<PrimaryTable>, report: &mut Report) -> Option<Format> {
    let kind = keys.choice("type", &TYPES, report);
    let bit: Option<At<u8>> = keys.take("bit", report);
    let byte = keys.choice("byte", &HALVES, report);
    let order = keys.choice("byte_order", &ByteOrder::CHOICES, report);
    let length: Option<At<u16>> = keys.take("length", report);
    let taken = [
        ("type", kind.is_some()),
        ("bit", bit.is_some()),
        ("byte", byte.is_some()),
        ("byte_order", order.is_some()),
        ("length", length.is_some()),
    ];
    if taken.iter().any(|(key, taken)| keys.has(key) && !taken) {
        // A wrong value has been reported already; without it nothing can be said about the others.
        return None;
    }
    let kind = match kind {
        Some(kind) => kind,
        None if bit.is_some() || table.is_some_and(PrimaryTable::is_bits) => {
            At { value: Type::Bool, origin: Origin::Default }
        }
        None => {
            report.error(
                &tag.origin,
                "`type` is missing",
                Some("add `type = \"u16\"`, or what the register holds".to_owned()),
            );
            return None;
        }
    };
    stray_keys(&kind, bit.as_ref(), byte.as_ref(), length.as_ref(), report)?;
    if table.is_some_and(PrimaryTable::is_bits) {
        return coil(&kind, bit.as_ref(), table, report);
    }
    sized(tag, &kind, bit, byte, order, length, report)
}

/// Reports the keys that belong to another type.
fn stray_keys(
    kind: &At<Type>,
    bit: Option<&At<u8>>,
    byte: Option<&At<Half>>,
    length: Option<&At<u16>>,
    report: &mut Report,
) -> Option<()> {
    let strays = [
        ("bit", bit.map(|key| &key.origin), kind.value == Type::Bool, "a bit is a `bool`"),
        (
            "byte",
            byte.map(|key| &key.origin),
            matches!(kind.value, Type::I8 | Type::U8),
            "it chooses the half of an `i8` or `u8`",
        ),
        (
            "length",
            length.map(|key| &key.origin),
            matches!(kind.value, Type::Text | Type::Bytes),
            "it is how long a `string` or `bytes` are; for an array write `count`",
        ),
    ];
    let mut clean = Some(());
    for (key, origin, fits, help) in strays {
        if let (Some(origin), false) = (origin, fits) {
            let name = TYPES.iter().find(|(_, value)| *value == kind.value).map_or("", |(name, _)| *name);
            report.error(origin, format!("`{key}` does not go with the type \"{name}\""), Some(help.to_owned()));
            clean = None;
        }
    }
    clean
}

/// What stands in a table of bits is a bit.
fn coil(kind: &At<Type>, bit: Option<&At<u8>>, table: Option<PrimaryTable>, report: &mut Report) -> Option<Format> {
    let noun = table.map_or("a coil", PrimaryTable::a_noun);
    if let Some(bit) = bit {
        report.error(&bit.origin, format!("{noun} is a single bit already"), Some("remove `bit`".to_owned()));
        return None;
    }
    if kind.value != Type::Bool {
        let message = format!("{noun} is a `bool`");
        report.error(&kind.origin, message, Some("write `type = \"bool\"` in the tag".to_owned()));
        return None;
    }
    Some(Format::Coil)
}

/// The format of what stands in registers.
fn sized(
    tag: &Tag,
    kind: &At<Type>,
    bit: Option<At<u8>>,
    byte: Option<At<Half>>,
    order: Option<At<(ByteOrder, usize)>>,
    length: Option<At<u16>>,
    report: &mut Report,
) -> Option<Format> {
    let half = byte.map_or(Half::Low, |byte| byte.value);
    let bytes = order.as_ref().map_or(4, |order| order.1);
    let plain = order.as_ref().map_or(ByteOrder::Abcd, |order| order.0);
    let format = match kind.value {
        Type::Bool => match bit {
            None => Format::Flag,
            Some(bit) if bit.value <= 15 => Format::Bit(bit.value),
            Some(bit) => {
                report.error(&bit.origin, format!("a register has the bits 0 to 15, but `bit` is {}", bit.value), None);
                return None;
            }
        },
        Type::I8 => Format::I8(half),
        Type::U8 => Format::U8(half),
        Type::I16 => Format::I16(plain),
        Type::U16 => Format::U16(plain),
        Type::I32 => Format::I32(plain),
        Type::U32 => Format::U32(plain),
        Type::I64 => Format::I64(plain),
        Type::U64 => Format::U64(plain),
        Type::F32 => Format::F32(plain),
        Type::F64 => Format::F64(plain),
        Type::Bcd16 => Format::Bcd16(plain),
        Type::Bcd32 => Format::Bcd32(plain),
        Type::Text => Format::Text { bytes: byte_length(tag, "a string", length, report)?, order: plain },
        Type::Bytes => Format::Bytes { bytes: byte_length(tag, "bytes", length, report)?, order: plain },
    };
    // The registers of these two keep their order whatever is written.
    let keeps_registers = matches!(kind.value, Type::Text | Type::Bytes);
    if let Some(order) = order.filter(|_| bytes == 2 && format.addresses() > 1 && !keeps_registers) {
        let registers = format.addresses();
        let message = format!("the value has {registers} registers; \"AB\" and \"BA\" say nothing of their order");
        let help = "write \"ABCD\", \"CDAB\", \"BADC\" or \"DCBA\"; A is the highest byte";
        report.error(&order.origin, message, Some(help.to_owned()));
        return None;
    }
    Some(format)
}

/// The bytes of a text, or of what is only bytes.
fn byte_length(tag: &Tag, what: &str, length: Option<At<u16>>, report: &mut Report) -> Option<u16> {
    match length {
        Some(length) if length.value == 0 => {
            let message = match what {
                "bytes" => "at least one byte is needed".to_owned(),
                what => format!("{what} needs at least one byte"),
            };
            report.error(&length.origin, message, None);
            None
        }
        Some(length) => Some(length.value),
        None => {
            let help = match what {
                "bytes" => "add `length = 16`: how many bytes, two in each register",
                _ => "add `length = 16`: the bytes of the string, two in each register",
            };
            report.error(&tag.origin, "`length` is missing", Some(help.to_owned()));
            None
        }
    }
}
