//! Values of tags and values of metrics, each from the other.

use tidegate_model::Value;

use crate::{DataType, array, dataset, wire::MetricValue};

/// Why a value cannot be taken over. Each completes "failed to …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// It is of another kind than its type says.
    #[error("take a value of another kind for {}", .0.as_str())]
    Kind(DataType),
    /// It is beyond what the type holds.
    #[error("fit the number into {}", .0.as_str())]
    Range(DataType),
    /// The bytes of an array end within an item.
    #[error("read {}: its bytes end within an item", .0.as_str())]
    Cut(DataType),
    /// A text is no UTF-8.
    #[error("read a text that is not UTF-8")]
    NotUtf8,
    /// A text in an array of texts has a zero in it, which would end it.
    #[error("put a text with a zero in it into an array of texts")]
    ZeroInText,
    /// It has more items than are taken.
    #[error("take an array or a table with that many items")]
    TooLong,
    /// A table whose parts do not fit together.
    #[error("read a table whose columns, types and rows do not go together")]
    Table,
    /// Structures have no value of their own.
    #[error("take a structure as one value")]
    Structure,
}

/// The value of a metric of this type.
///
/// # Errors
///
/// [`ValueError`] when the type cannot hold it.
pub fn to_wire(value: &Value, datatype: DataType) -> Result<MetricValue, ValueError> {
    let kind = ValueError::Kind(datatype);
    Ok(match (datatype, value) {
        (DataType::Boolean, Value::Bool(on)) => MetricValue::Boolean(*on),
        (DataType::Int8 | DataType::Int16 | DataType::Int32, _) => MetricValue::Int(narrow_signed(value, datatype)?),
        (DataType::UInt8 | DataType::UInt16 | DataType::UInt32, _) => {
            let number = unsigned(value, datatype)?;
            let most = match datatype {
                DataType::UInt8 => u8::MAX.into(),
                DataType::UInt16 => u16::MAX.into(),
                _ => u32::MAX,
            };
            let number = u32::try_from(number).ok().filter(|number| *number <= most);
            MetricValue::Int(number.ok_or(ValueError::Range(datatype))?)
        }
        (DataType::Int64, _) => MetricValue::Long(signed(value, datatype)?.cast_unsigned()),
        (DataType::UInt64 | DataType::DateTime, _) => MetricValue::Long(unsigned(value, datatype)?),
        (DataType::Float, Value::F32(number)) => MetricValue::Float(*number),
        (DataType::Double, Value::F64(number)) => MetricValue::Double(*number),
        (DataType::Double, Value::F32(number)) => MetricValue::Double((*number).into()),
        (DataType::String | DataType::Text | DataType::Uuid, Value::Text(text)) => MetricValue::String((**text).into()),
        (DataType::Bytes | DataType::File, Value::Bytes(bytes)) => MetricValue::Bytes(bytes.to_vec()),
        (DataType::DataSet, Value::Array(items)) => MetricValue::DataSet(dataset::of_bytes(items)?),
        (_, Value::Array(items)) if datatype.kind().is_some_and(|(_, array)| array) => {
            MetricValue::Bytes(array::encode(items, datatype)?)
        }
        _ => return Err(kind),
    })
}

fn signed(value: &Value, datatype: DataType) -> Result<i64, ValueError> {
    match value {
        Value::Int(number) => Ok(*number),
        Value::Uint(number) => i64::try_from(*number).map_err(|_| ValueError::Range(datatype)),
        _ => Err(ValueError::Kind(datatype)),
    }
}

fn unsigned(value: &Value, datatype: DataType) -> Result<u64, ValueError> {
    match value {
        Value::Uint(number) => Ok(*number),
        Value::Int(number) => u64::try_from(*number).map_err(|_| ValueError::Range(datatype)),
        _ => Err(ValueError::Kind(datatype)),
    }
}

/// The two's complement of a number, in the width of its type: what every reader takes, whatever it does with the bits above.
fn narrow_signed(value: &Value, datatype: DataType) -> Result<u32, ValueError> {
    let number = signed(value, datatype)?;
    let range = |_| ValueError::Range(datatype);
    Ok(match datatype {
        DataType::Int8 => i8::try_from(number).map_err(range)?.cast_unsigned().into(),
        DataType::Int16 => i16::try_from(number).map_err(range)?.cast_unsigned().into(),
        _ => i32::try_from(number).map_err(range)?.cast_unsigned(),
    })
}

/// The value that a metric of this type has. Tables become JSON texts. Numbers in a wider field than their type needs are taken when
/// they fit: not all senders keep to the narrow ones.
///
/// # Errors
///
/// [`ValueError`] when the value is not of the type, or the type has no value of its own.
pub fn from_wire(value: &MetricValue, datatype: DataType) -> Result<Value, ValueError> {
    let kind = ValueError::Kind(datatype);
    Ok(match (datatype, value) {
        (DataType::Boolean, MetricValue::Boolean(on)) => Value::Bool(*on),
        (DataType::Boolean, MetricValue::Int(number)) => Value::Bool(*number != 0),
        (DataType::Int8 | DataType::Int16 | DataType::Int32, MetricValue::Int(number)) => widen(*number, datatype),
        (DataType::Int8 | DataType::Int16 | DataType::Int32, MetricValue::Long(number)) => {
            let number = number.cast_signed();
            let fits = match datatype {
                DataType::Int8 => i8::try_from(number).is_ok(),
                DataType::Int16 => i16::try_from(number).is_ok(),
                _ => i32::try_from(number).is_ok(),
            };
            if !fits {
                return Err(ValueError::Range(datatype));
            }
            Value::Int(number)
        }
        (DataType::Int64, MetricValue::Long(number)) => Value::Int(number.cast_signed()),
        (DataType::Int64, MetricValue::Int(number)) => Value::Int(number.cast_signed().into()),
        (DataType::DateTime, MetricValue::Long(number)) => Value::Int(number.cast_signed()),
        (DataType::UInt8 | DataType::UInt16 | DataType::UInt32, MetricValue::Int(number)) => {
            narrow_unsigned((*number).into(), datatype)?
        }
        (DataType::UInt8 | DataType::UInt16 | DataType::UInt32, MetricValue::Long(number)) => {
            narrow_unsigned(*number, datatype)?
        }
        (DataType::UInt64, MetricValue::Long(number)) => Value::Uint(*number),
        (DataType::UInt64, MetricValue::Int(number)) => Value::Uint((*number).into()),
        (DataType::Float, MetricValue::Float(number)) => Value::F32(*number),
        (DataType::Double, MetricValue::Double(number)) => Value::F64(*number),
        (DataType::Double, MetricValue::Float(number)) => Value::F64((*number).into()),
        (DataType::String | DataType::Text | DataType::Uuid, MetricValue::String(text)) => {
            Value::Text(text.as_str().into())
        }
        (DataType::Bytes | DataType::File, MetricValue::Bytes(bytes)) => Value::Bytes(bytes.as_slice().into()),
        (DataType::DataSet, MetricValue::DataSet(table)) => Value::Text(dataset::to_json(table)?.into()),
        (DataType::Template, _) => return Err(ValueError::Structure),
        (_, MetricValue::Bytes(bytes)) if datatype.kind().is_some_and(|(_, array)| array) => {
            array::decode(bytes, datatype)?
        }
        _ => return Err(kind),
    })
}

/// The low bits count, whether the sender has extended the sign or not.
fn widen(number: u32, datatype: DataType) -> Value {
    let [first, second, ..] = number.to_le_bytes();
    Value::Int(match datatype {
        DataType::Int8 => i8::from_le_bytes([first]).into(),
        DataType::Int16 => i16::from_le_bytes([first, second]).into(),
        _ => number.cast_signed().into(),
    })
}

fn narrow_unsigned(number: u64, datatype: DataType) -> Result<Value, ValueError> {
    let most = match datatype {
        DataType::UInt8 => u8::MAX.into(),
        DataType::UInt16 => u16::MAX.into(),
        _ => u32::MAX.into(),
    };
    if number > most {
        return Err(ValueError::Range(datatype));
    }
    Ok(Value::Uint(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn both(datatype: DataType, value: Value, wire: MetricValue) {
        assert_eq!(to_wire(&value, datatype).unwrap(), wire, "{datatype:?}");
        assert!(from_wire(&wire, datatype).unwrap().same_as(&value), "{datatype:?}");
    }

    #[test]
    fn values_of_every_basic_type_come_back_with_every_bit() {
        both(DataType::Int8, Value::Int(-23), MetricValue::Int(0xE9));
        both(DataType::Int16, Value::Int(-30_000), MetricValue::Int(0x8AD0));
        both(DataType::Int32, Value::Int(i32::MIN.into()), MetricValue::Int(0x8000_0000));
        both(DataType::Int64, Value::Int(i64::MIN), MetricValue::Long(0x8000_0000_0000_0000));
        both(DataType::Int64, Value::Int(-1), MetricValue::Long(u64::MAX));
        both(DataType::UInt8, Value::Uint(255), MetricValue::Int(255));
        both(DataType::UInt16, Value::Uint(65_535), MetricValue::Int(65_535));
        both(DataType::UInt32, Value::Uint(u32::MAX.into()), MetricValue::Int(u32::MAX));
        both(DataType::UInt64, Value::Uint(u64::MAX), MetricValue::Long(u64::MAX));
        both(DataType::Float, Value::F32(1.25), MetricValue::Float(1.25));
        let not_a_number = to_wire(&Value::F32(f32::NAN), DataType::Float).unwrap();
        assert!(from_wire(&not_a_number, DataType::Float).unwrap().same_as(&Value::F32(f32::NAN)));
        both(DataType::Double, Value::F64(-0.0), MetricValue::Double(-0.0));
        both(DataType::Boolean, Value::Bool(true), MetricValue::Boolean(true));
        both(DataType::DateTime, Value::Int(1_656_107_875_000), MetricValue::Long(1_656_107_875_000));
        for datatype in [DataType::String, DataType::Text, DataType::Uuid] {
            both(datatype, Value::Text("über".into()), MetricValue::String("über".into()));
        }
        for datatype in [DataType::Bytes, DataType::File] {
            both(datatype, Value::Bytes([0, 255].into()), MetricValue::Bytes(vec![0, 255]));
        }
        let ints = Value::Array([Value::Int(-1)].into());
        both(DataType::Int16Array, ints, MetricValue::Bytes(vec![255, 255]));
    }

    #[test]
    fn a_number_beyond_its_type_is_refused_in_both_directions() {
        let range = |datatype| Err(ValueError::Range(datatype));
        assert_eq!(to_wire(&Value::Int(128), DataType::Int8), range(DataType::Int8));
        assert_eq!(to_wire(&Value::Uint(256), DataType::UInt8), range(DataType::UInt8));
        assert_eq!(to_wire(&Value::Int(-1), DataType::UInt64), range(DataType::UInt64));
        assert_eq!(to_wire(&Value::Uint(u64::MAX), DataType::Int64), range(DataType::Int64));
        assert_eq!(
            from_wire(&MetricValue::Int(65_536), DataType::UInt16).unwrap_err(),
            ValueError::Range(DataType::UInt16)
        );
        assert_eq!(
            from_wire(&MetricValue::Long(1 << 40), DataType::Int32).unwrap_err(),
            ValueError::Range(DataType::Int32)
        );
    }

    #[test]
    fn a_sender_may_extend_the_sign_or_use_a_wider_field() {
        assert_eq!(from_wire(&MetricValue::Int(u32::MAX), DataType::Int8), Ok(Value::Int(-1)));
        assert_eq!(from_wire(&MetricValue::Long(u64::MAX), DataType::Int16), Ok(Value::Int(-1)));
        assert_eq!(from_wire(&MetricValue::Int(7), DataType::UInt64), Ok(Value::Uint(7)));
        assert_eq!(from_wire(&MetricValue::Int(1), DataType::Boolean), Ok(Value::Bool(true)));
    }

    #[test]
    fn a_value_of_another_kind_is_no_value() {
        for datatype in DataType::ALL {
            let wrong = match datatype {
                DataType::Boolean => MetricValue::String("true".into()),
                DataType::Template => continue,
                _ => MetricValue::Boolean(true),
            };
            assert_eq!(from_wire(&wrong, datatype), Err(ValueError::Kind(datatype)));
        }
        assert_eq!(to_wire(&Value::Bool(true), DataType::Int64), Err(ValueError::Kind(DataType::Int64)));
        assert_eq!(to_wire(&Value::Text("1".into()), DataType::Float), Err(ValueError::Kind(DataType::Float)));
    }
}
