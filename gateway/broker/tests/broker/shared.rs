//! Subscriptions that several clients share.

use std::collections::BTreeSet;

use bytes::Bytes;
use tidegate_broker::{Broker, Limits};

use crate::{
    raw::{Options, Raw},
    rig::{broker, broker_with, until},
};

const SHARED: &str = "$share/g/t/#";

async fn member(broker: &Broker, options: Options<'_>, qos: u8) -> Raw {
    let mut member = Raw::connect(broker.address(), options).await;
    assert_eq!(member.subscribe(&[(SHARED, qos)]).await, [qos]);
    member
}

fn number(n: u8) -> Bytes {
    Bytes::from(vec![n])
}

/// Numbers of the messages that have come by now.
async fn numbers(client: &mut Raw) -> Vec<u8> {
    let packets = client.ping().await;
    packets.iter().map(|packet| client.read_publish(packet).payload[0]).collect()
}

#[tokio::test]
async fn each_message_goes_to_one_member_in_turn_in_every_version() {
    let broker = broker().await;
    let mut members = Vec::new();
    for (version, id) in [(3, "3"), (4, "4"), (5, "5")] {
        members.push(member(&broker, Options::new(version, id), 0).await);
    }
    let mut other = Raw::connect(broker.address(), Options::new(5, "other")).await;
    assert_eq!(other.subscribe(&[("$share/other/t/#", 0), ("t/a", 1)]).await, [0, 1]);
    for n in 0..30 {
        broker.publisher().publish("t/a", number(n), false);
    }
    let mut all = BTreeSet::new();
    for member in &mut members {
        let found = numbers(member).await;
        assert_eq!(found.len(), 10);
        assert!(found.is_sorted());
        all.extend(found);
    }
    assert_eq!(all.len(), 30);
    // The other group gets each message too, and who subscribes for itself as well.
    assert_eq!(numbers(&mut other).await.len(), 60);
    assert_eq!((broker.status().subscriptions, broker.status().shared_subscriptions), (5, 4));
}

#[tokio::test]
async fn what_a_lost_member_has_not_acknowledged_is_given_to_another() {
    let broker = broker().await;
    for kept in [false, true] {
        let options = if kept { &[0x11, 0, 0, 1, 0][..] } else { &[] };
        let first = Options { properties: options, clean: !kept, ..Options::new(5, "first") };
        let mut first = member(&broker, first, 1).await;
        for n in 0..5 {
            broker.publisher().publish("t", number(n), false);
        }
        let acknowledged = first.published().await;
        first.acknowledge(4, acknowledged.id).await;
        for _ in 1..5 {
            first.published().await;
        }
        first.quiet().await;
        let mut second = member(&broker, Options::new(4, "second"), 1).await;
        drop(first);
        for n in 1..5 {
            let found = second.published().await;
            assert_eq!((found.payload[0], found.duplicate), (n, false));
            second.acknowledge(4, found.id).await;
        }
        second.quiet().await;
        drop(second);
        until(&broker, |status| status.clients == 0).await;
        // Nobody is harmed by a group without members.
        broker.publisher().publish("t", number(9), false);
        Raw::connect(broker.address(), Options::new(5, "first")).await.quiet().await;
    }
}

#[tokio::test]
async fn a_message_that_a_member_has_begun_to_take_exactly_once_is_given_to_nobody_else() {
    let broker = broker().await;
    let kept = Options { properties: &[0x11, 0, 0, 1, 0], clean: false, ..Options::new(5, "first") };
    let mut first = member(&broker, kept, 2).await;
    broker.publisher().publish("t", number(1), false);
    let begun = first.published().await;
    let mut second = member(&broker, Options::new(5, "second"), 2).await;
    drop(first);
    until(&broker, |status| status.clients == 1).await;
    second.quiet().await;
    let mut first = Raw::connect(broker.address(), kept).await;
    let again = first.published().await;
    assert_eq!((again.id, again.payload, again.duplicate), (begun.id, begun.payload, true));
    second.quiet().await;
}

#[tokio::test]
async fn a_member_that_cannot_take_more_is_passed_over() {
    let broker = broker_with(Limits { in_flight: 2, ..Limits::default() }).await;
    let mut slow = member(&broker, Options::new(4, "slow"), 1).await;
    let mut fast = member(&broker, Options::new(4, "fast"), 1).await;
    let mut taken = BTreeSet::new();
    for n in 0..20 {
        broker.publisher().publish("t", number(n), false);
        for packet in fast.ping().await {
            let found = fast.read_publish(&packet);
            taken.insert(found.payload[0]);
            fast.acknowledge(4, found.id).await;
        }
        fast.quiet().await;
        slow.ping().await;
    }
    assert!(taken.len() >= 17, "{taken:?}");
}

#[tokio::test]
async fn members_that_are_away_keep_messages_only_when_nobody_is_there() {
    let broker = broker().await;
    let kept = Options { clean: false, ..Options::new(4, "kept") };
    drop(member(&broker, kept, 1).await);
    until(&broker, |status| status.sessions_offline == 1).await;
    broker.publisher().publish("t", number(1), false);
    let mut there = member(&broker, Options::new(4, "there"), 1).await;
    broker.publisher().publish("t", number(2), false);
    broker.publisher().publish("t", number(3), false);
    assert_eq!(numbers(&mut there).await, [2, 3]);
    let mut kept = Raw::connect(broker.address(), kept).await;
    assert_eq!(numbers(&mut kept).await, [1]);
}

#[tokio::test]
async fn a_shared_subscription_brings_no_retained_messages_and_cannot_leave_out_local_ones() {
    let broker = broker().await;
    broker.publisher().publish("t", number(1), true);
    let mut client = member(&broker, Options::new(5, "client"), 1).await;
    client.quiet().await;
    assert_eq!(client.unsubscribe(&["t/#", SHARED]).await, [0x11, 0]);
    broker.publisher().publish("t", number(1), false);
    client.quiet().await;
    assert_eq!(broker.status().subscriptions, 0);
    let mut body = vec![0, 9, 0];
    crate::raw::text(&mut body, SHARED.as_bytes());
    body.push(0b101);
    client.send(&crate::raw::packet(0x82, &body)).await;
    assert_eq!(client.goodbye().await, Some(0x82));
}
