//! Machines whose every row is different, also the second one with the same number: so that a number that is given twice shows.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use tidegate_model::{Row, Slot, Stream, Timestamp, Value};
use tidegate_store::{Part, Query, Reader, Store};

use crate::{chance::Chance, plant::*};

pub(crate) const DEVICES: [&str; 3] = ["press", "oven", "saw"];

/// Half a minute from row to row: rows become blocks, and blocks longer ones, within moments.
const INTERVAL: i64 = 30_000;

/// Rows are not dropped however long the test says it has taken.
pub(crate) fn for_ever() -> tidegate_config::Store {
    tidegate_config::Store { max_age: Duration::from_secs(100 * 365 * 86_400), ..options() }
}

pub(crate) fn time(seq: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + INTERVAL * i64::try_from(seq).unwrap())
}

/// A machine that says something else at every start.
pub(crate) struct Worker {
    pub(crate) stream: Arc<Stream>,
    pub(crate) next: u64,
}

impl Worker {
    pub(crate) async fn new(store: &Store, device: &str) -> Worker {
        let (stream, last) = store.stream(&name(device), &name("g"), columns(3)).await.unwrap();
        Worker { stream, next: last + 1 }
    }

    pub(crate) fn work(&mut self, store: &Store, rows: u64, chance: &mut Chance) {
        for _ in 0..rows {
            let (seq, said) = (self.next, i64::try_from(chance.next() >> 1).unwrap());
            self.next += 1;
            let slots = [said, said ^ i64::try_from(seq).unwrap(), i64::try_from(seq).unwrap()];
            let row = Row {
                stream: Arc::clone(&self.stream),
                seq,
                time: time(seq),
                device_time: None,
                slots: slots.map(|value| Slot::Good(Value::Int(value))).into(),
            };
            store.append(Arc::new(row), Bytes::new());
        }
    }
}

/// What a row says; fails when it is none that a worker has made.
pub(crate) fn said(row: &Row) -> i64 {
    let int = |at: usize| match &row.slots[at] {
        Slot::Good(Value::Int(value)) => *value,
        other => panic!("{other:?}"),
    };
    let seq = i64::try_from(row.seq).unwrap();
    assert_eq!((int(1), int(2), row.time), (int(0) ^ seq, seq, time(row.seq)), "row {} was another one", row.seq);
    int(0)
}

/// The rows of a device from a number on, as another program reads them: what each says. There must be no hole.
pub(crate) async fn rows(reader: &Reader, device: &str, from: u64) -> BTreeMap<u64, i64> {
    let query = Query { from: Some(time(from)), ..Query::of(name(device)) };
    let mut scan = reader.scan(&query).await.unwrap();
    let mut rows = BTreeMap::new();
    while let Some(part) = scan.next().await.unwrap() {
        let (stream, batch) = match part {
            Part::Rows { stream, batch, .. } => (stream, batch),
            Part::Missing(missing) => panic!("{missing:?}"),
        };
        for at in 0..batch.len() {
            let row = batch.row(at, &stream).unwrap();
            let expected = rows.last_key_value().map_or(from.max(1), |(last, _)| last + 1);
            assert_eq!(row.seq, expected, "of {device}, in order and each once");
            rows.insert(row.seq, said(&row));
        }
    }
    rows
}

/// One number out of a database that nobody has open.
pub(crate) async fn number(dir: &Path, sql: &'static str) -> i64 {
    use sqlx::{ConnectOptions, Connection, Row, sqlite::SqliteConnectOptions};
    let mut database = SqliteConnectOptions::new().filename(dir.join("store.db")).connect().await.unwrap();
    let row = sqlx::query(sql).fetch_one(&mut database).await.unwrap();
    database.close().await.unwrap();
    row.get(0)
}
