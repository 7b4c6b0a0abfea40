//! From rows to bytes and back: the JSON of the topics, the record of one commit, the schema of a stream.
//!
//! - [`json`] writes the payloads of the local broker and of `json` targets; it only writes.
//! - [`block`] holds many rows of one stream as compressed columns: in the store, in the history, on the wire.
//! - [`record`] holds all rows of one commit of the store, compressed and checksummed; `FORMAT.md` beside this crate's
//!   `Cargo.toml` describes every byte of it.
//! - [`schema`] keeps the columns of a stream for the store's table.
//!
//! # Reading blocks in a program of one's own
//!
//! This crate and [`model`] are all that a receiver needs. A gateway with `format = "block"` publishes schemas, retained, on
//! `<root>/<gateway>/schema/<id>`, and blocks on `<root>/<gateway>/block`; whatever MQTT client there is gives the payloads.
//!
//! ```
//! use std::collections::HashMap;
//!
//! use tidegate_codec::{
//!     block::{BlockError, BlockSchema, Decoder, Frame, SchemaId, split},
//!     model::Slot,
//! };
//!
//! #[derive(Default)]
//! struct Receiver {
//!     schemas: HashMap<SchemaId, BlockSchema>,
//!     decoder: Decoder,
//! }
//!
//! impl Receiver {
//!     /// A payload of `<root>/<gateway>/schema/<id>`: the very bytes, whose checksum is the id.
//!     fn schema(&mut self, payload: &[u8]) -> Result<(), BlockError> {
//!         self.schemas.insert(BlockSchema::id_of(payload), BlockSchema::decode(payload)?);
//!         Ok(())
//!     }
//!
//!     /// A payload of `<root>/<gateway>/block`. An error is of one block; those that came before it are in `lines`.
//!     fn block(&mut self, payload: &[u8], lines: &mut Vec<String>) -> Result<(), BlockError> {
//!         for frame in split(payload) {
//!             let head = match frame? {
//!                 Frame::Data(head) => head,
//!                 // Rows that were dropped on purpose: there is nothing to wait for.
//!                 Frame::Gap(gap) => {
//!                     lines.push(format!("rows {} to {} will not come", gap.first_seq, gap.last_seq));
//!                     continue;
//!                 }
//!             };
//!             // A retained schema may come a moment later than the first block: keep the block until then.
//!             let Some(schema) = self.schemas.get(&head.schema) else { continue };
//!             let batch = self.decoder.decode(&head, head.schema, &schema.columns)?;
//!             for row in 0..batch.len() {
//!                 for (place, column) in schema.columns.iter().enumerate() {
//!                     let (Some(seq), Some(time)) = (batch.seq(row), batch.time(row)) else { continue };
//!                     // Other slots are doubtful, bad, or say nothing new.
//!                     if let Some(Slot::Good(value)) = batch.slot(row, place) {
//!                         let (device, tag, time) = (&schema.device, &column.name, time.as_millis());
//!                         lines.push(format!("{device} {seq} {time} {tag} = {value:?}"));
//!                     }
//!                 }
//!             }
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # use tidegate_codec::block::{Batch, Codec, Encoder, Origin, StoreId};
//! # use tidegate_codec::model::{Column, StreamId, Timestamp, Value, ValueKind, ValueType};
//! # let column = Column::new("voltage".parse()?, ValueType::single(ValueKind::F64));
//! # let known = BlockSchema { store: StoreId(7), device: "meter-1".parse()?, group: "fast".parse()?, columns: [column].into(), salt: 0 };
//! # let mut batch = Batch::new(&known.columns);
//! # for (seq, volts) in [(1_u32, 229.8), (2, 230.1)] {
//! #     let time = Timestamp::from_millis(1_700_000_000_000 + 1000 * i64::from(seq));
//! #     batch.push(u64::from(seq), time, None, &[Slot::Good(Value::F64(volts))])?;
//! # }
//! # let origin = Origin { stream: StreamId(1), schema: known.id()?, boot: 1 };
//! # let (schema, mut message) = (known.encode()?, Vec::new());
//! # Encoder::new(Codec::Range).encode(&origin, &batch, &mut message)?;
//! let (mut receiver, mut lines) = (Receiver::default(), Vec::new());
//! receiver.schema(&schema)?;
//! receiver.block(&message, &mut lines)?;
//! assert_eq!(lines, ["meter-1 1 1700000001000 voltage = F64(229.8)", "meter-1 2 1700000002000 voltage = F64(230.1)"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The same rows may come twice, after a connection that was lost; (gateway, `schema.store`, device, group, `seq`) tells them apart.
//! `tidegate ingest` does that, and this crate's Python sibling reads the same bytes.
//!
//! The feature `zstd`, on unless `default-features = false`, reads and writes what zstd has packed: blocks of codec 0 and fresh records.
//! Blocks of codecs 1 and 2, which gateways send, do without it, and then nothing needs a C compiler.
//!
//! **Invariant:** no I/O and no clock here, and no input makes a decoder panic or take more memory than it states.

pub mod block;
mod error;
pub mod json;
mod packing;
pub mod record;
pub mod schema;

pub use error::CodecError;
pub use tidegate_model as model;
