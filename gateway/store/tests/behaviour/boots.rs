//! Each row is of the start of the gateway in which it was numbered, wherever it has got to since.

use std::{collections::BTreeMap, os::unix::fs::FileExt, path::Path, time::Duration};

use sqlx::{ConnectOptions, SqliteConnection, sqlite::SqliteConnectOptions};
use tidegate_store::{Item, Part, Query, Reader, Shape, Store};

use crate::{
    compaction::{joined, produce},
    plant::*,
};

const DEVICES: [&str; 3] = ["press", "oven", "saw"];

/// The starts of rows 1, 2, 3 … of a device.
type Boots = BTreeMap<String, Vec<u64>>;

async fn machines(store: &Store, interval: i64) -> Vec<Machine> {
    let mut machines = Vec::new();
    for (device, width) in DEVICES.into_iter().zip([3, 20, 1]) {
        machines.push(Machine { interval, ..Machine::with_columns(store, device, width).await });
    }
    machines
}

/// What a target is told that takes everything from the beginning.
async fn told(store: &Store, target: &str, shape: Shape, rows: usize) -> Boots {
    let mut target = cursor(store, target).await;
    let acknowledger = target.acknowledger();
    let (_live, mut backlog) = target.lanes(shape);
    let (mut received, mut boots, mut count) = (Received::default(), Boots::new(), 0);
    while count < rows {
        let next = tokio::time::timeout(LONG, backlog.next(1_000, 1 << 20)).await.expect("waited in vain for rows");
        for delivery in next.unwrap() {
            received.take(&delivery);
            acknowledger.acknowledge(delivery.ticket);
            let (stream, of) = match &delivery.item {
                Item::Row { row, .. } => (&row.stream, 1),
                Item::Block { stream, rows, .. } => (stream, usize::try_from(*rows).unwrap()),
                Item::Gap { .. } => panic!("nothing is missing"),
            };
            count += of;
            let list = boots.entry(stream.device().to_string()).or_default();
            list.extend(std::iter::repeat_n(delivery.boot, of));
        }
    }
    assert!(DEVICES.iter().all(|device| received.of(device).is_sorted()));
    boots
}

async fn scanned(reader: &Reader, store: &Store) -> Boots {
    let mut boots = Boots::new();
    for device in DEVICES {
        let mut scan = reader.scan(&Query::of(name(device))).await.unwrap();
        assert_eq!(scan.store(), Some(store.id()));
        while let Some(part) = scan.next().await.unwrap() {
            let Part::Rows { boot, batch, .. } = part else { panic!("nothing is missing") };
            boots.entry(device.to_owned()).or_default().extend(std::iter::repeat_n(boot, batch.len()));
        }
    }
    boots
}

/// So many rows of each device in each start.
fn expected(rows: &[usize]) -> Boots {
    let of_one: Vec<u64> = (1..).zip(rows).flat_map(|(boot, rows)| std::iter::repeat_n(boot, *rows)).collect();
    DEVICES.into_iter().map(|device| (device.to_owned(), of_one.clone())).collect()
}

async fn right_everywhere(dir: &Path, store: &Store, rows: &[usize]) {
    let (expected, all) = (expected(rows), 3 * rows.iter().sum::<usize>());
    for (shape, target) in [(Shape::Rows, "rows"), (Shape::Blocks, "blocks")] {
        let target = format!("{target}{}{all}", store.boot());
        assert_eq!(told(store, &target, shape, all).await, expected, "{shape:?}");
    }
    assert_eq!(scanned(&store.reader(), store).await, expected);
    assert_eq!(scanned(&Reader::open(dir).await.unwrap(), store).await, expected);
}

async fn number(dir: &Path, select: &'static str) -> i64 {
    let mut database: SqliteConnection =
        SqliteConnectOptions::new().filename(dir.join("store.db")).connect().await.unwrap();
    sqlx::query_scalar(select).fetch_one(&mut database).await.unwrap()
}

async fn produce_slowly(store: &Store, machines: &mut [Machine]) {
    for _ in 0..30 {
        produce(store, machines, 20).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn rows_keep_the_start_they_were_numbered_in_through_restarts_compaction_and_joining() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    produce(&store, &mut machines(&store, 1_000).await, 100).await;
    store.close().await;
    // A start without a row.
    open(dir.path()).await.close().await;
    let store = open(dir.path()).await;
    produce(&store, &mut machines(&store, 1_000).await, 100).await;
    assert_eq!(store.status().epochs, 0, "these are fresh records");
    right_everywhere(dir.path(), &store, &[100, 0, 100]).await;

    produce_slowly(&store, &mut machines(&store, 60_000).await).await;
    joined(dir.path(), &store, 2_000).await;
    right_everywhere(dir.path(), &store, &[100, 0, 700]).await;
    store.close().await;

    let store = open(dir.path()).await;
    produce_slowly(&store, &mut machines(&store, 60_000).await).await;
    joined(dir.path(), &store, 3_800).await;
    right_everywhere(dir.path(), &store, &[100, 0, 700, 600]).await;
    let across = "SELECT count(*) FROM epoch, start \
                  WHERE start.first_position > epoch.first_position AND start.first_position < epoch.end_position";
    assert_eq!(number(dir.path(), across).await, 0);
    assert_eq!(number(dir.path(), "SELECT count(*) FROM start").await, 3, "the one without rows is forgotten");
    store.close().await;
    let store = open(dir.path()).await;
    right_everywhere(dir.path(), &store, &[100, 0, 700, 600]).await;
}

#[tokio::test]
async fn starts_are_forgotten_with_their_rows() {
    let dir = tempfile::tempdir().unwrap();
    let short = tidegate_config::Store { max_age: Duration::from_secs(3_600), ..options() };
    for _ in 0..4 {
        let store = open_with(dir.path(), &short).await;
        produce(&store, &mut machines(&store, 60_000).await, 200).await;
        let status = || store.status();
        until(|| status().rows < 600, "old rows are dropped").await;
        store.close().await;
    }
    assert!(number(dir.path(), "SELECT count(*) FROM start").await <= 2);
    assert_eq!(number(dir.path(), "SELECT max(boot) FROM start").await, 4);
}

fn copied(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[tokio::test]
async fn a_copy_of_a_store_counts_its_starts_on_as_the_original_does_not() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for boot in [1, 2] {
        let store = open(dir.path()).await;
        produce(&store, &mut machines(&store, 1_000).await, 10).await;
        assert_eq!(store.boot(), boot);
        store.close().await;
    }
    copied(dir.path(), copy.path());
    let (original, restored) = (open(dir.path()).await, open(copy.path()).await);
    assert_eq!(original.boot(), 3, "it has stayed where it is");
    let first = restored.boot();
    assert!(first > 3, "{first}");
    assert_eq!(restored.id(), original.id(), "the rows that both have are the same");
    produce(&restored, &mut machines(&restored, 1_000).await, 10).await;
    let expected: Vec<u64> =
        [(1, 10), (2, 10), (first, 10)].iter().flat_map(|(boot, rows)| vec![*boot; *rows]).collect();
    assert_eq!(scanned(&restored.reader(), &restored).await["press"], expected);
    restored.close().await;
    let again = open(copy.path()).await;
    assert_eq!(again.boot(), first + 1, "from now on it is where it was");
}

#[tokio::test]
async fn an_older_database_put_in_the_place_of_the_newer_counts_its_starts_on_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let (database, backup) = (dir.path().join("store.db"), dir.path().join("backup"));
    let run = async || {
        let store = open(dir.path()).await;
        produce(&store, &mut machines(&store, 1_000).await, 10).await;
        let (boot, boots) = (store.boot(), scanned(&store.reader(), &store).await["press"].clone());
        store.close().await;
        (boot, boots)
    };
    assert_eq!(run().await.0, 1);
    std::fs::copy(&database, &backup).unwrap();
    assert_eq!((run().await.0, run().await.0), (2, 3));
    let mut before = 3;
    for _ in 0..2 {
        std::fs::copy(&backup, &database).unwrap();
        let (restored, boots) = run().await;
        assert!(restored > before + 1, "{restored}: no start that was forgotten counts the same");
        assert_eq!(boots, [[1; 10], [restored; 10]].concat());
        assert_eq!(run().await.0, restored + 1, "from now on it is the one that belongs here");
        before = restored + 1;
    }
    std::fs::remove_file(&database).unwrap();
    assert_eq!(run().await.0, 1, "a new database has numbers of its own");
}

#[tokio::test]
async fn a_whole_backup_copied_over_the_directory_and_a_disk_that_was_set_back_count_their_starts_on_elsewhere() {
    let (dir, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let run = async || {
        let store = open(dir.path()).await;
        produce(&store, &mut machines(&store, 1_000).await, 10).await;
        let boot = store.boot();
        store.close().await;
        boot
    };
    assert_eq!(run().await, 1);
    copied(dir.path(), backup.path());
    // The backup is an hour old: that is what its lock says of itself.
    let lock = backup.path().join("store.lock");
    let text = std::fs::read_to_string(&lock).unwrap();
    let at: i64 = text.lines().nth(1).expect("it says when it was written").parse().unwrap();
    std::fs::write(&lock, format!("1\n{}\n", at - 3_600_000)).unwrap();
    assert_eq!(run().await, 2);
    // Into the same files, as `cp -a` does.
    copied(backup.path(), dir.path());
    let restored = run().await;
    assert!(restored > 3, "{restored}: as no start that was forgotten");
    assert_eq!(run().await, restored + 1);

    // What is on the disk says nothing else than before, but it was written on another run of the machine.
    let mut database: SqliteConnection =
        SqliteConnectOptions::new().filename(dir.path().join("store.db")).connect().await.unwrap();
    let machine = "UPDATE meta SET value = value + 1 WHERE key = 'machine' AND value > 0";
    let updated = sqlx::query(machine).execute(&mut database).await.unwrap().rows_affected();
    sqlx::Connection::close(database).await.unwrap();
    if updated == 0 {
        return println!("skipped: this system does not tell one run of the machine from another");
    }
    let restarted = run().await;
    assert!(restarted > restored + 2, "{restarted}");
    assert_eq!(run().await, restarted + 1);
}

#[tokio::test]
async fn a_damaged_database_that_has_forgotten_its_last_starts_goes_on_behind_them_and_knows_its_place() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (database, backup) = (dir.path().join("store.db"), dir.path().join("backup"));
    let run = async || {
        let store = open(dir.path()).await;
        produce(&store, &mut machines(&store, 1_000).await, 10).await;
        let known = (store.boot(), store.id());
        store.close().await;
        known
    };
    let id = run().await.1;
    std::fs::copy(&database, &backup).unwrap();
    assert_eq!((run().await, run().await), ((2, id), (3, id)));
    // As a disk leaves it that has lost what was written last, and an index, which nothing is told from.
    std::fs::copy(&backup, &database).unwrap();
    let root = number(dir.path(), "SELECT rootpage FROM sqlite_schema WHERE name = 'gap_in_order'").await;
    let file = std::fs::OpenOptions::new().write(true).open(&database).unwrap();
    file.write_all_at(&[0xa5; 4_096], (u64::try_from(root).unwrap() - 1) * 4_096).unwrap();
    drop(file);
    let opened = Store::open(dir.path(), &options()).await.unwrap();
    assert!(opened.set_aside.is_some());
    let (boot, store) = (opened.store.boot(), opened.store);
    assert!(boot > 4, "{boot}: no start that was forgotten counts the same");
    assert_eq!(store.id(), id, "and so it may go on with the same numbers");
    produce(&store, &mut machines(&store, 1_000).await, 10).await;
    store.close().await;
    copied(dir.path(), copy.path());
    assert_eq!(run().await, (boot + 1, id), "it is where it was");
    let elsewhere = open(copy.path()).await.boot();
    assert!(elsewhere > boot + 1, "{elsewhere}: the new database knows its place");
}
