//! A store on a temporary disk, and one stream of rows.

use std::{sync::Arc, time::Duration};

use tidegate_codec::json;
use tidegate_config::{ByteSize, StartAt, WhenFull};
use tidegate_model::{Column, Reason, Row, Slot, Stream, Timestamp, Value, ValueKind, ValueType};
use tidegate_store::{Cursor, Item, Store, StoreError};

use super::{LONG, NOW, within};

/// A stream whose rows are remembered, to be compared with what arrives.
pub(crate) struct Numbers {
    stream: Arc<Stream>,
    last: u64,
    pub(crate) rows: Vec<Arc<Row>>,
}

impl Numbers {
    fn next(&mut self) -> Row {
        self.last += 1;
        let number = u32::try_from(self.last).unwrap();
        let slots = [
            Slot::Good(Value::F64(f64::from(number) * 0.1)),
            Slot::Uncertain(Value::F32(f32::NAN), Reason::OutOfRange),
            if number % 3 == 0 { Slot::Bad(Reason::Timeout) } else { Slot::Good(Value::Uint(u64::MAX - self.last)) },
            if number % 5 == 0 { Slot::Good(Value::Text("auto".into())) } else { Slot::Unchanged },
        ];
        let time = Timestamp::from_millis(NOW + i64::from(number));
        let stream = Arc::clone(&self.stream);
        Row { stream, seq: self.last, time, device_time: None, slots: slots.into() }
    }
}

pub(crate) struct Plant {
    store: Store,
    stream: Arc<Stream>,
    last: u64,
    appended: u64,
    dir: tempfile::TempDir,
}

async fn open(dir: &std::path::Path) -> Store {
    let options = tidegate_config::Store {
        commit: Duration::from_millis(5),
        max_age: Duration::from_secs(3600 * 24 * 3650),
        max_size: ByteSize(1 << 30),
        when_full: WhenFull::DropOldest,
    };
    Store::open(dir, &options).await.unwrap().store
}

impl Plant {
    pub(crate) async fn new() -> Plant {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let column = Column::new("note".parse().unwrap(), ValueType::single(ValueKind::Text));
        let (device, group) = ("meter".parse().unwrap(), "fast".parse().unwrap());
        let (stream, last) = store.stream(&device, &group, vec![column]).await.unwrap();
        Plant { store, stream, last, appended: 0, dir }
    }

    /// Another stream, with numbers, a text and what is not good in its columns.
    pub(crate) async fn numbers(&self, group: &str) -> Numbers {
        let column = |name: &str, kind| Column::new(name.parse().unwrap(), ValueType::single(kind));
        let columns = vec![
            column("voltage", ValueKind::F64),
            column("current", ValueKind::F32),
            column("count", ValueKind::Uint),
            column("mode", ValueKind::Text),
        ];
        let (device, group) = ("press".parse().unwrap(), group.parse().unwrap());
        let (stream, last) = self.store.stream(&device, &group, columns).await.unwrap();
        Numbers { stream, last, rows: Vec::new() }
    }

    /// So many rows of another stream.
    pub(crate) fn append(&mut self, numbers: &mut Numbers, count: u64) {
        for _ in 0..count {
            let row = Arc::new(numbers.next());
            let mut payload = Vec::new();
            json::row(&row, false, &mut payload);
            numbers.rows.push(Arc::clone(&row));
            self.store.append(row, payload.into());
            self.appended += 1;
        }
    }

    /// The gateway is started again, and goes on with these rows.
    pub(crate) async fn restart(&mut self, numbers: &mut Numbers) {
        self.store.clone().close().await;
        self.store = open(self.dir.path()).await;
        self.appended = 0;
        let Numbers { stream, last, .. } = numbers;
        let columns: Arc<[Column]> = stream.columns().into();
        let (again, newest): (_, u64) = self.store.stream(stream.device(), stream.group(), columns).await.unwrap();
        assert_eq!(newest, *last);
        *stream = again;
    }

    /// Gives what waits for the target to another name.
    pub(crate) async fn rename(&self, from: &str, to: &str) -> bool {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        self.store.move_cursor(&from, &to).await.unwrap()
    }

    /// The store and the target's cursor, from the first row on. Waits until all rows are committed and until the cursor before
    /// has been given back.
    pub(crate) async fn cursor(&self) -> (Store, Cursor) {
        self.cursor_of("cloud").await
    }

    /// The same for a target of another name.
    pub(crate) async fn cursor_of(&self, target: &str) -> (Store, Cursor) {
        self.committed().await;
        let open = async {
            loop {
                match self.store.cursor(&target.parse().unwrap(), StartAt::Oldest).await {
                    Err(StoreError::CursorTaken { .. }) => tokio::task::yield_now().await,
                    cursor => return (self.store.clone(), cursor.unwrap()),
                }
            }
        };
        within(LONG, open).await
    }

    /// Waits until all rows are committed.
    pub(crate) async fn committed(&self) {
        let committed = async {
            while self.store.status().rows_committed < self.appended {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        within(LONG, committed).await;
    }

    /// Rows that are newer than any connection.
    pub(crate) fn live_rows(&mut self, count: u64) {
        (0..count).for_each(|_| self.row(NOW + 1_000, "live"));
    }

    /// One row; its text is as large as wanted.
    pub(crate) fn row(&mut self, time: i64, text: &str) {
        self.last += 1;
        self.appended += 1;
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
        let (_, mut cursor) = self.cursor().await;
        let mut found = Vec::new();
        while found.last() != Some(&last) {
            for delivery in within(LONG, cursor.next(1000, 1 << 24)).await.unwrap() {
                match delivery.item {
                    Item::Row { row, .. } => found.push(row.seq),
                    other => panic!("{other:?} in place of a row"),
                }
            }
        }
        found
    }
}
