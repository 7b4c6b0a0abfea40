//! Parts of the database turn rotten: what they held is reported, and everything else is served.

use std::{collections::BTreeSet, os::unix::fs::FileExt, path::Path};

use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tidegate_config::StartAt;
use tidegate_store::{Fill, GapReason, HistoryQuery, Item, Opened, Part, Query, Reader, Store, Why};

use crate::{chance::Chance, plant::*, works::*};

const PAGE: u64 = 4_096;
/// Rows of each device in blocks, about, and those behind them.
const ROWS: u64 = 1_200;

async fn change(dir: &Path, sql: &'static str) {
    let mut database = SqliteConnectOptions::new().filename(dir.join("store.db")).connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
}

/// A store of which most rows are in blocks, and the last in records, closed.
async fn grown(dir: &Path) {
    let store = open_with(dir, &for_ever()).await;
    let mut chance = Chance::of(3);
    let mut workers = Vec::new();
    for device in DEVICES {
        workers.push(Worker::new(&store, device).await);
    }
    for rows in (30..=ROWS).step_by(30) {
        for worker in &mut workers {
            worker.work(&store, 30, &mut chance);
        }
        settle(&store, rows * 3).await;
    }
    until(|| store.status().epochs >= 3, "rows have become blocks").await;
    for worker in &mut workers {
        worker.work(&store, 5, &mut chance);
    }
    settle(&store, (ROWS + 5) * 3).await;
    store.close().await;
}

/// What a reader gives of a device: the numbers that are there, and those that are reported missing.
async fn read(reader: &Reader, device: &str) -> Result<(BTreeSet<u64>, BTreeSet<u64>), tidegate_store::StoreError> {
    let mut scan = reader.scan(&Query::of(name(device))).await?;
    let (mut there, mut missing) = (BTreeSet::new(), BTreeSet::new());
    while let Some(part) = scan.next().await? {
        match part {
            Part::Rows { stream, batch, .. } => {
                for at in 0..batch.len() {
                    let row = batch.row(at, &stream).unwrap();
                    said(&row);
                    assert!(there.last().is_none_or(|last| *last < row.seq) && there.insert(row.seq));
                }
            }
            Part::Missing(part) => {
                assert!(matches!(&part.why, Why::Damaged(why) if !why.is_empty()), "{part:?}");
                missing.extend(part.first.unwrap_or(1)..=part.last.unwrap_or(ROWS + 5));
            }
        }
    }
    assert!(there.is_disjoint(&missing));
    Ok((there, missing))
}

/// What a new target gets, until everything has been given or announced.
async fn deliver(store: &Store) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let mut target = store.cursor(&name("new"), StartAt::Oldest).await.unwrap();
    let (mut there, mut missing) = (BTreeSet::new(), BTreeSet::new());
    let press = |device: &str| device == "press";
    while there.union(&missing).count() < usize::try_from(ROWS + 5).unwrap() {
        for delivery in some(&mut target, 1000).await {
            match &delivery.item {
                Item::Row { row, .. } if press(row.stream.device().as_str()) => {
                    said(row);
                    assert!(there.insert(row.seq));
                }
                Item::Gap { stream, from, to, reason } if press(stream.device().as_str()) => {
                    assert_eq!(*reason, GapReason::Damaged);
                    missing.extend(*from..=(*to).min(ROWS + 5));
                }
                _ => {}
            }
            target.acknowledge(delivery.ticket);
        }
    }
    (there, missing)
}

fn all() -> BTreeSet<u64> {
    (1..=ROWS + 5).collect()
}

/// The block of a device that is neither its first nor, most likely, its last.
macro_rules! of_second {
    ($select:literal) => {
        concat!(
            "SELECT ",
            $select,
            " FROM block JOIN stream ON stream.id = stream_id WHERE device = 'press' ORDER BY first_seq LIMIT 1 OFFSET 1"
        )
    };
}

#[tokio::test]
async fn a_block_with_damaged_rows_is_reported_exactly_and_the_rest_is_served() {
    for damage in [
        concat!(
            "UPDATE body SET bytes = CAST(substr(bytes, 1, 20) || x'5a5b5c' || substr(bytes, 24) AS BLOB) WHERE id = (",
            of_second!("body_id"),
            ")"
        ),
        concat!("UPDATE body SET bytes = x'' WHERE id = (", of_second!("body_id"), ")"),
        concat!("DELETE FROM body WHERE id = (", of_second!("body_id"), ")"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        grown(dir.path()).await;
        let first = number(dir.path(), of_second!("first_seq")).await;
        let rows = number(dir.path(), of_second!("row_count")).await;
        let lost: BTreeSet<u64> = (first..first + rows).map(|seq| u64::try_from(seq).unwrap()).collect();
        let there: BTreeSet<u64> = all().difference(&lost).copied().collect();
        change(dir.path(), damage).await;
        let reader = Reader::open(dir.path()).await.unwrap();
        assert_eq!(read(&reader, "press").await.unwrap(), (there.clone(), lost.clone()), "{damage}");
        for other in ["oven", "saw"] {
            assert_eq!(read(&reader, other).await.unwrap(), (all(), BTreeSet::new()));
        }
        let (device, tag) = (name("press"), "tag2".parse().unwrap());
        let query = HistoryQuery { device, tag, from: None, to: None, max_points: 10_000, fill: Fill::Nothing };
        let history = reader.history(&query).await.unwrap().unwrap();
        assert_eq!(history.samples.len(), there.len());
        let spans: Vec<_> = history.missing.iter().map(|missing| (missing.first, missing.last)).collect();
        assert_eq!(spans, [(lost.first().copied(), lost.last().copied())]);
        let store = open_with(dir.path(), &for_ever()).await;
        assert_eq!(deliver(&store).await, (there.clone(), lost.clone()), "{damage}");
        // Later blocks are joined, and what is lost stays what it was.
        let mut oven = Worker::new(&store, "oven").await;
        for _ in 0..40 {
            let committed = store.status().rows_committed;
            oven.work(&store, 30, &mut Chance::of(4));
            settle(&store, committed + 30).await;
        }
        assert_eq!(read(&store.reader(), "press").await.unwrap(), (there, lost), "{damage}");
        store.close().await;
    }
}

/// Overwrites each page in turn. Whatever it held: no reader and no target gets a row that was never written, none is missing
/// without a word, and nothing panics.
#[tokio::test]
async fn whichever_page_is_overwritten_no_row_is_wrong_and_none_is_missing_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    grown(dir.path()).await;
    let whole = std::fs::read(dir.path().join("store.db")).unwrap();
    let pages = u64::try_from(whole.len()).unwrap() / PAGE;
    assert!(pages > 20, "{pages}");
    let (mut harmless, mut partly, mut refused, mut replaced) = (0, 0, 0, 0);
    for page in 0..pages {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("store.db");
        std::fs::write(&file, &whole).unwrap();
        std::fs::OpenOptions::new().write(true).open(&file).unwrap().write_all_at(&[0xa5; 4_096], page * PAGE).unwrap();
        match read_copy(dir.path()).await {
            Ok((there, missing)) => {
                assert_eq!(there.union(&missing).copied().collect::<BTreeSet<u64>>(), all(), "page {}", page + 1);
                *if missing.is_empty() { &mut harmless } else { &mut partly } += 1;
            }
            Err(_) => refused += 1,
        }
        replaced += u64::from(is_replaced(dir.path(), page).await);
    }
    println!(
        "{pages} pages: {harmless} without rows of the device, {partly} with some of them, {refused} without which nothing can be \
         read; a gateway replaced the database {replaced} times"
    );
    assert!(harmless > 0 && partly > 0);
}

/// Whether a gateway begins anew. If not, a target is served what can be read, and told of the rest.
async fn is_replaced(dir: &Path, page: u64) -> bool {
    let Opened { store, set_aside } = Store::open(dir, &for_ever()).await.unwrap();
    if set_aside.is_none() {
        let (there, missing) = deliver(&store).await;
        assert_eq!(there.union(&missing).copied().collect::<BTreeSet<u64>>(), all(), "page {}", page + 1);
    }
    store.close().await;
    set_aside.is_some()
}

/// A database that is too large to be checked as a whole at the start: damage is met when it is read.
#[tokio::test]
async fn a_page_that_is_met_later_costs_what_it_held_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    grown(dir.path()).await;
    fill(dir.path()).await;
    let whole = std::fs::read(dir.path().join("store.db")).unwrap();
    assert!(whole.len() > 6 << 20, "{}", whole.len());
    // A page with blocks, and some with bodies: early, in the middle, late.
    let pages = [
        "SELECT pageno FROM dbstat WHERE name = 'block' AND pagetype = 'leaf' ORDER BY pageno LIMIT 1",
        "SELECT pageno FROM dbstat WHERE name = 'body' AND pagetype = 'leaf' ORDER BY pageno LIMIT 1 OFFSET 1",
        "SELECT pageno FROM dbstat WHERE name = 'body' AND pagetype = 'leaf' ORDER BY pageno LIMIT 1 \
         OFFSET (SELECT count(*) / 2 FROM dbstat WHERE name = 'body' AND pagetype = 'leaf')",
        "SELECT pageno FROM dbstat WHERE name = 'body' AND pagetype = 'leaf' ORDER BY pageno DESC LIMIT 1",
    ];
    let mut served = 0;
    for select in pages {
        let page = u64::try_from(number(dir.path(), select).await).unwrap() - 1;
        let copy = tempfile::tempdir().unwrap();
        let file = copy.path().join("store.db");
        std::fs::write(&file, &whole).unwrap();
        std::fs::OpenOptions::new().write(true).open(&file).unwrap().write_all_at(&[0xa5; 4_096], page * PAGE).unwrap();
        let (there, missing) = read_copy(copy.path()).await.unwrap();
        assert_eq!(there.union(&missing).copied().collect::<BTreeSet<u64>>(), all(), "{select}");
        served += u64::from(!is_replaced(copy.path(), page).await);
    }
    assert!(served > 0, "a gateway goes on with what is left");
}

/// Makes the database larger by what another device has said.
async fn fill(dir: &Path) {
    let store = open_with(dir, &for_ever()).await;
    let mut mixer = Machine::with_columns(&store, "mixer", 2_000).await;
    mixer.interval = 60_000;
    for tens in 1..=50 {
        mixer.run(&store, 10);
        settle(&store, tens * 10).await;
    }
    store.close().await;
}

async fn read_copy(dir: &Path) -> Result<(BTreeSet<u64>, BTreeSet<u64>), tidegate_store::StoreError> {
    read(&Reader::open(dir).await?, "press").await
}
