//! A disk that cannot be written to: nothing is lost silently, and it goes on by itself.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use sqlx::{ConnectOptions, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tidegate_store::{GapReason, Store, StoreError};

use crate::plant::*;

/// A second program that has the database open.
async fn other_program(dir: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(dir.join("store.db")).connect().await.unwrap()
}

async fn break_disk(dir: &Path) {
    let trigger = "CREATE TRIGGER fault BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'the test says no'); END";
    other_program(dir).await.execute(trigger).await.unwrap();
}

async fn repair_disk(dir: &Path) {
    other_program(dir).await.execute("DROP TRIGGER fault").await.unwrap();
}

#[tokio::test]
async fn rows_wait_while_nothing_can_be_written_and_then_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::new(&store, "press").await;
    press.run(&store, 3);
    settle(&store, 3).await;
    break_disk(dir.path()).await;
    press.run(&store, 3);
    until(|| store.status().failing.is_some(), "it fails").await;
    assert!(store.status().failing.unwrap().contains("the test says no"));
    press.run(&store, 3);
    assert_eq!(drain(&mut target, 3).await.of("press"), [1, 2, 3], "what is committed is given all the same");
    assert!(is_silent(&mut target).await, "and nothing that is not");
    assert_eq!(Machine::new(&store, "press").await.next, 10, "the numbers that wait are used up");

    repair_disk(dir.path()).await;
    assert_eq!(drain(&mut target, 6).await.of("press"), (4..=9).collect::<Vec<u64>>());
    assert_eq!((store.status().failing, store.status().dropped.disk_failing), (None, 0));
}

#[tokio::test]
async fn a_new_device_and_a_new_target_can_begin_while_nothing_can_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    Machine::new(&store, "press").await.run(&store, 1);
    settle(&store, 1).await;
    break_disk(dir.path()).await;
    let mut oven = Machine::with_columns(&store, "oven", 5).await;
    let mut target = cursor(&store, "cloud").await;
    oven.run(&store, 2);
    until(|| store.status().failing.is_some(), "it fails").await;
    repair_disk(dir.path()).await;
    assert_eq!(drain(&mut target, 3).await.of("oven"), [1, 2]);
}

#[tokio::test]
async fn rows_that_have_no_room_become_a_gap_for_every_target() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    drop(cursor(&store, "away").await);
    // 64 KB of memory each, 64 MiB are allowed.
    let mut press = Machine::with_columns(&store, "press", 2_000).await;
    press.run(&store, 3);
    assert_eq!(drain(&mut target, 3).await.of("press"), [1, 2, 3]);
    break_disk(dir.path()).await;
    press.run(&store, 1_100);
    let status = store.status();
    assert!(status.dropped.disk_failing > 50 && status.pending_bytes <= 64 << 20, "{status:?}");
    repair_disk(dir.path()).await;
    until(|| store.status().rows_committed > 3, "it writes again").await;
    press.run(&store, 1);
    settle(&store, 1_104 - status.dropped.disk_failing).await;

    let mut received = Received { rows: [("press".to_owned(), vec![1, 2, 3])].into(), ..Received::default() };
    complete(&mut target, &mut received, "press", 1_104).await;
    let dropped = store.status().dropped.disk_failing;
    assert_eq!(received.gaps, [("press".to_owned(), 1_104 - dropped, 1_103, GapReason::DiskFailing)]);
    assert_eq!(received.after, [1_103 - dropped], "after the rows before it, before the rows behind it");
    let rows = received.of("press");
    assert_eq!((rows.is_sorted(), rows.last()), (true, Some(&1_104)));
    store.close().await;

    let store = open(dir.path()).await;
    assert_eq!(Machine::with_columns(&store, "press", 2_000).await.next, 1_105);
    let mut away = Received::default();
    complete(&mut cursor(&store, "away").await, &mut away, "press", 1_104).await;
    assert_eq!(away.gaps, received.gaps);
}

#[tokio::test]
async fn numbers_of_dropped_rows_are_not_given_again_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    drop(cursor(&store, "cloud").await);
    let mut press = Machine::with_columns(&store, "press", 2_000).await;
    for made in 1..=3 {
        press.run(&store, 1);
        settle(&store, made).await;
    }
    break_disk(dir.path()).await;
    press.run(&store, 1_100);
    until(|| store.status().failing.is_some(), "it fails").await;
    repair_disk(dir.path()).await;
    until(|| store.status().targets[0].gaps == 1, "it writes again").await;

    let copy = tempfile::tempdir().unwrap();
    for file in ["store.db", "store.db-wal"] {
        std::fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
    }
    let store = open(copy.path()).await;
    assert_eq!(Machine::with_columns(&store, "press", 2_000).await.next, 1_104);
}

#[tokio::test]
async fn a_database_that_another_program_holds_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::new(&store, "press").await;
    settle(&store, 0).await;
    let mut other = other_program(dir.path()).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    press.run(&store, 2);
    until(|| store.status().failing.is_some(), "it gives up waiting").await;
    assert!(store.status().failing.unwrap().contains("another program"));
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(drain(&mut target, 2).await.of("press"), [1, 2]);
}

#[tokio::test]
async fn a_commit_that_arrived_in_spite_of_its_error_is_not_written_twice() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::new(&store, "press").await;
    press.run(&store, 3);
    assert_eq!(drain(&mut target, 3).await.of("press"), [1, 2, 3]);
    break_disk(dir.path()).await;
    let rows: Vec<_> = (0..3).map(|_| press.row()).collect();
    let body = tidegate_codec::record::encode(&rows.iter().map(|row| Arc::clone(&row.0)).collect::<Vec<_>>()).unwrap();
    rows.into_iter().for_each(|(row, payload)| store.append(row, payload));
    until(|| store.status().failing.is_some(), "it fails").await;

    // What SQLite finds when the transaction was complete in the write-ahead log, but its fsync has failed.
    let mut other = other_program(dir.path()).await;
    other.execute("BEGIN IMMEDIATE; DROP TRIGGER fault").await.unwrap();
    let insert = "INSERT INTO log SELECT 3, 3, time_min, time_max, age, x'', ? FROM log WHERE first_position = 0";
    sqlx::query(insert).bind(body).execute(&mut other).await.unwrap();
    // And what the target had acknowledged by then, which nobody in memory knows to be there.
    other.execute("INSERT INTO acknowledged VALUES ('cloud', 4, 5); COMMIT").await.unwrap();

    assert_eq!(drain(&mut target, 3).await.of("press"), [4, 5, 6]);
    press.run(&store, 1);
    assert_eq!(drain(&mut target, 1).await.of("press"), [7]);
    store.close().await;
    let stale: i64 = sqlx::query_scalar("SELECT count(*) FROM acknowledged").fetch_one(&mut other).await.unwrap();
    assert_eq!(stale, 0, "or rows that come to stand there would count as acknowledged");
    let store = open(dir.path()).await;
    assert_eq!(drain(&mut cursor(&store, "late").await, 7).await.of("press"), (1..=7).collect::<Vec<u64>>());
    assert_eq!(store.status().rows, 7);
}

/// A file system of its own, gone when it is dropped. `None` where this process may not mount.
struct Mounted<'a>(&'a Path);

impl Mounted<'_> {
    fn new<'a>(at: &'a Path, arguments: &[&str]) -> Option<Mounted<'a>> {
        let mounted = Command::new("mount").args(arguments).arg(at).output().is_ok_and(|done| done.status.success());
        mounted.then_some(Mounted(at))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_waited_for_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::new(dir.path(), &["-t", "tmpfs", "-o", "size=2m", "none"]) else {
        return println!("skipped: a file system of two megabytes can only be mounted as root");
    };
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::with_columns(&store, "press", 200).await;
    let ballast = dir.path().join("ballast");
    std::fs::write(&ballast, vec![0_u8; 1_200_000]).unwrap();
    while store.status().failing.is_none() {
        press.run(&store, 20);
        tokio::time::sleep(Duration::from_millis(6)).await;
    }
    assert!(store.status().failing.unwrap().contains("the disk is full"));
    press.run(&store, 20);
    std::fs::remove_file(&ballast).unwrap();
    let rows = usize::try_from(press.next - 1).unwrap();
    assert_eq!(drain(&mut target, rows).await.of("press"), (1..press.next).collect::<Vec<u64>>());
    assert_eq!((store.status().failing, store.status().dropped.disk_failing), (None, 0));
}

#[tokio::test]
async fn compaction_on_a_full_disk_loses_nothing_and_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::new(dir.path(), &["-t", "tmpfs", "-o", "size=6m", "none"]) else {
        return println!("skipped: a file system of six megabytes can only be mounted as root");
    };
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::with_columns(&store, "press", 200).await;
    press.run(&store, 1);
    // As long as the first row is in flight nothing is moved into blocks.
    let first = some(&mut target, 1).await;
    for made in (21..=401).step_by(20) {
        press.run(&store, 20);
        settle(&store, made).await;
    }
    assert_eq!(store.status().epochs, 0);
    other_program(dir.path()).await.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
    let ballast = dir.path().join("ballast");
    // Room for a few commits, but not for the blocks of 400 rows of 1.6 kB.
    let _ = std::fs::write(&ballast, vec![0_u8; 6 << 20]);
    let file = std::fs::OpenOptions::new().write(true).open(&ballast).unwrap();
    file.set_len(file.metadata().unwrap().len() - 200 * 1024).unwrap();
    drop(file);
    target.acknowledge(first[0].ticket);
    press.run(&store, 1);
    until(|| store.status().failing.is_some(), "blocks find no room").await;
    assert!(store.status().failing.unwrap().contains("the disk is full"));
    assert_eq!((store.status().rows_committed, store.status().epochs), (402, 0), "it was not the commit");

    std::fs::remove_file(&ballast).unwrap();
    press.run(&store, 20);
    until(|| store.status().block_rows > 300, "there are blocks").await;
    assert_eq!(drain(&mut target, 421).await.of("press"), (2..=422).collect::<Vec<u64>>());
    assert_eq!(drain(&mut cursor(&store, "late").await, 422).await.of("press"), (1..=422).collect::<Vec<u64>>());
    assert_eq!((store.status().failing, store.status().dropped.disk_failing), (None, 0));
    store.close().await;
    let mut other = other_program(dir.path()).await;
    let lost = "SELECT (SELECT count(*) FROM body) - (SELECT count(*) FROM block) - \
                (SELECT coalesce(sum(end_id - first_id), 0) FROM loose)";
    let lost: i64 = sqlx::query_scalar(lost).fetch_one(&mut other).await.unwrap();
    assert!(lost <= 0, "no body is left over that nothing refers to");
}

#[tokio::test]
async fn a_gateway_starts_on_a_disk_that_is_nearly_full() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::new(dir.path(), &["-t", "tmpfs", "-o", "size=1m", "none"]) else {
        return println!("skipped: a file system of one megabyte can only be mounted as root");
    };
    let store = open(dir.path()).await;
    Machine::new(&store, "press").await.run(&store, 3);
    store.close().await;
    let ballast = dir.path().join("ballast");
    // As much as there is room for.
    let _ = std::fs::write(&ballast, vec![0_u8; 2 << 20]);
    let refused = error(Store::open(dir.path(), &options()).await);
    assert!(refused.to_string().contains("the disk is full"), "without a byte left it says so: {refused}");
    let file = std::fs::OpenOptions::new().write(true).open(&ballast).unwrap();
    file.set_len(file.metadata().unwrap().len() - 36 * 1024).unwrap();
    drop(file);

    let store = open(dir.path()).await;
    let (mut press, mut target) = (Machine::new(&store, "press").await, cursor(&store, "cloud").await);
    press.run(&store, 2);
    until(|| store.status().failing.is_some(), "it fails").await;
    assert_eq!(drain(&mut target, 3).await.of("press"), [1, 2, 3]);
    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(drain(&mut target, 2).await.of("press"), [4, 5]);
    assert_eq!(store.status().boot, 2);
}

#[tokio::test]
async fn a_read_only_directory_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::new(dir.path(), &["-t", "tmpfs", "-o", "ro", "none"]) else {
        return println!("skipped: a read-only file system can only be mounted as root");
    };
    let refused = error(Store::open(dir.path(), &options()).await);
    assert!(matches!(refused, StoreError::Directory { .. }));
    let text = refused.to_string();
    assert!(text.contains(&dir.path().display().to_string()) && text.contains("Read-only"), "{text}");
}

/// Runs a test of this file in a process of its own, in which no file can grow beyond 600 KB until it lifts the limit.
#[test]
fn an_input_output_error_is_waited_for_until_it_is_gone() {
    if !Command::new("prlimit").arg("--version").output().is_ok_and(|done| done.status.success()) {
        return println!("skipped: prlimit is not installed");
    }
    let itself = std::env::current_exe().unwrap();
    let done = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec prlimit --fsize=600000:unlimited \"$0\" \"$@\""])
        .arg(itself)
        .args(["--ignored", "--exact", "failing::with_a_limit_on_the_size_of_files", "--nocapture"])
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && output.contains("1 passed"), "{output}{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
#[ignore = "run by an_input_output_error_is_waited_for_until_it_is_gone"]
async fn with_a_limit_on_the_size_of_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::with_columns(&store, "press", 200).await;
    while store.status().failing.is_none() {
        press.run(&store, 20);
        tokio::time::sleep(Duration::from_millis(6)).await;
    }
    let why = store.status().failing.unwrap();
    assert!(why.contains("I/O error") || why.contains("full"), "{why}");
    let lift = ["--pid", &std::process::id().to_string(), "--fsize=unlimited"];
    assert!(Command::new("prlimit").args(lift).status().unwrap().success());
    let rows = usize::try_from(press.next - 1).unwrap();
    assert_eq!(drain(&mut target, rows).await.of("press"), (1..press.next).collect::<Vec<u64>>());
}
