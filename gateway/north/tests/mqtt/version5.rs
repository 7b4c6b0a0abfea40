//! MQTT 5: a broker that says how large a message may be, and why it refuses one.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tidegate_config::{Format, MqttTarget as Options, MqttVersion};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::scene::{Broker, LONG, NOW, Plant, options, start, within};

/// Bytes of a packet, at most.
const LARGEST: u16 = 5_000;

struct Client {
    socket: TcpStream,
    received: BytesMut,
}

struct Publish {
    topic: String,
    payload: BytesMut,
    packet_id: u16,
}

fn v5(port: u16) -> Options {
    Options { protocol: MqttVersion::V5, ..options(port) }
}

/// The next connection, whose login is accepted, with `online` acknowledged.
async fn client(broker: &Broker) -> Client {
    let mut client = Client { socket: broker.socket().await, received: BytesMut::new() };
    let (header, connect) = client.packet().await.unwrap();
    assert_eq!((header, &connect[..7]), (0x10, &b"\0\x04MQTT\x05"[..]));
    // Maximum packet size; receive maximum 20.
    let [high, low] = LARGEST.to_be_bytes();
    client.send(&[0x20, 11, 0, 0, 8, 39, 0, 0, high, low, 33, 0, 20]).await;
    let online = client.publish().await.unwrap();
    assert_eq!((online.topic.as_str(), &online.payload[..]), ("plant/line3/state", &b"online"[..]));
    client.acknowledge(online.packet_id, 0).await;
    client
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        // The target may be gone already; the test sees that where it reads.
        let _ = self.socket.write_all(bytes).await;
    }

    /// With a reason; 0 is success.
    async fn acknowledge(&mut self, packet_id: u16, reason: u8) {
        let [high, low] = packet_id.to_be_bytes();
        match reason {
            0 => self.send(&[0x40, 2, high, low]).await,
            reason => self.send(&[0x40, 3, high, low, reason]).await,
        }
    }

    /// The next packet: its first byte and what is behind its length. `None` at the end of the connection.
    async fn packet(&mut self) -> Option<(u8, BytesMut)> {
        loop {
            if let Some((length, size)) = length(&self.received)
                && self.received.len() >= length + size
            {
                let mut whole = self.received.split_to(length + size);
                let header = whole[0];
                return Some((header, whole.split_off(size)));
            }
            if within(LONG, self.socket.read_buf(&mut self.received)).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The next message; `None` when the target takes leave or the connection ends.
    async fn publish(&mut self) -> Option<Publish> {
        loop {
            let (header, mut body) = self.packet().await?;
            match header >> 4 {
                12 => self.send(&[0xD0, 0]).await,
                3 => {
                    assert!(body.len() + 5 <= usize::from(LARGEST), "{} bytes", body.len());
                    let length = usize::from(body.get_u16());
                    let topic = String::from_utf8(body.split_to(length).to_vec()).unwrap();
                    let packet_id = body.get_u16();
                    assert_eq!(body.get_u8(), 0, "no properties");
                    return Some(Publish { topic, payload: body, packet_id });
                }
                14 => return None,
                other => panic!("a packet of type {other}"),
            }
        }
    }
}

/// What a packet is long, and where it begins.
fn length(received: &[u8]) -> Option<(usize, usize)> {
    let (mut length, mut size) = (0, 1);
    loop {
        let byte = *received.get(size)?;
        length |= usize::from(byte & 0x7F) << (7 * (size - 1));
        size += 1;
        if byte & 0x80 == 0 {
            return Some((length, size));
        }
    }
}

#[tokio::test]
async fn a_row_that_is_too_large_for_the_broker_is_announced_as_a_gap_at_once() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(2);
    plant.row(NOW, &"x".repeat(10_000));
    plant.live_rows(2);
    let target = start(&v5(broker.port()), plant.cursor().await);
    let mut client = client(&broker).await;
    let mut topics = Vec::new();
    for _ in 0..5 {
        let publish = client.publish().await.unwrap();
        if publish.topic.ends_with("/gap/fast") {
            assert_eq!(&publish.payload[..], br#"{"gap":{"from":3,"to":3,"reason":"too_large"}}"#);
        }
        client.acknowledge(publish.packet_id, 0).await;
        topics.push(publish.topic.rsplit('/').nth(1).unwrap().to_owned());
    }
    assert_eq!(topics, ["data", "data", "gap", "data", "data"]);
    let snapshot = target.until("all acknowledged", |status| status.acknowledged == 5).await;
    assert_eq!((snapshot.left_out, snapshot.reconnects, snapshot.refused), (1, 0, 0), "over one connection");
    drop(client);
    target.stopped().await;
}

#[tokio::test]
async fn blocks_are_as_small_as_the_broker_wants_them() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    let mut numbers = plant.numbers("slow").await;
    plant.append(&mut numbers, 3_000);
    let options = Options { format: Format::Block, batch: Duration::from_millis(20), ..v5(broker.port()) };
    let target = start(&options, plant.cursor().await);
    // A block of the store may be too large; then its rows travel divided, on the next connection.
    let mut connections = 0;
    while target.status.snapshot().acknowledged < 3_000 {
        connections += 1;
        assert!(connections <= 3, "{:?}", target.status.snapshot());
        let mut client = client(&broker).await;
        loop {
            tokio::select! {
                publish = client.publish() => match publish {
                    Some(publish) => client.acknowledge(publish.packet_id, 0).await,
                    None => break,
                },
                _ = target.until("all acknowledged", |status| status.acknowledged == 3_000) => break,
            }
        }
    }
    assert_eq!(target.status.snapshot().left_out, 0);
    drop(broker);
    target.stopped().await;
}

#[tokio::test]
async fn a_row_that_the_broker_refuses_with_a_reason_is_told_and_found_and_the_others_go_on() {
    let (mut plant, broker) = (Plant::new().await, Broker::new().await);
    plant.live_rows(4);
    plant.row(NOW, "not this one");
    plant.live_rows(4);
    let target = start(&v5(broker.port()), plant.cursor().await);
    let mut gap = None;
    while gap.is_none() {
        let mut client = client(&broker).await;
        while let Some(publish) = client.publish().await {
            let refused = publish.payload.windows(12).any(|part| part == b"not this one");
            client.acknowledge(publish.packet_id, if refused { 0x99 } else { 0 }).await;
            if publish.topic.ends_with("/gap/fast") {
                gap = Some(publish.payload);
                break;
            }
        }
        if gap.is_some() {
            target.until("all acknowledged", |status| status.left_out == 1).await;
        }
    }
    assert_eq!(&gap.unwrap()[..], br#"{"gap":{"from":5,"to":5,"reason":"refused"}}"#);
    let told = target.status.snapshot().last_error.unwrap();
    assert!(told.contains("refused a message: the broker does not take this payload"), "{told}");
    drop(broker);
    target.stopped().await;
}
