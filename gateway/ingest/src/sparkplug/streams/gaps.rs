//! What our own gateways declare never to come: `Store/Gap` of the node, in the numbers of its store.

use std::{collections::HashMap, sync::Arc};

use serde::Deserialize;
use tidegate_codec::block::{BlockError, BlockSchema, GapRecord};
use tidegate_model::{Slot, StreamId, Value};
use tidegate_sparkplug::NodeId;

use super::super::{NUMBERED_THERE, names};
use crate::{
    StreamKey,
    ledger::Arrival,
    piece::{Gap, Known, Piece, arrival, reason, reason_code},
};

/// The metric, and bytes of it that are looked at.
const METRIC: &str = "Store/Gap";
const LONGEST: usize = 4096;
/// Gaps that wait to be written; the rows of the metric itself say what is beyond.
const MOST: usize = 10_000;

/// Gaps that were declared and are not written yet.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    waiting: Vec<Declared>,
}

#[derive(Debug)]
struct Declared {
    key: StreamKey,
    first: u64,
    last: u64,
    reason: u8,
}

#[derive(Deserialize)]
struct Said {
    device: String,
    group: String,
    from: u64,
    to: u64,
    reason: String,
}

impl Gaps {
    /// Looks whether a new value of a node declares a gap. What is none of ours declares nothing.
    pub(super) fn hear(&mut self, node: &NodeId, metric: &str, slot: &Slot) {
        let Slot::Good(Value::Text(text)) = slot else { return };
        if metric != METRIC || text.len() > LONGEST || self.waiting.len() >= MOST {
            return;
        }
        let Ok(Said { device, group, from, to, reason }) = serde_json::from_str(text) else { return };
        let (Ok(device), Ok(group), Ok(_)) = (device.parse(), group.parse(), arrival(from, to, 0)) else { return };
        let key = StreamKey { gateway: names::name(node.node()), device, group, store: NUMBERED_THERE };
        self.waiting.push(Declared { key, first: from, last: to, reason: reason_code(&reason) });
    }

    /// The pieces for the writer.
    pub(super) fn batch(&mut self, boot: u64, out: &mut Vec<Piece>) {
        let mut schemas: HashMap<StreamKey, Arc<Known>> = HashMap::new();
        for declared in self.waiting.drain(..) {
            match declared.piece(boot, &mut schemas) {
                Ok(piece) => out.push(piece),
                Err(error) => tracing::error!(stream = %declared.key, %error, "a gap that was declared cannot be kept"),
            }
        }
    }
}

impl Declared {
    fn piece(&self, boot: u64, schemas: &mut HashMap<StreamKey, Arc<Known>>) -> Result<Piece, BlockError> {
        let known = match schemas.get(&self.key) {
            Some(known) => Arc::clone(known),
            None => {
                let StreamKey { gateway, device, group, store } = self.key.clone();
                let schema = BlockSchema { store, device, group, columns: Vec::new().into(), salt: 0 };
                let known = Arc::new(Known::read(gateway, schema.encode()?.into())?);
                schemas.insert(self.key.clone(), Arc::clone(&known));
                known
            }
        };
        let (first_seq, last_seq, mut frame) = (self.first, self.last, Vec::new());
        let record =
            GapRecord { stream: StreamId(0), schema: known.id, boot, first_seq, last_seq, reason: self.reason };
        record.encode(&mut frame);
        let arrival = Arrival { first_seq, last_seq, boot };
        Ok(Piece::Gap(Gap { known, arrival, reason: reason(self.reason), frame: frame.into() }))
    }
}
