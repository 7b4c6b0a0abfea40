//! Sessions that outlive their connection.

use bytes::Bytes;
use tidegate_broker::Limits;

use crate::{
    raw::{Options, Raw},
    rig::{broker, broker_with, until},
};

fn kept(id: &str) -> Options<'_> {
    Options { clean: false, ..Options::new(4, id) }
}

fn number(n: u8) -> Bytes {
    Bytes::from(vec![n])
}

#[tokio::test]
async fn what_came_while_the_client_was_away_is_delivered_in_order() {
    let broker = broker().await;
    let mut client = Raw::connect(broker.address(), kept("client")).await;
    client.subscribe(&[("a", 1), ("b", 0)]).await;
    drop(client);
    until(&broker, |status| status.sessions_offline == 1).await;
    for n in 0..10 {
        broker.publisher().publish("a", number(n), false);
        broker.publisher().publish("b", number(n), false);
    }
    let (mut client, answer) = Raw::try_connect(broker.address(), kept("client")).await;
    assert_eq!(answer, [0x20, 2, 1, 0], "session present");
    for n in 0..10 {
        let found = client.published().await;
        assert_eq!((&*found.topic, &*found.payload), ("a", &[n][..]));
        client.acknowledge(4, found.id).await;
    }
    client.quiet().await;
    broker.publisher().publish("b", number(0), false);
    client.published().await;
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_under_its_id() {
    let broker = broker().await;
    let mut client = Raw::connect(broker.address(), kept("client")).await;
    client.subscribe(&[("a", 1), ("b", 2)]).await;
    broker.publisher().publish("a", number(1), false);
    broker.publisher().publish("b", number(2), false);
    broker.publisher().publish("b", number(3), false);
    let (one, two, three) = (client.published().await, client.published().await, client.published().await);
    client.acknowledge(5, three.id).await;
    assert_eq!(client.packet().await.unwrap()[0], 0x62);
    drop(client);
    let mut client = Raw::connect(broker.address(), kept("client")).await;
    for first in [one, two] {
        let again = client.published().await;
        assert!(again.duplicate);
        assert_eq!((again.id, again.payload), (first.id, first.payload));
    }
    let [high, low] = three.id.to_be_bytes();
    assert_eq!(client.packet().await.unwrap(), [0x62, 2, high, low]);
    client.acknowledge(7, three.id).await;
    client.quiet().await;
}

#[tokio::test]
async fn a_qos_2_publish_is_finished_after_a_reconnect() {
    let broker = broker().await;
    let mut subscriber = Raw::connect(broker.address(), Options::new(4, "subscriber")).await;
    subscriber.subscribe(&[("a", 2)]).await;
    let mut client = Raw::connect(broker.address(), kept("client")).await;
    client.publish(0b0100, "a", 5, &[], b"x").await;
    assert_eq!(client.packet().await.unwrap(), [0x50, 2, 0, 5]);
    drop(client);
    let mut client = Raw::connect(broker.address(), kept("client")).await;
    client.publish(0b1100, "a", 5, &[], b"x").await;
    client.acknowledge(6, 5).await;
    assert_eq!(client.ping().await, [[0x50, 2, 0, 5], [0x70, 2, 0, 5]]);
    subscriber.published().await;
    subscriber.quiet().await;
}

#[tokio::test]
async fn a_clean_start_forgets_everything() {
    let broker = broker().await;
    let mut client = Raw::connect(broker.address(), kept("client")).await;
    client.subscribe(&[("a", 1)]).await;
    drop(client);
    let (mut client, answer) = Raw::try_connect(broker.address(), Options::new(4, "client")).await;
    assert_eq!(answer, [0x20, 2, 0, 0]);
    broker.publisher().publish("a", number(1), false);
    client.quiet().await;
    drop(client);
    until(&broker, |status| status.clients == 0).await;
    assert_eq!(broker.status().sessions_offline, 0);
    assert_eq!(Raw::try_connect(broker.address(), kept("client")).await.1, [0x20, 2, 0, 0]);
}

#[tokio::test]
async fn in_mqtt_5_the_expiry_decides_and_not_the_clean_start() {
    let broker = broker().await;
    // Clean start, kept for an hour; then without a clean start, and not kept.
    let hour = Options { properties: &[0x11, 0, 0, 0x0E, 0x10], ..Options::new(5, "client") };
    let mut client = Raw::connect(broker.address(), hour).await;
    client.subscribe(&[("a", 1)]).await;
    drop(client);
    let resumed = Options { clean: false, ..Options::new(5, "client") };
    let (client, answer) = Raw::try_connect(broker.address(), resumed).await;
    assert_eq!(answer[2], 1, "session present");
    drop(client);
    until(&broker, |status| status.clients == 0).await;
    assert_eq!(broker.status().sessions_offline, 0);
    assert_eq!(Raw::try_connect(broker.address(), resumed).await.1[2], 0);
}

#[tokio::test]
async fn a_session_without_expiry_ends_when_another_connection_of_the_client_takes_over() {
    let broker = broker().await;
    for version in [4, 5] {
        let resumed = Options { clean: false, ..Options::new(version, "client") };
        let mut first = Raw::connect(broker.address(), Options::new(version, "client")).await;
        first.subscribe(&[("a", 1)]).await;
        let (mut second, answer) = Raw::try_connect(broker.address(), resumed).await;
        assert_eq!(answer[2], 0, "no session present");
        first.ended().await;
        broker.publisher().publish("a", number(1), false);
        second.quiet().await;
        second.send(&[0xE0, 0]).await;
        second.ended().await;
    }
}

#[tokio::test]
async fn a_session_whose_goodbye_takes_the_expiry_back_is_not_resumed_however_fast_the_client_is_back() {
    let broker = broker().await;
    let hour = Options { properties: &[0x11, 0, 0, 0x0E, 0x10], clean: false, ..Options::new(5, "client") };
    for _ in 0..20 {
        let mut first = Raw::connect(broker.address(), hour).await;
        // Session expiry 0.
        first.send(&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 0]).await;
        first.ended().await;
        let (_second, answer) = Raw::try_connect(broker.address(), hour).await;
        assert_eq!(answer[2], 0, "no session present");
        drop(first);
        let mut last = Raw::connect(broker.address(), Options { clean: true, ..hour }).await;
        last.send(&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 0]).await;
        last.ended().await;
    }
}

#[tokio::test]
async fn a_session_ends_with_its_expiry() {
    let broker = broker().await;
    let second = Options { properties: &[0x11, 0, 0, 0, 1], ..Options::new(5, "client") };
    let client = Raw::connect(broker.address(), second).await;
    drop(client);
    until(&broker, |status| status.expired == 1).await;
    assert_eq!(broker.status().sessions_offline, 0);
}

#[tokio::test]
async fn a_goodbye_may_change_the_expiry_but_not_begin_one() {
    let broker = broker().await;
    let hour = Options { properties: &[0x11, 0, 0, 0x0E, 0x10], ..Options::new(5, "client") };
    let mut client = Raw::connect(broker.address(), hour).await;
    client.send(&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 0]).await;
    client.ended().await;
    until(&broker, |status| status.clients == 0).await;
    assert_eq!(broker.status().sessions_offline, 0);
    let mut client = Raw::connect(broker.address(), Options::new(5, "client")).await;
    client.send(&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9]).await;
    assert_eq!(client.goodbye().await, Some(0x82));
}

#[tokio::test]
async fn sessions_and_their_queues_are_bounded_while_their_clients_are_away() {
    let limits = Limits { sessions_offline: 3, queue_bytes_offline: 10_000, ..Limits::default() };
    let broker = broker_with(limits).await;
    for id in ["1", "2", "3", "4", "5"] {
        let mut client = Raw::connect(broker.address(), kept(id)).await;
        client.subscribe(&[("a", 1)]).await;
        client.send(&[0xE0, 0]).await;
        client.ended().await;
        until(&broker, |status| status.clients == 0).await;
    }
    assert_eq!(broker.status().sessions_offline, 3);
    for n in 0..100 {
        broker.publisher().publish("a", Bytes::from(vec![n; 744]), false);
    }
    assert_eq!(broker.status().dropped, 3 * 91);
    let mut client = Raw::connect(broker.address(), kept("5")).await;
    for n in 0..9 {
        let found = client.published().await;
        assert_eq!(found.payload[0], n);
        client.acknowledge(4, found.id).await;
    }
    client.quiet().await;
    assert_eq!(Raw::try_connect(broker.address(), kept("1")).await.1, [0x20, 2, 0, 0]);
}
