//! Subscribers that read too slowly, and many messages.

use bytes::Bytes;
use tidegate_broker::{Broker, Limits};

use crate::{
    raw::{Options, Raw},
    rig::{broker, broker_with, until},
};

fn limits() -> Limits {
    Limits { queue_bytes: 4_000_000, queue_bytes_qos0: 1_000_000, ..Limits::default() }
}

#[tokio::test]
async fn a_stuck_subscriber_with_qos_0_loses_messages_and_nobody_else_does() {
    let broker = broker_with(limits()).await;
    let mut stuck = Raw::connect(broker.address(), Options::new(5, "stuck")).await;
    let mut healthy = Raw::connect(broker.address(), Options::new(5, "healthy")).await;
    stuck.subscribe(&[("a", 0)]).await;
    healthy.subscribe(&[("a", 0)]).await;
    let publisher = broker.publisher();
    for n in 0..1_000_u16 {
        let mut payload = vec![0; 20_000];
        payload[..2].copy_from_slice(&n.to_be_bytes());
        publisher.publish("a", payload.into(), false);
        let found = healthy.published().await;
        assert_eq!(found.payload[..2], n.to_be_bytes());
    }
    assert!(broker.status().dropped > 0);
    // It gets what had room, in order, and then what is new.
    let mut numbers: Vec<u16> = Vec::new();
    loop {
        let found = stuck.published().await.payload;
        if found == b"new" {
            break;
        }
        numbers.push(u16::from_be_bytes([found[0], found[1]]));
        if numbers.len() >= 30 {
            publisher.publish("a", Bytes::from_static(b"new"), false);
        }
    }
    assert!(numbers[0] == 0 && numbers.is_sorted() && numbers.len() < 1_000, "{} messages", numbers.len());
}

#[tokio::test]
async fn a_stuck_subscriber_with_qos_1_is_disconnected_and_told_why() {
    let broker = broker_with(limits()).await;
    let mut stuck = Raw::connect(broker.address(), Options::new(5, "stuck")).await;
    let mut healthy = Raw::connect(broker.address(), Options::new(5, "healthy")).await;
    stuck.subscribe(&[("a", 1)]).await;
    healthy.subscribe(&[("a", 1)]).await;
    for _ in 0..1_000 {
        broker.publisher().publish("a", Bytes::from(vec![0; 20_000]), false);
        let found = healthy.published().await;
        healthy.acknowledge(4, found.id).await;
    }
    until(&broker, |status| status.too_slow == 1).await;
    // It reads in time to be told; its unacknowledged messages come first.
    assert_eq!(stuck.ended().await.map(|last| last[0]), Some(0xE0));
    healthy.quiet().await;
}

#[tokio::test]
async fn the_kept_session_of_a_client_that_was_too_slow_ends_so_that_the_client_knows() {
    let broker = broker_with(limits()).await;
    let kept = Options { clean: false, ..Options::new(4, "kept") };
    let mut stuck = Raw::connect(broker.address(), kept).await;
    stuck.subscribe(&[("a", 1)]).await;
    while broker.status().too_slow == 0 {
        broker.publisher().publish("a", Bytes::from(vec![0; 20_000]), false);
        tokio::task::yield_now().await;
    }
    until(&broker, |status| status.clients == 0).await;
    assert_eq!((broker.status().sessions_offline, broker.status().subscriptions), (0, 0));
    assert_eq!(Raw::try_connect(broker.address(), kept).await.1, [0x20, 2, 0, 0], "no session present");
}

/// More may be on its way to a client than the sockets take, so that its connection cannot send any more.
fn patient() -> Limits {
    Limits { queue_bytes: 60_000_000, ..limits() }
}

/// Publishes until more waits for a client than may.
async fn fill(broker: &Broker) {
    let payload = Bytes::from(vec![0; 200_000]);
    while broker.status().dropped == 0 {
        broker.publisher().publish("a", payload.clone(), false);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_was_too_slow_and_is_back_before_its_connection_has_ended_gets_a_new_session() {
    let broker = broker_with(patient()).await;
    let kept = Options { clean: false, ..Options::new(4, "kept") };
    let mut stuck = Raw::connect(broker.address(), kept).await;
    stuck.subscribe(&[("a", 1)]).await;
    fill(&broker).await;
    let (mut back, answer) = Raw::try_connect(broker.address(), kept).await;
    assert_eq!(answer, [0x20, 2, 0, 0], "no session present");
    back.quiet().await;
    assert_eq!(broker.status().subscriptions, 0);
}

#[tokio::test]
async fn nothing_is_lost_beside_ten_subscribers_that_stopped_reading() {
    let broker = broker_with(limits()).await;
    let mut stuck = Vec::new();
    for n in 0..10_u8 {
        let mut client = Raw::connect(broker.address(), Options::new(4, &format!("stuck {n}"))).await;
        client.subscribe(&[("a/#", n % 3)]).await;
        stuck.push(client);
    }
    let mut healthy = Raw::connect(broker.address(), Options::new(5, "healthy")).await;
    healthy.subscribe(&[("a/#", 1)]).await;
    let mut next = 0_u32;
    for n in 0..40_000_u32 {
        let mut payload = vec![0; 500];
        payload[..4].copy_from_slice(&n.to_be_bytes());
        broker.publisher().publish(format!("a/{}", n % 100), payload.into(), false);
        // Half of what may wait for it.
        while n - next > 2_000 {
            let found = healthy.published().await;
            assert_eq!(found.payload[..4], next.to_be_bytes());
            healthy.acknowledge(4, found.id).await;
            next += 1;
        }
    }
    while next < 40_000 {
        let found = healthy.published().await;
        assert_eq!(found.payload[..4], next.to_be_bytes());
        healthy.acknowledge(4, found.id).await;
        next += 1;
    }
    until(&broker, |status| status.clients == 5).await;
    let status = broker.status();
    assert!(status.too_slow == 6 && status.dropped > 4 * 30_000, "{status:?}");
}

#[tokio::test]
async fn a_burst_of_large_messages_reaches_a_subscriber_with_qos_1_whole() {
    let broker = broker().await;
    let mut client = Raw::connect(broker.address(), Options::new(4, "client")).await;
    client.subscribe(&[("a/#", 1)]).await;
    for n in 0..1_500_u16 {
        let mut payload = vec![0; 20_000];
        payload[..2].copy_from_slice(&n.to_be_bytes());
        broker.publisher().publish(format!("a/{}", n % 100), payload.into(), false);
    }
    for n in 0..1_500_u16 {
        let found = client.published().await;
        assert_eq!(found.payload[..2], n.to_be_bytes());
        client.acknowledge(4, found.id).await;
    }
    assert_eq!((broker.status().dropped, broker.status().too_slow), (0, 0));
}

#[tokio::test]
async fn a_publisher_that_floods_the_broker_is_answered_and_heard_out() {
    let broker = broker().await;
    let mut client = Raw::connect(broker.address(), Options::new(4, "client")).await;
    for id in 1..=5_000_u16 {
        client.publish(0b010, "a", id, &[], b"x").await;
    }
    let answers = client.ping().await;
    assert_eq!(answers.len(), 5_000);
    assert_eq!(answers.last().unwrap(), &[0x40, 2, 0x13, 0x88]);
    assert_eq!(broker.status().received, 5_000);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_still_heard() {
    let broker = broker_with(limits()).await;
    let mut inbox = broker.subscribe("tidegate/g/+/set", 10);
    let mut stuck = Raw::connect(broker.address(), Options::new(4, "stuck")).await;
    stuck.subscribe(&[("a", 0)]).await;
    while broker.status().dropped == 0 {
        broker.publisher().publish("a", Bytes::from(vec![0; 20_000]), false);
        tokio::task::yield_now().await;
    }
    for n in 0..100 {
        stuck.publish(0b010, "tidegate/g/press/set", 1, &[], &[n]).await;
        assert_eq!(inbox.recv().await.unwrap().payload, &[n][..]);
    }
}
