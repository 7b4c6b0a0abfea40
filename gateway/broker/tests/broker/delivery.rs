//! QoS 1 and 2 in both directions.

use bytes::Bytes;

use crate::{
    raw::{Options, Raw},
    rig::broker,
};

const HI: Bytes = Bytes::from_static(b"hi");

#[tokio::test]
async fn a_message_comes_with_the_lower_of_both_levels() {
    let broker = broker().await;
    let mut client = Raw::connect(broker.address(), Options::new(4, "client")).await;
    assert_eq!(client.subscribe(&[("0", 0), ("1", 1), ("2", 2)]).await, [0, 1, 2]);
    for (published, id) in [(0, 0), (1, 11), (2, 12)] {
        for subscribed in 0..3_u8 {
            client.publish(published << 1, &subscribed.to_string(), id, &[], b"x").await;
            let mut found = Vec::new();
            for packet in client.ping().await {
                if packet[0] >> 4 == 3 {
                    found.push(packet[0] & 6);
                }
            }
            assert_eq!(found, [published.min(subscribed) << 1], "{published} {subscribed}");
            if published == 2 {
                client.acknowledge(6, id).await;
                assert_eq!(client.packet().await.unwrap(), [0x70, 2, 0, 12]);
            }
        }
    }
    // The gateway's own messages come as the subscriber wants them.
    for subscribed in 0..3_u8 {
        broker.publisher().publish(subscribed.to_string(), HI, false);
        assert_eq!(client.published().await.qos, subscribed);
    }
}

#[tokio::test]
async fn acknowledgements_may_come_in_any_order_and_twice() {
    let broker = broker().await;
    let mut client = Raw::connect(broker.address(), Options::new(4, "client")).await;
    client.subscribe(&[("a", 1)]).await;
    for _ in 0..5 {
        broker.publisher().publish("a", HI, false);
    }
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(client.published().await.id);
    }
    for id in ids.iter().rev().chain([&ids[2], &4242]) {
        client.acknowledge(4, *id).await;
    }
    broker.publisher().publish("a", HI, false);
    client.published().await;
    client.quiet().await;
}

#[tokio::test]
async fn no_more_is_in_flight_than_the_client_takes() {
    let broker = broker().await;
    let options = Options { properties: &[0x21, 0, 3], ..Options::new(5, "client") };
    let mut client = Raw::connect(broker.address(), options).await;
    client.subscribe(&[("a", 1), ("b", 2)]).await;
    for n in 0..10_u8 {
        broker.publisher().publish(if n % 2 == 0 { "a" } else { "b" }, Bytes::from(vec![n]), false);
    }
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(client.published().await);
    }
    client.quiet().await;
    let mut seen: Vec<u8> = Vec::new();
    while seen.len() < 10 {
        let next = waiting.remove(0);
        seen.push(next.payload[0]);
        if next.qos == 1 {
            client.acknowledge(4, next.id).await;
        } else {
            client.acknowledge(5, next.id).await;
            assert_eq!(client.packet().await.unwrap()[0], 0x62);
            client.quiet().await;
            client.acknowledge(7, next.id).await;
        }
        if seen.len() + waiting.len() < 10 {
            waiting.push(client.published().await);
        }
    }
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
    client.quiet().await;
}

#[tokio::test]
async fn a_qos_2_message_that_is_sent_twice_is_passed_on_once() {
    let broker = broker().await;
    let mut subscriber = Raw::connect(broker.address(), Options::new(4, "subscriber")).await;
    subscriber.subscribe(&[("a", 2)]).await;
    let mut publisher = Raw::connect(broker.address(), Options::new(4, "publisher")).await;
    publisher.publish(0b0100, "a", 9, &[], b"x").await;
    publisher.publish(0b1100, "a", 9, &[], b"x").await;
    publisher.acknowledge(6, 9).await;
    publisher.acknowledge(6, 9).await;
    let answers = publisher.ping().await;
    assert_eq!(answers, [[0x50, 2, 0, 9], [0x50, 2, 0, 9], [0x70, 2, 0, 9], [0x70, 2, 0, 9]]);
    subscriber.published().await;
    subscriber.quiet().await;
    // The id is free again.
    publisher.publish(0b0100, "a", 9, &[], b"y").await;
    assert_eq!(subscriber.published().await.payload, b"y");
}

#[tokio::test]
async fn a_client_gets_no_packet_that_is_longer_than_it_takes() {
    let broker = broker().await;
    let options = Options { properties: &[0x27, 0, 0, 0, 30], ..Options::new(5, "client") };
    let mut client = Raw::connect(broker.address(), options).await;
    client.subscribe(&[("a", 1)]).await;
    // 2 + 2 + 1 + 2 + 1 bytes before the payload.
    broker.publisher().publish("a", Bytes::from(vec![1; 23]), false);
    broker.publisher().publish("a", Bytes::from(vec![2; 22]), false);
    assert_eq!(client.published().await.payload, [2; 22]);
    assert_eq!(broker.status().dropped, 1);
}

#[tokio::test]
async fn an_expired_message_is_not_delivered() {
    let broker = broker().await;
    let options = Options { properties: &[0x21, 0, 1], ..Options::new(5, "client") };
    let mut client = Raw::connect(broker.address(), options).await;
    client.subscribe(&[("a", 1)]).await;
    client.publish(0b010, "a", 1, &[], b"blocks the window").await;
    client.publish(0b010, "a", 2, &[0x02, 0, 0, 0, 0], b"old").await;
    client.publish(0b010, "a", 3, &[0x02, 0, 0, 1, 0], b"new").await;
    let packets = client.ping().await;
    let first = packets.iter().find(|packet| packet[0] >> 4 == 3).unwrap();
    client.acknowledge(4, u16::from_be_bytes([first[5], first[6]])).await;
    assert_eq!(client.published().await.payload, b"new");
}
