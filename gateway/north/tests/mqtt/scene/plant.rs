//! A store on a temporary disk, and one stream of rows.

use std::{sync::Arc, time::Duration};

use tidegate_codec::json;
use tidegate_config::{ByteSize, StartAt, WhenFull};
use tidegate_model::{Column, Row, Slot, Stream, Timestamp, Value, ValueKind, ValueType};
use tidegate_store::{Cursor, Item, Store, StoreError};

use super::{LONG, NOW, within};

pub(crate) struct Plant {
    store: Store,
    stream: Arc<Stream>,
    last: u64,
    _dir: tempfile::TempDir,
}

impl Plant {
    pub(crate) async fn new() -> Plant {
        let dir = tempfile::tempdir().unwrap();
        let options = tidegate_config::Store {
            commit: Duration::from_millis(5),
            max_age: Duration::from_secs(3600 * 24 * 3650),
            max_size: ByteSize(1 << 30),
            when_full: WhenFull::DropOldest,
        };
        let store = Store::open(dir.path(), &options).await.unwrap().store;
        let column = Column::new("note".parse().unwrap(), ValueType::single(ValueKind::Text));
        let (device, group) = ("meter".parse().unwrap(), "fast".parse().unwrap());
        let (stream, last) = store.stream(&device, &group, vec![column]).await.unwrap();
        Plant { store, stream, last, _dir: dir }
    }

    /// The target's cursor, from the first row on. Waits until the one before has been given back.
    pub(crate) async fn cursor(&self) -> Cursor {
        let open = async {
            loop {
                match self.store.cursor(&"cloud".parse().unwrap(), StartAt::Oldest).await {
                    Err(StoreError::CursorTaken { .. }) => tokio::task::yield_now().await,
                    cursor => return cursor.unwrap(),
                }
            }
        };
        within(LONG, open).await
    }

    /// Rows that are newer than any connection.
    pub(crate) fn live_rows(&mut self, count: u64) {
        (0..count).for_each(|_| self.row(NOW + 1_000, "live"));
    }

    /// One row; its text is as large as wanted.
    pub(crate) fn row(&mut self, time: i64, text: &str) {
        self.last += 1;
        let row = Row {
            stream: Arc::clone(&self.stream),
            seq: self.last,
            time: Timestamp::from_millis(time),
            device_time: None,
            slots: [Slot::Good(Value::Text(text.into()))].into(),
        };
        let mut payload = Vec::new();
        json::row(&row, false, &mut payload);
        self.store.append(Arc::new(row), payload.into());
    }

    /// The rows that a target which begins now would be given: what has not been acknowledged. `last` has to be among them.
    pub(crate) async fn unacknowledged(&self, last: u64) -> Vec<u64> {
        let mut cursor = self.cursor().await;
        let mut found = Vec::new();
        while found.last() != Some(&last) {
            for delivery in within(LONG, cursor.next(1000, 1 << 24)).await.unwrap() {
                match delivery.item {
                    Item::Row { row, .. } => found.push(row.seq),
                    Item::Gap { from, to, .. } => panic!("a gap from {from} to {to}"),
                }
            }
        }
        found
    }
}
