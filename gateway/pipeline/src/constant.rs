//! Tags that always have the same value.

use tidegate_model::{Value, ValueKind, ValueType};

/// The type of a constant; `None` for an array whose items are not all of one kind.
pub(crate) fn value_type(value: &Value) -> Option<ValueType> {
    let Value::Array(items) = value else {
        return kind(value).map(ValueType::single);
    };
    let first = kind(items.first()?)?;
    let same = items.iter().all(|item| kind(item) == Some(first));
    let items = u32::try_from(items.len()).ok();
    same.then_some(ValueType { kind: first, items })
}

fn kind(value: &Value) -> Option<ValueKind> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_of_the_kind_of_its_items() {
        let array = |items: &[Value]| value_type(&Value::Array(items.into()));
        assert_eq!(array(&[Value::Int(1), Value::Int(2)]), Some(ValueType { kind: ValueKind::Int, items: Some(2) }));
        assert_eq!(array(&[Value::Int(1), Value::F64(2.0)]), None);
        assert_eq!(array(&[]), None);
        assert_eq!(value_type(&Value::Bool(true)), Some(ValueType::single(ValueKind::Bool)));
    }
}
