//! Whatever bytes a client sends, and whatever message goes to one: the bodies of the fuzz targets, and the same as tests.

use bytes::{Buf, Bytes, BytesMut};

use crate::wire::{
    Alias, Batch, Content, Packet, Passed, Publication, Qos, Version, announced, connect, frame, packet, publish,
};

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
    for piece in rest.chunks(usize::from(first >> 1) + 1) {
        buffer.extend_from_slice(piece);
        loop {
            let Ok(next) = frame(&buffer, LIMIT) else { return };
            let Some(found) = next else { break };
            let length = found.length();
            assert!(length <= LIMIT && length <= buffer.len() && length == announced(&buffer), "bytes were made up");
            assert_eq!(buffer.get(length - found.body().len()..length), Some(found.body()));
            if found.kind() == 1 {
                match connect(&found) {
                    Ok(Ok(connect)) => version = connect.version,
                    Ok(Err(_)) | Err(_) => return,
                }
            } else {
                match packet(&found, version) {
                    Ok(packet) => same_again(&packet, version),
                    Err(_) => return,
                }
            }
            buffer.advance(length);
        }
    }
}

/// Makes a message of the bytes, writes it as the broker does and reads it again.
///
/// # Panics
///
/// When it is another one then, or is longer than it was said to become.
#[cfg_attr(test, allow(unreachable_pub, reason = "public for the fuzz target only"))]
pub fn any_message(bytes: &[u8]) {
    let [flags, topic, passed, expiry, rest @ ..] = bytes else { return };
    let version = if flags & 1 == 0 { Version::V4 } else { Version::V5 };
    let Ok(qos) = Qos::try_from((flags >> 1) & 3) else { return };
    let (topic, rest) = rest.split_at(usize::from(*topic).min(rest.len()));
    let (properties, payload) = rest.split_at(usize::from(*passed).min(rest.len()));
    let topic = String::from_utf8_lossy(topic).replace('\0', "0");
    let Some(properties) = Passed::read(Bytes::copy_from_slice(properties)) else { return };
    let payload = Bytes::from(payload.repeat(if flags & 0x80 == 0 { 1 } else { 100 }));
    let mut publication = Publication {
        topic: Bytes::from(format!("t{topic}")),
        payload,
        qos,
        retain: flags & 8 != 0,
        id: if qos.is_acknowledged() { u16::from_be_bytes([1, *expiry]) } else { 0 },
        alias: (flags & 16 != 0).then_some(7),
        expiry: (flags & 32 != 0).then_some(u32::from(*expiry) << 20),
        passed: properties,
    };
    if version == Version::V4 {
        (publication.alias, publication.expiry, publication.passed) = (None, None, Passed::NONE);
    }
    same_again(&Packet::Publish(publication), version);
}

/// Writes a PUBLISH as the broker does and reads it again.
fn same_again(found: &Packet, version: Version) {
    let Packet::Publish(found) = found else { return };
    // What an alias stands for is not in the packet, and may not be left out without one.
    if found.topic.is_empty() {
        return;
    }
    let content = Content {
        topic: &found.topic,
        payload: &found.payload,
        qos: found.qos,
        retain: found.retain,
        duplicate: found.qos.is_acknowledged(),
        id: found.id,
        expiry: found.expiry,
        alias: found.alias.map(Alias::Set),
        identifiers: &[],
        passed: &found.passed,
    };
    let mut out = Batch::default();
    assert!(publish(&mut out, version, &content, usize::MAX));
    let length = out.remaining();
    let mut again = Batch::default();
    assert!(!publish(&mut again, version, &content, length - 1) && !again.has_remaining());
    let written = out.copy_to_bytes(length);
    let whole = frame(&written, length);
    assert!(matches!(whole, Ok(Some(_))), "what was written is no packet: {found:?}");
    let Ok(Some(whole)) = whole else { return };
    assert_eq!(whole.length(), length);
    let again = packet(&whole, version);
    assert!(matches!(again, Ok(Packet::Publish(_))), "what was written cannot be read: {found:?}");
    let Ok(Packet::Publish(again)) = again else { return };
    assert_eq!((&again.topic, &again.payload, &again.passed), (&found.topic, &found.payload, &found.passed));
    assert_eq!((again.qos, again.retain, again.id), (found.qos, found.retain, found.id));
    assert_eq!((again.alias, again.expiry), (found.alias, found.expiry));
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
        for (mut bytes, version, packets) in [(V4, Version::V4, 11), (V5, Version::V5, 6)] {
            let found = frame(bytes, LIMIT).unwrap().unwrap();
            assert_eq!(connect(&found).unwrap().unwrap().version, version);
            bytes = &bytes[found.length()..];
            for number in 0..packets {
                let found = frame(bytes, LIMIT).unwrap().unwrap();
                packet(&found, version).unwrap_or_else(|fault| panic!("packet {number}: {fault:?}"));
                bytes = &bytes[found.length()..];
            }
            assert!(bytes.is_empty(), "{} bytes are left", bytes.len());
        }
    }

    #[test]
    fn every_message_is_read_as_it_was_written() {
        const PROPERTIES: [&[u8]; 6] = [
            b"",
            b"\x01\x01",
            b"\x26\0\x01k\0\x01v\x26\0\x01k\0\x01v",
            b"\x03\0\x10application/json\x08\0\x02re",
            b"\x09\0\x03\0\xFF\x80",
            b"\x01\x00\x09\0\0\x26\0\0\0\0",
        ];
        let mut seed = 11;
        for _ in 0..20_000 {
            let properties = PROPERTIES[below(&mut seed, PROPERTIES.len())];
            let topic = below(&mut seed, 40);
            let [flags, expiry, ..] = dice(&mut seed).to_le_bytes();
            let mut bytes = vec![flags, u8::try_from(topic).unwrap(), u8::try_from(properties.len()).unwrap(), expiry];
            bytes.extend((0..topic).map(|_| dice(&mut seed).to_le_bytes()[0]));
            bytes.extend_from_slice(properties);
            bytes.resize(bytes.len() + below(&mut seed, 300), expiry);
            any_message(&bytes);
        }
    }
}
