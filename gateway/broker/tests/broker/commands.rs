//! Commands to the gateway and their answers.

use bytes::Bytes;
use tidegate_broker::{Broker, Message};

use crate::{
    raw::{Options, Raw, acknowledgements},
    rig::{broker, options},
};

const SET: &str = "tidegate/line3/press/set";

#[tokio::test]
async fn an_answer_goes_where_the_client_wants_it_with_its_correlation_data() {
    let broker = broker().await;
    let mut inbox = broker.subscribe("tidegate/line3/+/set", 10);
    let mut five = Raw::connect(broker.address(), Options::new(5, "five")).await;
    let mut four = Raw::connect(broker.address(), Options::new(4, "four")).await;
    five.subscribe(&[("answers/five", 1)]).await;
    four.subscribe(&[("answers/#", 1)]).await;
    let properties = b"\x08\0\x0Canswers/five\x09\0\x04\x00\xFF\x01x";
    five.publish(0b010, SET, 1, properties, b"{\"values\":{}}").await;
    assert_eq!(five.ping().await, [[0x40, 2, 0, 1]]);
    let Message { topic, payload, response_topic, correlation } = inbox.recv().await.unwrap();
    assert_eq!((&*topic, &*payload), (SET, &b"{\"values\":{}}"[..]));
    broker.publisher().reply(&response_topic.unwrap(), Bytes::from_static(b"done"), correlation);
    let answer = five.published().await;
    assert_eq!((&*answer.topic, &*answer.payload), ("answers/five", &b"done"[..]));
    assert_eq!(answer.properties, b"\x09\0\x04\x00\xFF\x01x");
    assert_eq!(four.published().await.payload, b"done");
}

#[tokio::test]
async fn a_command_without_properties_has_neither_response_topic_nor_correlation() {
    let broker = broker().await;
    let mut inbox = broker.subscribe("tidegate/line3/+/set", 10);
    let mut four = Raw::connect(broker.address(), Options::new(4, "four")).await;
    four.subscribe(&[("tidegate/line3/press/set/reply", 1)]).await;
    four.publish(0, SET, 0, &[], b"{}").await;
    four.publish(0, "tidegate/line4/press/set", 0, &[], b"for another gateway").await;
    let expected =
        Message { topic: SET.to_owned(), payload: Bytes::from_static(b"{}"), response_topic: None, correlation: None };
    assert_eq!(inbox.recv().await, Some(expected));
    broker.publisher().reply(&format!("{SET}/reply"), Bytes::from_static(b"done"), None);
    assert_eq!(four.published().await.payload, b"done");
}

#[tokio::test]
async fn commands_that_find_no_room_are_dropped_counted_and_in_mqtt_5_refused() {
    let broker = broker().await;
    let mut inbox = broker.subscribe("tidegate/line3/+/set", 2);
    let mut five = Raw::connect(broker.address(), Options::new(5, "five")).await;
    for id in 1..=4 {
        five.publish(0b010, SET, id, &[], &[u8::try_from(id).unwrap()]).await;
    }
    let answers = [(4, 1, 0), (4, 2, 0), (4, 3, 0x97), (4, 4, 0x97)];
    assert_eq!(acknowledgements(&five.ping().await), answers);
    assert_eq!(broker.status().dropped, 2);
    assert_eq!(inbox.recv().await.unwrap().payload, &[1][..]);
    assert_eq!(inbox.recv().await.unwrap().payload, &[2][..]);
    five.publish(0b010, SET, 5, &[], &[5]).await;
    assert_eq!(inbox.recv().await.unwrap().payload, &[5][..]);
}

#[tokio::test]
async fn an_inbox_that_is_gone_harms_nobody() {
    let broker = broker().await;
    drop(broker.subscribe("#", 1));
    let mut five = Raw::connect(broker.address(), Options::new(5, "five")).await;
    for id in 1..=3 {
        five.publish(0b010, SET, id, &[], b"{}").await;
        assert_eq!(five.packet().await.unwrap()[1], 2);
    }
    let mut inbox = broker.subscribe("#", 1);
    five.publish(0, SET, 0, &[], b"{}").await;
    assert!(inbox.recv().await.is_some());
}

#[tokio::test]
async fn the_gateway_is_not_made_to_answer_where_the_client_may_not_write() {
    let users: &[crate::rig::User<'_>] =
        &[("scada", "secret", &["tidegate/line3/+/set"], &["tidegate/#", "answers/#"])];
    let broker = Broker::start(&options(users)).await.unwrap();
    let mut inbox = broker.subscribe("tidegate/line3/+/set", 10);
    let scada = Options { login: Some(("scada", "secret")), ..Options::new(5, "scada") };
    let mut client = Raw::connect(broker.address(), scada).await;
    for (topic, honoured) in [
        ("answers/1", true),
        ("tidegate/line3/press/set/reply", true),
        ("tidegate/line3/state", false),
        ("elsewhere", false),
    ] {
        let mut properties = vec![0x08, 0, u8::try_from(topic.len()).unwrap()];
        properties.extend_from_slice(topic.as_bytes());
        client.publish(0, SET, 0, &properties, b"{}").await;
        let found = inbox.recv().await.unwrap().response_topic;
        assert_eq!(found, honoured.then(|| topic.to_owned()));
    }
}
