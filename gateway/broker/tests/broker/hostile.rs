//! Clients that send anything.

use std::{
    net::SocketAddr,
    panic,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tidegate_broker::Limits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    raw::{Options, Raw, packet, text},
    rig::{broker_with, until},
};

/// Connections, and how many of them at a time.
const CONNECTIONS: u64 = 480;
const AT_ONCE: u64 = 12;

/// Counts the panics that do not come from a test's own assertions.
fn count_panics() -> Arc<AtomicUsize> {
    let panics = Arc::new(AtomicUsize::new(0));
    let (counted, before) = (Arc::clone(&panics), Mutex::new(panic::take_hook()));
    panic::set_hook(Box::new(move |info| {
        if !info.location().is_some_and(|location| location.file().contains("tests/broker")) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        before.lock().unwrap()(info);
    }));
    panics
}

/// What a client may send, in an order in which it may be sent.
fn conversation(rng: &mut StdRng, n: u64) -> Vec<Vec<u8>> {
    let version = *[4, 5].choose(rng).unwrap();
    let id = ["client", "a/b", "", "é", "healthy", &n.to_string()].choose(rng).unwrap().to_string();
    let five = |properties: &'static [u8]| if version == 5 { properties } else { &[] };
    let options = Options {
        clean: rng.random(),
        keep_alive: 1,
        will: rng.random::<bool>().then_some(("é/will", "gone")),
        properties: five(&[0x11, 0, 0, 0, 1, 0x22, 0, 9]),
        will_properties: five(&[0x18, 0, 0, 0, 1]),
        login: rng.random::<bool>().then_some(("name", "word")),
        ..Options::new(version, &id)
    };
    let mut packets = vec![options.packet()];
    let topics = ["a", "é/x", "a/+", "#", "$SYS/#", "$share/g/a", "", "+/+/#"];
    for step in 0..rng.random_range(1..12_u8) {
        let topic = topics.choose(rng).unwrap();
        let mut body = Vec::new();
        let first =
            *[0x30, 0x31, 0x32, 0x34, 0x3D, 0x40, 0x50, 0x62, 0x70, 0x82, 0xA2, 0xC0, 0xE0].choose(rng).unwrap();
        match first >> 4 {
            3 => {
                text(&mut body, topic.as_bytes());
                if first & 6 != 0 {
                    body.extend([0, step + 1]);
                }
                if version == 5 {
                    body.extend([15, 0x23, 0, 1, 0x08, 0, 1, b'r', 0x09, 0, 1, b'c', 0x02, 0, 0, 9]);
                }
                let payload = rng.random_range(0..40_000);
                body.resize(body.len() + payload, b'x');
            }
            4..8 => body.extend([0, step + 1]),
            8 | 10 => {
                body.extend([0, step + 1]);
                body.extend(five(&[0]));
                text(&mut body, topic.as_bytes());
                body.extend((first >> 4 == 8).then_some(step % 3));
            }
            _ => {}
        }
        packets.push(packet(first, &body));
    }
    packets
}

/// Breaks some of it.
fn mutate(rng: &mut StdRng, packets: &mut Vec<Vec<u8>>) {
    for _ in 0..rng.random_range(0..4_u8) {
        let at = rng.random_range(0..packets.len());
        let packet = &mut packets[at];
        if packet.is_empty() {
            continue;
        }
        let place = rng.random_range(0..packet.len().min(40));
        match rng.random_range(0..7_u8) {
            0 => packet[place] = rng.random(),
            1 => packet[place] ^= 1 << rng.random_range(0..8_u8),
            2 => packet.truncate(place),
            3 => packet.insert(place, rng.random()),
            4 => {
                packet.remove(place);
            }
            5 => {
                let copy = packet.clone();
                packets.insert(at, copy);
            }
            _ => {
                let other = rng.random_range(0..packets.len());
                packets.swap(at, other);
            }
        }
    }
}

async fn attack(address: SocketAddr, n: u64) {
    let mut rng = StdRng::seed_from_u64(n);
    let mut packets = conversation(&mut rng, n);
    mutate(&mut rng, &mut packets);
    let reads = rng.random_range(0..3_u8) > 0;
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    let talk = async {
        let (mut reader, mut writer) = stream.split();
        let write = async {
            for packet in packets {
                writer.write_all(&packet).await?;
                tokio::task::yield_now().await;
            }
            std::io::Result::Ok(())
        };
        let read = async {
            let mut buffer = vec![0; 8_192];
            while reads && reader.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        };
        let _ = tokio::join!(write, timeout(Duration::from_millis(20), read));
    };
    let _ = timeout(Duration::from_millis(200), talk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_clients_send_the_others_go_on() {
    let panics = count_panics();
    let limits = Limits { connect_timeout: Duration::from_millis(300), ..Limits::default() };
    let broker = broker_with(limits).await;
    let mut healthy = Raw::connect(broker.address(), Options::new(5, "always there")).await;
    healthy.subscribe(&[("heartbeat/#", 1)]).await;
    for round in 0..CONNECTIONS / AT_ONCE {
        let attacks = (0..AT_ONCE).map(|n| tokio::spawn(attack(broker.address(), round * AT_ONCE + n)));
        for attack in attacks.collect::<Vec<_>>() {
            attack.await.unwrap();
        }
        let beat = format!("heartbeat/{round}");
        broker.publisher().publish(beat.clone(), Bytes::from_static(b"x"), false);
        let found = healthy.published().await;
        assert_eq!(found.topic, beat);
        healthy.acknowledge(4, found.id).await;
    }
    healthy.quiet().await;
    let mut fresh = Raw::connect(broker.address(), Options::new(4, "client")).await;
    assert_eq!(fresh.subscribe(&[("é/y", 1)]).await, [1]);
    broker.publisher().publish("é/y", Bytes::from_static(b"x"), false);
    assert_eq!(fresh.published().await.topic, "é/y");
    until(&broker, |status| status.clients == 2).await;
    let status = broker.status();
    assert!(status.faults > 100 && status.received > 100 && status.refused > 30, "{status:?}");
    assert_eq!(panics.load(Ordering::Relaxed), 0);
}
