//! Wills of lost clients.

use tidegate_broker::Broker;

use crate::{
    raw::{Options, Raw},
    rig::{broker, options, until},
};

async fn watcher(broker: &Broker) -> Raw {
    let mut watcher = Raw::connect(broker.address(), Options::new(4, "watcher")).await;
    watcher.subscribe(&[("will/#", 0)]).await;
    watcher
}

fn mortal(version: u8) -> Options<'static> {
    Options { will: Some(("will/x", "gone")), ..Options::new(version, "mortal") }
}

#[tokio::test]
async fn the_will_of_a_lost_client_is_published() {
    let broker = broker().await;
    let mut watcher = watcher(&broker).await;
    for version in [4, 5] {
        drop(Raw::connect(broker.address(), mortal(version)).await);
        assert_eq!(watcher.published().await.payload, b"gone");
    }
    // So is that of a client that broke the protocol, or was replaced.
    let mut mortal_one = Raw::connect(broker.address(), mortal(4)).await;
    mortal_one.send(&[0xFF; 8]).await;
    assert_eq!(watcher.published().await.payload, b"gone");
    let _first = Raw::connect(broker.address(), mortal(4)).await;
    let _second = Raw::connect(broker.address(), mortal(4)).await;
    assert_eq!(watcher.published().await.payload, b"gone");
    watcher.quiet().await;
}

#[tokio::test]
async fn a_goodbye_takes_the_will_back_unless_it_says_otherwise() {
    let broker = broker().await;
    let mut watcher = watcher(&broker).await;
    for version in [4, 5] {
        let mut client = Raw::connect(broker.address(), mortal(version)).await;
        client.send(&[0xE0, 0]).await;
        client.ended().await;
    }
    watcher.quiet().await;
    let mut client = Raw::connect(broker.address(), mortal(5)).await;
    client.send(&[0xE0, 1, 0x04]).await;
    client.ended().await;
    assert_eq!(watcher.published().await.payload, b"gone");
}

#[tokio::test]
async fn a_delayed_will_waits_for_the_client_to_come_back() {
    let broker = broker().await;
    let mut watcher = watcher(&broker).await;
    let patient =
        Options { clean: false, properties: &[0x11, 0, 0, 0, 60], will_properties: &[0x18, 0, 0, 0, 1], ..mortal(5) };
    let far = Options { will_properties: &[0x18, 0, 0, 0, 59], ..patient };
    drop(Raw::connect(broker.address(), far).await);
    until(&broker, |status| status.sessions_offline == 1).await;
    // Back in time: no will, also not from the connection that was replaced.
    let first = Raw::connect(broker.address(), far).await;
    let second = Raw::connect(broker.address(), patient).await;
    drop(first);
    watcher.quiet().await;
    let lost = std::time::Instant::now();
    drop(second);
    assert_eq!(watcher.published().await.payload, b"gone");
    assert!(lost.elapsed() >= std::time::Duration::from_millis(990));
    // A clean start ends the session, and with it the delay.
    drop(Raw::connect(broker.address(), far).await);
    let _new = Raw::connect(broker.address(), Options { clean: true, ..far }).await;
    assert_eq!(watcher.published().await.payload, b"gone");
}

#[tokio::test]
async fn a_will_may_be_retained() {
    let broker = broker().await;
    let mut client = Raw::open(broker.address()).await;
    let mut connect = mortal(4).packet();
    connect[9] |= 0x20;
    client.send(&connect).await;
    client.packet().await.unwrap();
    let mut first = watcher(&broker).await;
    drop(client);
    assert!(!first.published().await.retain);
    let mut late = Raw::connect(broker.address(), Options::new(4, "late")).await;
    late.subscribe(&[("will/x", 0)]).await;
    assert!(late.published().await.retain);
}

#[tokio::test]
async fn a_will_that_the_user_may_not_publish_any_more_is_not_published() {
    let watches = ("watcher", "x", &[][..], &["#"][..]);
    let dies = |publish| ("mortal", "x", publish, &[][..]);
    let may = options(&[watches, dies(&["will/x"][..])]);
    for now in [options(&[watches, dies(&["other"][..])]), options(&[watches])] {
        let broker = Broker::start(&may).await.unwrap();
        let login = |name| Some((name, "x"));
        let watcher = Options { login: login("watcher"), ..Options::new(4, "watcher") };
        let mut watcher = Raw::connect(broker.address(), watcher).await;
        watcher.subscribe(&[("will/#", 0)]).await;
        let client = Raw::connect(broker.address(), Options { login: login("mortal"), ..mortal(5) }).await;
        broker.reload(&now);
        drop(client);
        until(&broker, |status| status.refused_publishes == 1).await;
        watcher.quiet().await;
    }
}
