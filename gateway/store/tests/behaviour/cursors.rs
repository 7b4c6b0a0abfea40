use std::time::Duration;

use tidegate_config::StartAt;
use tidegate_store::{Item, StoreError};

use crate::plant::*;

fn seqs(deliveries: &[tidegate_store::Delivery]) -> Vec<u64> {
    let seq = |delivery: &tidegate_store::Delivery| match &delivery.item {
        Item::Row { row, .. } => row.seq,
        Item::Block { .. } | Item::Gap { .. } => panic!("no row"),
    };
    deliveries.iter().map(seq).collect()
}

#[tokio::test]
async fn rows_come_in_order_with_their_payload_while_the_target_keeps_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::new(&store, "press").await;
    press.run(&store, 10);
    let mut received = Received::default();
    while received.of("press").len() < 10 {
        for delivery in some(&mut target, 3).await {
            assert!(matches!(&delivery.item, Item::Row { payload: Some(_), .. }), "it is still in memory");
            received.take(&delivery);
        }
    }
    assert_eq!(received.of("press"), (1..=10).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_target_that_comes_later_gets_everything_from_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let (mut press, mut oven) = (Machine::new(&store, "press").await, Machine::new(&store, "oven").await);
    for _ in 0..30 {
        press.run(&store, 3);
        oven.run(&store, 1);
        settle(&store, press.next + oven.next - 2).await;
    }
    let mut target = cursor(&store, "cloud").await;
    let received = drain(&mut target, 120).await;
    assert_eq!(received.of("press"), (1..=90).collect::<Vec<u64>>());
    assert_eq!(received.of("oven"), (1..=30).collect::<Vec<u64>>());
    // And from then on out of memory.
    press.run(&store, 1);
    let live = some(&mut target, 10).await;
    assert!(matches!(&live[0].item, Item::Row { payload: Some(_), .. }));
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    Machine::new(&store, "press").await.run(&store, 10);
    settle(&store, 10).await;
    let given = some(&mut target, 10).await;
    // Out of order, and the third is missing.
    for at in [1, 0, 4, 3] {
        target.acknowledge(given[at].ticket);
    }
    store.close().await;

    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    assert_eq!(drain(&mut target, 6).await.of("press"), [3, 6, 7, 8, 9, 10]);
}

#[tokio::test]
async fn an_acknowledgement_reaches_the_disk_within_the_commit_interval_without_new_rows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    Machine::new(&store, "press").await.run(&store, 3);
    settle(&store, 3).await;
    let given = some(&mut target, 3).await;
    let commits = store.status().commits;
    given.iter().for_each(|delivery| target.acknowledge(delivery.ticket));
    until(|| store.status().commits > commits, "the place is saved").await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(store.status().commits, commits + 1, "one commit for all three, and none while nothing happens");

    // The operating system ends the process here: what has not been written is gone.
    let copy = tempfile::tempdir().unwrap();
    for file in ["store.db", "store.db-wal"] {
        std::fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
    }
    let store = open(copy.path()).await;
    assert!(is_silent(&mut cursor(&store, "cloud").await).await);
}

#[tokio::test]
async fn a_rewind_gives_again_what_is_not_acknowledged_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    Machine::new(&store, "press").await.run(&store, 6);
    settle(&store, 6).await;
    let given = some(&mut target, 6).await;
    for at in [0, 2, 5] {
        target.acknowledge(given[at].ticket);
    }
    target.rewind();
    let mut again = Vec::new();
    while again.len() < 3 {
        again.extend(seqs(&some(&mut target, 1).await));
    }
    assert_eq!(again, [2, 4, 5]);
    assert!(is_silent(&mut target).await);
}

#[tokio::test]
async fn every_target_has_a_place_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = Machine::new(&store, "press").await;
    let (mut fast, mut slow) = (cursor(&store, "fast").await, cursor(&store, "slow").await);
    press.run(&store, 20);
    assert_eq!(drain(&mut fast, 20).await.of("press").len(), 20);
    assert_eq!(seqs(&some(&mut slow, 1).await), [1]);
    press.run(&store, 20);
    assert_eq!(drain(&mut fast, 20).await.of("press"), (21..=40).collect::<Vec<u64>>());
    assert_eq!(drain(&mut slow, 39).await.of("press"), (2..=40).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_second_cursor_of_the_same_target_is_refused_until_the_first_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let first = cursor(&store, "cloud").await;
    let refused = error(store.cursor(&name("cloud"), StartAt::Now).await);
    assert!(matches!(refused, StoreError::CursorTaken { .. }), "{refused}");
    drop(first);
    assert!(store.cursor(&name("cloud"), StartAt::Now).await.is_ok());
}

#[tokio::test]
async fn a_target_that_is_removed_and_configured_again_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = Machine::new(&store, "press").await;
    press.run(&store, 4);
    assert_eq!(drain(&mut cursor(&store, "cloud").await, 4).await.of("press").len(), 4);
    store.close().await;

    let store = open(dir.path()).await;
    press.run(&store, 3);
    settle(&store, 3).await;
    let known = store.status().targets;
    assert_eq!((known[0].target.as_str(), known[0].open, known[0].waiting_rows), ("cloud", false, 3));
    store.close().await;

    let store = open(dir.path()).await;
    let mut again = store.cursor(&name("cloud"), StartAt::Now).await.unwrap();
    assert_eq!(drain(&mut again, 3).await.of("press"), [5, 6, 7]);
}

#[tokio::test]
async fn a_new_target_begins_now_or_with_the_oldest_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = Machine::new(&store, "press").await;
    press.run(&store, 3);
    settle(&store, 3).await;
    let mut now = store.cursor(&name("now"), StartAt::Now).await.unwrap();
    let mut oldest = store.cursor(&name("oldest"), StartAt::Oldest).await.unwrap();
    press.run(&store, 1);
    assert_eq!(drain(&mut now, 1).await.of("press"), [4]);
    assert_eq!(drain(&mut oldest, 4).await.of("press"), [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_call_stops_at_its_bounds_but_gives_one_row_at_least() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    Machine::new(&store, "press").await.run(&store, 9);
    settle(&store, 9).await;
    let payload = "press:1".len();
    assert_eq!(seqs(&target.next(100, 0).await.unwrap()), [1]);
    assert_eq!(seqs(&target.next(100, 3 * payload).await.unwrap()), [2, 3, 4]);
    assert_eq!(seqs(&target.next(2, usize::MAX).await.unwrap()), [5, 6]);
}

#[tokio::test]
async fn a_call_that_is_given_up_at_any_moment_loses_no_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for width in 1..=5 {
        // Columns that are looked up on the disk again after the restart.
        Machine::with_columns(&store, "press", width).await.run(&store, 10);
        settle(&store, 10 * u64::try_from(width).unwrap()).await;
    }
    store.close().await;
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let (mut received, mut polls) = (Received::default(), 0);
    while received.of("press").len() < 50 {
        // Given up at its first, second, third … await.
        polls = polls % 20 + 1;
        if let Some(next) = give_up_after(polls, target.next(7, 1 << 20)).await {
            next.unwrap().iter().for_each(|delivery| received.take(delivery));
        }
    }
    assert_eq!(received.of("press"), (1..=50).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_clock_that_jumps_back_reorders_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = Machine::new(&store, "press").await;
    press.interval = -3_600_000;
    for _ in 0..5 {
        press.run(&store, 2);
        settle(&store, press.next - 1).await;
    }
    let mut target = cursor(&store, "cloud").await;
    assert_eq!(drain(&mut target, 10).await.of("press"), (1..=10).collect::<Vec<u64>>());
}
