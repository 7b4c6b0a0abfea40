//! A plant that makes rows, and a target that takes them.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use tidegate_config::{ByteSize, StartAt, WhenFull};
use tidegate_model::{Column, Name, Row, Slot, Stream, Timestamp, Value, ValueKind, ValueType};
use tidegate_store::{Cursor, Delivery, GapReason, Item, Store, StoreError};

/// Nothing here takes as long.
pub const LONG: Duration = Duration::from_secs(10);

pub fn options() -> tidegate_config::Store {
    tidegate_config::Store {
        commit: Duration::from_millis(5),
        max_age: Duration::from_secs(72 * 3600),
        max_size: ByteSize(1 << 30),
        when_full: WhenFull::DropOldest,
    }
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn columns(count: usize) -> Vec<Column> {
    let column = |number| Column {
        name: format!("tag{number}").parse().unwrap(),
        value_type: ValueType::single(ValueKind::Int),
        unit: Some("V".to_owned()),
    };
    (0..count).map(column).collect()
}

pub async fn open(dir: &Path) -> Store {
    open_with(dir, &options()).await
}

pub async fn open_with(dir: &Path, options: &tidegate_config::Store) -> Store {
    let opened = Store::open(dir, options).await.unwrap();
    assert_eq!(opened.set_aside, None);
    opened.store
}

/// A group of a device that makes numbered rows. Every value says which row it is of.
pub struct Machine {
    pub stream: Arc<Stream>,
    pub next: u64,
    /// Milliseconds from row to row.
    pub interval: i64,
}

impl Machine {
    pub async fn new(store: &Store, device: &str) -> Machine {
        Machine::with_columns(store, device, 3).await
    }

    pub async fn with_columns(store: &Store, device: &str, count: usize) -> Machine {
        let (stream, last) = store.stream(&name(device), &name("g"), columns(count)).await.unwrap();
        Machine { stream, next: last + 1, interval: 1000 }
    }

    pub fn row(&mut self) -> (Arc<Row>, Bytes) {
        let seq = self.next;
        self.next += 1;
        let number = i64::try_from(seq).unwrap();
        let slots = (0..).zip(self.stream.columns()).map(|(column, _)| Slot::Good(Value::Int(number * 7 + column)));
        let row = Row {
            stream: Arc::clone(&self.stream),
            seq,
            time: Timestamp::from_millis(1_700_000_000_000 + self.interval * number),
            device_time: None,
            slots: slots.collect(),
        };
        (Arc::new(row), Bytes::from(format!("{}:{seq}", self.stream.device())))
    }

    pub fn run(&mut self, store: &Store, rows: u64) {
        for _ in 0..rows {
            let (row, payload) = self.row();
            store.append(row, payload);
        }
    }
}

/// Waits until everything appended is committed.
pub async fn settle(store: &Store, rows: u64) {
    until(|| store.status().rows_committed >= rows, "rows are committed").await;
}

/// Waits until something is so.
pub async fn until(mut is_so: impl FnMut() -> bool, what: &str) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, wait).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

pub async fn cursor(store: &Store, target: &str) -> Cursor {
    store.cursor(&name(target), StartAt::Oldest).await.unwrap()
}

/// What a target has been given, per device.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Received {
    pub rows: BTreeMap<String, Vec<u64>>,
    pub gaps: Vec<(String, u64, u64, GapReason)>,
}

impl Received {
    /// Notes a delivery and checks that it is what the machine has made.
    pub fn take(&mut self, delivery: &Delivery) {
        match &delivery.item {
            Item::Row { row, payload } => {
                let device = row.stream.device().to_string();
                assert_eq!(row.slots.len(), row.stream.columns().len());
                for (column, slot) in (0..).zip(&row.slots) {
                    assert_eq!(*slot, Slot::Good(Value::Int(i64::try_from(row.seq).unwrap() * 7 + column)));
                }
                if let Some(payload) = payload {
                    assert_eq!(*payload, format!("{device}:{}", row.seq));
                }
                self.rows.entry(device).or_default().push(row.seq);
            }
            Item::Gap { stream, from, to, reason } => {
                assert!(from <= to);
                self.gaps.push((stream.device().to_string(), *from, *to, *reason));
            }
        }
    }

    pub fn of(&self, device: &str) -> Vec<u64> {
        self.rows.get(device).cloned().unwrap_or_default()
    }

    /// Numbers that are neither there nor announced as missing, up to `last`.
    pub fn holes(&self, device: &str, last: u64) -> Vec<u64> {
        let rows = self.of(device);
        let announced = |seq: u64| self.gaps.iter().any(|gap| gap.0 == device && (gap.1..=gap.2).contains(&seq));
        (1..=last).filter(|seq| !rows.contains(seq) && !announced(*seq)).collect()
    }
}

/// The next deliveries; fails when there are none for long.
pub async fn some(cursor: &mut Cursor, max_rows: usize) -> Vec<Delivery> {
    tokio::time::timeout(LONG, cursor.next(max_rows, 1 << 20)).await.expect("waited in vain for rows").unwrap()
}

/// Takes and acknowledges until `rows` rows have come.
pub async fn drain(cursor: &mut Cursor, rows: usize) -> Received {
    let mut received = Received::default();
    while received.rows.values().map(Vec::len).sum::<usize>() < rows {
        for delivery in some(cursor, 1000).await {
            received.take(&delivery);
            cursor.acknowledge(delivery.ticket);
        }
    }
    received
}

/// Whether there is nothing to give now and within a few commits.
pub async fn is_silent(cursor: &mut Cursor) -> bool {
    tokio::time::timeout(Duration::from_millis(40), cursor.next(1, 1)).await.is_err()
}

/// The error of something that must fail.
pub fn error<T>(result: Result<T, StoreError>) -> StoreError {
    match result {
        Ok(_) => panic!("it must fail"),
        Err(error) => error,
    }
}
