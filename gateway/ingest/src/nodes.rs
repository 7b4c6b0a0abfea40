//! What has been seen of each edge node of Sparkplug B beside its rows. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An edge node, under the ids that it has on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeKey {
    /// Its group.
    pub group: String,
    /// Its id within the group.
    pub node: String,
}

/// What has been seen of one edge node. Each number only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeAccount {
    /// Births of the node itself.
    pub births: u64,
    /// How often it was asked for its births.
    pub asked: u64,
    /// Holes among the numbers of its messages.
    pub holes: u64,
    /// Messages that were missing in them, at least: a hole of 256 cannot be seen.
    pub missing: u64,
    /// Messages and values that no birth had told of, or that are beyond what is taken.
    pub unread: u64,
    /// Values that came again and were dropped.
    pub repeated: u64,
    /// Values that were dropped because too much waited for the sink.
    pub dropped: u64,
    /// How often the ingest stopped hearing it: its own connection broke.
    pub interruptions: u64,
}

/// How many numbers an account has.
pub(crate) const NUMBERS: usize = 8;

/// The accounts of edge nodes.
pub(crate) type Nodes = BTreeMap<NodeKey, NodeAccount>;

impl NodeAccount {
    /// The numbers in the order of the fields.
    pub(crate) fn numbers(&self) -> [u64; NUMBERS] {
        let NodeAccount { births, asked, holes, missing, unread, repeated, dropped, interruptions } = *self;
        [births, asked, holes, missing, unread, repeated, dropped, interruptions]
    }

    /// The account with these numbers.
    pub(crate) fn of(numbers: [u64; NUMBERS]) -> NodeAccount {
        let [births, asked, holes, missing, unread, repeated, dropped, interruptions] = numbers;
        NodeAccount { births, asked, holes, missing, unread, repeated, dropped, interruptions }
    }

    /// What is known when both are: of numbers that only grow, the larger. Entering an account a second time changes nothing.
    pub(crate) fn merge(&mut self, other: &NodeAccount) {
        let mut numbers = self.numbers();
        numbers.iter_mut().zip(other.numbers()).for_each(|(own, other)| *own = (*own).max(other));
        *self = NodeAccount::of(numbers);
    }
}

/// Enters accounts into others.
pub(crate) fn enter(into: &mut Nodes, news: &Nodes) {
    news.iter().for_each(|(key, account)| into.entry(key.clone()).or_default().merge(account));
}

/// Accounts as a list, since keys of JSON are texts.
pub(crate) mod stored {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{NodeAccount, NodeKey, Nodes};

    #[derive(Serialize, Deserialize)]
    struct Stored {
        #[serde(flatten)]
        key: NodeKey,
        #[serde(flatten)]
        account: NodeAccount,
    }

    pub(crate) fn serialize<S: Serializer>(nodes: &Nodes, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(nodes.iter().map(|(key, account)| Stored { key: key.clone(), account: *account }))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Nodes, D::Error> {
        let stored = Vec::<Stored>::deserialize(from)?;
        Ok(stored.into_iter().map(|stored| (stored.key, stored.account)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_is_entered_twice_counts_once() {
        let key = NodeKey { group: "plant".to_owned(), node: "line3".to_owned() };
        let mut nodes = Nodes::new();
        let news: Nodes = [(key.clone(), NodeAccount { births: 2, holes: 1, ..NodeAccount::default() })].into();
        enter(&mut nodes, &news);
        enter(&mut nodes, &news);
        assert_eq!(nodes, news);
        let later: Nodes = [(key.clone(), NodeAccount { births: 3, missing: 4, ..NodeAccount::default() })].into();
        enter(&mut nodes, &later);
        assert_eq!(nodes[&key], NodeAccount { births: 3, holes: 1, missing: 4, ..NodeAccount::default() });
        assert_eq!(NodeAccount::of(nodes[&key].numbers()), nodes[&key]);
    }
}
