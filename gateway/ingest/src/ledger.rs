//! What each stream has delivered. Pure.

use std::{
    collections::{BTreeMap, HashMap, HashSet, btree_map::Entry},
    fmt,
};

use serde::{Deserialize, Serialize};
use tidegate_codec::block::StoreId;
use tidegate_model::{Name, NameError};

use crate::{
    Ranges, Starts,
    nodes::Nodes,
    sink::Extent,
    sparkplug::{Before, NUMBERED_HERE, NUMBERED_THERE},
};

/// Who a stream is, for ever: a store that was made anew numbers its rows from the beginning and is another stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    /// The gateway.
    pub gateway: Name,
    /// The device.
    pub device: Name,
    /// The group of the device.
    pub group: Name,
    /// The numbering of the gateway's store.
    pub store: StoreId,
}

/// What one stream has delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The rows that have been written.
    pub delivered: Ranges,
    /// What the gateway has declared not to come, by reason.
    #[serde(with = "stored_gaps")]
    pub gaps: BTreeMap<String, Ranges>,
    /// How often the gateway had started, by the latest word.
    pub boot: u64,
    /// Rows that have been written.
    pub rows: u64,
    /// Rows that came again and were dropped.
    pub duplicates: u64,
    /// Rows that came under numbers which another start of the gateway had given to others. They were put aside.
    #[serde(default)]
    pub numbered_again: u64,
    /// The numbers that each start of the gateway has given.
    #[serde(default)]
    pub starts: Starts,
    /// The time of the earliest row, in Unix milliseconds.
    pub first_time: Option<i64>,
    /// The time of the latest row, in Unix milliseconds.
    pub last_time: Option<i64>,
    /// When the device of an edge node went, in Unix milliseconds, where that is the last that was written of it. In files and lines only:
    /// PostgreSQL is asked for its rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub died: Option<i64>,
}

/// Rows of one block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) boot: u64,
}

/// What becomes of rows that have arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// The numbers that had not been there.
    pub(crate) new: Ranges,
    /// Rows that were there already.
    pub(crate) duplicates: u64,
    /// Rows whose numbers are there already, from another start of the gateway: they are other rows.
    pub(crate) numbered_again: u64,
}

impl Delivered {
    /// `delivered`: the numbers that are there, as far as they matter to those that arrive.
    pub(crate) fn of(delivered: &Ranges, starts: &Starts, arrival: Arrival) -> Delivered {
        let new = delivered.missing(arrival.first_seq, arrival.last_seq);
        let all = arrival.last_seq.saturating_sub(arrival.first_seq).saturating_add(1);
        let numbered_again = match new.count() == all {
            true => 0,
            false => starts.given_by_others(arrival).without(&new).count(),
        };
        let duplicates = all.saturating_sub(new.count()).saturating_sub(numbered_again);
        Delivered { new, duplicates, numbered_again }
    }
}

impl Account {
    /// Enters rows that have arrived. `times`: of their earliest and latest.
    pub(crate) fn deliver(&mut self, arrival: Arrival, times: Option<(i64, i64)>) -> Delivered {
        let Arrival { first_seq, last_seq, boot } = arrival;
        let delivered = Delivered::of(&self.delivered, &self.starts, arrival);
        let new = &delivered.new;
        self.delivered.insert(first_seq, last_seq);
        self.starts.enter(boot, new);
        self.rows = self.rows.saturating_add(new.count());
        self.duplicates = self.duplicates.saturating_add(delivered.duplicates);
        self.numbered_again = self.numbered_again.saturating_add(delivered.numbered_again);
        self.boot = self.boot.max(boot);
        if let (Some((first, last)), false) = (times, new.is_empty()) {
            self.first_time = Some(self.first_time.map_or(first, |time| time.min(first)));
            self.last_time = Some(self.last_time.map_or(last, |time| time.max(last)));
        }
        delivered
    }

    /// Enters what will not come. False when that was known.
    pub(crate) fn declare(&mut self, arrival: Arrival, reason: &str) -> bool {
        let Arrival { first_seq, last_seq, boot } = arrival;
        self.boot = self.boot.max(boot);
        let gaps = self.gaps.entry(reason.to_owned()).or_default();
        let is_new = !gaps.missing(first_seq, last_seq).is_empty();
        gaps.insert(first_seq, last_seq);
        is_new
    }

    /// Enters what another account has.
    pub(crate) fn merge(&mut self, other: &Account) {
        self.delivered.extend(&other.delivered);
        other
            .starts
            .iter()
            .for_each(|(boot, first, last)| self.starts.enter(boot, &[(first, last)].into_iter().collect()));
        self.rows = self.rows.saturating_add(other.rows);
        self.boot = self.boot.max(other.boot);
        let earliest = self.first_time.into_iter().chain(other.first_time).min();
        let latest = self.last_time.into_iter().chain(other.last_time).max();
        (self.first_time, self.last_time) = (earliest, latest);
    }

    /// The numbers that were declared not to come, and have not come all the same.
    pub(crate) fn declared(&self) -> Ranges {
        self.gaps.values().flat_map(Ranges::iter).collect::<Ranges>().without(&self.delivered)
    }

    /// The numbers between the first and the last known one that are neither here nor declared.
    pub(crate) fn holes(&self) -> Ranges {
        let mut known = self.delivered.clone();
        known.extend(&self.declared());
        match (known.first(), known.last()) {
            (Some(first), Some(last)) => known.missing(first, last),
            _ => Ranges::default(),
        }
    }
}

/// Gaps as they have always been stored: first number, last number, reason.
mod stored_gaps {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::Ranges;

    pub(super) fn serialize<S: Serializer>(gaps: &BTreeMap<String, Ranges>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(
            gaps.iter().flat_map(|(reason, ranges)| ranges.iter().map(move |(first, last)| (first, last, reason))),
        )
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Ranges>, D::Error> {
        let mut gaps: BTreeMap<String, Ranges> = BTreeMap::new();
        for (first, last, reason) in Vec::<(u64, u64, String)>::deserialize(from)? {
            gaps.entry(reason).or_default().insert(first, last);
        }
        Ok(gaps)
    }
}

/// The accounts of all streams.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    streams: BTreeMap<StreamKey, Account>,
    /// How often Parquet files have been completed.
    pub(crate) rotations: u64,
    /// What has been seen of edge nodes, where it is kept in the same file.
    pub(crate) nodes: Nodes,
    /// Which values of edge nodes belong to these rows.
    pub(crate) taken: Option<Extent>,
}

impl Ledger {
    /// The account of a stream, opened when there is none.
    pub(crate) fn account(&mut self, key: &StreamKey) -> &mut Account {
        match self.streams.entry(key.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Account::default()),
        }
    }

    /// What is to be changed in it, beside it.
    pub(crate) fn changes(&self) -> Changes<'_> {
        Changes { ledger: self, accounts: BTreeMap::new() }
    }

    /// Changes it.
    pub(crate) fn apply(&mut self, accounts: BTreeMap<StreamKey, Account>) {
        self.streams.extend(accounts);
    }

    /// All accounts in the order of their streams.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&StreamKey, &Account)> {
        self.streams.iter()
    }

    /// What has been written of streams whose rows an ingest has numbered.
    pub(crate) fn numbered_here(&self) -> HashMap<StreamKey, Before> {
        let before = |account: &Account| Before {
            last_seq: account.delivered.last().unwrap_or(0),
            last_time: account.last_time,
            died: account.died,
        };
        let own = self.iter().filter(|(key, _)| key.store == NUMBERED_HERE);
        own.map(|(key, account)| (key.clone(), before(account))).collect()
    }

    /// The streams of gaps that edge nodes have declared.
    pub(crate) fn numbered_there(&self) -> HashSet<StreamKey> {
        self.streams.keys().filter(|key| key.store == NUMBERED_THERE).cloned().collect()
    }

    /// Whether there are rows that an ingest has numbered.
    pub(crate) fn has_numbered_here(&self) -> bool {
        self.streams.keys().any(|key| key.store == NUMBERED_HERE)
    }

    /// The ledger as JSON.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let streams = self.iter().map(|(key, account)| StoredStream::new(key, account.clone())).collect();
        serde_json::to_vec(&StoredLedger {
            version: VERSION,
            rotations: self.rotations,
            streams,
            nodes: self.nodes.clone(),
            taken: self.taken,
        })
    }

    /// Reads what [`Ledger::encode`] has written.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Ledger, LedgerError> {
        let stored: StoredLedger = serde_json::from_slice(bytes)?;
        if stored.version != VERSION {
            return Err(LedgerError::Version { found: stored.version });
        }
        let streams = stored.streams.into_iter().map(StoredStream::open).collect::<Result<_, _>>()?;
        Ok(Ledger { streams, rotations: stored.rotations, nodes: stored.nodes, taken: stored.taken })
    }
}

/// Accounts that are being changed, while the ledger stays as it is: a write that fails leaves no trace.
pub(crate) struct Changes<'a> {
    ledger: &'a Ledger,
    accounts: BTreeMap<StreamKey, Account>,
}

impl Changes<'_> {
    /// The account of a stream, as it will be.
    pub(crate) fn account(&mut self, key: &StreamKey) -> &mut Account {
        let account = || self.ledger.streams.get(key).cloned().unwrap_or_default();
        self.accounts.entry(key.clone()).or_insert_with(account)
    }

    /// The accounts as they are to be, for [`Ledger::apply`].
    pub(crate) fn done(self) -> BTreeMap<StreamKey, Account> {
        self.accounts
    }
}

/// Why bytes are no ledger.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error("it is no ledger ({0})")]
    Json(#[from] serde_json::Error),
    #[error("it is no ledger ({0})")]
    Name(#[from] NameError),
    #[error("it is a ledger of version {found}, known is {VERSION}")]
    Version { found: u32 },
}

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct StoredLedger {
    version: u32,
    #[serde(default)]
    rotations: u64,
    streams: Vec<StoredStream>,
    #[serde(default, with = "crate::nodes::stored", skip_serializing_if = "Nodes::is_empty")]
    nodes: Nodes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    taken: Option<Extent>,
}

/// A stream with its account as JSON.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredStream {
    gateway: String,
    device: String,
    group: String,
    store: StoreId,
    account: Account,
}

impl StoredStream {
    pub(crate) fn new(key: &StreamKey, account: Account) -> StoredStream {
        let [gateway, device, group] = [&key.gateway, &key.device, &key.group].map(ToString::to_string);
        StoredStream { gateway, device, group, store: key.store, account }
    }

    pub(crate) fn open(self) -> Result<(StreamKey, Account), NameError> {
        let [gateway, device, group] = [self.gateway, self.device, self.group].map(|name| name.parse::<Name>());
        let key = StreamKey { gateway: gateway?, device: device?, group: group?, store: self.store };
        Ok((key, self.account))
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.gateway, self.device, self.group)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn key(device: &str) -> StreamKey {
        let [gateway, device, group] = ["line3", device, "fast"].map(|name| name.parse().unwrap());
        StreamKey { gateway, device, group, store: StoreId(7) }
    }

    fn arrival(first_seq: u64, last_seq: u64) -> Arrival {
        Arrival { first_seq, last_seq, boot: 2 }
    }

    fn parts(ranges: &Ranges) -> Vec<(u64, u64)> {
        ranges.iter().collect()
    }

    #[test]
    fn rows_are_new_once() {
        let mut account = Account::default();
        assert_eq!(parts(&account.deliver(arrival(1, 10), Some((5, 9))).new), [(1, 10)]);
        assert_eq!(parts(&account.deliver(arrival(8, 12), Some((8, 11))).new), [(11, 12)]);
        assert!(account.deliver(arrival(1, 12), Some((0, 99))).new.is_empty());
        assert_eq!((account.rows, account.duplicates, account.boot), (12, 15, 2));
        assert_eq!((account.first_time, account.last_time), (Some(5), Some(11)));
    }

    #[test]
    fn a_declared_gap_is_no_hole_and_what_comes_all_the_same_is_no_gap() {
        let mut account = Account::default();
        account.deliver(arrival(5, 9), None);
        account.deliver(arrival(20, 29), None);
        assert!(account.declare(Arrival { boot: 3, ..arrival(10, 15) }, "too_old"));
        assert!(!account.declare(Arrival { boot: 3, ..arrival(10, 15) }, "too_old"), "known");
        assert_eq!((parts(&account.holes()), parts(&account.declared())), (vec![(16, 19)], vec![(10, 15)]));
        account.deliver(arrival(12, 19), None);
        assert!(account.holes().is_empty());
        assert_eq!(parts(&account.declared()), [(10, 11)]);
        assert_eq!(account.boot, 3);
    }

    #[test]
    fn known_numbers_of_a_later_start_are_no_duplicates() {
        let mut account = Account::default();
        account.deliver(arrival(1, 100), None);
        assert_eq!(account.deliver(arrival(91, 100), None).numbered_again, 0);
        // The store was restored from a copy that ended at 80.
        let restored = Arrival { first_seq: 81, last_seq: 110, boot: 3 };
        let delivered = account.deliver(restored, None);
        assert_eq!((parts(&delivered.new), delivered.duplicates, delivered.numbered_again), (vec![(101, 110)], 0, 20));
        assert_eq!((account.rows, account.duplicates, account.numbered_again), (110, 10, 20));
        let after = account.deliver(Arrival { first_seq: 105, last_seq: 120, boot: 3 }, None);
        assert_eq!((after.duplicates, after.numbered_again), (6, 0));
    }

    #[test]
    fn gaps_that_touch_become_one_and_their_file_stays_as_it_was() {
        let mut account = Account::default();
        for first in 0..1000 {
            assert!(account.declare(arrival(first * 10, first * 10 + 9), "too_old"));
        }
        assert!(account.declare(arrival(9_990, 10_004), "too_old"), "a part of it is new");
        assert!(!account.declare(arrival(5, 9_000), "too_old"), "all of it is known");
        assert!(account.declare(arrival(5, 9), "store_full"), "for another reason");
        let text = serde_json::to_string(&account).unwrap();
        assert!(text.contains(r#""gaps":[[5,9,"store_full"],[0,10004,"too_old"]]"#), "{text}");
        assert_eq!(serde_json::from_str::<Account>(&text).unwrap(), account);
        let old = r#"{"delivered":[],"gaps":[[1,2,"a"],[3,4,"a"]],"boot":1,"rows":0,"duplicates":0,"first_time":null,"last_time":null}"#;
        assert_eq!(parts(&serde_json::from_str::<Account>(old).unwrap().gaps["a"]), [(1, 4)]);
    }

    #[test]
    fn a_gap_at_the_end_makes_what_lies_before_it_a_hole() {
        let mut account = Account::default();
        account.deliver(arrival(1, 5), None);
        account.declare(arrival(9, 10), "store_full");
        assert_eq!(parts(&account.holes()), [(6, 8)]);
    }

    #[test]
    fn a_ledger_comes_back_from_its_file() {
        let mut ledger = Ledger::default();
        ledger.account(&key("meter-1")).deliver(arrival(1, 5), Some((1000, 5000)));
        ledger.account(&key("meter-2")).declare(arrival(1, 9), "too_old");
        let bytes = ledger.encode().unwrap();
        let back = Ledger::decode(&bytes).unwrap();
        assert!(back.iter().eq(ledger.iter()));
        let newer = String::from_utf8(bytes).unwrap().replacen("\"version\":1", "\"version\":2", 1);
        assert!(matches!(Ledger::decode(newer.as_bytes()), Err(LedgerError::Version { found: 2 })));
        assert!(Ledger::decode(b"{}").is_err());
    }
}
