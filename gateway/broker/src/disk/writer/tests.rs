use std::fs;

use sqlx::Connection;
use tidegate_config::Broker;

use super::*;
use crate::{
    hub::Guest,
    inside::Inside,
    limits::Limits,
    message::Published,
    routes::Wish,
    session::{Attached, Outgoing, Session},
    users::Users,
    wire::Qos,
};

async fn writer(folder: &Path) -> Writer {
    let options = Broker::on_loopback();
    let hub = Arc::new(Hub::new(Limits::from(&options), Users::new(&options)));
    Writer::open(
        folder,
        BrokerPersistence::default(),
        &hub,
        Keepers::here(TaskTracker::new(), CancellationToken::new()),
    )
    .await
    .unwrap()
}

fn retain(writer: &Writer, topic: &'static str) {
    let message = Published::by_gateway(topic.into(), "x".into(), true);
    writer.hub.publish(Published { from: 1, ..message });
}

async fn kept(folder: &Path) -> Vec<String> {
    let mut database = Database::open(folder).await.unwrap().database.unwrap();
    let topics = "SELECT CAST(topic AS TEXT) FROM retained ORDER BY topic";
    let found = sqlx::query_scalar(topics).fetch_all(&mut database.connection).await.unwrap();
    database.close().await.unwrap();
    found
}

async fn sql(folder: &Path, sql: &'static str) {
    let mut database = Database::open(folder).await.unwrap().database.unwrap();
    sqlx::query(sql).execute(&mut database.connection).await.unwrap();
    database.close().await.unwrap();
}

#[tokio::test]
async fn what_the_disk_has_stays_there_until_everything_has_been_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path()).await;
    retain(&writer, "first");
    writer.write().await.unwrap();
    // As on a full disk: what makes room goes through, what needs some does not.
    sql(folder.path(), "CREATE TRIGGER full BEFORE INSERT ON retained BEGIN SELECT RAISE(ABORT, 'full'); END").await;
    retain(&writer, "second");
    for _ in 0..3 {
        assert!(writer.write().await.is_err());
        assert_eq!(kept(folder.path()).await, ["first"]);
    }
    sql(folder.path(), "DROP TRIGGER full").await;
    writer.write().await.unwrap();
    assert_eq!(kept(folder.path()).await, ["first", "second"]);
    assert_eq!(writer.books.retained.len(), 2);
}

/// A writer whose database is where it cannot be read; the second folder is where it is.
async fn unread(folder: &Path) -> (Writer, PathBuf, PathBuf) {
    let (data, elsewhere) = (folder.join("data"), folder.join("elsewhere"));
    fs::rename(&data, &elsewhere).unwrap();
    fs::write(&data, "in the way").unwrap();
    let mut writer = writer(&data).await;
    assert!(writer.write().await.is_err());
    (writer, data, elsewhere)
}

fn is_readable_again(data: &Path, elsewhere: &Path) {
    fs::remove_file(data).unwrap();
    fs::rename(elsewhere, data).unwrap();
}

#[tokio::test]
async fn what_could_not_be_read_at_the_start_comes_back_where_nothing_newer_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let mut before = writer(&data).await;
    for topic in ["before", "both", "gone"] {
        retain(&before, topic);
    }
    before.write().await.unwrap();
    before.database.take().unwrap().close().await.unwrap();
    let (mut after, data, elsewhere) = unread(folder.path()).await;
    retain(&after, "after");
    retain(&after, "both");
    let nothing = Published::by_gateway("gone".into(), "".into(), true);
    after.hub.publish(Published { from: 1, ..nothing });
    is_readable_again(&data, &elsewhere);
    after.write().await.unwrap();
    assert_eq!(kept(&data).await, ["after", "before", "both"]);
    assert_eq!(after.hub.status().retained, 3);
    assert!(after.counters.get().set_aside.is_none());
}

#[tokio::test]
async fn what_waited_for_a_bridge_is_before_what_came_while_it_could_not_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    drop(writer(&data).await);
    sql(&data, "INSERT INTO session VALUES (3, '$bridge/b', '$bridge/b', 4294967295, NULL, 0, x'', x'')").await;
    for (number, id) in [(1, 7), (2, 0)] {
        let row = "INSERT INTO message VALUES (3, ?, ?, 'old', 'x', x'', 1, 1, 0, x'', NULL, NULL, 0, 0)";
        let mut database = Database::open(&data).await.unwrap().database.unwrap();
        sqlx::query(row).bind(number).bind(id).execute(&mut database.connection).await.unwrap();
        database.close().await.unwrap();
    }
    let (mut after, data, elsewhere) = unread(folder.path()).await;
    let hub = Arc::clone(&after.hub);
    hub.let_in("$bridge/b".to_owned(), Inside::new(&hub.limits, 1 << 20));
    let rights = hub.users.rights(Some("$bridge/b"), "$bridge/b").unwrap();
    let guest = Guest { client: "$bridge/b", rights, clean: false, users: hub.users.generation() };
    let (session, _) = hub.attach(guest, Attached::for_test(100, u32::MAX)).unwrap();
    hub.subscribe(&session, "new", Wish::of(Qos::AtLeastOnce));
    hub.publish(Published::by_gateway("new".into(), "x".into(), false));
    is_readable_again(&data, &elsewhere);
    after.write().await.unwrap();
    assert_eq!(after.books.messages(), 3);
    let mut out = Vec::new();
    session.take(100, (usize::MAX, 1), Instant::now(), &mut out).unwrap();
    let topics = out.iter().map(|outgoing| match outgoing {
        Outgoing::Publish { queued, .. } => &queued.message.topic[..],
        Outgoing::Release(_) => b"",
    });
    assert_eq!(topics.collect::<Vec<_>>(), [b"old", b"old", b"new"]);
}

#[tokio::test]
async fn a_database_of_the_first_version_is_brought_up_to_date_with_all_that_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("broker.db").display());
    let mut first = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(include_str!("../../../migrations/0001_begin.sql")).execute(&mut first).await.unwrap();
    let filled = "PRAGMA user_version = 1; INSERT INTO retained VALUES ('first', 'x', x'', 1, NULL, 1, 0)";
    sqlx::raw_sql(filled).execute(&mut first).await.unwrap();
    first.close().await.unwrap();
    let mut writer = writer(folder.path()).await;
    assert_eq!(writer.hub.status().retained, 1);
    retain(&writer, "second");
    writer.write().await.unwrap();
    assert_eq!(kept(folder.path()).await, ["first", "second"]);
}

#[tokio::test]
async fn after_an_error_half_way_nothing_of_the_database_is_in_the_broker() {
    let folder = tempfile::tempdir().unwrap();
    drop(writer(folder.path()).await);
    sql(folder.path(), "INSERT INTO session VALUES (7, 'client', NULL, 100, NULL, 0, x'', x'')").await;
    sql(folder.path(), "INSERT INTO subscription VALUES (7, 'a', 1, 0, 0, NULL)").await;
    assert_eq!(writer(folder.path()).await.hub.status().sessions_offline, 1);
    sql(folder.path(), "DROP TABLE retained").await;
    let status = writer(folder.path()).await.hub.status();
    assert_eq!((status.sessions_offline, status.subscriptions), (0, 0));
}

#[tokio::test]
async fn numbers_that_the_disk_knows_are_not_given_again() {
    let folder = tempfile::tempdir().unwrap();
    drop(writer(folder.path()).await);
    // One whose user is gone, and one whose time is over.
    sql(folder.path(), "INSERT INTO session VALUES (900, 'client', 'gone', 100, NULL, 0, x'', x'')").await;
    sql(folder.path(), "INSERT INTO session VALUES (901, 'other', NULL, 100, 0, 0, x'', x'')").await;
    let writer = writer(folder.path()).await;
    assert_eq!(writer.hub.status().sessions_offline, 0);
    assert_eq!(writer.hub.number(), 902);
}

/// Lets something change while a session with a subscription is being written; returns what is on the disk of subscriptions then.
async fn written_while(writer: &mut Writer, changing: impl FnOnce(&Hub, &Arc<Session>)) -> Vec<String> {
    let hub = Arc::clone(&writer.hub);
    let rights = hub.users.rights(None, "client").unwrap();
    let guest = Guest { client: "client", rights, clean: true, users: hub.users.generation() };
    let (session, _) = hub.attach(guest, Attached::for_test(100, 100)).unwrap();
    hub.subscribe(&session, "before", Wish::of(Qos::AtLeastOnce));
    let changes = hub.changes().unwrap();
    changing(&hub, &session);
    let database = writer.database.as_mut().unwrap();
    let written = commit::write(&mut database.connection, &writer.books, &changes, u64::MAX, clock(), false).await;
    writer.books.note(written.unwrap());
    writer.write().await.unwrap();
    let filters = "SELECT filter FROM subscription ORDER BY filter";
    let database = writer.database.as_mut().unwrap();
    sqlx::query_scalar(filters).fetch_all(&mut database.connection).await.unwrap()
}

#[tokio::test]
async fn a_subscription_that_comes_while_its_session_is_being_written_is_written_the_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path()).await;
    let filters = written_while(&mut writer, |hub, session| {
        hub.subscribe(session, "while", Wish::of(Qos::AtLeastOnce));
    });
    assert_eq!(filters.await, ["before", "while"]);
}

#[tokio::test]
async fn a_session_that_ends_while_it_is_being_written_leaves_nothing_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path()).await;
    let filters = written_while(&mut writer, |hub, session| hub.end_early(session, 100));
    assert!(filters.await.is_empty());
}
