//! The columns of a stream, as the store keeps them in its table of streams.
//!
//! JSON, because a person may have to read it with the `sqlite3` shell:
//! `[{"name":"voltage_l1","kind":"f32","unit":"V"},{"name":"curve","kind":"int","items":16}]`. The same columns always give
//! the same bytes, so that the store compares schemas by comparing bytes.

use serde::{Deserialize, Serialize};
use tidegate_model::{Column, Loss, Scaling, ValueKind, ValueType};

use crate::CodecError;

/// A column as it is written in JSON.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredColumn {
    name: String,
    kind: StoredKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    items: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scaling: Option<StoredScaling>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loss: Option<StoredLoss>,
}

#[derive(Serialize, Deserialize)]
struct StoredScaling {
    scale: String,
    offset: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredLoss {
    Rounding { error: String },
    SwingingDoor { error: String, max_silence: u64 },
}

impl From<&Loss> for StoredLoss {
    fn from(loss: &Loss) -> StoredLoss {
        match loss.clone() {
            Loss::Rounding { error } => StoredLoss::Rounding { error },
            Loss::SwingingDoor { error, max_silence } => StoredLoss::SwingingDoor { error, max_silence },
        }
    }
}

impl From<StoredLoss> for Loss {
    fn from(loss: StoredLoss) -> Loss {
        match loss {
            StoredLoss::Rounding { error } => Loss::Rounding { error },
            StoredLoss::SwingingDoor { error, max_silence } => Loss::SwingingDoor { error, max_silence },
        }
    }
}

/// The words are on disk: none is ever given another meaning.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredKind {
    Bool,
    Int,
    Uint,
    F32,
    F64,
    Text,
    Bytes,
}

impl From<ValueKind> for StoredKind {
    fn from(kind: ValueKind) -> StoredKind {
        match kind {
            ValueKind::Bool => StoredKind::Bool,
            ValueKind::Int => StoredKind::Int,
            ValueKind::Uint => StoredKind::Uint,
            ValueKind::F32 => StoredKind::F32,
            ValueKind::F64 => StoredKind::F64,
            ValueKind::Text => StoredKind::Text,
            ValueKind::Bytes => StoredKind::Bytes,
        }
    }
}

impl From<StoredKind> for ValueKind {
    fn from(kind: StoredKind) -> ValueKind {
        match kind {
            StoredKind::Bool => ValueKind::Bool,
            StoredKind::Int => ValueKind::Int,
            StoredKind::Uint => ValueKind::Uint,
            StoredKind::F32 => ValueKind::F32,
            StoredKind::F64 => ValueKind::F64,
            StoredKind::Text => ValueKind::Text,
            StoredKind::Bytes => ValueKind::Bytes,
        }
    }
}

/// The columns as JSON text, in their order.
///
/// # Errors
///
/// [`CodecError::Schema`], which no columns are known to cause.
pub fn encode(columns: &[Column]) -> Result<Vec<u8>, CodecError> {
    let stored: Vec<StoredColumn> = columns.iter().map(stored_column).collect();
    serde_json::to_vec(&stored).map_err(|error| CodecError::Schema { detail: error.to_string() })
}

/// The columns that [`encode`] has written. Fields of later versions are ignored.
///
/// # Errors
///
/// [`CodecError::Schema`] when the bytes are not such JSON, or a name is no tag name.
pub fn decode(bytes: &[u8]) -> Result<Vec<Column>, CodecError> {
    let stored: Vec<StoredColumn> =
        serde_json::from_slice(bytes).map_err(|error| CodecError::Schema { detail: error.to_string() })?;
    stored.into_iter().map(|column| column_of(column).map_err(|detail| CodecError::Schema { detail })).collect()
}

/// The column as it is written.
pub(crate) fn stored_column(column: &Column) -> StoredColumn {
    StoredColumn {
        name: column.name.to_string(),
        kind: column.value_type.kind.into(),
        items: column.value_type.items,
        unit: column.unit.clone(),
        scaling: column
            .scaling
            .as_ref()
            .map(|Scaling { scale, offset }| StoredScaling { scale: scale.clone(), offset: offset.clone() }),
        loss: column.loss.as_ref().map(StoredLoss::from),
    }
}

/// The column that was written so; the error is a text.
pub(crate) fn column_of(stored: StoredColumn) -> Result<Column, String> {
    let name = stored.name.parse().map_err(|error| format!("{:?} is no tag name: {error}", stored.name))?;
    let value_type = ValueType { kind: stored.kind.into(), items: stored.items };
    let scaling = stored.scaling.map(|StoredScaling { scale, offset }| Scaling { scale, offset });
    Ok(Column { name, value_type, unit: stored.unit, scaling, loss: stored.loss.map(Loss::from) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        let kinds =
            [ValueKind::Bool, ValueKind::Int, ValueKind::Uint, ValueKind::F32, ValueKind::F64, ValueKind::Bytes];
        kinds
            .into_iter()
            .zip([None, Some(0), Some(3), Some(u32::MAX), None, None])
            .zip([None, Some("V"), Some(""), Some("°C"), Some("\"\\\n"), None])
            .enumerate()
            .map(|(index, ((kind, items), unit))| Column {
                name: format!("tag-{index}.x_y").parse().unwrap(),
                value_type: ValueType { kind, items },
                unit: unit.map(str::to_owned),
                scaling: (index == 1).then(|| Scaling { scale: "0.1".to_owned(), offset: "-40".to_owned() }),
                loss: match index {
                    3 => Some(Loss::Rounding { error: "0.05".to_owned() }),
                    4 => Some(Loss::SwingingDoor { error: "0.5".to_owned(), max_silence: 900_000 }),
                    _ => None,
                },
            })
            .collect()
    }

    #[test]
    fn columns_come_back_as_they_were() {
        assert_eq!(decode(&encode(&columns()).unwrap()), Ok(columns()));
        assert_eq!(decode(&encode(&[]).unwrap()), Ok(Vec::new()));
    }

    #[test]
    fn a_schema_is_written_as_the_first_release_wrote_it() {
        let text = r#"[{"name":"voltage_l1","kind":"f32","unit":"V"},{"name":"curve","kind":"int","items":16}]"#;
        let columns = vec![
            Column {
                name: "voltage_l1".parse().unwrap(),
                value_type: ValueType::single(ValueKind::F32),
                unit: Some("V".to_owned()),
                scaling: None,
                loss: None,
            },
            Column {
                name: "curve".parse().unwrap(),
                value_type: ValueType { kind: ValueKind::Int, items: Some(16) },
                unit: None,
                scaling: None,
                loss: None,
            },
        ];
        assert_eq!(encode(&columns).unwrap(), text.as_bytes());
        assert_eq!(decode(text.as_bytes()), Ok(columns));
    }

    #[test]
    fn a_field_of_a_later_version_is_ignored() {
        assert!(decode(br#"[{"name":"a","kind":"f32","accuracy":"0.1"}]"#).is_ok());
    }

    #[test]
    fn damaged_schemas_are_refused() {
        let good = encode(&columns()).unwrap();
        for length in 0..good.len() {
            assert!(matches!(decode(&good[..length]), Err(CodecError::Schema { .. })), "cut at {length}");
        }
        for text in [
            r#"[{"name":"a/b","kind":"f32"}]"#,
            r#"[{"name":"","kind":"f32"}]"#,
            r#"[{"name":"a","kind":"f16"}]"#,
            r#"[{"name":"a"}]"#,
            r#"[{"name":"a","kind":"f32","items":-1}]"#,
            r#"{"name":"a","kind":"f32"}"#,
        ] {
            assert!(matches!(decode(text.as_bytes()), Err(CodecError::Schema { .. })), "{text}");
        }
        assert!(decode("[".repeat(100_000).as_bytes()).is_err());
    }
}
