//! A plant that has run for a while, and what a scan of it gives.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tidegate_model::{Column, Row, Slot, Timestamp, Value};
use tidegate_store::{Missing, Part, Query, Reader, Scan, Store, Why};

use crate::plant::*;

/// Time of the row with this number, of a machine that makes one a second.
pub(crate) fn time(seq: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + 1000 * seq)
}

/// What a scan has given.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Given {
    /// Group and number of each row, in the order in which they came.
    pub(crate) rows: Vec<(String, u64)>,
    pub(crate) missing: Vec<Missing>,
    pub(crate) batches: usize,
}

impl Given {
    pub(crate) fn of(&self, group: &str) -> Vec<u64> {
        self.rows.iter().filter(|(of, _)| of == group).map(|(_, seq)| *seq).collect()
    }

    /// The numbers that are reported missing because of damage.
    pub(crate) fn damaged(&self) -> Vec<(Option<u64>, Option<u64>)> {
        assert!(self.missing.iter().all(|missing| matches!(&missing.why, Why::Damaged(why) if !why.is_empty())));
        self.missing.iter().map(|missing| (missing.first, missing.last)).collect()
    }

    /// Notes a part and checks that it is what the machine has made.
    pub(crate) fn take(&mut self, part: Part) {
        match part {
            Part::Rows { stream, batch, .. } => {
                assert!(!batch.is_empty() && batch.columns() == stream.columns().len());
                self.batches += 1;
                for at in 0..batch.len() {
                    let row = batch.row(at, &stream).unwrap();
                    self.rows.push((stream.group().to_string(), row.seq));
                    let mut made = Machine { stream: Arc::clone(&stream), next: row.seq, interval: 1000 };
                    let made = made.row().0;
                    assert_eq!((made.time, &made.slots), (row.time, &row.slots));
                }
            }
            Part::Missing(missing) => self.missing.push(missing),
        }
    }
}

/// Everything that a query gives.
pub(crate) async fn everything(reader: &Reader, query: &Query) -> Given {
    rest(reader.scan(query).await.unwrap()).await
}

/// What a scan has not given yet.
pub(crate) async fn rest(mut scan: Scan) -> Given {
    let mut given = Given::default();
    let mut passed = 0.0;
    while let Some(part) = scan.next().await.unwrap() {
        given.take(part);
        let fraction = scan.progress().fraction();
        assert!((passed..=1.0).contains(&fraction), "{passed} {:?}", scan.progress());
        passed = fraction;
    }
    assert_eq!(scan.progress().fraction(), 1.0);
    assert_eq!(scan.progress().rows, u64::try_from(given.rows.len()).unwrap());
    given
}

/// A group of a machine.
pub(crate) async fn group(store: &Store, device: &str, group: &str, width: usize) -> Machine {
    let (stream, last) = store.stream(&name(device), &name(group), columns(width)).await.unwrap();
    Machine { stream, next: last + 1, interval: 1000 }
}

/// Rows of the machines, ten at a time, each ten committed before the next.
pub(crate) async fn produce(store: &Store, machines: &mut [&mut Machine], tens: u64) {
    for _ in 0..tens {
        let committed = store.status().rows_committed;
        for machine in machines.iter_mut() {
            machine.run(store, 10);
        }
        settle(store, committed + 10 * u64::try_from(machines.len()).unwrap()).await;
    }
}

/// A second program that has the database open.
pub(crate) async fn run(dir: &Path, sql: &'static str) {
    let mut database: SqliteConnection =
        SqliteConnectOptions::new().filename(dir.join("store.db")).connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
}

/// One number out of the database.
pub(crate) async fn number_of(dir: &Path, select: &'static str) -> i64 {
    let mut database: SqliteConnection =
        SqliteConnectOptions::new().filename(dir.join("store.db")).connect().await.unwrap();
    let number = sqlx::query_scalar(select).fetch_one(&mut database).await.unwrap();
    database.close().await.unwrap();
    number
}

/// A machine with one column, of which each row says what the test wants.
pub(crate) struct Sensor {
    machine: Machine,
}

impl Sensor {
    pub(crate) async fn new(store: &Store, device: &str, group: &str, column: Column) -> Sensor {
        let (stream, last) = store.stream(&name(device), &name(group), vec![column]).await.unwrap();
        Sensor { machine: Machine { stream, next: last + 1, interval: 1000 } }
    }

    pub(crate) fn say(&mut self, store: &Store, time: Timestamp, slot: Slot) {
        let row = self.row(time, None, slot);
        store.append(row, Bytes::new());
    }

    /// The same of the past.
    pub(crate) fn say_of_the_past(&mut self, store: &Store, time: Timestamp, slot: Slot) {
        let row = self.row(time, Some(time), slot);
        store.append_past(row, Bytes::new());
    }

    fn row(&mut self, time: Timestamp, device_time: Option<Timestamp>, slot: Slot) -> Arc<Row> {
        let (stream, seq) = (Arc::clone(&self.machine.stream), self.machine.next);
        self.machine.next += 1;
        Arc::new(Row { stream, seq, time, device_time, slots: [slot].into() })
    }
}

pub(crate) fn number(value: f64) -> Slot {
    Slot::Good(Value::F64(value))
}
