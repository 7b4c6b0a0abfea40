//! Two lanes to one target: the newest rows at once, the rest beside them, each row in one of them.

use std::collections::BTreeSet;

use tidegate_config::StartAt;
use tidegate_model::Timestamp;
use tidegate_store::{Delivery, Item, Lane, Shape, StoreError};

use crate::plant::*;

fn seqs(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries
        .iter()
        .filter_map(|delivery| if let Item::Row { row, .. } = &delivery.item { Some(row.seq) } else { None })
        .collect()
}

async fn some_of(lane: &mut Lane<'_>, max_rows: usize) -> Vec<Delivery> {
    tokio::time::timeout(LONG, lane.next(max_rows, 1 << 20)).await.expect("waited in vain for rows").unwrap()
}

/// The next rows, so many.
async fn rows(lane: &mut Lane<'_>, count: usize) -> Vec<Delivery> {
    let mut found = Vec::new();
    while found.len() < count {
        found.extend(some_of(lane, count - found.len()).await);
    }
    found
}

async fn is_idle(lane: &mut Lane<'_>) -> bool {
    tokio::time::timeout(std::time::Duration::from_millis(30), lane.next(1, 1)).await.is_err()
}

#[tokio::test]
async fn what_is_committed_after_the_connection_is_live_and_the_rest_is_backlog() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::new(&store, "press").await;
    press.run(&store, 10);
    settle(&store, 10).await;
    let acknowledger = target.acknowledger();
    let (mut live, mut backlog) = target.lanes(Shape::Rows);
    assert!(is_idle(&mut live).await);
    press.run(&store, 2);
    assert_eq!(seqs(&rows(&mut live, 2).await), [11, 12]);
    let old = some_of(&mut backlog, 4).await;
    assert_eq!(seqs(&old), [1, 2, 3, 4]);
    old.iter().for_each(|delivery| acknowledger.acknowledge(delivery.ticket));
    assert_eq!(seqs(&rows(&mut backlog, 6).await), (5..=10).collect::<Vec<u64>>());
    assert!(is_idle(&mut backlog).await, "the live rows are not given twice");

    // A new connection: what is not acknowledged is backlog, the live rows of the last one included.
    let (mut live, mut backlog) = target.lanes(Shape::Rows);
    assert_eq!(seqs(&rows(&mut backlog, 8).await), (5..=12).collect::<Vec<u64>>());
    assert!(is_idle(&mut live).await);
}

#[tokio::test]
async fn the_age_of_the_oldest_row_is_told_of_each_lane() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::new(&store, "press").await;
    press.run(&store, 10);
    settle(&store, 10).await;
    let oldest = || {
        let status = store.status();
        let seq = |time: Option<Timestamp>| time.map(|time| (time.as_millis() - 1_700_000_000_000) / 1_000);
        [status.targets[0].waiting_since, status.targets[0].live_since, status.targets[0].backlog_since].map(seq)
    };
    assert_eq!(oldest(), [Some(1), None, Some(1)], "without lanes all that waits is backlog");
    let acknowledger = target.acknowledger();
    let (mut live, mut backlog) = target.lanes(Shape::Rows);
    press.run(&store, 3);
    settle(&store, 13).await;
    assert_eq!(oldest(), [Some(1), Some(11), Some(1)], "not given yet");
    let newest = rows(&mut live, 3).await;
    let old = some_of(&mut backlog, 4).await;
    assert_eq!(oldest(), [Some(1), Some(11), Some(1)], "on its way");
    acknowledger.acknowledge(newest[0].ticket);
    old.iter().for_each(|delivery| acknowledger.acknowledge(delivery.ticket));
    let rest = rows(&mut backlog, 6).await;
    assert_eq!(oldest(), [Some(5), Some(12), Some(5)]);
    rest.iter().for_each(|delivery| acknowledger.acknowledge(delivery.ticket));
    assert_eq!(oldest(), [Some(12), Some(12), None], "only live rows are left");
    newest.iter().for_each(|delivery| acknowledger.acknowledge(delivery.ticket));
    assert_eq!(oldest(), [None, None, None]);
}

#[tokio::test]
async fn acknowledgements_of_both_lanes_survive_a_restart_as_a_set() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::new(&store, "press").await;
    press.run(&store, 10);
    settle(&store, 10).await;
    let acknowledger = target.acknowledger();
    let (mut live, mut backlog) = target.lanes(Shape::Rows);
    press.run(&store, 5);
    let new = rows(&mut live, 5).await;
    let old = some_of(&mut backlog, 4).await;
    for delivery in new.iter().skip(1).chain(&old) {
        acknowledger.acknowledge(delivery.ticket);
    }
    store.close().await;

    let store = open(dir.path()).await;
    assert_eq!((store.status().targets[0].waiting_rows, store.status().targets[0].ranges), (7, 1));
    let mut target = cursor(&store, "cloud").await;
    let (_live, mut backlog) = target.lanes(Shape::Rows);
    assert_eq!(seqs(&rows(&mut backlog, 7).await), (5..=11).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_live_lane_that_falls_behind_goes_on_with_the_newest_rows_and_nothing_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::new(&store, "press").await;
    let (mut live, mut backlog) = target.lanes(Shape::Rows);
    for made in 1..=60 {
        // A row a second.
        press.run(&store, 1);
        settle(&store, made).await;
    }
    let newest = seqs(&some_of(&mut live, 1000).await);
    assert!(newest[0] >= 49 && newest.last() == Some(&60), "{newest:?}");
    let mut all: Vec<u64> = newest.clone();
    while all.len() < 60 {
        all.extend(seqs(&some_of(&mut backlog, 1000).await));
    }
    assert_eq!(all.iter().copied().collect::<BTreeSet<u64>>().len(), 60, "each of them once");
    press.run(&store, 1);
    assert_eq!(seqs(&some_of(&mut live, 1000).await), [61]);
    assert!(is_idle(&mut backlog).await);
}

#[tokio::test]
async fn rows_of_one_commit_whose_times_lie_far_apart_are_given_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::new(&store, "press").await;
    let (mut live, mut backlog) = target.lanes(Shape::Rows);
    // A minute in one go, as when the clock is set.
    press.run(&store, 60);
    settle(&store, 60).await;
    let mut all = Vec::new();
    while let Ok(given) = tokio::time::timeout(std::time::Duration::from_millis(30), live.next(20, 1 << 20)).await {
        all.extend(seqs(&given.unwrap()));
        assert!(all.len() <= 60, "given again: {all:?}");
    }
    // Should it have become two commits, the first of them is left to the backlog.
    while all.len() < 60 {
        all.extend(seqs(&some_of(&mut backlog, 20).await));
    }
    assert_eq!(all.into_iter().collect::<BTreeSet<u64>>(), (1..=60).collect::<BTreeSet<u64>>());
}

#[tokio::test]
async fn gaps_come_on_the_backlog_lane() {
    let dir = tempfile::tempdir().unwrap();
    let small = tidegate_config::Store { max_size: tidegate_config::ByteSize(2 << 20), ..options() };
    let store = open_with(dir.path(), &small).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::with_columns(&store, "press", 200).await;
    for made in 1..=40 {
        press.run(&store, 50);
        settle(&store, made * 50).await;
    }
    until(|| store.status().targets[0].gaps > 0, "something is dropped").await;
    let acknowledger = target.acknowledger();
    let (mut live, mut backlog) = target.lanes(Shape::Rows);
    let mut received = Received::default();
    press.run(&store, 1);
    some_of(&mut live, 10).await.iter().for_each(|delivery| received.take(delivery));
    assert_eq!((received.of("press"), received.gaps.len()), (vec![2_001], 0));
    while !received.holes("press", 2_001).is_empty() {
        for delivery in some_of(&mut backlog, 1000).await {
            received.take(&delivery);
            acknowledger.acknowledge(delivery.ticket);
        }
    }
    assert!(!received.gaps.is_empty());
}

#[tokio::test]
async fn a_renamed_target_goes_on_where_the_old_name_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::new(&store, "press").await;
    press.run(&store, 10);
    settle(&store, 10).await;
    let given = some(&mut target, 10).await;
    for at in [0, 1, 5] {
        target.acknowledge(given[at].ticket);
    }
    let (old, new) = (name("cloud"), name("sky"));
    assert!(matches!(error(store.move_cursor(&old, &new).await), StoreError::CursorTaken { .. }));
    drop(target);
    assert!(store.move_cursor(&old, &new).await.unwrap());
    assert!(!store.move_cursor(&old, &new).await.unwrap(), "a second time there is nothing to move");
    assert_eq!(store.status().targets.len(), 1);
    store.close().await;

    let store = open(dir.path()).await;
    let mut target = store.cursor(&new, StartAt::Now).await.unwrap();
    assert_eq!(drain(&mut target, 7).await.of("press"), [3, 4, 5, 7, 8, 9, 10]);
    let fresh = store.cursor(&old, StartAt::Now).await.unwrap();
    assert!(!store.move_cursor(&old, &new).await.unwrap(), "a target in use is left alone");
    drop(fresh);
}

#[tokio::test]
async fn a_store_is_known_by_its_identity_and_a_stream_by_its_schema() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = Machine::new(&store, "press").await;
    let oven = Machine::new(&store, "oven").await;
    let (id, schema) = (store.id(), store.block_schema(&press.stream));
    assert_ne!(schema.id, store.block_schema(&oven.stream).id, "the device is a part of it");
    press.run(&store, 1);
    settle(&store, 1).await;
    assert_eq!(store.boot(), 1);
    store.close().await;
    let store = open(dir.path()).await;
    let press = Machine::new(&store, "press").await;
    assert_eq!((store.id(), store.block_schema(&press.stream), store.boot()), (id, schema, 2));
}
