//! A store that is full: what goes, what is thinned and what is refused, once rows are in blocks.

use tidegate_config::{ByteSize, WhenFull};
use tidegate_store::GapReason;

use crate::{compaction::produce, plant::*};

const LIMIT: u64 = 2 << 20;
/// What of it is not kept for the write-ahead log.
const ROOM: u64 = LIMIT - LIMIT / 32;

fn small(when_full: WhenFull) -> tidegate_config::Store {
    tidegate_config::Store { max_size: ByteSize(LIMIT), when_full, ..options() }
}

#[tokio::test]
async fn old_epochs_leave_by_size_and_what_waited_in_them_is_announced() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), &small(WhenFull::DropOldest)).await;
    let mut target = cursor(&store, "away").await;
    let mut machines = vec![Machine::with_columns(&store, "press", 60).await, Machine::new(&store, "oven").await];
    for _ in 0..140 {
        produce(&store, &mut machines, 50).await;
    }
    until(|| store.status().bytes <= ROOM, "enough is dropped").await;
    let file = std::fs::metadata(dir.path().join("store.db")).unwrap().len();
    let journal = std::fs::metadata(dir.path().join("store.db-wal")).unwrap().len();
    assert!(file <= LIMIT && journal <= LIMIT / 2, "{file} + {journal}");
    assert!(store.status().epochs > 0);
    let oldest = || (store.status().targets[0].waiting_since, store.status().oldest);
    until(|| oldest().0.is_some() && oldest().0 == oldest().1, "what waits is no older than what is there").await;
    let mut received = Received::default();
    for device in ["press", "oven"] {
        complete(&mut target, &mut received, device, 7_000).await;
    }
    let dropped: u64 = received.gaps.iter().map(|gap| gap.2 - gap.1 + 1).sum();
    assert!(
        received.gaps.len() <= 4 && received.gaps.iter().all(|gap| gap.3 == GapReason::StoreFull),
        "{:?}",
        received.gaps
    );
    let rows = received.rows.values().map(Vec::len).sum::<usize>();
    assert_eq!(u64::try_from(rows).unwrap() + dropped, 14_000, "a row comes or is announced, never both");
    assert_eq!(store.status().dropped.store_full, dropped);
}

#[tokio::test]
async fn a_store_that_thins_keeps_the_end_of_each_minute_and_announces_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), &small(WhenFull::Thin)).await;
    let mut target = cursor(&store, "away").await;
    // Nearly every row of the one has an extreme of its minute in one of its columns, hardly any of the other.
    let mut machines = vec![Machine::with_columns(&store, "press", 80).await, Machine::new(&store, "oven").await];
    while machines[0].next < 8_000 && store.status().dropped.thinned < 500 {
        produce(&store, &mut machines, 50).await;
        until(|| store.status().fresh_rows < 600, "rows are in blocks").await;
    }
    let last = machines[0].next - 1;
    let mut received = Received::default();
    for device in ["press", "oven"] {
        complete(&mut target, &mut received, device, last).await;
    }
    let thinned: Vec<_> = received.gaps.iter().filter(|gap| gap.3 == GapReason::Thinned).collect();
    assert!(thinned.iter().any(|gap| gap.0 == "oven"), "a machine that says little is thinned");
    let announced: u64 = received.gaps.iter().map(|gap| gap.2 - gap.1 + 1).sum();
    let rows = received.rows.values().map(Vec::len).sum::<usize>();
    assert_eq!(u64::try_from(rows).unwrap() + announced, 2 * last);
    // Its values only rise: of each minute the first and the last row are the extremes.
    let oven = received.of("oven");
    let within_a_minute = |gap: &&&(String, u64, u64, GapReason)| {
        gap.0 == "oven" && gap.2 - gap.1 < 60 && oven.contains(&(gap.1 - 1)) && oven.contains(&(gap.2 + 1))
    };
    assert!(thinned.iter().filter(within_a_minute).count() > 3, "{thinned:?}");
    store.close().await;
    let store = open_with(dir.path(), &small(WhenFull::Thin)).await;
    let rows = store.status().rows;
    let mut late = cursor(&store, "late").await;
    let received = drain(&mut late, usize::try_from(rows).unwrap()).await;
    assert_eq!(received.gaps, []);
    assert!(is_silent(&mut late).await);
}

#[tokio::test]
async fn a_store_that_blocks_keeps_the_oldest_rows_and_announces_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), &small(WhenFull::Block)).await;
    let mut target = cursor(&store, "away").await;
    let mut press = Machine::with_columns(&store, "press", 200).await;
    for _ in 0..60 {
        press.run(&store, 50);
        let wait = store.status();
        until(|| store.status().commits > wait.commits, "it commits").await;
    }
    until(|| store.status().dropped.store_full > 0, "rows are refused").await;
    let file = std::fs::metadata(dir.path().join("store.db")).unwrap().len();
    assert!(file <= LIMIT + LIMIT / 8, "{file}");
    let mut received = Received::default();
    complete(&mut target, &mut received, "press", press.next - 1).await;
    assert!(received.of("press").len() > 300 && received.of("press")[0] == 1);
    assert!(!received.gaps.is_empty() && received.gaps.iter().all(|gap| gap.3 == GapReason::StoreFull));
    assert_eq!(store.status().dropped.store_full, received.gaps.iter().map(|gap| gap.2 - gap.1 + 1).sum::<u64>());
}

#[tokio::test]
async fn a_store_that_blocks_takes_rows_again_when_age_has_made_room() {
    let dir = tempfile::tempdir().unwrap();
    let max_age = std::time::Duration::from_secs(3_600);
    let store = open_with(dir.path(), &tidegate_config::Store { max_age, ..small(WhenFull::Block) }).await;
    let mut target = cursor(&store, "away").await;
    let mut press = Machine::with_columns(&store, "press", 200).await;
    let mut refused = 0;
    // A row a second, and the store is full long before an hour is over.
    for _ in 0..200 {
        press.run(&store, 50);
        let wait = store.status();
        until(|| store.status().commits > wait.commits, "it commits").await;
        refused = store.status().dropped.store_full.max(refused);
    }
    assert!(refused > 0, "it was full");
    until(|| store.status().dropped.too_old > 0, "the oldest rows leave").await;
    let last = press.next - 1;
    let mut received = Received::default();
    complete(&mut target, &mut received, "press", last).await;
    let rows = received.of("press");
    assert!(rows.last().is_some_and(|newest| *newest > last - 3_600), "rows were taken again: {:?}", rows.last());
}
