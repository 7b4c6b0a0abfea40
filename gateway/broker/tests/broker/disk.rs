//! What survives a restart, a crash and a bad disk.

use std::{fs, path::Path, time::Duration};

use sqlx::{Connection, SqliteConnection, raw_sql};
use tidegate_broker::{Broker, BrokerError, DiskStatus};
use tidegate_config::{self as config, BrokerPersistence, BrokerUser, ByteSize};

use crate::{
    raw::{Options, Raw},
    rig::until,
};

/// A site that writes at once.
pub(crate) fn options() -> config::Broker {
    let persistence = BrokerPersistence { commit: Duration::from_millis(10), ..BrokerPersistence::default() };
    config::Broker { persistence: Some(persistence), ..config::Broker::on_loopback() }
}

pub(crate) async fn broker(folder: &Path) -> Broker {
    Broker::start_in(&options(), folder).await.unwrap()
}

pub(crate) fn kept(version: u8, id: &str) -> Options<'_> {
    // Session expiry of a day.
    let properties: &[u8] = if version == 5 { &[0x11, 0, 1, 0x51, 0x80] } else { &[] };
    Options { clean: false, properties, ..Options::new(version, id) }
}

/// Waits until the disk has what is wanted.
pub(crate) async fn on_disk(broker: &Broker, wanted: impl Fn(&DiskStatus) -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !wanted(&broker.disk().unwrap()) {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", broker.disk());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Stops a broker, and waits until its database is closed: the broker itself waits for a slow disk only so long.
pub(crate) async fn stopped(broker: &Broker, folder: &Path) {
    broker.stop().await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    // The last that SQLite does with a database is to remove its log.
    while folder.join("broker.db-wal").exists() {
        assert!(tokio::time::Instant::now() < deadline, "the database is still open");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Makes sessions of clients that are away, and messages, more than an hour older than they are.
async fn age(folder: &Path) {
    let url = format!("sqlite://{}", folder.join("broker.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let sql = "UPDATE session SET offline_since = offline_since - 3700000;
        UPDATE message SET expires = expires - 3700000;";
    raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Copies the files as a power cut would leave them.
pub(crate) fn power_cut(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for name in ["broker.db", "broker.db-wal"] {
        fs::copy(from.join(name), to.path().join(name)).unwrap();
    }
    to
}

#[tokio::test]
async fn retained_messages_of_clients_are_there_after_a_restart_with_their_properties() {
    let folder = tempfile::tempdir().unwrap();
    let one = broker(folder.path()).await;
    let mut client = Raw::connect(one.address(), Options::new(5, "client")).await;
    // Content type "x" and a user property.
    let properties = [3, 0, 1, b'x', 0x26, 0, 1, b'k', 0, 1, b'v'];
    client.publish(0b011, "kept/é", 1, &properties, b"one").await;
    client.publish(0b011, "short", 2, &[2, 0, 0, 0, 0], b"expires at once").await;
    on_disk(&one, |disk| disk.retained == 2).await;
    client.publish(0b011, "gone", 3, &[], b"two").await;
    on_disk(&one, |disk| disk.retained == 3).await;
    client.publish(0b011, "gone", 4, &[], b"").await;
    on_disk(&one, |disk| disk.retained == 2).await;
    one.publisher().publish("gateway/state", "online".into(), true);
    stopped(&one, folder.path()).await;
    let two = broker(folder.path()).await;
    let mut client = Raw::connect(two.address(), Options::new(5, "other")).await;
    client.subscribe(&[("#", 2)]).await;
    let found = client.published().await;
    assert_eq!((&*found.topic, &*found.payload, found.qos, found.retain), ("kept/é", &b"one"[..], 1, true));
    assert_eq!(found.properties, properties);
    client.quiet().await;
    two.stop().await;
}

#[tokio::test]
async fn retained_messages_that_find_no_room_any_more_are_gone_from_the_disk_too() {
    let folder = tempfile::tempdir().unwrap();
    let one = broker(folder.path()).await;
    let mut client = Raw::connect(one.address(), Options::new(5, "client")).await;
    for topic in ["a", "b", "c"] {
        client.publish(0b011, topic, 1, &[], b"x").await;
    }
    on_disk(&one, |disk| disk.retained == 3).await;
    stopped(&one, folder.path()).await;
    let limits = config::BrokerLimits { retained_messages: 2, ..config::BrokerLimits::default() };
    let two = Broker::start_in(&config::Broker { limits, ..options() }, folder.path()).await.unwrap();
    assert_eq!(two.status().retained, 2);
    on_disk(&two, |disk| disk.retained == 2).await;
    stopped(&two, folder.path()).await;
    let three = broker(folder.path()).await;
    assert_eq!(three.status().retained, 2, "they do not come back when nobody remembers them");
    three.stop().await;
}

#[tokio::test]
async fn a_session_goes_on_after_a_power_cut_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let one = broker(folder.path()).await;
    let mut client = Raw::connect(one.address(), kept(5, "client")).await;
    client.subscribe(&[("a/+", 1), ("b", 2), ("c", 0)]).await;
    for n in 1..=3_u8 {
        one.publisher().publish("b", vec![n].into(), false);
    }
    let [first, second, third] = [client.published().await, client.published().await, client.published().await];
    // The first is done with, the second is known to be there, the third is on its way.
    client.acknowledge(5, first.id).await;
    client.packet().await.unwrap();
    client.acknowledge(7, first.id).await;
    client.acknowledge(5, second.id).await;
    client.packet().await.unwrap();
    // And one from the client that it has not released.
    client.publish(0b100, "elsewhere", 77, &[], b"once").await;
    client.packet().await.unwrap();
    drop(client);
    until(&one, |status| status.sessions_offline == 1).await;
    // So that two are on the disk only with the next.
    on_disk(&one, |disk| disk.messages == 1).await;
    one.publisher().publish("a/é", "four".into(), false);
    one.publisher().publish("c", "lost".into(), false);
    on_disk(&one, |disk| disk.messages == 2).await;
    let left = power_cut(folder.path());
    one.stop().await;

    let two = broker(left.path()).await;
    let mut watcher = Raw::connect(two.address(), Options::new(4, "watcher")).await;
    watcher.subscribe(&[("elsewhere", 0)]).await;
    let (mut client, answer) = Raw::try_connect(two.address(), kept(5, "client")).await;
    assert_eq!(answer[2], 1, "session present: {answer:02x?}");
    let released = client.packet().await.unwrap();
    assert_eq!((released[0], u16::from_be_bytes([released[2], released[3]])), (0x62, second.id));
    let again = client.published().await;
    assert_eq!((again.id, again.payload, again.duplicate), (third.id, vec![3], true));
    let waiting = client.published().await;
    assert_eq!((&*waiting.topic, &*waiting.payload, waiting.duplicate), ("a/é", &b"four"[..], false));
    assert!(![second.id, third.id].contains(&waiting.id), "no id is in use twice");
    client.publish(0b1100, "elsewhere", 77, &[], b"once").await;
    client.acknowledge(6, 77).await;
    client.packet().await.unwrap();
    client.packet().await.unwrap();
    watcher.quiet().await;
    two.publisher().publish("a/x", "five".into(), false);
    assert_eq!(client.published().await.topic, "a/x", "the subscriptions are there");
    two.stop().await;
}

#[tokio::test]
async fn what_was_delivered_does_not_come_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let one = broker(folder.path()).await;
    let mut client = Raw::connect(one.address(), kept(4, "client")).await;
    client.subscribe(&[("a", 1)]).await;
    drop(client);
    until(&one, |status| status.sessions_offline == 1).await;
    for n in 0..100_u8 {
        one.publisher().publish("a", vec![n].into(), false);
    }
    on_disk(&one, |disk| disk.messages == 100).await;
    let mut client = Raw::connect(one.address(), kept(4, "client")).await;
    for _ in 0..60 {
        let found = client.published().await;
        client.acknowledge(4, found.id).await;
    }
    client.ping().await;
    on_disk(&one, |disk| disk.messages == 40).await;
    let left = power_cut(folder.path());
    one.stop().await;
    let two = broker(left.path()).await;
    assert_eq!(two.disk().unwrap().messages, 40);
    let mut client = Raw::connect(two.address(), kept(4, "client")).await;
    for n in 60..100_u8 {
        let found = client.published().await;
        assert_eq!(found.payload, [n]);
        client.acknowledge(4, found.id).await;
    }
    client.quiet().await;
    on_disk(&two, |disk| disk.messages == 0).await;
    two.stop().await;
}

#[tokio::test]
async fn a_session_that_ends_leaves_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let one = broker(folder.path()).await;
    let mut client = Raw::connect(one.address(), kept(4, "client")).await;
    client.subscribe(&[("a", 1)]).await;
    drop(client);
    until(&one, |status| status.sessions_offline == 1).await;
    one.publisher().publish("a", "x".into(), false);
    on_disk(&one, |disk| (disk.sessions, disk.messages) == (1, 1)).await;
    assert!(one.disk().unwrap().bytes > 0);
    drop(Raw::connect(one.address(), Options::new(4, "client")).await);
    on_disk(&one, |disk| (disk.sessions, disk.messages, disk.bytes) == (0, 0, 0)).await;
    one.stop().await;
}

#[tokio::test]
async fn time_goes_on_while_the_broker_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let one = broker(folder.path()).await;
    // Session expiry of an hour.
    let short = Options { clean: false, properties: &[0x11, 0, 0, 0x0E, 0x10], ..Options::new(5, "short") };
    let mut client = Raw::connect(one.address(), short).await;
    client.subscribe(&[("a", 1)]).await;
    drop(client);
    let mut client = Raw::connect(one.address(), kept(5, "long")).await;
    client.subscribe(&[("a", 1)]).await;
    drop(client);
    until(&one, |status| status.sessions_offline == 2).await;
    let mut publisher = Raw::connect(one.address(), Options::new(5, "publisher")).await;
    // Message expiry of an hour, and none.
    publisher.publish(0b010, "a", 1, &[2, 0, 0, 0x0E, 0x10], b"short").await;
    publisher.publish(0b010, "a", 2, &[], b"long").await;
    publisher.ping().await;
    on_disk(&one, |disk| disk.sessions == 2 && disk.messages == 4).await;
    stopped(&one, folder.path()).await;
    age(folder.path()).await;
    let two = broker(folder.path()).await;
    let (_client, answer) = Raw::try_connect(two.address(), short).await;
    assert_eq!(answer[2], 0, "no session present: {answer:02x?}");
    let mut client = Raw::connect(two.address(), kept(5, "long")).await;
    assert_eq!(client.published().await.payload, b"long");
    client.quiet().await;
    two.stop().await;
}

#[tokio::test]
async fn a_session_whose_user_is_gone_is_not_put_back_and_rights_are_those_of_now() {
    let folder = tempfile::tempdir().unwrap();
    let scada = |subscribe: &[&str]| BrokerUser::literal("scada", "x", &[], subscribe);
    let other = BrokerUser::literal("other", "y", &[], &["#"]);
    let one = options().with_users(vec![scada(&["a", "b"]), other]);
    let one = Broker::start_in(&one, folder.path()).await.unwrap();
    for (name, password) in [("scada", "x"), ("other", "y")] {
        let login = Some((name, password));
        let mut client = Raw::connect(one.address(), Options { login, ..kept(4, name) }).await;
        assert_eq!(client.subscribe(&[("a", 1), ("b", 1)]).await, [1, 1]);
    }
    on_disk(&one, |disk| disk.sessions == 2).await;
    stopped(&one, folder.path()).await;
    let two = Broker::start_in(&options().with_users(vec![scada(&["b"])]), folder.path()).await.unwrap();
    on_disk(&two, |disk| disk.sessions == 1).await;
    two.publisher().publish("a", "no more".into(), false);
    two.publisher().publish("b", "still".into(), false);
    let login = Some(("scada", "x"));
    let mut client = Raw::connect(two.address(), Options { login, ..kept(4, "scada") }).await;
    assert_eq!(client.published().await.payload, b"still");
    client.quiet().await;
    two.stop().await;
}

#[tokio::test]
async fn a_damaged_database_is_set_aside_and_a_new_one_begun() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("broker.db"), vec![b'x'; 16_384]).unwrap();
    let one = broker(folder.path()).await;
    let aside = one.disk().unwrap().set_aside.expect("the damaged one has a new name");
    assert_eq!(fs::read(aside).unwrap(), vec![b'x'; 16_384]);
    let mut client = Raw::connect(one.address(), Options::new(4, "client")).await;
    client.publish(0b001, "kept", 0, &[], b"x").await;
    on_disk(&one, |disk| disk.retained == 1 && disk.failing.is_none()).await;
    one.stop().await;
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    stopped(&broker(folder.path()).await, folder.path()).await;
    let file = folder.path().join("broker.db");
    let mut bytes = fs::read(&file).unwrap();
    // The user version of an SQLite file stands at byte 60 (https://www.sqlite.org/fileformat.html §1.3).
    bytes[60..64].copy_from_slice(&[0, 0, 0, 99]);
    fs::write(&file, &bytes).unwrap();
    let error = Broker::start_in(&options(), folder.path()).await.unwrap_err();
    assert!(matches!(error, BrokerError::NewerFormat { found: 99, .. }), "{error}");
    assert!(error.to_string().contains("broker.db"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[tokio::test]
async fn what_finds_no_room_on_the_disk_is_in_memory_only_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let persistence = BrokerPersistence { commit: Duration::from_millis(10), max_size: ByteSize(8 << 10) };
    let options = config::Broker { persistence: Some(persistence), ..options() };
    let one = Broker::start_in(&options, folder.path()).await.unwrap();
    let mut client = Raw::connect(one.address(), Options::new(4, "client")).await;
    for topic in ["a", "b", "c"] {
        client.publish(0b011, topic, 1, &[], &[b'x'; 3 << 10]).await;
    }
    client.ping().await;
    on_disk(&one, |disk| disk.left_out == 1 && disk.retained == 2).await;
    let disk = one.disk().unwrap();
    assert!(disk.bytes <= 8 << 10 && disk.bytes_high == disk.bytes, "{disk:?}");
    let mut reader = Raw::connect(one.address(), Options::new(4, "reader")).await;
    reader.subscribe(&[("#", 0)]).await;
    for _ in 0..3 {
        reader.published().await;
    }
    one.stop().await;
}

#[tokio::test]
async fn a_disk_that_fails_stops_nothing_and_gets_everything_when_it_is_well() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // A file where the folder should be.
    fs::write(&data, "in the way").unwrap();
    let one = broker(&data).await;
    assert!(one.disk().unwrap().failing.is_some());
    let mut client = Raw::connect(one.address(), kept(4, "client")).await;
    client.subscribe(&[("a", 1)]).await;
    client.publish(0b011, "kept", 1, &[], b"x").await;
    client.ping().await;
    assert_eq!(one.disk().unwrap().commits, 0);
    fs::remove_file(&data).unwrap();
    fs::create_dir(&data).unwrap();
    on_disk(&one, |disk| disk.failing.is_none() && (disk.retained, disk.sessions) == (1, 1)).await;
    stopped(&one, &data).await;
    let two = broker(&data).await;
    let (_client, answer) = Raw::try_connect(two.address(), kept(4, "client")).await;
    assert_eq!(answer[2], 1, "session present: {answer:02x?}");
    two.stop().await;
}

#[tokio::test]
async fn a_busy_subscriber_that_keeps_up_costs_the_disk_nothing_per_message() {
    let folder = tempfile::tempdir().unwrap();
    let persistence = BrokerPersistence { commit: Duration::from_secs(3600), ..BrokerPersistence::default() };
    let options = config::Broker { persistence: Some(persistence), ..options() };
    let one = Broker::start_in(&options, folder.path()).await.unwrap();
    let mut client = Raw::connect(one.address(), kept(4, "client")).await;
    client.subscribe(&[("a", 1)]).await;
    for n in 0..200_u8 {
        one.publisher().publish("a", vec![n].into(), false);
        let found = client.published().await;
        client.acknowledge(4, found.id).await;
    }
    client.ping().await;
    drop(client);
    until(&one, |status| status.clients == 0).await;
    one.stop().await;
    on_disk(&one, |disk| disk.sessions == 1).await;
    let disk = one.disk().unwrap();
    assert_eq!(disk.messages, 0);
    assert!(disk.bytes_high == 0, "no message has ever been on the disk: {disk:?}");
}

#[tokio::test]
async fn what_comes_after_messages_that_expired_during_a_restart_is_kept_and_what_was_begun_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let one = broker(folder.path()).await;
    let mut client = Raw::connect(one.address(), kept(5, "client")).await;
    client.subscribe(&[("a", 2)]).await;
    let mut publisher = Raw::connect(one.address(), Options::new(5, "publisher")).await;
    // Message expiry of an hour.
    publisher.publish(0b010, "a", 1, &[2, 0, 0, 0x0E, 0x10], b"begun").await;
    let begun = client.published().await;
    drop(client);
    until(&one, |status| status.sessions_offline == 1).await;
    for id in 2..=5 {
        publisher.publish(0b010, "a", id, &[2, 0, 0, 0x0E, 0x10], b"short").await;
    }
    publisher.ping().await;
    on_disk(&one, |disk| disk.messages == 5).await;
    stopped(&one, folder.path()).await;
    age(folder.path()).await;
    let two = broker(folder.path()).await;
    on_disk(&two, |disk| disk.messages == 1).await;
    two.publisher().publish("a", "new".into(), false);
    on_disk(&two, |disk| disk.messages == 2).await;
    let left = power_cut(folder.path());
    two.stop().await;
    let three = broker(left.path()).await;
    let mut client = Raw::connect(three.address(), kept(5, "client")).await;
    let again = client.published().await;
    assert_eq!((again.id, &*again.payload, again.duplicate), (begun.id, &b"begun"[..], true));
    assert_eq!(client.published().await.payload, b"new");
    client.quiet().await;
    three.stop().await;
}
