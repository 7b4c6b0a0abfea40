//! Databases of earlier formats go on where they were.

use std::path::Path;

use sqlx::{ConnectOptions, Connection, Executor, Row, SqliteConnection, sqlite::SqliteConnectOptions};
use tidegate_config::StartAt;
use tidegate_store::{Delivery, GapReason, Item};

use crate::plant::*;

/// One of each earlier format, as SQL.
const FORMATS: [&str; 3] = [
    include_str!("../fixtures/format_1.sql"),
    include_str!("../fixtures/format_2.sql"),
    include_str!("../fixtures/format_3.sql"),
];

async fn database(dir: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(dir.join("store.db")).create_if_missing(true).connect().await.unwrap()
}

fn seqs(deliveries: &[Delivery]) -> Vec<u64> {
    let rows = deliveries.iter().filter_map(|delivery| match &delivery.item {
        Item::Row { row, .. } => Some(row.seq),
        _ => None,
    });
    rows.collect()
}

#[tokio::test]
async fn a_database_of_each_earlier_format_is_brought_to_the_newest_and_goes_on() {
    for format in FORMATS {
        let dir = tempfile::tempdir().unwrap();
        let mut old = database(dir.path()).await;
        old.execute(format).await.unwrap();
        old.close().await.unwrap();

        let store = open(dir.path()).await;
        assert_eq!((store.status().boot, store.status().rows), (4, 24));
        let mut late = store.cursor(&name("late"), StartAt::Oldest).await.unwrap();
        let mut rows = Vec::new();
        while rows.len() < 24 {
            let given = some(&mut late, 100).await;
            assert!(given.iter().all(|delivery| delivery.boot == 3), "of the last start that was known of");
            rows.extend(seqs(&given));
        }
        assert_eq!(rows, (129..=152).collect::<Vec<u64>>());
        let mut cloud = store.cursor(&name("cloud"), StartAt::Now).await.unwrap();
        let first = some(&mut cloud, 100).await;
        let Item::Gap { from: 5, to: 9, reason: GapReason::StoreFull, .. } = first[0].item else { panic!("no gap") };
        let mut waiting = Vec::new();
        while waiting.len() < 14 {
            waiting.extend(seqs(&some(&mut cloud, 100).await));
        }
        assert_eq!(waiting, (139..=152).collect::<Vec<u64>>());
        let stream = late_stream(&store).await;
        assert_eq!(store.block_schema(&stream), store.block_schema(&stream));
        let id = store.id();
        store.close().await;

        let mut new = database(dir.path()).await;
        let version: i64 = new.fetch_one("PRAGMA user_version").await.unwrap().get(0);
        assert_eq!(version, i64::try_from(FORMATS.len()).unwrap() + 1, "a format without a database here");
        new.close().await.unwrap();
        assert_eq!(open(dir.path()).await.id(), id, "it has an identity from now on");
    }
}

async fn late_stream(store: &tidegate_store::Store) -> std::sync::Arc<tidegate_model::Stream> {
    let (stream, last) = store.stream(&name("device0"), &name("fast"), columns(1)).await.unwrap();
    assert_eq!(last, 152, "the numbers go on");
    stream
}
