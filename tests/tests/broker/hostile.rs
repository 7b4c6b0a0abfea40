//! Clients that send anything, four thousand of them, beside two that only do their work.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tidegate_tests::{PATIENCE, wait_until};

use crate::{
    fuzz::conversation,
    places::{Listeners, Ours},
    process::{memory_kib, open_files},
    talk::{Client, publish, subscribe},
};

const CONNECTIONS: u64 = 4_000;
const AT_ONCE: u64 = 16;
/// How long one waits for answers before it goes.
const READS: Duration = Duration::from_millis(8);
/// What clients may leave behind: 4 MiB of retained messages, 40 sessions of at most 1 MiB, and what the allocator does not
/// give back of 256 connections with their buffers.
const GROWTH_KIB: u64 = 96 * 1024;

/// One hostile connection.
fn attack(listeners: &Listeners, seed: u64) {
    let mut rng = StdRng::seed_from_u64(!seed);
    let packets = conversation(seed);
    match seed % 8 {
        0 => send(listeners.tls, &tls_garbage(&mut rng), &mut rng),
        1 => send(listeners.websocket, &websocket_frames(&packets, &mut rng), &mut rng),
        _ => send(listeners.plain, &packets, &mut rng),
    }
}

fn send(address: SocketAddr, packets: &[Vec<u8>], rng: &mut StdRng) {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, PATIENCE) else { return };
    let _ = stream.set_write_timeout(Some(READS * 20));
    let _ = stream.set_read_timeout(Some(READS));
    let _ = stream.set_nodelay(true);
    if rng.random() {
        for packet in packets {
            if stream.write_all(packet).is_err() {
                return;
            }
        }
    } else if stream.write_all(&packets.concat()).is_err() {
        return;
    }
    match rng.random_range(0..4) {
        // Gone without having read anything: the kernel sends a reset.
        0 => {}
        1 => drop(stream.shutdown(Shutdown::Write)),
        _ => while stream.read(&mut [0; 4_096]).is_ok_and(|count| count > 0) {},
    }
}

/// Bytes in the shape of a TLS record, of a cut greeting, or of nothing.
fn tls_garbage(rng: &mut StdRng) -> Vec<Vec<u8>> {
    let mut bytes: Vec<u8> = (0..rng.random_range(1..600)).map(|_| rng.random()).collect();
    if rng.random() {
        let length = (bytes.len() as u16).to_be_bytes();
        bytes.splice(..0, [0x16, 3, 1, length[0], length[1], 1, 0]);
    }
    vec![bytes]
}

/// A handshake, whole or not, and frames of every kind around the packets.
fn websocket_frames(packets: &[Vec<u8>], rng: &mut StdRng) -> Vec<Vec<u8>> {
    let protocol = if rng.random_range(0..4) == 0 { "chat" } else { "mqtt" };
    let greeting = format!(
        "GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
    );
    let mut bytes = vec![greeting.into_bytes()];
    if rng.random_range(0..5) == 0 {
        let cut = rng.random_range(0..bytes[0].len());
        bytes[0].truncate(cut);
    }
    for packet in packets {
        let kind = if rng.random_range(0..4) == 0 { rng.random() } else { 0x82 };
        let mask: [u8; 4] = rng.random();
        let length = (packet.len() as u16).to_be_bytes();
        let masked = packet.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let bit = if rng.random_range(0..10) == 0 { 0 } else { 0x80 };
        bytes.push([kind, bit | 126, length[0], length[1]].into_iter().chain(mask).chain(masked).collect());
    }
    bytes
}

/// Publishes numbers at QoS 1, waits for each acknowledgement and for its arrival, until told to stop; returns how many.
fn work(address: SocketAddr, stop: &AtomicBool) -> anyhow::Result<u64> {
    let mut reader = Client::connect(address, "who reads while others rage")?;
    reader.send(&subscribe("work/of/others", 1))?;
    reader.packet()?;
    let mut writer = Client::connect(address, "who writes while others rage")?;
    let mut done = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        for id in 1..=50_u16 {
            writer.send(&publish("work/of/others", id, &done.to_be_bytes()))?;
            let answer = writer.packet()?;
            ensure!(answer[0] == 0x40 && answer[2..4] == id.to_be_bytes(), "{answer:02x?} instead of PUBACK");
            let found = reader.message()?;
            ensure!(found == done.to_be_bytes(), "{found:?} came instead of {done}");
            done += 1;
        }
    }
    Ok(done)
}

#[test]
fn four_thousand_hostile_clients_harm_nobody() -> anyhow::Result<()> {
    // They come as fast as they can.
    let ours = Ours::start("connect_rate = 0\n")?;
    let (listeners, process) = (&ours.listeners, ours.gateway.child().id());
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (memory, files) = (memory_kib(process)?, open_files(process)?);
    let worked = thread::scope(|scope| {
        let working = scope.spawn(|| work(listeners.plain, &stop));
        let attackers: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= CONNECTIONS {
                            return;
                        }
                        attack(listeners, seed);
                    }
                })
            })
            .collect();
        for attacker in attackers {
            attacker.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        working.join().unwrap()
    })
    .context("who only works was harmed")?;
    assert!(worked > 0);
    let panics: Vec<String> = ours.gateway.child().lines().into_iter().map(|line| line.text).collect();
    assert!(!panics.iter().any(|line| line.contains("panicked")), "{panics:#?}");
    // Everyone who came is let go, and nothing of them stays open.
    wait_until(PATIENCE, "the end of all hostile connections", || {
        open_files(process).is_ok_and(|now| now <= files + 2).then_some(())
    })?;
    let grown = memory_kib(process)?.saturating_sub(memory);
    println!("{worked} messages meanwhile; the resident memory has grown by {grown} KiB");
    assert!(grown < GROWTH_KIB, "the resident memory has grown by {grown} KiB");
    // A newcomer is served, also under an id that the hostile have used.
    let mut newcomer = Client::connect(listeners.plain, "hostile-1")?;
    newcomer.send(&subscribe("é/new", 1))?;
    newcomer.packet()?;
    newcomer.send(&publish("é/new", 7, b"x"))?;
    let packets = [newcomer.packet()?, newcomer.packet()?];
    assert!(packets.iter().any(|packet| packet[0] & 0xF0 == 0x30), "{packets:02x?}");
    Ok(())
}
