//! Messages that come again as they are, to the last byte. Pure.
//!
//! A node gives each of its messages the next number. So two of the last few that are the same to the last byte, number and time
//! included, are one that was carried twice: by a publisher at QoS 1 whose acknowledgement was lost, or by a bridge. Taken for another it would look
//! like a hole of 255.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
};

use tidegate_sparkplug::NodeId;

/// Messages of a node that are remembered; fewer than there are numbers.
const REMEMBERED: usize = 16;
/// Nodes whose messages are remembered.
const MOST: usize = 10_000;

/// The last messages of each node.
#[derive(Default)]
pub(super) struct Again {
    keys: [RandomState; 2],
    nodes: HashMap<NodeId, VecDeque<(u64, u64)>>,
}

impl Again {
    /// Whether a message with a number is one of the last, again.
    pub(super) fn is_known(&mut self, node: &NodeId, topic: &str, payload: &[u8]) -> bool {
        if !self.nodes.contains_key(node) && self.nodes.len() >= MOST {
            return false;
        }
        let [one, other] = &self.keys;
        let print = (one.hash_one((topic, payload)), other.hash_one((topic, payload)));
        let last = self.nodes.entry(node.clone()).or_default();
        if last.contains(&print) {
            return true;
        }
        last.push_back(print);
        if last.len() > REMEMBERED {
            last.pop_front();
        }
        false
    }

    /// The numbers of a node begin anew.
    pub(super) fn begin(&mut self, node: &NodeId) {
        self.nodes.remove(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_while_its_number_cannot_have_come_round() {
        let (mut again, node) = (Again::default(), NodeId::new("g", "n"));
        let mut is_known = |topic: &str, payload: u8| again.is_known(&node, topic, &[payload]);
        assert!(!is_known("a", 1) && !is_known("b", 1) && is_known("a", 1) && is_known("b", 1));
        (2..18).for_each(|payload| assert!(!is_known("a", payload)));
        assert!(is_known("a", 17) && !is_known("a", 1), "forgotten");
        again.begin(&node);
        assert!(!again.is_known(&node, "a", &[17]), "another session");
    }
}
