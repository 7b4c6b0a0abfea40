//! QoS 2 over connections that end at any moment.

use std::collections::HashSet;

use rand::{Rng, SeedableRng, rngs::StdRng};
use tidegate_broker::Broker;

use crate::{
    raw::{Options, Raw},
    rig::broker,
};

const MESSAGES: u8 = 200;
/// A connection ends before every so many steps on average.
const STEADY: u32 = 4;

fn kept(version: u8, id: &str) -> Options<'_> {
    let properties: &[u8] = if version == 5 { &[0x11, 0, 0, 1, 0] } else { &[] };
    Options { clean: false, properties, ..Options::new(version, id) }
}

/// A client whose connection ends now and then, of which it learns by making another one.
struct Unsteady<'a> {
    broker: &'a Broker,
    options: Options<'a>,
    raw: Raw,
    dice: StdRng,
    losses: u32,
}

impl<'a> Unsteady<'a> {
    async fn new(broker: &'a Broker, options: Options<'a>, seed: u64) -> Unsteady<'a> {
        let raw = Raw::connect(broker.address(), options).await;
        Unsteady { broker, options, raw, dice: StdRng::seed_from_u64(seed), losses: 0 }
    }

    /// Ends the connection perhaps; says whether it has.
    async fn stumble(&mut self) -> bool {
        if self.dice.random_range(0..STEADY) > 0 {
            return false;
        }
        self.raw = Raw::connect(self.broker.address(), self.options).await;
        self.losses += 1;
        true
    }
}

/// Publishes one message exactly once: PUBLISH until PUBREC, then PUBREL until PUBCOMP.
async fn publish(client: &mut Unsteady<'_>, number: u8) {
    let (id, mut duplicate) = (u16::from(number) + 1, 0);
    loop {
        client.raw.publish(0b100 | duplicate, "t", id, &[], &[number]).await;
        duplicate = 0b1000;
        if client.stumble().await {
            continue;
        }
        let answer = client.raw.packet().await.unwrap();
        assert_eq!((answer[0], answer[3]), (0x50, number + 1), "{answer:02x?}");
        break;
    }
    client.stumble().await;
    loop {
        client.raw.acknowledge(6, id).await;
        if client.stumble().await {
            continue;
        }
        let answer = client.raw.packet().await.unwrap();
        assert_eq!((answer[0], answer[3]), (0x70, number + 1), "{answer:02x?}");
        return;
    }
}

/// Takes messages until it has as many as were published, each once however often it comes.
async fn receive(client: &mut Unsteady<'_>) -> Vec<u8> {
    let (mut received, mut open) = (Vec::new(), HashSet::new());
    while received.len() < usize::from(MESSAGES) || !open.is_empty() {
        if client.stumble().await {
            continue;
        }
        let packet = client.raw.packet().await.unwrap();
        if packet[0] >> 4 == 6 {
            let id = u16::from_be_bytes([packet[2], packet[3]]);
            open.remove(&id);
            if !client.stumble().await {
                client.raw.acknowledge(7, id).await;
            }
            continue;
        }
        let found = client.raw.read_publish(&packet);
        // A client that does not know an id any more takes it for a new message: that is what may never happen.
        if open.insert(found.id) {
            received.push(found.payload[0]);
        }
        if !client.stumble().await {
            client.raw.acknowledge(5, found.id).await;
        }
    }
    received
}

#[tokio::test]
async fn every_message_arrives_once_and_in_order_whenever_connections_end() {
    for version in [4, 5] {
        let broker = broker().await;
        let mut subscriber = Unsteady::new(&broker, kept(version, "subscriber"), 1).await;
        subscriber.raw.subscribe(&[("t", 2)]).await;
        let mut publisher = Unsteady::new(&broker, kept(version, "publisher"), 2).await;
        let publishing = async {
            for number in 0..MESSAGES {
                publish(&mut publisher, number).await;
            }
        };
        let ((), received) = tokio::join!(publishing, receive(&mut subscriber));
        assert_eq!(received, (0..MESSAGES).collect::<Vec<_>>());
        assert!(publisher.losses > 50 && subscriber.losses > 100, "{} {}", publisher.losses, subscriber.losses);
        subscriber.raw = Raw::connect(broker.address(), subscriber.options).await;
        subscriber.raw.quiet().await;
        assert_eq!(broker.status().dropped, 0);
    }
}
