//! A plant that makes rows, and a target that takes them.

use std::{collections::BTreeMap, path::Path, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use tidegate_codec::block::{self, Frame};
use tidegate_config::{ByteSize, StartAt, WhenFull};
use tidegate_model::{Column, Name, Row, Slot, Stream, Timestamp, Value, ValueKind, ValueType};
use tidegate_store::{Cursor, Delivery, GapReason, Item, Store, StoreError};

/// Nothing here takes as long, on a machine with much else to do either.
pub(crate) const LONG: Duration = Duration::from_secs(40);

pub(crate) fn options() -> tidegate_config::Store {
    tidegate_config::Store {
        commit: Duration::from_millis(5),
        max_age: Duration::from_secs(72 * 3600),
        max_size: ByteSize(1 << 30),
        when_full: WhenFull::DropOldest,
    }
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn columns(count: usize) -> Vec<Column> {
    let column = |number| Column {
        unit: Some("V".to_owned()),
        ..Column::new(format!("tag{number}").parse().unwrap(), ValueType::single(ValueKind::Int))
    };
    (0..count).map(column).collect()
}

pub(crate) async fn open(dir: &Path) -> Store {
    open_with(dir, &options()).await
}

pub(crate) async fn open_with(dir: &Path, options: &tidegate_config::Store) -> Store {
    let opened = Store::open(dir, options).await.unwrap();
    assert_eq!(opened.set_aside, None);
    opened.store
}

/// What row `seq` says in a column: easy to compress in the first three, noise in the others.
fn value(seq: u64, column: u64) -> Value {
    if column < 3 {
        return Value::Int(i64::try_from(seq * 7 + column).unwrap());
    }
    // The mixer of splitmix64.
    let mut mixed = (seq << 20 | column).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Value::Int((mixed ^ (mixed >> 31)).cast_signed())
}

/// A group of a device that makes numbered rows. Every value says which row it is of.
pub(crate) struct Machine {
    pub(crate) stream: Arc<Stream>,
    pub(crate) next: u64,
    /// Milliseconds from row to row.
    pub(crate) interval: i64,
}

impl Machine {
    pub(crate) async fn new(store: &Store, device: &str) -> Machine {
        Machine::with_columns(store, device, 3).await
    }

    pub(crate) async fn with_columns(store: &Store, device: &str, count: usize) -> Machine {
        let (stream, last) = store.stream(&name(device), &name("g"), columns(count)).await.unwrap();
        Machine { stream, next: last + 1, interval: 1000 }
    }

    pub(crate) fn row(&mut self) -> (Arc<Row>, Bytes) {
        let seq = self.next;
        self.next += 1;
        let slots = (0..).zip(self.stream.columns()).map(|(column, _)| Slot::Good(value(seq, column)));
        let row = Row {
            stream: Arc::clone(&self.stream),
            seq,
            time: Timestamp::from_millis(1_700_000_000_000 + self.interval * i64::try_from(seq).unwrap()),
            device_time: None,
            slots: slots.collect(),
        };
        (Arc::new(row), Bytes::from(format!("{}:{seq}", self.stream.device())))
    }

    pub(crate) fn run(&mut self, store: &Store, rows: u64) {
        for _ in 0..rows {
            let (row, payload) = self.row();
            store.append(row, payload);
        }
    }
}

/// Waits until everything appended is committed.
pub(crate) async fn settle(store: &Store, rows: u64) {
    until(|| store.status().rows_committed >= rows, "rows are committed").await;
}

/// Waits until something is so.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool, what: &str) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, wait).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

pub(crate) async fn cursor(store: &Store, target: &str) -> Cursor {
    store.cursor(&name(target), StartAt::Oldest).await.unwrap()
}

/// What a target has been given, per device.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) rows: BTreeMap<String, Vec<u64>>,
    pub(crate) gaps: Vec<(String, u64, u64, GapReason)>,
    /// Of each gap: the last row of its device before it came.
    pub(crate) after: Vec<u64>,
}

impl Received {
    /// Notes a delivery and checks that it is what the machine has made.
    pub(crate) fn take(&mut self, delivery: &Delivery) {
        match &delivery.item {
            Item::Row { row, payload } => {
                let device = row.stream.device().to_string();
                assert_eq!(row.slots.len(), row.stream.columns().len());
                for (column, slot) in (0..).zip(&row.slots) {
                    assert_eq!(*slot, Slot::Good(value(row.seq, column)));
                }
                if let Some(payload) = payload {
                    assert_eq!(*payload, format!("{device}:{}", row.seq));
                }
                self.rows.entry(device).or_default().push(row.seq);
            }
            Item::Block { bytes, stream, first_seq, rows, .. } => {
                let Some(Ok(Frame::Data(head))) = block::split(bytes).next() else { panic!("no block") };
                assert_eq!((head.stream, head.first_seq, head.rows), (stream.id(), *first_seq, *rows));
                assert_eq!(head.boot, delivery.boot, "a block states the start of its rows");
                let batch = block::Decoder::new().decode(&head, head.schema, stream.columns()).unwrap();
                for at in 0..batch.len() {
                    let item = Item::Row { row: Arc::new(batch.row(at, stream).unwrap()), payload: None };
                    self.take(&Delivery { item, ..delivery.clone() });
                }
            }
            Item::Gap { stream, from, to, reason } => {
                assert!(from <= to);
                self.after.push(self.of(stream.device().as_str()).last().copied().unwrap_or(0));
                self.gaps.push((stream.device().to_string(), *from, *to, *reason));
            }
        }
    }

    pub(crate) fn of(&self, device: &str) -> Vec<u64> {
        self.rows.get(device).cloned().unwrap_or_default()
    }

    /// Numbers that are neither there nor announced as missing, up to `last`.
    pub(crate) fn holes(&self, device: &str, last: u64) -> Vec<u64> {
        let rows = self.of(device);
        let announced = |seq: u64| self.gaps.iter().any(|gap| gap.0 == device && (gap.1..=gap.2).contains(&seq));
        (1..=last).filter(|seq| !rows.contains(seq) && !announced(*seq)).collect()
    }
}

/// The next deliveries; fails when there are none for long.
pub(crate) async fn some(cursor: &mut Cursor, max_rows: usize) -> Vec<Delivery> {
    tokio::time::timeout(LONG, cursor.next(max_rows, 1 << 20)).await.expect("waited in vain for rows").unwrap()
}

/// Takes and acknowledges until `rows` rows have come.
pub(crate) async fn drain(cursor: &mut Cursor, rows: usize) -> Received {
    let mut received = Received::default();
    while received.rows.values().map(Vec::len).sum::<usize>() < rows {
        for delivery in some(cursor, 1000).await {
            received.take(&delivery);
            cursor.acknowledge(delivery.ticket);
        }
    }
    received
}

/// Takes and acknowledges until all rows up to `last` of the device are there or announced as missing.
pub(crate) async fn complete(cursor: &mut Cursor, received: &mut Received, device: &str, last: u64) {
    while !received.holes(device, last).is_empty() {
        for delivery in some(cursor, 1000).await {
            received.take(&delivery);
            cursor.acknowledge(delivery.ticket);
        }
    }
}

/// Whether there is nothing to give now and within a few commits.
pub(crate) async fn is_silent(cursor: &mut Cursor) -> bool {
    tokio::time::timeout(Duration::from_millis(40), cursor.next(1, 1)).await.is_err()
}

/// The error of something that must fail.
pub(crate) fn error<T>(result: Result<T, StoreError>) -> StoreError {
    match result {
        Ok(_) => panic!("it must fail"),
        Err(error) => error,
    }
}

/// What the future gives when it needs no more polls.
pub(crate) async fn give_up_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
