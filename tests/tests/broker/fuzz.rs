//! What a hostile client sends: conversations as clients have them, broken in one to eight places. A seed gives the same bytes for ever.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::talk::{packet, text};

const NAMES: [&str; 12] =
    ["a", "a/b", "é/temp", "", "#", "+/+", "a/#", "$SYS/#", "$share/g/a/#", "$share//", "a/b/c/d/e", "/"];

/// The packets of a connection, in the order in which they are sent.
pub(crate) fn conversation(seed: u64) -> Vec<Vec<u8>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let five = rng.random::<bool>();
    let mut packets = vec![introduction(&mut rng, five)];
    for _ in 0..rng.random_range(0..16) {
        let next = request(&mut rng, five);
        packets.push(next);
    }
    for _ in 0..rng.random_range(1..9) {
        damage(&mut rng, &mut packets);
    }
    packets
}

fn introduction(rng: &mut StdRng, five: bool) -> Vec<u8> {
    let will = rng.random::<bool>();
    let flags = if will { 0x04 | rng.random_range(0..3_u8) << 3 } else { 0 } | if rng.random() { 2 } else { 0 };
    let mut body = [text(b"MQTT"), vec![if five { 5 } else { 4 }, flags, 0, 1]].concat();
    if five {
        // Session expiry, receive maximum, topic alias maximum, maximum packet size; some of them.
        let known: [&[u8]; 5] =
            [&[0x11, 0, 0, 0, 2], &[0x21, 0, 3], &[0x22, 0, 5], &[0x27, 0, 0, 0, 90], &[0x26, 0, 1, b'k', 0, 1, b'v']];
        let chosen: Vec<u8> = known.iter().filter(|_| rng.random()).flat_map(|bytes| bytes.to_vec()).collect();
        body.push(chosen.len() as u8);
        body.extend(chosen);
    }
    let id = format!("hostile-{}", rng.random_range(0..40));
    body.extend(text(if rng.random_range(0..8) == 0 { b"" } else { id.as_bytes() }));
    if will {
        body.extend(if five { vec![5, 0x18, 0, 0, 0, 1] } else { vec![] });
        body.extend(text(b"hostile/will"));
        body.extend(text(b"gone"));
    }
    packet(0x10, &body)
}

fn request(rng: &mut StdRng, five: bool) -> Vec<u8> {
    let name = text(NAMES.choose(rng).unwrap().as_bytes());
    let id = vec![0, rng.random_range(0..6)];
    let none = if five { vec![0] } else { vec![] };
    match rng.random_range(0..10_u8) {
        0..4 => {
            let level = rng.random_range(0..3_u8);
            let size = *[0, 1, 100, 5_000, 60_000].choose(rng).unwrap();
            let more: Vec<u8> = match (five, rng.random_range(0..4)) {
                (false, _) => vec![],
                (true, 0) => vec![3, 0x23, 0, rng.random_range(0..12)],
                (true, 1) => vec![5, 0x02, 0, 0, 0, 1],
                (true, 2) => vec![9, 0x08, 0, 1, b'r', 0x09, 0, 2, 1, 2],
                (true, _) => vec![0],
            };
            let number = if level > 0 { id } else { vec![] };
            packet(0x30 | level << 1 | rng.random_range(0..2), &[name, number, more, vec![b'x'; size]].concat())
        }
        4..6 => {
            let options = rng.random_range(0..3) | if five { rng.random::<u8>() & 0x3C } else { 0 };
            packet(0x82, &[id, none, name, vec![options]].concat())
        }
        6 => packet(0xA2, &[id, none, name].concat()),
        7 => packet(*[0x40, 0x50, 0x62, 0x70].choose(rng).unwrap(), &id),
        8 => vec![0xC0, 0],
        _ => packet(*[0xE0, 0xF0, 0x20, 0x90, 0xD0].choose(rng).unwrap(), &id[..rng.random_range(0..2)]),
    }
}

/// Breaks one place.
fn damage(rng: &mut StdRng, packets: &mut Vec<Vec<u8>>) {
    let at = rng.random_range(0..packets.len());
    let other = rng.random_range(0..packets.len());
    let bytes = &mut packets[at];
    // Most of what decides stands in front.
    let place = rng.random_range(0..bytes.len().clamp(1, 48));
    match rng.random_range(0..10_u8) {
        _ if bytes.is_empty() => bytes.push(rng.random()),
        0 | 1 => bytes[place] = rng.random(),
        2 => bytes[place] ^= 1 << rng.random_range(0..8),
        3 => bytes.truncate(place),
        4 => bytes.insert(place, *[0, 0x7F, 0x80, 0xFF].choose(rng).unwrap()),
        5 => drop(bytes.remove(place)),
        6 => bytes.extend((0..rng.random_range(1..200)).map(|_| rng.random::<u8>())),
        7 => {
            let copy = bytes.clone();
            packets.insert(other, copy);
        }
        8 => packets.swap(at, other),
        _ => {
            let half = packets[other].len() / 2;
            let tail = packets[other].split_off(half);
            packets[at].extend(tail);
        }
    }
}
