use crate::plant::*;

#[tokio::test]
async fn the_same_columns_give_the_same_stream_and_other_columns_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let first = Machine::new(&store, "press").await.stream;
    assert!(std::sync::Arc::ptr_eq(&first, &Machine::new(&store, "press").await.stream));
    let wider = Machine::with_columns(&store, "press", 4).await.stream;
    assert_ne!(first.id(), wider.id());
    let other = Machine::new(&store, "oven").await.stream;
    assert_ne!(first.id(), other.id());
    store.close().await;

    let store = open(dir.path()).await;
    assert_eq!(Machine::new(&store, "press").await.stream.id(), first.id());
    assert_eq!(Machine::with_columns(&store, "press", 4).await.stream.id(), wider.id());
    assert_eq!(Machine::new(&store, "oven").await.stream.columns(), columns(3));
}

#[tokio::test]
async fn devices_of_one_profile_share_their_columns_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let (a, b) = (Machine::new(&store, "a").await.stream, Machine::new(&store, "b").await.stream);
    assert!(std::ptr::eq(a.columns(), b.columns()));
}

#[tokio::test]
async fn the_numbering_goes_on_after_a_restart_and_with_other_columns() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = Machine::new(&store, "press").await;
    assert_eq!(press.next, 1);
    press.run(&store, 5);
    assert_eq!(Machine::with_columns(&store, "press", 4).await.next, 6, "rows that are not committed yet count");
    settle(&store, 5).await;
    assert_eq!(Machine::new(&store, "press").await.next, 6);
    store.close().await;

    let store = open(dir.path()).await;
    assert_eq!(Machine::with_columns(&store, "press", 5).await.next, 6);
    assert_eq!(Machine::new(&store, "oven").await.next, 1);
}

#[tokio::test]
async fn rows_of_older_columns_are_read_back_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    Machine::with_columns(&store, "press", 2).await.run(&store, 2);
    Machine::with_columns(&store, "press", 4).await.run(&store, 2);
    store.close().await;

    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    assert_eq!(drain(&mut target, 4).await.of("press"), [1, 2, 3, 4]);
}
