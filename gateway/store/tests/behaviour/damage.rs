//! A database that is damaged is set aside or passed over, and what is lost is announced.

use std::{
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use sqlx::{ConnectOptions, Connection, Executor, Row, SqliteConnection, sqlite::SqliteConnectOptions};
use tidegate_config::StartAt;
use tidegate_store::{GapReason, Opened, Store, StoreError};

use crate::plant::*;

const PAGE: u64 = 4_096;

async fn database(dir: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(dir.join("store.db")).connect().await.unwrap()
}

async fn run(dir: &Path, sql: &'static str) {
    let mut database = database(dir).await;
    database.execute(sql).await.unwrap();
    database.close().await.unwrap();
}

async fn number(dir: &Path, sql: &'static str) -> u64 {
    let mut database = database(dir).await;
    let row = sqlx::query(sql).fetch_one(&mut database).await.unwrap();
    database.close().await.unwrap();
    u64::try_from(row.get::<i64, _>(0)).unwrap()
}

/// Overwrites pages of the database, counted from 1.
fn scribble(dir: &Path, pages: impl Iterator<Item = u64>) {
    let file = std::fs::OpenOptions::new().write(true).open(dir.join("store.db")).unwrap();
    for page in pages {
        file.write_all_at(&[0xa5; 4_096], (page - 1) * PAGE).unwrap();
    }
}

/// Opens and expects that the database is set aside.
async fn open_damaged(dir: &Path) -> (Store, PathBuf) {
    let Opened { store, set_aside } = Store::open(dir, &options()).await.unwrap();
    let aside = set_aside.expect("it is set aside");
    assert!(aside.path.exists() && aside.path.starts_with(dir) && !aside.why.is_empty());
    assert!(aside.path.file_name().unwrap().to_str().unwrap().starts_with("store.db.damaged-"));
    (store, aside.path)
}

/// Makes a store with so many rows, commits of ten; the target `cloud` has acknowledged the first `acknowledged`.
async fn filled(dir: &Path, width: usize, rows: u64, acknowledged: usize) {
    let store = open(dir).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::with_columns(&store, "press", width).await;
    for made in (10..=rows).step_by(10) {
        press.run(&store, 10);
        settle(&store, made).await;
    }
    if acknowledged > 0 {
        drain(&mut target, acknowledged).await;
    }
    store.close().await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_set_aside_and_numbers_begin_where_none_has_been() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("store.db"), "this is no database".repeat(1000)).unwrap();
    let (store, aside) = open_damaged(dir.path()).await;
    assert!(std::fs::read(aside).unwrap().starts_with(b"this is no database"));
    let mut target = store.cursor(&name("cloud"), StartAt::Now).await.unwrap();
    let mut press = Machine::new(&store, "press").await;
    let first = press.next;
    assert!(first > 1_700_000_000_000, "milliseconds since 1970: {first}");
    let mut received = Received::default();
    press.run(&store, 2);
    while received.of("press").len() < 2 {
        some(&mut target, 10).await.iter().for_each(|delivery| received.take(delivery));
    }
    assert_eq!(received.of("press"), [first, first + 1]);
    assert_eq!(received.gaps, [("press".to_owned(), 1, first - 1, GapReason::Damaged)]);
    store.close().await;

    // A target and a device that come later may have been there before as well.
    let store = open(dir.path()).await;
    assert_eq!(Machine::new(&store, "oven").await.next, first);
    let mut late = Received::default();
    let mut target = cursor(&store, "late").await;
    while late.gaps.len() < 2 {
        some(&mut target, 10).await.iter().for_each(|delivery| late.take(delivery));
    }
    late.gaps.sort_by_key(|gap| gap.0.clone());
    let lost = |device: &str| (device.to_owned(), 1, first - 1, GapReason::Damaged);
    assert_eq!(late.gaps, [lost("oven"), lost("press")]);
}

#[tokio::test]
async fn a_database_of_another_program_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(dir.path().join("store.db")).create_if_missing(true);
    options.connect().await.unwrap().execute("CREATE TABLE log (a)").await.unwrap();
    open_damaged(dir.path()).await;
}

#[tokio::test]
async fn a_damaged_page_is_found_at_the_start_and_the_numbering_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 200, 200, 50).await;
    // Pages of the log's records, not of the small tables that came first.
    let pages = std::fs::metadata(dir.path().join("store.db")).unwrap().len() / PAGE;
    scribble(dir.path(), pages - 2..=pages - 1);
    let (store, aside) = open_damaged(dir.path()).await;
    assert_eq!(std::fs::metadata(aside).unwrap().len(), pages * PAGE);

    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::with_columns(&store, "press", 200).await;
    let first = press.next;
    assert!(first == 201 || first > 1_700_000_000_000, "never a number that has been: {first}");
    press.run(&store, 1);
    let mut received = Received::default();
    while received.of("press").is_empty() {
        some(&mut target, 10).await.iter().for_each(|delivery| received.take(delivery));
    }
    assert_eq!((received.gaps.len(), received.gaps[0].2, received.gaps[0].3), (1, first - 1, GapReason::Damaged));
    assert!(received.gaps[0].1 <= 51, "nothing that had not been acknowledged is left out");
}

#[tokio::test]
async fn what_a_damaged_database_still_says_about_numbers_and_targets_is_used() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3, 200, 60).await;
    // An index is damaged: nothing that is needed to know what is lost.
    let root = number(dir.path(), "SELECT rootpage FROM sqlite_schema WHERE name = 'gap_in_order'").await;
    scribble(dir.path(), root..=root);
    let (store, _) = open_damaged(dir.path()).await;
    assert_eq!(store.status().boot, 2);
    assert_eq!(store.status().targets[0].target.as_str(), "cloud");
    let mut press = Machine::new(&store, "press").await;
    assert_eq!(press.next, 201);
    let mut target = store.cursor(&name("cloud"), StartAt::Now).await.unwrap();
    press.run(&store, 1);
    let mut received = Received::default();
    while received.of("press").is_empty() {
        some(&mut target, 10).await.iter().for_each(|delivery| received.take(delivery));
    }
    assert_eq!(received.of("press"), [201]);
    assert_eq!(received.gaps, [("press".to_owned(), 61, 200, GapReason::Damaged)]);
}

#[tokio::test]
async fn a_database_of_a_newer_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3, 10, 0).await;
    run(dir.path(), "PRAGMA user_version = 99").await;
    let before = std::fs::read(dir.path().join("store.db")).unwrap();
    let refused = error(Store::open(dir.path(), &options()).await);
    assert!(matches!(refused, StoreError::NewerFormat { found: 99, known: 4, .. }), "{refused}");
    assert!(refused.to_string().contains("store.db"), "{refused}");
    assert!(std::fs::read(dir.path().join("store.db")).unwrap() == before, "not a byte is changed");
}

#[tokio::test]
async fn a_damaged_record_is_a_gap_for_every_target_and_the_rest_is_served() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3, 50, 0).await;
    run(dir.path(), "UPDATE log SET body = CAST(x'00' || substr(body, 2) AS BLOB) WHERE first_position = 20").await;
    let store = open(dir.path()).await;
    for target in ["cloud", "other"] {
        let mut target = cursor(&store, target).await;
        let mut received = Received::default();
        complete(&mut target, &mut received, "press", 50).await;
        assert_eq!(received.gaps, [("press".to_owned(), 21, 30, GapReason::Damaged)]);
        assert_eq!(received.of("press").len(), 40);
        assert!(is_silent(&mut target).await);
    }
    assert_eq!(store.status().dropped.damaged, 20);
}

#[tokio::test]
async fn damage_is_announced_once_however_often_a_target_begins_again() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3, 50, 0).await;
    run(dir.path(), "UPDATE log SET body = CAST(x'00' || substr(body, 2) AS BLOB) WHERE first_position = 20").await;
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    for _ in 0..3 {
        let mut received = Received::default();
        while !received.holes("press", 50).is_empty() {
            some(&mut target, 1000).await.iter().for_each(|delivery| received.take(delivery));
        }
        assert_eq!(received.gaps.len(), 1);
        target.rewind();
    }
    assert_eq!(store.status().targets[0].gaps, 1);
}

#[tokio::test]
async fn damage_is_announced_once_when_calls_are_given_up() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3, 30, 0).await;
    run(dir.path(), "UPDATE log SET body = CAST(x'00' || substr(body, 2) AS BLOB) WHERE first_position = 10").await;
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut received = Received::default();
    let mut polls = 0;
    while !received.holes("press", 30).is_empty() {
        polls = polls % 20 + 1;
        if let Some(next) = give_up_after(polls, target.next(7, 1 << 20)).await {
            next.unwrap().iter().for_each(|delivery| received.take(delivery));
        }
    }
    assert_eq!(received.gaps, [("press".to_owned(), 11, 20, GapReason::Damaged)]);
    assert_eq!(store.status().dropped.damaged, 10);
}

#[tokio::test]
async fn a_record_of_which_nothing_can_be_read_is_known_from_its_neighbours() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3, 50, 0).await;
    run(dir.path(), "UPDATE log SET body = x'00', summary = x'00' WHERE first_position IN (20, 30)").await;
    let store = open(dir.path()).await;
    let mut received = Received::default();
    complete(&mut cursor(&store, "cloud").await, &mut received, "press", 50).await;
    assert_eq!(received.of("press").len(), 30);
    let gaps: Vec<(u64, u64)> = received.gaps.iter().map(|gap| (gap.1, gap.2)).collect();
    assert!(gaps.iter().all(|(from, to)| *from == 21 && *to == 40), "{gaps:?}");
}

#[tokio::test]
async fn records_that_have_vanished_are_announced() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3, 50, 0).await;
    run(dir.path(), "DELETE FROM log WHERE first_position IN (10, 20)").await;
    let store = open(dir.path()).await;
    let mut received = Received::default();
    complete(&mut cursor(&store, "cloud").await, &mut received, "press", 50).await;
    assert_eq!(received.of("press").len(), 30);
    assert_eq!(received.gaps, [("press".to_owned(), 11, 30, GapReason::Damaged)]);
}

/// 800 rows of 1,000 columns, of which nothing is moved into blocks as the first is in flight.
async fn filled_with_records(dir: &Path) {
    let store = open(dir).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::with_columns(&store, "press", 1_000).await;
    for made in (10..=800).step_by(10) {
        press.run(&store, 10);
        settle(&store, made).await;
        if made == 10 {
            some(&mut target, 1).await;
        }
    }
    assert_eq!(store.status().epochs, 0);
    store.close().await;
}

#[tokio::test]
async fn a_page_that_cannot_be_read_later_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    // Larger than what is checked at every start.
    filled_with_records(dir.path()).await;
    // A leaf of the log, with the heads of some records: not the first, which says where the log begins.
    let select = "SELECT pageno FROM dbstat WHERE name = 'log' AND pagetype = 'leaf' ORDER BY pageno LIMIT 1 OFFSET 3";
    let leaf = number(dir.path(), select).await;
    scribble(dir.path(), leaf..=leaf);
    let store = open(dir.path()).await;
    let mut received = Received::default();
    complete(&mut cursor(&store, "cloud").await, &mut received, "press", 800).await;
    let rows = received.of("press");
    assert!(rows.len() >= 600 && rows.len() < 800, "{}", rows.len());
    assert!(rows.is_sorted_by(|a, b| a < b));
    let lost: u64 = received.gaps.iter().map(|gap| gap.2 - gap.1 + 1).sum();
    assert_eq!(lost + u64::try_from(rows.len()).unwrap(), 800, "no more is announced than is lost");
}

#[tokio::test]
async fn a_damaged_page_that_retention_comes_to_is_passed_by_and_the_rest_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    filled_with_records(dir.path()).await;
    let select = "SELECT pageno FROM dbstat WHERE name = 'log' AND pagetype = 'leaf' ORDER BY pageno LIMIT 1 OFFSET 3";
    let leaf = number(dir.path(), select).await;
    scribble(dir.path(), leaf..=leaf);
    // A row a second: the first 500 of 900 are too old.
    let short = tidegate_config::Store { max_age: std::time::Duration::from_secs(400), ..options() };
    let store = open_with(dir.path(), &short).await;
    drop(cursor(&store, "cloud").await);
    let mut press = Machine::with_columns(&store, "press", 1_000).await;
    for made in (10..=100).step_by(10) {
        press.run(&store, 10);
        settle(&store, made).await;
    }
    let oldest = || store.status().oldest.unwrap().as_millis() - 1_700_000_000_000;
    until(|| oldest() > 400_000, "old rows behind the damage are dropped").await;
    assert!(store.status().rows >= 400, "{:?}", store.status());
    let is_aside = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().to_str().unwrap().starts_with("store.db.damaged-")
    };
    assert!(!std::fs::read_dir(dir.path()).unwrap().any(is_aside), "the database is not replaced");
    let mut received = Received::default();
    complete(&mut cursor(&store, "cloud").await, &mut received, "press", 900).await;
    let rows = received.of("press");
    assert!(rows.len() >= 400 && rows.last() == Some(&900) && rows.is_sorted(), "{}", rows.len());
    store.close().await;

    let store = open_with(dir.path(), &short).await;
    assert_eq!(Machine::with_columns(&store, "press", 1_000).await.next, 901, "nor is it at the next start");
    assert!(store.status().rows >= 400);
}

/// Has the writer read the pages of the database anew.
async fn change_something(dir: &Path) {
    run(dir, "UPDATE meta SET value = value WHERE key = 'boot'").await;
}

#[tokio::test]
async fn a_database_that_is_found_damaged_while_it_runs_is_replaced_and_everything_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let (mut press, mut oven) = (Machine::new(&store, "press").await, Machine::new(&store, "oven").await);
    let (mut cloud, mut away) = (cursor(&store, "cloud").await, cursor(&store, "away").await);
    press.run(&store, 30);
    oven.run(&store, 5);
    drain(&mut cloud, 35).await;
    for delivery in some(&mut away, 1000).await.iter().take(12) {
        away.acknowledge(delivery.ticket);
    }
    let commits = store.status().commits;
    until(|| store.status().commits > commits, "the places are saved").await;

    let root = number(dir.path(), "SELECT rootpage FROM sqlite_schema WHERE name = 'log'").await;
    run(dir.path(), "PRAGMA wal_checkpoint(TRUNCATE)").await;
    scribble(dir.path(), root..=root);
    change_something(dir.path()).await;
    press.run(&store, 10);
    let mut received = drain(&mut cloud, 10).await;
    assert_eq!(
        (received.of("press"), &received.gaps),
        ((31..=40).collect(), &vec![]),
        "what is acknowledged is not lost"
    );
    let aside = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().to_str().unwrap().starts_with("store.db.damaged-")
    };
    assert!(std::fs::read_dir(dir.path()).unwrap().any(aside));

    received = Received::default();
    complete(&mut away, &mut received, "press", 40).await;
    complete(&mut away, &mut received, "oven", 5).await;
    assert_eq!(received.of("press"), (31..=40).collect::<Vec<u64>>());
    away.rewind();
    assert!(is_silent(&mut away).await, "nothing of the damaged database waits any more");
    assert_eq!(store.status().targets[0].waiting_rows, 0);
    store.close().await;

    let store = open(dir.path()).await;
    assert_eq!((Machine::new(&store, "press").await.next, Machine::new(&store, "oven").await.next), (41, 6));
    assert!(is_silent(&mut cursor(&store, "cloud").await).await);
}

#[tokio::test]
async fn rows_that_vanish_from_the_disk_are_noticed_and_announced() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = Machine::new(&store, "press").await;
    let mut target = store.cursor(&name("cloud"), StartAt::Now).await.unwrap();
    for made in 1..=3 {
        press.run(&store, 10);
        settle(&store, made * 10).await;
    }
    let mut received = Received::default();
    for delivery in some(&mut target, 5).await {
        received.take(&delivery);
        target.acknowledge(delivery.ticket);
    }
    target.rewind();
    run(dir.path(), "CREATE TRIGGER fault BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'the test says no'); END")
        .await;
    press.run(&store, 10);
    until(|| store.status().failing.is_some(), "it fails").await;
    run(dir.path(), "DELETE FROM log WHERE first_position >= 20").await;
    complete(&mut target, &mut received, "press", 40).await;
    assert_eq!(received.of("press").last(), Some(&40));
    assert!(received.gaps.iter().all(|gap| gap.3 == GapReason::Damaged));
}
