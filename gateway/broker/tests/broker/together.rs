//! What all clients together may hold.

use bytes::Bytes;
use tidegate_broker::Limits;

use crate::{
    raw::{Options, Raw},
    rig::{broker_with, until},
};

/// What a connection may have made ready, beside what waits.
const READY: u64 = 256 * 1024;

#[tokio::test]
async fn stuck_clients_give_way_together_and_nobody_else_loses_anything() {
    // Each may have as much as all together.
    let limits = Limits { queue_bytes_total: 8_000_000, queue_bytes: 8_000_000, ..Limits::default() };
    let broker = broker_with(limits).await;
    let mut stuck = Vec::new();
    for n in 0..4_u8 {
        let mut client = Raw::connect(broker.address(), Options::new(5, &format!("stuck {n}"))).await;
        client.subscribe(&[(&*format!("stuck/{n}"), n % 2)]).await;
        stuck.push(client);
    }
    let mut healthy = Raw::connect(broker.address(), Options::new(5, "healthy")).await;
    healthy.subscribe(&[("healthy", 1)]).await;
    let publisher = broker.publisher();
    for n in 0..600_u16 {
        for topic in ["stuck/0", "stuck/1", "stuck/2", "stuck/3"] {
            publisher.publish(topic, Bytes::from(vec![0; 20_000]), false);
        }
        publisher.publish("healthy", n.to_be_bytes().to_vec().into(), false);
        let waiting = broker.status().waiting_bytes;
        assert!(waiting <= 8_000_000 + 5 * READY, "{waiting}");
        let found = healthy.published().await;
        assert_eq!(found.payload, n.to_be_bytes());
        healthy.acknowledge(4, found.id).await;
    }
    until(&broker, |status| status.too_slow > 0 && status.gave_way > status.too_slow).await;
    healthy.quiet().await;
    drop((stuck, healthy));
    until(&broker, |status| status.clients == 0).await;
    until(&broker, |status| status.waiting_bytes == 0).await;
}

#[tokio::test]
async fn who_gave_way_is_told_why() {
    let limits = Limits { queue_bytes_total: 1_000_000, ..Limits::default() };
    let broker = broker_with(limits).await;
    let mut client = Raw::connect(broker.address(), Options::new(5, "client")).await;
    client.subscribe(&[("a", 1)]).await;
    // One reaches it and is not acknowledged; then come more than may wait, before it could take any.
    for _ in 0..3 {
        broker.publisher().publish("a", Bytes::from(vec![0; 600_000]), false);
    }
    until(&broker, |status| status.gave_way == 1).await;
    assert_eq!(client.goodbye().await, Some(0x97));
}
