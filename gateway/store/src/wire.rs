//! What receivers of blocks need to know of a stream.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use tidegate_codec::block::{BlockSchema, SchemaId, StoreId};
use tidegate_model::{Stream, StreamId};

use crate::shared::lock;

/// The schema of a stream's blocks as it travels: a document and the checksum that it is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireSchema {
    /// Its identity, which the stream's blocks state.
    pub id: SchemaId,
    /// The document, as [`BlockSchema`] describes it.
    pub bytes: Bytes,
}

/// The schemas of all streams that have been asked for.
#[derive(Debug)]
pub(crate) struct WireSchemas {
    store: StoreId,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Those that are not 0.
    salts: HashMap<StreamId, u32>,
    schemas: HashMap<StreamId, Arc<WireSchema>>,
}

impl WireSchemas {
    /// Those of a store.
    pub(crate) fn new(store: StoreId) -> WireSchemas {
        WireSchemas { store, known: Mutex::default() }
    }

    /// The store whose schemas they are.
    pub(crate) fn store(&self) -> StoreId {
        self.store
    }

    /// Notes the salt of a stream.
    pub(crate) fn salted(&self, stream: StreamId, salt: u32) {
        if salt > 0 {
            lock(&self.known).salts.insert(stream, salt);
        }
    }

    /// The schema of a stream.
    pub(crate) fn of(&self, stream: &Stream) -> Arc<WireSchema> {
        let mut known = lock(&self.known);
        if let Some(schema) = known.schemas.get(&stream.id()) {
            return Arc::clone(schema);
        }
        let salt = known.salts.get(&stream.id()).copied().unwrap_or(0);
        let schema = Arc::new(schema(self.store, stream, salt));
        known.schemas.insert(stream.id(), Arc::clone(&schema));
        schema
    }
}

/// The schema of a stream with this salt.
pub(crate) fn schema(store: StoreId, stream: &Stream, salt: u32) -> WireSchema {
    let (device, group) = (stream.device().clone(), stream.group().clone());
    let schema = BlockSchema { store, device, group, columns: stream.columns().into(), salt };
    // No schema is known that cannot be written; one that could not would be a document that says nothing.
    let bytes = schema.encode().unwrap_or_default();
    WireSchema { id: BlockSchema::id_of(&bytes), bytes: bytes.into() }
}

/// An identity that no other store has.
pub(crate) fn new_store_id() -> StoreId {
    // Its keys are what the operating system gives as random.
    StoreId(RandomState::new().build_hasher().finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Stream {
        let name = |text: &str| text.parse().unwrap();
        Stream::new(StreamId(3), name("meter"), name("fast"), Vec::new())
    }

    #[test]
    fn a_schema_is_known_by_the_checksum_of_its_document() {
        let schemas = WireSchemas::new(StoreId(7));
        let schema = schemas.of(&stream());
        let read = BlockSchema::decode(&schema.bytes).unwrap();
        assert_eq!((read.store, read.device.as_str(), read.salt), (StoreId(7), "meter", 0));
        assert_eq!(schema.id, SchemaId(crc32c::crc32c(&schema.bytes)));
        assert!(Arc::ptr_eq(&schema, &schemas.of(&stream())));
    }

    #[test]
    fn a_salt_makes_another_schema() {
        let schemas = WireSchemas::new(StoreId(7));
        schemas.salted(StreamId(3), 1);
        assert_ne!(schemas.of(&stream()).id, schema(StoreId(7), &stream(), 0).id);
    }

    #[test]
    fn stores_are_told_apart() {
        assert_ne!(new_store_id(), new_store_id());
    }
}
