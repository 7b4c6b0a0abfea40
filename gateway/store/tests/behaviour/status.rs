use tidegate_model::Timestamp;

use crate::plant::*;

fn time(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp::from_millis(1_700_000_000_000 + 1000 * seconds))
}

#[tokio::test]
async fn the_status_tells_what_is_on_the_disk_and_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    Machine::new(&store, "press").await.run(&store, 10);
    settle(&store, 10).await;

    let status = store.status();
    assert_eq!((status.boot, status.rows, status.rows_committed, status.failing), (1, 10, 10, None));
    assert!(status.bytes > 0 && status.file_bytes > 0 && status.bytes_committed > 0);
    assert!(status.fsyncs >= status.commits && status.commits >= 1);
    assert_eq!(status.commit_times.count, 1);
    assert_eq!(status.oldest, time(1));
    assert_eq!(status.pending_bytes, 0);
    assert!(status.pending_bytes_high > 0 && status.tail_bytes > 0);
    let waiting = &status.targets[0];
    assert_eq!((waiting.waiting_rows, waiting.waiting_since, waiting.acknowledged), (10, time(1), 0));

    let given = some(&mut target, 10).await;
    for delivery in &given[..4] {
        target.acknowledge(delivery.ticket);
    }
    target.acknowledge(given[8].ticket);
    let waiting = &store.status().targets[0];
    assert_eq!((waiting.waiting_rows, waiting.waiting_since, waiting.acknowledged), (5, time(5), 5));
    assert_eq!(waiting.last_acknowledged, time(9));
    store.close().await;

    let status = open(dir.path()).await.status();
    assert_eq!((status.boot, status.rows, status.rows_committed), (2, 10, 0));
    assert_eq!(status.targets[0].waiting_rows, 5, "what is acknowledged out of order stays so after a restart");
}

#[tokio::test]
async fn a_target_that_has_everything_waits_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    Machine::new(&store, "press").await.run(&store, 10);
    drain(&mut target, 10).await;
    let place = &store.status().targets[0];
    assert_eq!((place.waiting_rows, place.waiting_since, place.gaps), (0, None, 0));
}

#[tokio::test]
async fn how_long_a_target_waits_is_known_after_a_restart_also_of_rows_in_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let _away = cursor(&store, "away").await;
    let mut press = Machine::new(&store, "press").await;
    while store.status().epochs == 0 {
        press.run(&store, 100);
        settle(&store, press.next - 1).await;
    }
    store.close().await;
    let store = open(dir.path()).await;
    let _away = cursor(&store, "away").await;
    let place = &store.status().targets[0];
    assert_eq!((place.waiting_rows, place.waiting_since), (press.next - 1, time(1)));
}

#[tokio::test]
async fn memory_is_given_back_once_the_targets_have_read_or_have_gone_away() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let (mut reading, _away) = (cursor(&store, "reading").await, cursor(&store, "away").await);
    let mut press = Machine::new(&store, "press").await;
    for _ in 0..20 {
        press.run(&store, 5);
        drain(&mut reading, 5).await;
    }
    // The newest commit may still be there for the one that reads; nothing is kept for the one that does not.
    let one_commit = 5 * u64::try_from(press.row().0.heap_bytes() + 16).unwrap();
    assert!(store.status().tail_bytes <= one_commit, "{}", store.status().tail_bytes);
}
