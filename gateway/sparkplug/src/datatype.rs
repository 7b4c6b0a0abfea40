//! The types that a metric may have.

use tidegate_model::{ValueKind, ValueType};

/// The type of a metric, of a property or of a column of a table. Source: Sparkplug 3.0.0 §6.4.16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataType {
    /// Integer of 8 bits.
    Int8,
    /// Integer of 16 bits.
    Int16,
    /// Integer of 32 bits.
    Int32,
    /// Integer of 64 bits.
    Int64,
    /// Integer of 8 bits without a sign.
    UInt8,
    /// Integer of 16 bits without a sign.
    UInt16,
    /// Integer of 32 bits without a sign.
    UInt32,
    /// Integer of 64 bits without a sign.
    UInt64,
    /// 32-bit float.
    Float,
    /// 64-bit float.
    Double,
    /// True or false.
    Boolean,
    /// A text.
    String,
    /// A time in Unix milliseconds.
    DateTime,
    /// A text.
    Text,
    /// A UUID, as a text.
    Uuid,
    /// A table.
    DataSet,
    /// Bytes.
    Bytes,
    /// The bytes of a file.
    File,
    /// A structure, or the definition of one.
    Template,
    /// Properties, of a property only.
    PropertySet,
    /// Several sets of properties, of a property only.
    PropertySetList,
    /// Integers of 8 bits.
    Int8Array,
    /// Integers of 16 bits.
    Int16Array,
    /// Integers of 32 bits.
    Int32Array,
    /// Integers of 64 bits.
    Int64Array,
    /// Integers of 8 bits without a sign.
    UInt8Array,
    /// Integers of 16 bits without a sign.
    UInt16Array,
    /// Integers of 32 bits without a sign.
    UInt32Array,
    /// Integers of 64 bits without a sign.
    UInt64Array,
    /// 32-bit floats.
    FloatArray,
    /// 64-bit floats.
    DoubleArray,
    /// Bits.
    BooleanArray,
    /// Texts.
    StringArray,
    /// Times in Unix milliseconds.
    DateTimeArray,
}

impl DataType {
    /// Every type, in the order of its code, which is 1 for the first.
    pub const ALL: [DataType; 34] = [
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Float,
        DataType::Double,
        DataType::Boolean,
        DataType::String,
        DataType::DateTime,
        DataType::Text,
        DataType::Uuid,
        DataType::DataSet,
        DataType::Bytes,
        DataType::File,
        DataType::Template,
        DataType::PropertySet,
        DataType::PropertySetList,
        DataType::Int8Array,
        DataType::Int16Array,
        DataType::Int32Array,
        DataType::Int64Array,
        DataType::UInt8Array,
        DataType::UInt16Array,
        DataType::UInt32Array,
        DataType::UInt64Array,
        DataType::FloatArray,
        DataType::DoubleArray,
        DataType::BooleanArray,
        DataType::StringArray,
        DataType::DateTimeArray,
    ];

    /// The code on the wire, 1 to 34.
    pub fn code(self) -> u32 {
        let place = DataType::ALL.iter().position(|datatype| *datatype == self);
        place.and_then(|place| u32::try_from(place + 1).ok()).unwrap_or(0)
    }

    /// The type with that code.
    pub fn from_code(code: u32) -> Option<DataType> {
        let place = usize::try_from(code).ok()?.checked_sub(1)?;
        DataType::ALL.get(place).copied()
    }

    /// The name in the specification (`Int64`, `BooleanArray`).
    pub fn as_str(self) -> &'static str {
        match self {
            DataType::Int8 => "Int8",
            DataType::Int16 => "Int16",
            DataType::Int32 => "Int32",
            DataType::Int64 => "Int64",
            DataType::UInt8 => "UInt8",
            DataType::UInt16 => "UInt16",
            DataType::UInt32 => "UInt32",
            DataType::UInt64 => "UInt64",
            DataType::Float => "Float",
            DataType::Double => "Double",
            DataType::Boolean => "Boolean",
            DataType::String => "String",
            DataType::DateTime => "DateTime",
            DataType::Text => "Text",
            DataType::Uuid => "UUID",
            DataType::DataSet => "DataSet",
            DataType::Bytes => "Bytes",
            DataType::File => "File",
            DataType::Template => "Template",
            DataType::PropertySet => "PropertySet",
            DataType::PropertySetList => "PropertySetList",
            DataType::Int8Array => "Int8Array",
            DataType::Int16Array => "Int16Array",
            DataType::Int32Array => "Int32Array",
            DataType::Int64Array => "Int64Array",
            DataType::UInt8Array => "UInt8Array",
            DataType::UInt16Array => "UInt16Array",
            DataType::UInt32Array => "UInt32Array",
            DataType::UInt64Array => "UInt64Array",
            DataType::FloatArray => "FloatArray",
            DataType::DoubleArray => "DoubleArray",
            DataType::BooleanArray => "BooleanArray",
            DataType::StringArray => "StringArray",
            DataType::DateTimeArray => "DateTimeArray",
        }
    }

    /// The type with that name, as [`DataType::as_str`] writes it.
    pub fn from_name(name: &str) -> Option<DataType> {
        DataType::ALL.into_iter().find(|datatype| datatype.as_str() == name)
    }

    /// The type of a tag's metric. Arrays of bytes have no array type: they are a table of one column, with base64 in it.
    pub fn of_tag(value_type: ValueType) -> DataType {
        match (value_type.kind, value_type.items.is_some()) {
            (ValueKind::Bool, false) => DataType::Boolean,
            (ValueKind::Int, false) => DataType::Int64,
            (ValueKind::Uint, false) => DataType::UInt64,
            (ValueKind::F32, false) => DataType::Float,
            (ValueKind::F64, false) => DataType::Double,
            (ValueKind::Text, false) => DataType::String,
            (ValueKind::Bytes, false) => DataType::Bytes,
            (ValueKind::Bool, true) => DataType::BooleanArray,
            (ValueKind::Int, true) => DataType::Int64Array,
            (ValueKind::Uint, true) => DataType::UInt64Array,
            (ValueKind::F32, true) => DataType::FloatArray,
            (ValueKind::F64, true) => DataType::DoubleArray,
            (ValueKind::Text, true) => DataType::StringArray,
            (ValueKind::Bytes, true) => DataType::DataSet,
        }
    }

    /// The kind of the values that such a metric gives, and whether it gives arrays of them. `None` for structures and properties. A
    /// table gives a text.
    pub fn kind(self) -> Option<(ValueKind, bool)> {
        Some(match self {
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::DateTime => {
                (ValueKind::Int, false)
            }
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => (ValueKind::Uint, false),
            DataType::Float => (ValueKind::F32, false),
            DataType::Double => (ValueKind::F64, false),
            DataType::Boolean => (ValueKind::Bool, false),
            DataType::String | DataType::Text | DataType::Uuid | DataType::DataSet => (ValueKind::Text, false),
            DataType::Bytes | DataType::File => (ValueKind::Bytes, false),
            DataType::Template | DataType::PropertySet | DataType::PropertySetList => return None,
            DataType::Int8Array
            | DataType::Int16Array
            | DataType::Int32Array
            | DataType::Int64Array
            | DataType::DateTimeArray => (ValueKind::Int, true),
            DataType::UInt8Array | DataType::UInt16Array | DataType::UInt32Array | DataType::UInt64Array => {
                (ValueKind::Uint, true)
            }
            DataType::FloatArray => (ValueKind::F32, true),
            DataType::DoubleArray => (ValueKind::F64, true),
            DataType::BooleanArray => (ValueKind::Bool, true),
            DataType::StringArray => (ValueKind::Text, true),
        })
    }

    /// Whether a column of a table may have it.
    pub fn is_basic(self) -> bool {
        self.code() <= DataType::Uuid.code() && self != DataType::Uuid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_comes_back_from_its_code_and_its_name() {
        for datatype in DataType::ALL {
            assert_eq!(DataType::from_code(datatype.code()), Some(datatype));
            assert_eq!(DataType::from_name(datatype.as_str()), Some(datatype));
        }
        for (datatype, code) in [
            (DataType::Int8, 1),
            (DataType::UInt64, 8),
            (DataType::Boolean, 11),
            (DataType::Text, 14),
            (DataType::DataSet, 16),
            (DataType::PropertySetList, 21),
            (DataType::Int8Array, 22),
            (DataType::DateTimeArray, 34),
        ] {
            assert_eq!(datatype.code(), code);
        }
        assert_eq!((DataType::from_code(0), DataType::from_code(35)), (None, None));
    }

    #[test]
    fn integers_of_tags_keep_their_sign_and_all_their_bits() {
        assert_eq!(DataType::of_tag(ValueType::single(ValueKind::Uint)), DataType::UInt64);
        assert_eq!(DataType::of_tag(ValueType::single(ValueKind::Int)), DataType::Int64);
        for kind in ValueKind::ALL {
            for items in [None, Some(3)] {
                let (back, array) = DataType::of_tag(ValueType { kind, items }).kind().unwrap();
                if kind != ValueKind::Bytes || items.is_none() {
                    assert_eq!((back, array), (kind, items.is_some()));
                }
            }
        }
    }

    #[test]
    fn columns_of_a_table_have_basic_types() {
        assert!(DataType::Int8.is_basic() && DataType::Text.is_basic() && DataType::DateTime.is_basic());
        assert!(!DataType::Uuid.is_basic() && !DataType::Bytes.is_basic() && !DataType::Int8Array.is_basic());
    }
}
