//! Topics that a subscriber knows by a number.

use bytes::Bytes;

use crate::{
    raw::{Options, Raw},
    rig::broker,
};

/// Alias and topic of the next message.
async fn next(client: &mut Raw) -> (Option<u8>, String) {
    let found = client.published().await;
    let alias = match found.properties[..] {
        [] => None,
        [0x23, 0, alias] => Some(alias),
        ref other => panic!("{other:02x?}"),
    };
    (alias, found.topic)
}

#[tokio::test]
async fn a_subscriber_gets_no_more_aliases_than_it_allows_and_each_stands_for_one_topic() {
    let broker = broker().await;
    let two = Options { properties: &[0x22, 0, 2], ..Options::new(5, "two") };
    let mut two = Raw::connect(broker.address(), two).await;
    let mut none = Raw::connect(broker.address(), Options::new(5, "none")).await;
    let mut four = Raw::connect(broker.address(), Options::new(4, "four")).await;
    for client in [&mut two, &mut none, &mut four] {
        client.subscribe(&[("+", 0)]).await;
    }
    let topics = ["a", "b", "c", "a", "b", "c", "a"];
    for topic in topics {
        broker.publisher().publish(topic, Bytes::from_static(b"x"), false);
    }
    let expected =
        [(Some(1), "a"), (Some(2), "b"), (None, "c"), (Some(1), ""), (Some(2), ""), (None, "c"), (Some(1), "")];
    for (alias, topic) in expected {
        assert_eq!(next(&mut two).await, (alias, topic.to_owned()));
    }
    for topic in topics {
        assert_eq!(next(&mut none).await, (None, topic.to_owned()));
        assert_eq!(four.published().await.topic, topic);
    }
}

#[tokio::test]
async fn aliases_end_with_the_connection() {
    let broker = broker().await;
    let properties = &[0x22, 0, 2, 0x11, 0, 0, 0, 60];
    let options = Options { properties, clean: false, ..Options::new(5, "client") };
    let mut client = Raw::connect(broker.address(), options).await;
    client.subscribe(&[("a", 1)]).await;
    broker.publisher().publish("a", Bytes::from_static(b"1"), false);
    broker.publisher().publish("a", Bytes::from_static(b"2"), false);
    assert_eq!(client.published().await.topic, "a");
    assert_eq!(client.published().await.topic, "");
    drop(client);
    let mut client = Raw::connect(broker.address(), options).await;
    let again = client.published().await;
    assert_eq!((&*again.topic, again.duplicate, &*again.payload), ("a", true, &b"1"[..]));
    assert_eq!(client.published().await.topic, "");
}

#[tokio::test]
async fn a_message_that_is_too_large_to_be_sent_sets_no_alias() {
    let broker = broker().await;
    let options = Options { properties: &[0x22, 0, 2, 0x27, 0, 0, 0, 30], ..Options::new(5, "client") };
    let mut client = Raw::connect(broker.address(), options).await;
    client.subscribe(&[("a", 0)]).await;
    broker.publisher().publish("a", Bytes::from(vec![0; 40]), false);
    broker.publisher().publish("a", Bytes::from_static(b"x"), false);
    assert_eq!(next(&mut client).await, (Some(1), "a".to_owned()));
}
