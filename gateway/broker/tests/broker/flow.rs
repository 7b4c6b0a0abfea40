//! What a client may send, and how fast, and what it is told about that.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_broker::Limits;

use crate::{
    raw::{Options, Raw, acknowledgements, packet},
    rig::{broker, broker_with, until},
};

/// The properties of a CONNACK of MQTT 5.
fn told(connack: &[u8]) -> &[u8] {
    assert_eq!((connack[0], connack[3], usize::from(connack[4])), (0x20, 0, connack.len() - 5), "{connack:02x?}");
    &connack[5..]
}

fn contains(properties: &[u8], property: &[u8]) -> bool {
    properties.windows(property.len()).any(|window| window == property)
}

#[tokio::test]
async fn a_client_is_told_its_limits() {
    let limits = Limits {
        receive_maximum: 7,
        longest_keep_alive: 60,
        session_expiry: 100,
        packet_bytes: 70_000,
        ..Limits::default()
    };
    let broker = broker_with(limits).await;
    let options = Options { keep_alive: 120, properties: &[0x11, 0, 0, 1, 0], ..Options::new(5, "client") };
    let (_, answer) = Raw::try_connect(broker.address(), options).await;
    let properties = told(&answer);
    for property in [&[0x21, 0, 7][..], &[0x13, 0, 60], &[0x11, 0, 0, 0, 100], &[0x27, 0, 1, 0x11, 0x70]] {
        assert!(contains(properties, property), "{property:02x?} {properties:02x?}");
    }
    // Who keeps within them hears nothing of them.
    let modest = Options { keep_alive: 10, properties: &[0x11, 0, 0, 0, 10], ..Options::new(5, "modest") };
    let (_, answer) = Raw::try_connect(broker.address(), modest).await;
    assert!(!contains(told(&answer), &[0x13, 0]) && !contains(told(&answer), &[0x11, 0]), "{answer:02x?}");
    let (_, answer) = Raw::try_connect(broker.address(), Options::new(5, "without")).await;
    assert!(contains(told(&answer), &[0x13, 0, 60]), "who promises nothing is told to keep to it: {answer:02x?}");
}

#[tokio::test]
async fn the_keep_alive_of_the_server_counts() {
    let broker = broker_with(Limits { longest_keep_alive: 1, ..Limits::default() }).await;
    let started = Instant::now();
    let mut silent = Raw::connect(broker.address(), Options { keep_alive: 600, ..Options::new(5, "silent") }).await;
    assert_eq!(silent.goodbye().await, Some(0x8D));
    assert!(started.elapsed() >= Duration::from_millis(1_500));
}

#[tokio::test]
async fn more_unreleased_messages_than_the_receive_maximum_end_the_connection() {
    let broker = broker_with(Limits { receive_maximum: 3, ..Limits::default() }).await;
    let mut client = Raw::connect(broker.address(), Options::new(5, "client")).await;
    for id in 1..=3 {
        client.publish(0b100, "a", id, &[], b"x").await;
    }
    client.publish(0b1100, "a", 2, &[], b"x").await;
    assert_eq!(acknowledgements(&client.ping().await), [(5, 1, 0), (5, 2, 0), (5, 3, 0), (5, 2, 0)]);
    client.acknowledge(6, 1).await;
    client.publish(0b100, "a", 4, &[], b"x").await;
    assert_eq!(acknowledgements(&client.ping().await), [(7, 1, 0), (5, 4, 0)]);
    for id in 10..1_000 {
        client.publish(0b010, "a", id, &[], b"x").await;
        client.packet().await.unwrap();
    }
    client.publish(0b100, "a", 5, &[], b"x").await;
    assert_eq!(client.goodbye().await, Some(0x93));
    // MQTT 3.1.1 has no such number.
    let mut four = Raw::connect(broker.address(), Options::new(4, "four")).await;
    for id in 1..=100 {
        four.publish(0b100, "a", id, &[], b"x").await;
    }
    assert_eq!(four.ping().await.len(), 100);
}

#[tokio::test]
async fn a_client_that_sends_more_than_its_rate_is_slowed_down_and_loses_nothing() {
    let broker = broker_with(Limits { rate_messages: 200, ..Limits::default() }).await;
    let mut other = Raw::connect(broker.address(), Options::new(4, "other")).await;
    other.subscribe(&[("a", 0)]).await;
    let mut fast = Raw::connect(broker.address(), Options { keep_alive: 1, ..Options::new(4, "fast") }).await;
    let started = Instant::now();
    for n in 0..700_u16 {
        fast.publish(0, "a", 0, &[], &n.to_be_bytes()).await;
    }
    // It waits behind the messages, and is answered if the client is not taken for silent while nobody hears it.
    fast.send(&[0xC0, 0]).await;
    for n in 0..700_u16 {
        assert_eq!(other.published().await.payload, n.to_be_bytes());
    }
    // The first second's worth may come at once.
    assert!(started.elapsed() >= Duration::from_millis(2_400), "{:?}", started.elapsed());
    assert_eq!(fast.packet().await.unwrap(), [0xD0, 0]);
    assert!(broker.status().slowed > 0);
}

#[tokio::test]
async fn bytes_are_limited_as_messages_are() {
    let broker = broker_with(Limits { rate_bytes: 100_000, ..Limits::default() }).await;
    let mut fast = Raw::connect(broker.address(), Options::new(5, "fast")).await;
    let started = Instant::now();
    for id in 1..=20 {
        fast.publish(0b010, "a", id, &[], &[0; 10_000]).await;
    }
    assert_eq!(fast.ping().await.len(), 20);
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
}

#[tokio::test]
async fn topics_have_as_many_levels_and_bytes_as_they_may() {
    let broker = broker_with(Limits { topic_levels: 3, topic_bytes: 20, ..Limits::default() }).await;
    let mut client = Raw::connect(broker.address(), Options::new(5, "client")).await;
    let long = "x".repeat(21);
    assert_eq!(client.subscribe(&[("a/b/c", 0), ("a/b/c/d", 0), (&long, 0), ("+/+/#", 0)]).await, [0, 0x8F, 0x8F, 0]);
    client.publish(0, "a/b/c", 0, &[], b"x").await;
    assert_eq!(client.published().await.topic, "a/b/c");
    for topic in ["a/b/c/d", &long] {
        let mut client = Raw::connect(broker.address(), Options::new(5, "other")).await;
        client.publish(0, topic, 0, &[], b"x").await;
        assert_eq!(client.goodbye().await, Some(0x90));
    }
}

#[tokio::test]
async fn a_client_has_as_many_subscriptions_as_it_may() {
    let broker = broker_with(Limits { subscriptions: 2, ..Limits::default() }).await;
    let mut client = Raw::connect(broker.address(), Options::new(5, "client")).await;
    assert_eq!(client.subscribe(&[("a", 0), ("b", 0), ("c", 0), ("a", 1)]).await, [0, 0, 0x97, 1]);
    client.unsubscribe(&["b"]).await;
    assert_eq!(client.subscribe(&[("c", 0)]).await, [0]);
}

#[tokio::test]
async fn a_packet_that_arrives_in_small_pieces_and_a_large_one_are_read_whole() {
    let broker = broker().await;
    let mut client = Raw::connect(broker.address(), Options::new(4, "client")).await;
    client.subscribe(&[("a", 0)]).await;
    let mut packet = Vec::new();
    crate::raw::text(&mut packet, b"a");
    packet.extend((0..1_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()));
    client.send(&crate::raw::packet(0x30, &packet)).await;
    let found = client.published().await;
    assert!(found.payload == packet[3..]);
    for byte in crate::raw::packet(0x30, &packet[..300]) {
        client.send(&[byte]).await;
    }
    assert_eq!(client.published().await.payload, packet[3..300]);
    assert_eq!(broker.status().delivered_bytes, 1_000_297);
}

#[tokio::test]
async fn who_sends_a_packet_that_is_too_large_can_send_it_whole_and_is_told() {
    let broker = broker_with(Limits { packet_bytes: 10_000, ..Limits::default() }).await;
    let mut client = Raw::connect(broker.address(), Options::new(5, "client")).await;
    client.publish(0, "a", 0, &[], &vec![0; 3_000_000]).await;
    assert_eq!(client.goodbye().await, Some(0x95));
}

#[tokio::test]
async fn reasons_are_told_to_who_wants_them() {
    let broker = broker().await;
    let silent = Options { properties: &[0x17, 0], ..Options::new(5, "silent") };
    for (options, told) in [(Options::new(5, "curious"), true), (silent, false)] {
        let mut client = Raw::connect(broker.address(), options).await;
        client.publish(0b010, "$SYS/x", 1, &[], b"x").await;
        let answer = client.packet().await.unwrap();
        assert_eq!((answer[4], answer.len() > 5), (0x87, told), "{answer:02x?}");
        broker.publisher().publish("a", Bytes::new(), false);
    }
}

#[tokio::test]
async fn a_client_gets_no_answer_that_is_larger_than_it_takes() {
    let broker = broker().await;
    // Maximum packet size 10: no CONNACK has room in it.
    let mut client = Raw::open(broker.address()).await;
    client.send(&Options { properties: &[0x27, 0, 0, 0, 10], ..Options::new(5, "client") }.packet()).await;
    assert_eq!(client.packet().await, None);
    until(&broker, |status| status.refused_logins == 1).await;
    // Maximum packet size 30, and a SUBACK with 60 codes.
    let small = Options { properties: &[0x27, 0, 0, 0, 30], ..Options::new(5, "client") };
    let mut client = Raw::connect(broker.address(), small).await;
    assert_eq!(client.subscribe(&[("a", 0), ("b", 1)]).await, [0, 1]);
    let mut body = vec![0, 9, 0];
    for _ in 0..60 {
        body.extend([0, 1, b'a', 0]);
    }
    client.send(&packet(0x82, &body)).await;
    assert_eq!(client.goodbye().await, Some(0x95));
}
