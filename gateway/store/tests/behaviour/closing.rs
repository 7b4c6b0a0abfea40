use tidegate_config::StartAt;
use tidegate_store::{Store, StoreError};

use crate::plant::*;

#[tokio::test]
async fn closing_commits_what_is_pending_and_moves_everything_into_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let mut slow = options();
    slow.commit = std::time::Duration::from_secs(3600);
    let store = open_with(dir.path(), &slow).await;
    Machine::new(&store, "press").await.run(&store, 7);
    store.close().await;
    assert!(!dir.path().join("store.db-wal").exists(), "nothing is left in the write-ahead log");

    let store = open(dir.path()).await;
    assert_eq!(drain(&mut cursor(&store, "cloud").await, 7).await.of("press").len(), 7);
}

#[tokio::test]
async fn what_is_pending_can_be_committed_before_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut slow = options();
    slow.commit = std::time::Duration::from_secs(3600);
    let store = open_with(dir.path(), &slow).await;
    let commits = store.status().commits;
    store.commit().await.unwrap();
    assert_eq!(store.status().commits, commits, "there was nothing");
    Machine::new(&store, "press").await.run(&store, 7);
    store.commit().await.unwrap();
    assert_eq!((store.status().rows, store.status().commits), (7, commits + 1));
    assert_eq!(store.reader().streams().await.unwrap().len(), 1);
    store.close().await;
}

#[tokio::test]
async fn after_closing_every_call_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = Machine::new(&store, "press").await;
    let handle = store.clone();
    let waiting = tokio::spawn(async move { error(target.next(1, 1).await) });
    store.close().await;
    assert!(matches!(waiting.await.unwrap(), StoreError::Closed));
    assert!(matches!(error(handle.cursor(&name("other"), StartAt::Now).await), StoreError::Closed));
    assert!(matches!(error(handle.stream(&name("d"), &name("g"), columns(1)).await), StoreError::Closed));
    assert!(matches!(error(handle.commit().await), StoreError::Closed));
    press.run(&handle, 1);
    handle.close().await;
}

#[tokio::test]
async fn a_store_whose_handles_are_all_dropped_closes_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    Machine::new(&store, "press").await.run(&store, 2);
    drop(store);
    until(|| !dir.path().join("store.db-wal").exists(), "it is closed").await;
    let mut again = None;
    until(
        || std::fs::File::open(dir.path().join("store.lock")).is_ok_and(|file| file.try_lock().is_ok()),
        "it is free",
    )
    .await;
    let store = again.insert(open(dir.path()).await);
    assert_eq!(Machine::new(store, "press").await.next, 3);
}

#[tokio::test]
async fn a_second_gateway_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let refused = error(Store::open(dir.path(), &options()).await);
    assert!(matches!(refused, StoreError::InUse { .. }));
    assert!(refused.to_string().contains(&dir.path().display().to_string()), "{refused}");
    store.close().await;
    open(dir.path()).await;
}

#[tokio::test]
async fn an_idle_store_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let _target = cursor(&store, "cloud").await;
    until(|| store.status().commits == 1, "the new target is saved").await;
    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    assert_eq!(store.status().commits, 1);
}
