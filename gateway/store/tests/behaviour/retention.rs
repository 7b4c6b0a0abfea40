use std::time::Duration;

use tidegate_config::{ByteSize, StartAt};
use tidegate_store::{GapReason, Item, Store};

use crate::plant::*;

const LIMIT: u64 = 2 << 20;
/// What of it is not kept for the write-ahead log.
const ROOM: u64 = LIMIT - LIMIT / 32;

fn small() -> tidegate_config::Store {
    tidegate_config::Store { max_size: ByteSize(LIMIT), ..options() }
}

fn one_hour() -> tidegate_config::Store {
    tidegate_config::Store { max_age: Duration::from_secs(3600), ..options() }
}

/// Commits of `each` rows until `rows` are there.
async fn produce(store: &Store, machine: &mut Machine, rows: u64, each: u64) {
    let before = store.status().rows_committed;
    for made in (each..=rows).step_by(usize::try_from(each).unwrap()) {
        machine.run(store, each);
        settle(store, before + made).await;
    }
}

fn size_on_disk(dir: &std::path::Path) -> (u64, u64) {
    let size = |file: &str| std::fs::metadata(dir.join(file)).map_or(0, |file| file.len());
    (size("store.db"), size("store.db-wal"))
}

#[tokio::test]
async fn the_file_stays_within_max_size_and_keeps_the_newest_rows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), &small()).await;
    let mut press = Machine::with_columns(&store, "press", 200).await;
    // Five times what fits.
    produce(&store, &mut press, 7_000, 50).await;
    until(|| store.status().bytes <= ROOM, "enough is dropped").await;
    let status = store.status();
    assert!(status.bytes > LIMIT * 9 / 10, "no more is dropped than has to be: {}", status.bytes);
    assert_eq!(status.dropped.store_full, 0, "nobody waited for what was dropped");
    store.close().await;
    let (database, journal) = size_on_disk(dir.path());
    // The file keeps the most that was ever in use: blocks are written before what they replace is removed, half a megabyte
    // at a time, and what is removed goes before anything else is written.
    assert!(database <= LIMIT + LIMIT / 8 && journal == 0, "{database} + {journal}");

    let store = open_with(dir.path(), &small()).await;
    let received = drain(&mut cursor(&store, "late").await, usize::try_from(status.rows).unwrap()).await;
    let rows = received.of("press");
    assert_eq!((rows.last(), received.gaps), (Some(&7_000), vec![]));
    assert!(rows.is_sorted() && rows.len() > 500, "{}", rows.len());
    assert_eq!(Machine::with_columns(&store, "press", 200).await.next, 7_001);
}

#[tokio::test]
async fn what_a_target_has_not_got_is_announced_before_the_rows_that_follow() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), &small()).await;
    let (mut press, mut oven) =
        (Machine::with_columns(&store, "press", 200).await, Machine::with_columns(&store, "oven", 3).await);
    let mut target = cursor(&store, "away").await;
    let (mut first, mut acknowledged) = (some_of(&store, &mut press, &mut target).await, Received::default());
    for delivery in first.drain(..4) {
        acknowledged.take(&delivery);
        target.acknowledge(delivery.ticket);
    }
    target.rewind();
    for _ in 0..60 {
        oven.run(&store, 1);
        press.run(&store, 50);
        settle(&store, press.next + oven.next - 2).await;
    }
    until(|| store.status().bytes <= ROOM, "enough is dropped").await;
    let waiting = store.status().targets[0].clone();
    assert_eq!(waiting.waiting_rows, store.status().rows, "what is dropped does not wait any more");
    assert_eq!(waiting.gaps, 2, "one of each stream, however often something was dropped");

    let mut received = acknowledged;
    let firsts = some(&mut target, 1000).await;
    assert!(firsts.iter().all(|delivery| matches!(delivery.item, Item::Gap { .. })), "gaps come first");
    for delivery in firsts {
        received.take(&delivery);
        target.acknowledge(delivery.ticket);
    }
    complete(&mut target, &mut received, "press", press.next - 1).await;
    complete(&mut target, &mut received, "oven", oven.next - 1).await;
    let (device, from, to, reason) = received.gaps.iter().find(|gap| gap.0 == "press").unwrap().clone();
    assert_eq!((device.as_str(), from, reason), ("press", 5, GapReason::StoreFull), "the first four were acknowledged");
    assert!(received.of("press").iter().all(|seq| !(from..=to).contains(seq)), "what is announced does not come");
    assert_eq!(store.status().dropped.store_full, received.gaps.iter().map(|gap| gap.2 - gap.1 + 1).sum::<u64>());
    until(|| store.status().targets[0].gaps == 0, "the gaps are acknowledged").await;
}

/// The first ten rows of a machine.
async fn some_of(
    store: &Store,
    machine: &mut Machine,
    target: &mut tidegate_store::Cursor,
) -> Vec<tidegate_store::Delivery> {
    machine.run(store, 10);
    settle(store, 10).await;
    some(target, 10).await
}

#[tokio::test]
async fn a_gap_that_is_not_acknowledged_comes_again_after_a_rewind_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), &small()).await;
    let mut target = store.cursor(&name("cloud"), StartAt::Now).await.unwrap();
    let mut press = Machine::with_columns(&store, "press", 200).await;
    produce(&store, &mut press, 2_000, 50).await;
    until(|| store.status().bytes <= ROOM && store.status().targets[0].gaps > 0, "something is dropped").await;
    let gap = |deliveries: Vec<tidegate_store::Delivery>| {
        let mut received = Received::default();
        received.take(&deliveries[0]);
        (received.gaps, deliveries[0].ticket)
    };
    let (first, ticket) = gap(some(&mut target, 1).await);
    target.rewind();
    target.acknowledge(ticket);
    assert_eq!(gap(some(&mut target, 1).await).0, first);
    store.close().await;

    let store = open_with(dir.path(), &small()).await;
    let mut target = cursor(&store, "cloud").await;
    let (again, ticket) = gap(some(&mut target, 1).await);
    assert_eq!(again, first);
    target.acknowledge(ticket);
    store.close().await;

    let store = open_with(dir.path(), &small()).await;
    let received = drain(&mut cursor(&store, "cloud").await, 1).await;
    assert_eq!(received.gaps, [], "an acknowledged gap is over");
}

#[tokio::test]
async fn a_call_that_is_given_up_loses_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), &small()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::with_columns(&store, "press", 200).await;
    produce(&store, &mut press, 2_000, 50).await;
    until(|| store.status().bytes <= ROOM && store.status().targets[0].gaps > 0, "something is dropped").await;
    let mut received = Received::default();
    for micros in (0..).step_by(20) {
        if let Ok(next) = tokio::time::timeout(Duration::from_micros(micros), target.next(100, 1 << 20)).await {
            next.unwrap().iter().for_each(|delivery| received.take(delivery));
            break;
        }
    }
    assert_eq!((received.gaps.len(), received.gaps[0].1), (1, 1));
    // The gap has been asked for, and when the answer comes nobody waits for it.
    target.rewind();
    assert!(give_up_after(1, target.next(100, 1 << 20)).await.is_none());
    target.rewind();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut again = Received::default();
    some(&mut target, 100).await.iter().for_each(|delivery| again.take(delivery));
    assert_eq!(again.gaps, received.gaps);
}

#[tokio::test]
async fn the_number_of_a_group_outlives_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), &small()).await;
    let mut press = Machine::with_columns(&store, "press", 200).await;
    produce(&store, &mut press, 100, 50).await;
    Machine::new(&store, "oven").await.run(&store, 5);
    settle(&store, 105).await;
    // Few commits, so that only the dropping itself can have saved the number.
    produce(&store, &mut press, 3_000, 100).await;
    until(|| store.status().bytes <= ROOM && store.status().rows < 2_000, "something is dropped").await;
    let copy = tempfile::tempdir().unwrap();
    for file in ["store.db", "store.db-wal"] {
        std::fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
    }
    let store = open(copy.path()).await;
    assert_eq!(Machine::new(&store, "oven").await.next, 6);
}

#[tokio::test]
async fn rows_leave_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), &one_hour()).await;
    let mut target = cursor(&store, "away").await;
    let mut press = Machine::new(&store, "press").await;
    // Three hours, a row every ten seconds.
    press.interval = 10_000;
    produce(&store, &mut press, 1_080, 10).await;
    until(|| store.status().rows <= 380, "what is too old is dropped").await;
    assert!(store.status().rows >= 360, "an hour is kept: {}", store.status().rows);
    let mut received = Received::default();
    complete(&mut target, &mut received, "press", 1_080).await;
    assert_eq!((received.gaps[0].1, received.gaps[0].3), (1, GapReason::TooOld));
    assert_eq!(store.status().dropped.too_old, received.gaps.iter().map(|gap| gap.2 - gap.1 + 1).sum::<u64>());
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_by_years_drops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), &one_hour()).await;
    let mut press = Machine::new(&store, "press").await;
    produce(&store, &mut press, 100, 10).await;
    press.interval = 1_000_000_000;
    press.run(&store, 1);
    settle(&store, 101).await;
    press.interval = 1_000;
    produce(&store, &mut press, 100, 10).await;
    let mut target = cursor(&store, "cloud").await;
    let received = drain(&mut target, 201).await;
    assert_eq!((received.of("press").len(), received.gaps), (201, vec![]));
}

#[tokio::test]
async fn the_newest_rows_stay_however_small_the_store_is() {
    let dir = tempfile::tempdir().unwrap();
    let tiny = tidegate_config::Store { max_size: ByteSize(1), max_age: Duration::from_millis(1), ..options() };
    let store = open_with(dir.path(), &tiny).await;
    let mut press = Machine::new(&store, "press").await;
    produce(&store, &mut press, 100, 10).await;
    until(|| store.status().rows == 10, "all but the newest commit is dropped").await;
    let mut target = cursor(&store, "cloud").await;
    assert_eq!(drain(&mut target, 10).await.of("press"), (91..=100).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_target_that_reads_while_rows_are_dropped_misses_none_without_being_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), &small()).await;
    let mut target = cursor(&store, "slow").await;
    let mut press = Machine::with_columns(&store, "press", 200).await;
    let mut received = Received::default();
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            produce(&store, &mut press, 5_000, 25).await;
        })
    };
    while !writer.is_finished() {
        for delivery in some(&mut target, 3).await {
            received.take(&delivery);
            target.acknowledge(delivery.ticket);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    complete(&mut target, &mut received, "press", 5_000).await;
    assert!(received.of("press").is_sorted_by(|a, b| a < b), "in order, none twice");
}
