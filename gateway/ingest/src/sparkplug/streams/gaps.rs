//! What our own gateways declare never to come: `Store/Gap` of the node, in the numbers of its store.
//!
//! A node names device and group in it, and no store: one whose store was made anew numbers from the beginning, and what it declares then is
//! not told from what it declared before.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde::Deserialize;
use tidegate_codec::block::{BlockError, BlockSchema, GapRecord};
use tidegate_model::{Name, Slot, StreamId, Value};
use tidegate_sparkplug::NodeId;

use super::{
    super::{NUMBERED_THERE, names},
    MOST_STREAMS,
};
use crate::{
    StreamKey,
    ledger::Arrival,
    piece::{Gap, Known, Piece, arrival, reason, reason_code},
};

/// The metric, and bytes of it that are looked at.
const METRIC: &str = "Store/Gap";
const LONGEST: usize = 4096;
/// Gaps that wait to be written.
const MOST: usize = 10_000;

/// Gaps that were declared and are not written yet.
#[derive(Debug)]
pub(super) struct Gaps {
    /// The streams of gaps, those of before the start included: what a node names is its own, and each takes an account for ever.
    streams: HashSet<StreamKey>,
    waiting: Vec<Declared>,
    said_streams: bool,
    said_waiting: bool,
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
    /// None waits. `streams`: those of gaps that were written before.
    pub(super) fn new(streams: HashSet<StreamKey>) -> Gaps {
        Gaps { streams, waiting: Vec::new(), said_streams: false, said_waiting: false }
    }

    /// Looks whether a new value of a node declares a gap. What is none of ours declares nothing. False when it does and cannot be taken: then the
    /// row of the metric itself alone says it.
    pub(super) fn hear(&mut self, node: &NodeId, metric: &str, slot: &Slot) -> bool {
        let Slot::Good(Value::Text(text)) = slot else { return true };
        if metric != METRIC || text.len() > LONGEST {
            return true;
        }
        let Some(declared) = declared(node, text) else { return true };
        if !self.streams.contains(&declared.key) {
            if self.streams.len() >= MOST_STREAMS {
                self.refuse(node, &declared.key);
                return false;
            }
            self.streams.insert(declared.key.clone());
        }
        if self.waiting.len() >= MOST {
            self.leave_out(node, &declared.key);
            return false;
        }
        self.waiting.push(declared);
        true
    }

    fn refuse(&mut self, node: &NodeId, stream: &StreamKey) {
        if !std::mem::replace(&mut self.said_streams, true) {
            tracing::error!(
                %node, %stream,
                "gaps of {MOST_STREAMS} devices and groups have been declared, more are not taken as gaps: what declares them is written as a text \
                 and counted as unread; look which edge node publishes {METRIC} with ever new devices or groups"
            );
        }
    }

    fn leave_out(&mut self, node: &NodeId, stream: &StreamKey) {
        if !std::mem::replace(&mut self.said_waiting, true) {
            tracing::error!(
                %node, %stream,
                "{MOST} declared gaps wait for the sink, more are not taken as gaps: what declares them is written as a text and counted as unread"
            );
        }
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

/// The gap that a text declares; `None` when it is none of ours.
fn declared(node: &NodeId, text: &str) -> Option<Declared> {
    let Said { device, group, from, to, reason } = serde_json::from_str(text).ok()?;
    arrival(from, to, 0).ok()?;
    let (device, group): (Name, Name) = (device.parse().ok()?, group.parse().ok()?);
    // Nodes of two groups may have one id. Neither part has a slash, so that no two pairs are one text.
    let group = names::name(&format!("{}/{group}", node.group()));
    let key = StreamKey { gateway: names::name(node.node()), device, group, store: NUMBERED_THERE };
    Some(Declared { key, first: from, last: to, reason: reason_code(&reason) })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn text(device: &str, group: &str, from: u64, to: u64) -> Slot {
        let text = serde_json::json!({ "device": device, "group": group, "from": from, "to": to, "reason": "too_old" });
        Slot::Good(Value::Text(text.to_string().into()))
    }

    /// The streams of gaps and what is declared in them.
    fn written(gaps: &mut Gaps) -> Vec<(String, u64, u64)> {
        let mut pieces = Vec::new();
        gaps.batch(3, &mut pieces);
        let gap = |piece: Piece| match piece {
            Piece::Gap(gap) => (gap.known.key.to_string(), gap.arrival.first_seq, gap.arrival.last_seq),
            _ => panic!("{piece:?}"),
        };
        pieces.into_iter().map(gap).collect()
    }

    #[test]
    fn devices_that_are_ever_new_get_no_streams_without_end_and_those_of_before_count() {
        let node = NodeId::new("plant", "line3");
        let key = |device: usize| {
            let text = text(&format!("d{device}"), "fast", 1, 2);
            let Slot::Good(Value::Text(text)) = text else { unreachable!() };
            declared(&node, &text).unwrap().key
        };
        let mut gaps = Gaps::new((1..MOST_STREAMS).map(key).collect());
        assert!(gaps.hear(&node, METRIC, &text("press", "fast", 5, 9)) && !gaps.said_streams);
        assert!(!gaps.hear(&node, METRIC, &text("oven", "fast", 5, 9)));
        assert!(!gaps.hear(&node, METRIC, &text("press", "slow", 5, 9)) && gaps.said_streams);
        assert!(gaps.hear(&node, METRIC, &text("press", "fast", 11, 12)));
        assert!(gaps.hear(&node, METRIC, &text("d7", "fast", 1, 2)), "it has been there before");
        assert_eq!((written(&mut gaps).len(), gaps.streams.len()), (3, MOST_STREAMS));
    }

    #[test]
    fn gaps_wait_up_to_a_number_and_the_next_are_taken_once_they_are_written() {
        let (node, mut gaps) = (NodeId::new("plant", "line3"), Gaps::new(HashSet::new()));
        let hear = |gaps: &mut Gaps, from| gaps.hear(&node, METRIC, &text("press", "fast", from, from));
        assert!((0..10_000).all(|number| hear(&mut gaps, number * 2)) && !gaps.said_waiting);
        assert!(!hear(&mut gaps, 20_000) && gaps.said_waiting);
        assert_eq!(written(&mut gaps).len(), 10_000);
        assert!(hear(&mut gaps, 20_000));
    }

    #[test]
    fn nodes_of_two_groups_with_one_id_have_gaps_of_their_own() {
        let mut gaps = Gaps::new(HashSet::new());
        for (group, slow) in [("plantA", "fast"), ("plantB", "fast"), ("plantA-fast", "x"), ("plantA", "fast-x")] {
            assert!(gaps.hear(&NodeId::new(group, "line3"), METRIC, &text("press", slow, 5, 9)));
        }
        let mut streams: Vec<String> = written(&mut gaps).into_iter().map(|(stream, ..)| stream).collect();
        assert!(streams[0].starts_with("line3/press/plantA_fast-"), "{streams:?}");
        assert!(streams[1].starts_with("line3/press/plantB_fast-"), "{streams:?}");
        streams.sort();
        streams.dedup();
        assert_eq!((streams.len(), gaps.streams.len()), (4, 4));
    }

    #[test]
    fn what_is_no_text_of_ours_declares_nothing() {
        let (node, mut gaps) = (NodeId::new("plant", "line3"), Gaps::new(HashSet::new()));
        for said in [text("a b", "fast", 5, 9), text("press", "fast", 9, 5), text("press", "fast", 1, u64::MAX)] {
            assert!(gaps.hear(&node, METRIC, &said));
        }
        assert!(gaps.hear(&node, "Store/Other", &text("press", "fast", 5, 9)));
        assert!(written(&mut gaps).is_empty() && gaps.streams.is_empty());
    }
}
