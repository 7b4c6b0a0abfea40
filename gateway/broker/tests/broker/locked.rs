//! A database that another program holds locked when the broker starts.

use std::path::Path;

use sqlx::{Connection, SqliteConnection, raw_sql};
use tidegate_broker::Broker;

use crate::{
    disk::{broker, kept, on_disk, stopped},
    raw::{Options, Raw},
    rig::until,
};

/// Holds the database so that nobody else can even read it.
async fn lock(folder: &Path) -> SqliteConnection {
    let url = format!("sqlite://{}", folder.join("broker.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let sql = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE session SET last_id = last_id;";
    raw_sql(sql).execute(&mut connection).await.unwrap();
    connection
}

/// Lets a client subscribe and go, and publishes to it while it is away.
async fn leave_behind(broker: &Broker, id: &str, away: u64) {
    let mut client = Raw::connect(broker.address(), kept(4, id)).await;
    client.subscribe(&[("a", 1)]).await;
    drop(client);
    until(broker, |status| status.sessions_offline == away).await;
}

async fn retain(broker: &Broker, topic: &str, payload: &[u8]) {
    let mut client = Raw::connect(broker.address(), Options::new(4, "retainer")).await;
    client.publish(0b011, topic, 1, &[], payload).await;
    client.ping().await;
}

#[tokio::test]
async fn sessions_and_retained_messages_come_back_when_it_can_be_read_unless_there_are_newer_ones() {
    let folder = tempfile::tempdir().unwrap();
    let one = broker(folder.path()).await;
    leave_behind(&one, "comes late", 1).await;
    leave_behind(&one, "comes early", 2).await;
    leave_behind(&one, "comes and goes", 3).await;
    retain(&one, "old", b"before").await;
    retain(&one, "new", b"before").await;
    one.publisher().publish("a", "before".into(), false);
    on_disk(&one, |disk| (disk.messages, disk.retained) == (3, 2)).await;
    stopped(&one, folder.path()).await;

    let holder = lock(folder.path()).await;
    let two = broker(folder.path()).await;
    let failing = two.disk().unwrap().failing.unwrap();
    assert!(failing.contains("locked"), "{failing}");
    let (mut early, answer) = Raw::try_connect(two.address(), kept(4, "comes early")).await;
    assert_eq!(answer[2], 0, "no session present");
    early.subscribe(&[("b", 1)]).await;
    drop(Raw::connect(two.address(), Options::new(4, "comes and goes")).await);
    retain(&two, "new", b"after").await;
    until(&two, |status| status.clients == 1).await;
    assert_eq!(two.disk().unwrap().commits, 0);
    holder.close().await.unwrap();
    on_disk(&two, |disk| disk.failing.is_none() && (disk.retained, disk.sessions, disk.messages) == (2, 2, 1)).await;
    assert!(two.disk().unwrap().set_aside.is_none());
    two.publisher().publish("a", "after".into(), false);
    early.quiet().await;
    on_disk(&two, |disk| disk.messages == 2).await;
    stopped(&two, folder.path()).await;

    // What was put back is on the disk under its new numbers.
    let three = broker(folder.path()).await;
    let (mut late, answer) = Raw::try_connect(three.address(), kept(4, "comes late")).await;
    assert_eq!(answer[2], 1, "session present");
    assert_eq!(late.published().await.payload, b"before");
    assert_eq!(late.published().await.payload, b"after");
    let (_, answer) = Raw::try_connect(three.address(), kept(4, "comes and goes")).await;
    assert_eq!(answer[2], 0, "its clean start has ended the old session");
    late.subscribe(&[("old", 0), ("new", 0)]).await;
    let mut found = [late.published().await.payload, late.published().await.payload];
    found.sort();
    assert_eq!(found, [&b"after"[..], b"before"]);
    three.stop().await;
}
