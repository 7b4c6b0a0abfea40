//! The product's own blocks, with the schema by its id.

use tidegate_codec::block::{Batch, Codec, Decoder, Encoder, Frame, Origin, SchemaId, split};
use tidegate_model::{StreamId, Value};

use crate::{
    data::{Piece, Set},
    packing::Packing,
};

/// Blocks of one codec. The encoder lives as long as that of a gateway, but each block is whole in itself.
pub(crate) struct Blocks {
    encoder: Encoder,
    decoder: Decoder,
    unpacked: Batch,
}

const ORIGIN: Origin = Origin { stream: StreamId(17), schema: SchemaId(0x1234_5678), boot: 12 };

impl Blocks {
    pub(crate) fn new(codec: Codec, set: &Set) -> Blocks {
        Blocks { encoder: Encoder::new(codec), decoder: Decoder::new(), unpacked: Batch::new(&set.columns) }
    }
}

impl Packing for Blocks {
    fn pack(&mut self, piece: &Piece<'_>, out: &mut Vec<u8>) -> anyhow::Result<()> {
        Ok(self.encoder.encode(&ORIGIN, &piece.batch, out)?)
    }

    fn unpack(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        for frame in split(bytes) {
            if let Frame::Data(head) = frame? {
                self.decoder.decode_into(&head, ORIGIN.schema, &mut self.unpacked)?;
            }
        }
        Ok(())
    }

    fn is(&self, piece: &Piece<'_>) -> bool {
        let same_row = |(row, (time, values)): (usize, &(i64, Vec<Option<Value>>))| {
            let mut slots = values.iter().enumerate().map(|(column, value)| (value, self.unpacked.slot(row, column)));
            let same_value = |value: &Option<Value>, found: Option<&Value>| match (value, found) {
                (Some(value), Some(found)) => value.same_as(found),
                (value, found) => value.is_none() && found.is_none(),
            };
            self.unpacked.time(row).is_some_and(|found| found.as_millis() == *time)
                && slots.all(|(value, slot)| slot.is_some_and(|slot| same_value(value, slot.value())))
        };
        self.unpacked.len() == piece.rows.len() && piece.rows.iter().enumerate().all(same_row)
    }
}
