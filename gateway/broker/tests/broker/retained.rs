//! Retained messages.

use bytes::Bytes;
use tidegate_broker::{Broker, Limits};
use tokio::{task::yield_now, time::timeout};

use crate::{
    raw::{Options, PATIENCE, Raw, packet, text},
    rig::{broker, broker_with, options},
};

const ON: Bytes = Bytes::from_static(b"online");

#[tokio::test]
async fn who_subscribes_later_gets_the_last_message_marked_as_retained() {
    let broker = broker().await;
    broker.publisher().publish("g/state", Bytes::from_static(b"offline"), true);
    broker.publisher().publish("g/state", ON, true);
    let mut client = Raw::connect(broker.address(), Options::new(4, "client")).await;
    client.subscribe(&[("g/#", 1)]).await;
    let found = client.published().await;
    assert_eq!((&*found.payload, found.retain, found.qos), (&b"online"[..], true, 1));
    broker.publisher().publish("g/state", ON, true);
    assert!(!client.published().await.retain, "what comes live is not marked");
    // Every subscription brings it again.
    client.subscribe(&[("g/#", 1)]).await;
    assert!(client.published().await.retain);
    client.quiet().await;
}

#[tokio::test]
async fn only_an_empty_retained_message_removes_the_one_before() {
    let broker = broker().await;
    let mut client = Raw::connect(broker.address(), Options::new(4, "client")).await;
    client.publish(1, "a", 0, &[], b"x").await;
    client.publish(0, "a", 0, &[], b"").await;
    client.subscribe(&[("a", 0)]).await;
    assert_eq!(client.published().await.payload, b"x");
    client.publish(1, "a", 0, &[], b"").await;
    let found = client.published().await;
    assert_eq!((found.payload.len(), found.retain), (0, false), "subscribers hear of it");
    client.subscribe(&[("a", 0)]).await;
    client.quiet().await;
    assert_eq!(broker.status().retained, 0);
}

#[tokio::test]
async fn all_of_many_retained_messages_arrive_at_every_level() {
    let broker = broker().await;
    for n in 0..3_000 {
        broker.publisher().publish(format!("g/{n}"), Bytes::from(vec![b'x'; 2_000]), true);
    }
    for qos in 0..3 {
        let mut client = Raw::connect(broker.address(), Options::new(4, "client")).await;
        client.subscribe(&[("none/#", 0), ("g/+", qos)]).await;
        let mut topics = std::collections::HashSet::new();
        while topics.len() < 3_000 {
            let packet = client.packet().await.unwrap();
            match packet[0] >> 4 {
                3 => {
                    let length = usize::from(packet[4]);
                    topics.insert(packet[5..5 + length].to_vec());
                    if qos > 0 {
                        let id = u16::from_be_bytes([packet[5 + length], packet[6 + length]]);
                        client.acknowledge(if qos == 1 { 4 } else { 5 }, id).await;
                    }
                }
                6 => client.acknowledge(7, u16::from_be_bytes([packet[2], packet[3]])).await,
                _ => panic!("{packet:02x?}"),
            }
        }
    }
    assert_eq!(broker.status().dropped, 0);
}

#[tokio::test]
async fn the_client_says_when_it_wants_retained_messages() {
    let broker = broker().await;
    broker.publisher().publish("a", ON, true);
    let mut client = Raw::connect(broker.address(), Options::new(5, "client")).await;
    client.subscribe(&[("a", 0x20)]).await;
    client.quiet().await;
    client.subscribe(&[("a", 0x10)]).await;
    client.quiet().await;
    client.unsubscribe(&["a"]).await;
    client.subscribe(&[("a", 0x10)]).await;
    client.published().await;
    // Retain as published.
    client.subscribe(&[("a", 0x28)]).await;
    broker.publisher().publish("a", ON, true);
    assert!(client.published().await.retain);
    broker.publisher().publish("a", ON, false);
    assert!(!client.published().await.retain);
}

#[tokio::test]
async fn a_command_is_never_retained() {
    let broker = broker().await;
    let mut inbox = broker.subscribe("tidegate/g/+/set", 4);
    let mut client = Raw::connect(broker.address(), Options::new(4, "client")).await;
    client.publish(1, "tidegate/g/press/set", 0, &[], b"{}").await;
    assert_eq!(inbox.recv().await.unwrap().payload, &b"{}"[..]);
    client.subscribe(&[("#", 0)]).await;
    client.quiet().await;
    assert_eq!(broker.status().retained, 0);
}

#[tokio::test]
async fn clients_cannot_fill_the_memory_with_retained_messages() {
    let broker = broker_with(Limits { retained_bytes: 100_000, ..Limits::default() }).await;
    let mut client = Raw::connect(broker.address(), Options::new(4, "client")).await;
    for n in 0..1_000 {
        client.publish(1, &format!("a/{n}"), 0, &[], &[0; 1_000]).await;
    }
    client.quiet().await;
    let status = broker.status();
    assert!(status.retained_bytes <= 100_000 && status.retained > 50, "{status:?}");
    broker.publisher().publish("g/state", ON, true);
    client.subscribe(&[("g/state", 0)]).await;
    assert_eq!(client.published().await.payload, &ON[..]);
}

/// Filters that select none of many retained messages, and then `last`.
fn many_and(last: &str) -> Vec<String> {
    (0..60).map(|n| format!("a/+/{n}")).chain([last.to_owned()]).collect()
}

async fn subscribe(client: &mut Raw, filters: &[String]) {
    let filters: Vec<(&str, u8)> = filters.iter().map(|filter| (&**filter, 0)).collect();
    assert_eq!(client.subscribe(&filters).await, vec![0; filters.len()]);
}

#[tokio::test]
async fn others_have_their_turn_while_retained_messages_are_looked_for() {
    let broker = broker().await;
    for n in 0..2_000 {
        broker.publisher().publish(format!("a/{n}/x"), ON, true);
    }
    broker.publisher().publish("z", ON, true);
    let mut client = Raw::connect(broker.address(), Options::new(4, "client")).await;
    subscribe(&mut client, &many_and("z")).await;
    let mut turns = 0;
    while broker.status().delivered == 0 {
        // On this one thread the client's connection is what others have to wait for.
        yield_now().await;
        turns += 1;
    }
    assert!(turns > 20, "{turns} turns");
    assert_eq!(client.published().await.topic, "z");
}

#[tokio::test]
async fn a_right_that_is_taken_away_ends_the_search_for_retained_messages() {
    let may = |subscribe: &'static [&'static str]| options(&[("scada", "x", &[], subscribe)]);
    let broker = Broker::start(&may(&["#"])).await.unwrap();
    for n in 0..2_000 {
        broker.publisher().publish(format!("a/{n}/x"), ON, true);
    }
    broker.publisher().publish("z", ON, true);
    let login = Some(("scada", "x"));
    let mut client = Raw::connect(broker.address(), Options { login, ..Options::new(4, "client") }).await;
    let mut body = vec![0, 9];
    for filter in many_and("z") {
        text(&mut body, filter.as_bytes());
        body.push(0);
    }
    client.send(&packet(0x82, &body)).await;
    // On this one thread the search goes no further between its turns.
    let begun = async {
        while broker.status().subscriptions < 61 {
            yield_now().await;
        }
    };
    timeout(PATIENCE, begun).await.unwrap();
    assert_eq!(broker.status().delivered, 0);
    broker.reload(&may(&["a/#"]));
    assert_eq!(client.packet().await.unwrap(), [&[0x90, 63, 0, 9][..], &[0; 61]].concat());
    subscribe(&mut client, &["a/7/x".to_owned()]).await;
    assert_eq!(client.published().await.topic, "a/7/x");
}
