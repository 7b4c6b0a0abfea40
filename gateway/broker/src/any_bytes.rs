//! Whatever bytes a client sends: the body of the fuzz target, and the same with spoiled packets as a test.

use bytes::BytesMut;

use crate::wire::{Content, Packet, Version, connect, next_frame, packet, publish};

/// A client may send packets of that size.
const LIMIT: usize = 4096;

/// Reads the bytes as those of a connection. The first byte says in how large pieces they arrive and which version is spoken when there
/// is no CONNECT.
///
/// # Panics
///
/// When a packet is taken that has not arrived or is too long, or when a PUBLISH that was read is another one once it was written and
/// read again.
#[cfg_attr(test, allow(unreachable_pub, reason = "public for the fuzz target only"))]
pub fn any_bytes(bytes: &[u8]) {
    let [first, rest @ ..] = bytes else { return };
    let mut version = if first & 1 == 0 { Version::V4 } else { Version::V5 };
    let mut buffer = BytesMut::new();
    let mut arrived = 0;
    let mut taken = 0;
    for piece in rest.chunks(usize::from(first >> 1) + 1) {
        buffer.extend_from_slice(piece);
        arrived += piece.len();
        loop {
            let before = buffer.len();
            let Ok(next) = next_frame(&mut buffer, LIMIT) else { return };
            let Some(frame) = next else { break };
            taken += before - buffer.len();
            assert!(before - buffer.len() <= LIMIT && taken + buffer.len() == arrived, "bytes were made up");
            if frame.kind() == 1 {
                match connect(frame) {
                    Ok(Ok(connect)) => version = connect.version,
                    Ok(Err(_)) | Err(_) => return,
                }
                continue;
            }
            match packet(frame, version) {
                Ok(packet) => same_again(&packet, version),
                Err(_) => return,
            }
        }
    }
}

/// Writes a PUBLISH as the broker does and reads it again.
fn same_again(found: &Packet, version: Version) {
    let Packet::Publish(found) = found else { return };
    let content = Content {
        topic: found.topic.as_bytes(),
        payload: &found.payload,
        qos: found.qos,
        retain: found.retain,
        duplicate: false,
        id: found.id,
        expiry: found.expiry,
        identifiers: &[],
        properties: found.properties.as_deref(),
    };
    let mut out = BytesMut::new();
    publish(&mut out, version, &content, &mut Vec::new());
    // What an alias stands for is not in the packet, and may not be left out without one.
    if found.topic.is_empty() {
        return;
    }
    let frame = next_frame(&mut out, 2 * LIMIT).ok().flatten();
    let again = frame.map(|frame| packet(frame, version));
    assert!(matches!(again, Some(Ok(Packet::Publish(_)))), "what was written cannot be read: {found:?}");
    let Some(Ok(Packet::Publish(again))) = again else { return };
    assert!(out.is_empty());
    assert_eq!((&again.topic, &again.payload), (&found.topic, &found.payload));
    assert_eq!((again.qos, again.retain, again.id, again.expiry), (found.qos, found.retain, found.id, found.expiry));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection of each version: CONNECT, SUBSCRIBE, three PUBLISHes, the acknowledgements, PINGREQ, UNSUBSCRIBE, DISCONNECT.
    const V4: &[u8] = b"\x10\x1e\0\x04MQTT\x04\xc6\0\x3c\0\x01c\0\x01w\0\x02by\0\x02me\0\x04pass\x82\x08\0\x01\0\x03a/#\x01\
        \x30\x07\0\x03a/bhi\x33\x09\0\x03a/b\x12\x34hi\x34\x09\0\x03a/b\x12\x35hi\x40\x02\0\x01\x50\x02\0\x01\x62\x02\0\x01\x70\x02\0\x01\
        \xc0\0\xa2\x07\0\x02\0\x03a/#\xe0\0";
    const V5: &[u8] = b"\x10\x19\0\x04MQTT\x05\x02\0\x3c\x08\x11\0\0\0\x0a\x21\0\x14\0\x04abcd\x82\x09\0\x01\0\0\x03a/#\x01\
        \x30\x0d\0\x03a/b\x05\x02\0\0\0\x09hi\x32\x13\0\x03a/b\0\x07\x09\x26\0\x01k\0\x01v\x01\x01hi\x40\x04\0\x01\0\0\xc0\0\xe0\x02\x04\0";

    /// SplitMix64.
    fn dice(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(seed: &mut u64, limit: usize) -> usize {
        usize::try_from(dice(seed) % u64::try_from(limit).unwrap()).unwrap()
    }

    #[test]
    fn spoiled_connections_end_and_nothing_else() {
        let mut seed = 5;
        for round in 0..60_000 {
            let mut bytes = if round % 2 == 0 { V4.to_vec() } else { V5.to_vec() };
            for _ in 0..below(&mut seed, 4) {
                let at = below(&mut seed, bytes.len());
                let [byte, ..] = dice(&mut seed).to_le_bytes();
                match below(&mut seed, 5) {
                    0 => bytes[at] = byte,
                    1 => bytes[at] ^= 1 << (byte % 8),
                    2 => bytes.truncate(at.max(1)),
                    3 => bytes.insert(at, byte),
                    _ => bytes.extend(vec![byte; byte.into()]),
                }
            }
            let [first, ..] = dice(&mut seed).to_le_bytes();
            bytes.insert(0, first);
            any_bytes(&bytes);
        }
    }

    #[test]
    fn the_connections_are_whole_before_they_are_spoiled() {
        for (bytes, version, packets) in [(V4, Version::V4, 11), (V5, Version::V5, 6)] {
            let mut buffer = BytesMut::from(bytes);
            let frame = next_frame(&mut buffer, LIMIT).unwrap().unwrap();
            assert_eq!(connect(frame).unwrap().unwrap().version, version);
            for number in 0..packets {
                let frame = next_frame(&mut buffer, LIMIT).unwrap().unwrap();
                packet(frame, version).unwrap_or_else(|fault| panic!("packet {number}: {fault:?}"));
            }
            assert!(buffer.is_empty(), "{} bytes are left", buffer.len());
        }
    }
}
