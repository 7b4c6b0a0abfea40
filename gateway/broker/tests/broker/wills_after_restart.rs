//! Wills of clients that were connected when the broker ended.

use std::path::Path;

use tidegate_broker::Broker;

use crate::{
    disk::{broker, kept, on_disk, power_cut, stopped},
    raw::{Options, Raw},
    rig::until,
};

/// A client with a will; session expiry and will delay of MQTT 5.
fn mortal<'a>(properties: &'a [u8], will_properties: &'a [u8]) -> Options<'a> {
    let will = Some(("will", "gone"));
    Options { clean: false, will, will_qos: 1, properties, will_properties, ..Options::new(5, "mortal") }
}

const HOUR: &[u8] = &[0x11, 0, 0, 0x0E, 0x10];
const AFTER_A_SECOND: &[u8] = &[0x18, 0, 0, 0, 1];
const AFTER_HALF_AN_HOUR: &[u8] = &[0x18, 0, 0, 0x07, 0x08];

/// A client that is away and waits for wills.
async fn heir(broker: &Broker) {
    let mut heir = Raw::connect(broker.address(), kept(4, "heir")).await;
    heir.subscribe(&[("will", 1)]).await;
    drop(heir);
    until(broker, |status| status.sessions_offline == 1).await;
    on_disk(broker, |disk| disk.sessions == 1).await;
}

/// What the heir has got.
async fn left_to_heir(folder: &Path) -> (Broker, Raw) {
    let broker = broker(folder).await;
    let heir = Raw::connect(broker.address(), kept(4, "heir")).await;
    (broker, heir)
}

#[tokio::test]
async fn a_will_is_published_after_a_power_cut_and_after_a_stop_and_once() {
    for is_cut in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let one = broker(folder.path()).await;
        heir(&one).await;
        let client = Raw::connect(one.address(), mortal(&[], &[])).await;
        on_disk(&one, |disk| disk.wills == 1).await;
        let left = is_cut.then(|| power_cut(folder.path()));
        stopped(&one, folder.path()).await;
        drop(client);
        let folder = left.as_ref().unwrap_or(&folder);
        let (two, mut heir) = left_to_heir(folder.path()).await;
        let found = heir.published().await;
        assert_eq!((&*found.topic, &*found.payload, found.qos), ("will", &b"gone"[..], 1));
        heir.acknowledge(4, found.id).await;
        heir.ping().await;
        on_disk(&two, |disk| (disk.wills, disk.messages) == (0, 0)).await;
        stopped(&two, folder.path()).await;
        let (three, mut heir) = left_to_heir(folder.path()).await;
        heir.quiet().await;
        three.stop().await;
    }
}

#[tokio::test]
async fn a_will_that_was_taken_back_or_published_leaves_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let one = broker(folder.path()).await;
    for goodbye in [&[0xE0, 0][..], &[]] {
        let mut client = Raw::connect(one.address(), mortal(&[], &[])).await;
        on_disk(&one, |disk| disk.wills == 1).await;
        client.send(goodbye).await;
        drop(client);
        on_disk(&one, |disk| disk.wills == 0).await;
    }
    one.stop().await;
}

/// The folder that a client left when the power went, with a will that is due so long after the loss.
async fn after_power_cut(delay: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let one = broker(folder.path()).await;
    heir(&one).await;
    let _client = Raw::connect(one.address(), mortal(HOUR, delay)).await;
    on_disk(&one, |disk| (disk.wills, disk.sessions) == (1, 2)).await;
    let left = power_cut(folder.path());
    one.stop().await;
    left
}

#[tokio::test]
async fn a_delayed_will_is_not_due_when_the_client_is_back_after_the_restart() {
    let left = after_power_cut(AFTER_HALF_AN_HOUR).await;
    let (two, mut heir) = left_to_heir(left.path()).await;
    let without = Options { will: None, will_qos: 0, ..mortal(HOUR, &[]) };
    let (_client, answer) = Raw::try_connect(two.address(), without).await;
    assert_eq!(answer[2], 1, "session present");
    on_disk(&two, |disk| disk.wills == 0).await;
    heir.quiet().await;
    two.stop().await;
}

#[tokio::test]
async fn a_delayed_will_is_published_when_the_client_does_not_come_back_after_the_restart() {
    let left = after_power_cut(AFTER_A_SECOND).await;
    let (two, mut heir) = left_to_heir(left.path()).await;
    assert_eq!(heir.published().await.payload, b"gone");
    on_disk(&two, |disk| disk.wills == 0).await;
    let (_client, answer) = Raw::try_connect(two.address(), mortal(HOUR, &[])).await;
    assert_eq!(answer[2], 1, "its session is still there");
    two.stop().await;
}
