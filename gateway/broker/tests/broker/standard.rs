//! Connecting and subscribing as MQTT 3.1.1 and MQTT 5 say.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    raw::{Options, Raw, packet},
    rig::broker,
};

#[tokio::test]
async fn both_versions_share_the_port_and_their_messages() {
    let broker = broker().await;
    let mut four = Raw::connect(broker.address(), Options::new(4, "four")).await;
    let mut five = Raw::connect(broker.address(), Options::new(5, "five")).await;
    assert_eq!(four.subscribe(&[("from/five", 1)]).await, [1]);
    assert_eq!(five.subscribe(&[("from/four", 2)]).await, [2]);
    four.publish(0b010, "from/four", 7, &[], b"hi").await;
    assert_eq!(four.packet().await.unwrap(), [0x40, 2, 0, 7]);
    let found = five.published().await;
    assert_eq!((&*found.topic, &*found.payload, found.qos), ("from/four", &b"hi"[..], 1));
    five.publish(0, "from/five", 0, &[0x26, 0, 1, b'k', 0, 1, b'v'], b"hello").await;
    let found = four.published().await;
    assert_eq!((&*found.payload, found.qos), (&b"hello"[..], 0));
}

#[tokio::test]
async fn other_versions_are_refused_with_the_code_that_they_understand() {
    let broker = broker().await;
    for bytes in [&b"\x10\x0F\0\x06MQIsdp\x04\x02\0\x3C\0\x01c"[..], b"\x10\x0D\0\x04MQTT\x06\x02\0\x3C\0\x01c"] {
        let mut raw = Raw::open(broker.address()).await;
        raw.send(bytes).await;
        assert_eq!(raw.ended().await, Some(vec![0x20, 2, 0, 1]));
    }
}

#[tokio::test]
async fn a_client_that_promised_packets_and_sends_none_is_disconnected() {
    let broker = broker().await;
    let started = std::time::Instant::now();
    let options = Options { keep_alive: 1, ..Options::new(5, "silent") };
    let mut silent = Raw::connect(broker.address(), options).await;
    let mut without = Raw::connect(broker.address(), Options::new(5, "keep-alive 0")).await;
    assert_eq!(silent.goodbye().await, Some(0x8D));
    assert!(started.elapsed() >= Duration::from_millis(1_500));
    without.quiet().await;
}

#[tokio::test]
async fn any_client_id_works() {
    let broker = broker().await;
    let long = "x".repeat(5_000);
    for id in ["a/b", "+", "#", "$SYS", "é", " ", "{\"json\":1}", "rumqtt\u{1}", &long] {
        let mut client = Raw::connect(broker.address(), Options::new(4, id)).await;
        client.subscribe(&[("t", 0)]).await;
        broker.publisher().publish("t", Bytes::from_static(b"x"), false);
        client.published().await;
    }
}

#[tokio::test]
async fn a_client_without_an_id_gets_one() {
    let broker = broker().await;
    let mut one = Raw::connect(broker.address(), Options::new(4, "")).await;
    let (mut two, answer) = Raw::try_connect(broker.address(), Options::new(5, "")).await;
    // CONNACK, success, with an assigned client identifier among its properties.
    assert_eq!((answer[0], answer[3], answer[5]), (0x20, 0, 0x12), "{answer:02x?}");
    one.quiet().await;
    two.quiet().await;
    // MQTT 3.1.1 §3.1.3.1: no session can be kept under no id. Twice, and the broker goes on.
    for _ in 0..2 {
        let options = Options { clean: false, ..Options::new(4, "") };
        assert_eq!(Raw::try_connect(broker.address(), options).await.1, [0x20, 2, 0, 2]);
    }
    Raw::connect(broker.address(), Options { clean: false, ..Options::new(5, "") }).await.quiet().await;
    assert_eq!(broker.status().refused_logins, 2);
}

#[tokio::test]
async fn a_second_connection_with_the_same_id_takes_over() {
    let broker = broker().await;
    let mut first = Raw::connect(broker.address(), Options::new(5, "same")).await;
    first.subscribe(&[("a", 1)]).await;
    let mut second = Raw::connect(broker.address(), Options::new(5, "same")).await;
    assert_eq!(first.goodbye().await, Some(0x8E));
    second.subscribe(&[("a", 1)]).await;
    broker.publisher().publish("a", Bytes::from_static(b"x"), false);
    assert_eq!(second.published().await.payload, b"x");
    second.quiet().await;
    assert_eq!(broker.status().clients, 1);
    for _ in 0..50 {
        second = Raw::connect(broker.address(), Options::new(5, "same")).await;
    }
    second.quiet().await;
}

#[tokio::test]
async fn topics_may_be_written_in_any_script() {
    let broker = broker().await;
    let mut client = Raw::connect(broker.address(), Options::new(4, "client")).await;
    client.subscribe(&[("é/+", 0), ("温度/#", 0), ("#", 1)]).await;
    for topic in ["é/temp", "温度", "温度/一/二", "\u{1F321}", "/", " "] {
        client.publish(0, topic, 0, &[], b"x").await;
        assert_eq!(client.published().await.topic, topic);
        broker.publisher().publish(topic, Bytes::from_static(b"x"), false);
        let found = client.published().await;
        assert_eq!(found.topic, topic);
        client.acknowledge(4, found.id).await;
    }
    client.quiet().await;
}

#[tokio::test]
async fn filters_that_are_none_are_refused_and_nothing_else_happens() {
    let broker = broker().await;
    let mut four = Raw::connect(broker.address(), Options::new(4, "four")).await;
    let mut five = Raw::connect(broker.address(), Options::new(5, "five")).await;
    let filters = [("$share/group", 1), ("$share//t", 1), ("a/#/b", 0), ("a+", 0), ("fine", 2)];
    assert_eq!(four.subscribe(&filters).await, [0x80, 0x80, 0x80, 0x80, 2]);
    assert_eq!(five.subscribe(&filters).await, [0x8F, 0x8F, 0x8F, 0x8F, 2]);
    broker.publisher().publish("t", Bytes::from_static(b"x"), false);
    drop(four);
    five.quiet().await;
    assert_eq!(broker.status().refused_subscriptions, 8);
}

#[tokio::test]
async fn one_unsuback_answers_for_all_filters_known_or_not() {
    let broker = broker().await;
    let mut five = Raw::connect(broker.address(), Options::new(5, "five")).await;
    five.subscribe(&[("a", 0), ("b", 0)]).await;
    assert_eq!(five.unsubscribe(&["a", "unknown", "b"]).await, [0, 0x11, 0]);
    let mut four = Raw::connect(broker.address(), Options::new(4, "four")).await;
    assert!(four.unsubscribe(&["unknown"]).await.is_empty());
    broker.publisher().publish("a", Bytes::from_static(b"x"), false);
    five.quiet().await;
}

#[tokio::test]
async fn topic_aliases_save_a_publisher_the_topic_and_never_reach_a_subscriber() {
    let broker = broker().await;
    let mut subscriber = Raw::connect(broker.address(), Options::new(5, "subscriber")).await;
    subscriber.subscribe(&[("#", 0)]).await;
    let mut publisher = Raw::connect(broker.address(), Options::new(5, "publisher")).await;
    for (topic, alias) in [("a", 1), ("b", 2), ("", 1), ("", 2), ("c", 1), ("", 1)] {
        publisher.publish(0, topic, 0, &[0x23, 0, alias], b"x").await;
    }
    for topic in ["a", "b", "a", "b", "c", "c"] {
        let found = subscriber.published().await;
        assert_eq!((&*found.topic, &*found.properties), (topic, &[][..]));
    }
    publisher.publish(0, "", 0, &[0x23, 0, 9], b"x").await;
    assert_eq!(publisher.goodbye().await, Some(0x82));
    for alias in [0, 200] {
        let mut publisher = Raw::connect(broker.address(), Options::new(5, "publisher")).await;
        publisher.publish(0, "a", 0, &[0x23, 0, alias], b"x").await;
        assert_eq!(publisher.goodbye().await, Some(0x94));
    }
}

#[tokio::test]
async fn properties_reach_the_subscriber_unchanged() {
    let broker = broker().await;
    let mut client = Raw::connect(broker.address(), Options::new(5, "client")).await;
    client.subscribe_with(&[("a", 0)], &[0x0B, 77]).await;
    let sent = b"\x01\x01\x03\0\x01t\x08\0\x01r\x09\0\x01c\x26\0\x01k\0\x01v\x26\0\x01k\0\x01w";
    client.publish(0, "a", 0, sent, b"x").await;
    let mut expected = vec![0x0B, 77];
    expected.extend_from_slice(sent);
    assert_eq!(client.published().await.properties, expected);
    // Of the expiry the time on the way is taken off.
    client.publish(0, "a", 0, &[0x02, 0, 0, 0, 60], b"x").await;
    let properties = client.published().await.properties;
    let (expiry, others) = properties.split_at(5);
    assert_eq!(others, [0x0B, 77]);
    assert!(matches!(expiry, [0x02, 0, 0, 0, 1..=60]), "{expiry:?}");
}

#[tokio::test]
async fn overlapping_subscriptions_give_one_copy_with_the_highest_qos() {
    let broker = broker().await;
    let mut five = Raw::connect(broker.address(), Options::new(5, "five")).await;
    five.subscribe_with(&[("a/+", 1)], &[0x0B, 1]).await;
    five.subscribe_with(&[("a/#", 2)], &[0x0B, 2]).await;
    broker.publisher().publish("a/b", Bytes::from_static(b"x"), false);
    let mut found = five.published().await;
    found.properties.sort_unstable();
    assert_eq!((found.qos, &*found.properties), (2, &[1, 2, 0x0B, 0x0B][..]));
    five.quiet().await;
}

#[tokio::test]
async fn no_local_keeps_a_clients_own_messages_from_it() {
    let broker = broker().await;
    let mut client = Raw::connect(broker.address(), Options::new(5, "client")).await;
    client.subscribe(&[("a", 0b100)]).await;
    client.publish(0, "a", 0, &[], b"own").await;
    client.quiet().await;
    broker.publisher().publish("a", Bytes::from_static(b"other"), false);
    assert_eq!(client.published().await.payload, b"other");
}

#[tokio::test]
async fn own_messages_come_as_those_filters_want_that_do_not_leave_them_out() {
    let broker = broker().await;
    let mut other = Raw::connect(broker.address(), Options::new(5, "other")).await;
    let mut client = Raw::connect(broker.address(), Options::new(5, "client")).await;
    for without in 1..4 {
        for (filter, id) in [("a/#", 1), ("a", 2), ("+", 3)] {
            let options = if id == without { 0b101 } else { 0 };
            client.subscribe_with(&[(filter, options)], &[0x0B, id]).await;
        }
        client.publish(0b010, "a", 1, &[], b"own").await;
        let mut packets = client.ping().await;
        other.publish(0b010, "a", 1, &[], b"other").await;
        other.ping().await;
        packets.extend(client.ping().await);
        packets.retain(|packet| packet[0] >> 4 == 3);
        let came = packets.iter().map(|packet| {
            let message = client.read_publish(packet);
            let mut identifiers: Vec<u8> = message.properties.chunks(2).map(|property| property[1]).collect();
            identifiers.sort_unstable();
            (message.payload, message.qos, identifiers)
        });
        let others: Vec<u8> = (1..4).filter(|id| *id != without).collect();
        let wanted = [(b"own".to_vec(), 0, others), (b"other".to_vec(), 1, vec![1, 2, 3])];
        assert_eq!(came.collect::<Vec<_>>(), wanted, "{without} leaves its own out");
    }
}

#[tokio::test]
async fn who_breaks_the_protocol_is_disconnected_with_the_reason() {
    let broker = broker().await;
    let too_long = {
        let mut header = packet(0x30, &[]);
        header.truncate(1);
        header.extend_from_slice(&[0xFF, 0xFF, 0x7F]);
        header
    };
    for (bytes, code) in [
        (&b"\x30\x04\0\x01#\0"[..], 0x90),
        (b"\x30\x04\0\x01+\0", 0x90),
        (b"\x30\x03\0\0\0", 0x90),
        (b"\x36\x06\0\x01a\0\x01\0", 0x81),
        (b"\x20\x03\0\0\0", 0x82),
        (b"\xB0\x04\0\x01\0\0", 0x82),
        (b"\xF0\x00", 0x82),
        (b"\x82\x03\0\x01\0", 0x82),
        (b"\x82\x07\0\x01\0\0\x01a\x03", 0x81),
        (b"\x38\x04\0\x01a\0", 0x81),
        (b"\x30\x05\0\x02a\0\0", 0x81),
        (b"\x30\x05\0\x02\xC3\x28\0", 0x81),
        (b"\x30\x08\0\x01a\x04\x08\0\x01#", 0x82),
        (b"\xFF\xFF\xFF\xFF\xFF", 0x81),
        (&too_long, 0x95),
        (&Options::new(5, "again").packet(), 0x82),
    ] {
        let mut client = Raw::connect(broker.address(), Options::new(5, "client")).await;
        client.send(bytes).await;
        assert_eq!(client.goodbye().await, Some(code), "{bytes:02x?}");
    }
    let mut garbage = Raw::open(broker.address()).await;
    garbage.send(b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(garbage.ended().await, None);
    assert_eq!(broker.status().faults, 17);
}
