//! MQTT 3.1, which old devices speak, and other brokers as clients.

use bytes::Bytes;

use crate::{
    raw::{Options, Raw},
    rig::broker,
};

#[tokio::test]
async fn a_client_of_mqtt_3_1_subscribes_and_publishes() {
    let broker = broker().await;
    let mut old = Raw::connect(broker.address(), Options::new(3, "old")).await;
    let mut new = Raw::connect(broker.address(), Options::new(5, "new")).await;
    new.subscribe(&[("from/old", 1)]).await;
    assert_eq!(old.subscribe(&[("from/new", 2), ("a+", 1)]).await, [2, 1], "there is no code for a refusal");
    old.publish(0b010, "from/old", 7, &[], b"hi").await;
    assert_eq!(old.packet().await.unwrap(), [0x40, 2, 0, 7]);
    assert_eq!(new.published().await.payload, b"hi");
    new.publish(0, "from/new", 0, &[0x26, 0, 1, b'k', 0, 1, b'v'], b"hello").await;
    assert_eq!(old.published().await.payload, b"hello");
    let (_, answer) = Raw::try_connect(broker.address(), Options::new(3, "")).await;
    assert_eq!(answer, [0x20, 2, 0, 2], "it needs a client id");
}

#[tokio::test]
async fn a_bridge_gets_messages_as_they_were_published_and_none_of_its_own() {
    let broker = broker().await;
    let mut bridge = Raw::connect(broker.address(), Options::new(0x84, "bridge")).await;
    assert_eq!(bridge.subscribe(&[("a", 1)]).await, [1]);
    bridge.publish(0, "a", 0, &[], b"own").await;
    bridge.quiet().await;
    broker.publisher().publish("a", Bytes::from_static(b"x"), true);
    assert!(bridge.published().await.retain);
    broker.publisher().publish("a", Bytes::from_static(b"x"), false);
    assert!(!bridge.published().await.retain);
}
