//! The schema of a stream's blocks as a document, which travels and is kept once for all of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_model::{Column, Name};

use super::{BlockError, SchemaId, StoreId};
use crate::schema::{StoredColumn, column_of, stored_column};

/// Whose rows a stream's blocks hold, and what their columns mean.
///
/// As a document it is JSON text, UTF-8, retained on MQTT:
/// `{"store":"00c0ffee00c0ffee","device":"meter-1","group":"fast","columns":[{"name":"voltage","kind":"f64","unit":"V"}]}`.
/// The gateway, the store, the device and the group together are a stream for ever; its schema may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockSchema {
    /// The store that numbers the rows.
    pub store: StoreId,
    /// The device.
    pub device: Name,
    /// The group of the device.
    pub group: Name,
    /// The columns, in the order of the rows' slots.
    pub columns: Arc<[Column]>,
    /// 0, or what keeps two schemas of one store from having the same [`SchemaId`].
    pub salt: u32,
}

#[derive(Serialize, Deserialize)]
struct Document {
    store: StoreId,
    device: String,
    group: String,
    columns: Vec<StoredColumn>,
    #[serde(default, skip_serializing_if = "is_zero")]
    salt: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(salt: &u32) -> bool {
    *salt == 0
}

impl BlockSchema {
    /// The document. The same schema always gives the same bytes.
    ///
    /// # Errors
    ///
    /// [`BlockError::Schema`], which no schema is known to cause.
    pub fn encode(&self) -> Result<Vec<u8>, BlockError> {
        let document = Document {
            store: self.store,
            device: self.device.to_string(),
            group: self.group.to_string(),
            columns: self.columns.iter().map(stored_column).collect(),
            salt: self.salt,
        };
        serde_json::to_vec(&document).map_err(refused)
    }

    /// Reads a document. Fields of later versions are ignored.
    ///
    /// # Errors
    ///
    /// [`BlockError::Schema`] when the bytes are no such document, or a name is none.
    pub fn decode(document: &[u8]) -> Result<BlockSchema, BlockError> {
        let Document { store, device, group, columns, salt } = serde_json::from_slice(document).map_err(refused)?;
        let name = |text: String| text.parse::<Name>().map_err(refused);
        let columns = columns.into_iter().map(column_of).collect::<Result<Vec<Column>, _>>().map_err(refused)?;
        Ok(BlockSchema { store, device: name(device)?, group: name(group)?, columns: columns.into(), salt })
    }

    /// The identity of the schema with this document: the checksum of exactly these bytes, so that whoever receives them
    /// can see that they are whole.
    pub fn id_of(document: &[u8]) -> SchemaId {
        SchemaId(crc32c::crc32c(document))
    }

    /// The identity of this schema.
    ///
    /// # Errors
    ///
    /// As [`BlockSchema::encode`].
    pub fn id(&self) -> Result<SchemaId, BlockError> {
        self.encode().map(|document| BlockSchema::id_of(&document))
    }
}

fn refused(error: impl ToString) -> BlockError {
    BlockError::Schema { detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use tidegate_model::{Scaling, ValueKind, ValueType};

    use super::*;

    fn schema(salt: u32) -> BlockSchema {
        let mut voltage = Column::new("voltage".parse().unwrap(), ValueType::single(ValueKind::F64));
        voltage.unit = Some("V".to_owned());
        voltage.scaling = Some(Scaling { scale: "0.1".to_owned(), offset: "0".to_owned() });
        let curve = Column::new("curve".parse().unwrap(), ValueType { kind: ValueKind::Int, items: Some(16) });
        BlockSchema {
            store: StoreId(0x00c0_ffee_00c0_ffee),
            device: "meter-1".parse().unwrap(),
            group: "fast".parse().unwrap(),
            columns: vec![voltage, curve].into(),
            salt,
        }
    }

    #[test]
    fn a_schema_is_written_as_it_is_published() {
        let text = concat!(
            r#"{"store":"00c0ffee00c0ffee","device":"meter-1","group":"fast","columns":["#,
            r#"{"name":"voltage","kind":"f64","unit":"V","scaling":{"scale":"0.1","offset":"0"}},"#,
            r#"{"name":"curve","kind":"int","items":16}]}"#
        );
        assert_eq!(schema(0).encode().unwrap(), text.as_bytes());
        assert_eq!(BlockSchema::decode(text.as_bytes()), Ok(schema(0)));
        assert_eq!(schema(0).id(), Ok(BlockSchema::id_of(text.as_bytes())));
    }

    #[test]
    fn a_salt_gives_the_same_columns_another_identity() {
        assert_ne!(schema(0).id(), schema(1).id());
        assert_eq!(BlockSchema::decode(&schema(7).encode().unwrap()), Ok(schema(7)));
    }

    #[test]
    fn damaged_documents_are_refused() {
        let good = schema(3).encode().unwrap();
        for length in 0..good.len() {
            assert!(matches!(BlockSchema::decode(&good[..length]), Err(BlockError::Schema { .. })), "cut at {length}");
        }
        let text = String::from_utf8(good).unwrap();
        for (from, to) in [("meter-1", "a/b"), ("fast", ""), ("00c0ffee00c0ffee", "C0FFEE"), ("f64", "f16")] {
            let damaged = text.replacen(from, to, 1);
            assert!(matches!(BlockSchema::decode(damaged.as_bytes()), Err(BlockError::Schema { .. })), "{damaged}");
        }
    }
}
