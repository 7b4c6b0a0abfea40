use super::{super::frame, *};

fn read(bytes: &[u8], version: Version) -> Result<Packet, Fault> {
    packet(&frame(bytes, 1 << 20).unwrap().unwrap(), version)
}

fn publish(bytes: &[u8], version: Version) -> Publication {
    match read(bytes, version).unwrap() {
        Packet::Publish(publication) => publication,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_publish_has_its_packet_id_behind_the_topic() {
    let found = publish(b"\x33\x07\0\x01a\x12\x34hi", Version::V4);
    assert_eq!((&*found.topic, &found.payload[..], found.id), (&b"a"[..], &b"hi"[..], 0x1234));
    assert_eq!((found.qos, found.retain), (Qos::AtLeastOnce, true));
    let found = publish(b"\x34\x08\0\x01a\x12\x34\0hi", Version::V5);
    assert_eq!((found.qos, found.id, &found.payload[..]), (Qos::ExactlyOnce, 0x1234, &b"hi"[..]));
    let found = publish(b"\x30\x03\0\x01a", Version::V4);
    assert_eq!((found.id, &*found.topic, &*found.payload), (0, &b"a"[..], &b""[..]));
}

#[test]
fn alias_and_expiry_are_taken_out_of_the_properties() {
    let found = publish(b"\x30\x13\0\0\x0E\x23\0\x07\x02\0\0\0\x05\x09\0\x03\x01\x02\x03hi", Version::V5);
    assert_eq!((found.alias, found.expiry, &*found.topic, &*found.payload), (Some(7), Some(5), &b""[..], &b"hi"[..]));
    assert_eq!(found.passed.bytes(), b"\x09\0\x03\x01\x02\x03");
    assert!(publish(b"\x30\x06\0\0\x03\x23\0\x07", Version::V5).passed.bytes().is_empty());
}

#[test]
fn properties_that_go_on_keep_their_bytes_and_their_order() {
    let properties = b"\x26\0\x01k\0\x01v\x03\0\x01t\x26\0\x01a\0\0\x01\x01\x08\0\x01r";
    let mut packet = vec![0x30, 4 + 24, 0, 1, b'a', 24];
    packet.extend_from_slice(properties);
    assert_eq!(properties.len(), 23);
    packet[1] = 27;
    packet[5] = 23;
    assert_eq!(publish(&packet, Version::V5).passed.bytes(), properties);
}

#[test]
fn what_no_client_may_send_is_a_fault() {
    for (bytes, code) in [
        (&b"\x36\x05\0\x01a\0\x01"[..], 0x81),
        (b"\x38\x03\0\x01a", 0x81),
        (b"\x32\x05\0\x01a\0\0", 0x81),
        (b"\x32\x03\0\x01a", 0x81),
        (b"\x30\x03\0\x05a", 0x81),
        (b"\x30\x04\0\x02\xC3\x28", 0x81),
        (b"\x30\x04\0\x02a\0", 0x81),
        (b"\x20\x02\0\0", 0x82),
        (b"\x90\x03\0\x01\0", 0x82),
        (b"\xB0\x02\0\x01", 0x82),
        (b"\xD0\x00", 0x82),
        (b"\xF0\x00", 0x82),
        (b"\x00\x00", 0x82),
        (b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01c", 0x82),
        (b"\x80\x06\0\x01\0\x01a\0", 0x81),
        (b"\x8A\x06\0\x01\0\x01a\0", 0x81),
        (b"\x82\x02\0\x01", 0x82),
        (b"\x82\x06\0\0\0\x01a\0", 0x81),
        (b"\x82\x06\0\x01\0\x01a\x03", 0x81),
        (b"\x82\x06\0\x01\0\x01a\x04", 0x81),
        (b"\x82\x05\0\x01\0\x01a", 0x81),
        (b"\xA2\x02\0\x01", 0x82),
        (b"\xA2\x05\0\x01\0\x01\0", 0x81),
        (b"\xC0\x01\0", 0x81),
        (b"\xC1\x00", 0x81),
        (b"\x40\x02\0\0", 0x81),
        (b"\x40\x03\0\x01\0", 0x81),
        (b"\x60\x02\0\x01", 0x81),
        (b"\xE0\x01\0", 0x81),
        (b"\xE1\x00", 0x81),
    ] {
        assert_eq!(read(bytes, Version::V4).unwrap_err().code, code, "{bytes:02x?}");
    }
    for (bytes, code) in [
        (&b"\x30\x05\0\x01a\x02\x0B\x01"[..], 0x81),
        (b"\x30\x06\0\x01a\x02\x0B\x01", 0x82),
        (b"\x30\x06\0\x01a\x02\x01\x02", 0x82),
        (b"\x30\x08\0\x01a\x04\x08\0\x01#", 0x82),
        (b"\x30\x0A\0\x01a\x06\x23\0\x01\x23\0\x01", 0x82),
        (b"\x82\x09\0\x01\x02\x0B\0\0\x01a\0", 0x82),
        (b"\x82\x0B\0\x01\x04\x0B\x01\x0B\x01\0\x01a\0", 0x82),
        (b"\x82\x07\0\x01\0\0\x01a\x30", 0x82),
        (b"\x82\x07\0\x01\0\0\x01a\x40", 0x81),
        (b"\x82\x10\0\x01\0\0\x0A$share/g/a\x04", 0x82),
        (b"\xE0\x09\x00\x07\x1C\0\x04move", 0x82),
    ] {
        assert_eq!(read(bytes, Version::V5).unwrap_err().code, code, "{bytes:02x?}");
    }
}

#[test]
fn the_oldest_version_may_mark_more_packets_as_duplicates() {
    assert!(matches!(read(b"\x8A\x06\0\x01\0\x01a\0", Version::V3), Ok(Packet::Subscribe { id: 1, .. })));
    assert!(matches!(read(b"\x6A\x02\0\x01", Version::V3), Ok(Packet::Acknowledge(Acknowledgement::Release, 1))));
}

#[test]
fn a_subscription_says_how_it_wants_its_messages() {
    let packet = read(b"\x82\x0D\0\x01\x02\x0B\x05\0\x01a\x2D\0\x01#\x02", Version::V5);
    let Ok(Packet::Subscribe { id: 1, filters, identifier: Some(5) }) = packet else { panic!("{packet:?}") };
    let [first, second] = &filters[..] else { panic!("{filters:?}") };
    assert_eq!(
        (&*first.path, first.qos, first.no_local, first.retain_as_published),
        ("a", Qos::AtLeastOnce, true, true)
    );
    assert_eq!((first.retain_handling, second.retain_handling), (RetainHandling::Never, RetainHandling::Always));
    assert_eq!((&*second.path, second.qos), ("#", Qos::ExactlyOnce));
    let packet = read(b"\x82\x10\0\x01\x09\x0B\x05\x26\0\x01k\0\x01v\0\x01a\0", Version::V5);
    assert!(matches!(packet, Ok(Packet::Subscribe { identifier: Some(5), .. })), "{packet:?}");
}

#[test]
fn acknowledgements_are_read_with_and_without_a_reason() {
    for (bytes, kind) in [
        (&b"\x40\x02\0\x09"[..], Acknowledgement::Received),
        (b"\x40\x03\0\x09\x87", Acknowledgement::Received),
        (b"\x50\x04\0\x09\x00\x00", Acknowledgement::Stored(true)),
        (b"\x50\x03\0\x09\x97", Acknowledgement::Stored(false)),
        (b"\x50\x08\0\x09\x97\x04\x1F\0\x01x", Acknowledgement::Stored(false)),
        (b"\x62\x02\0\x09", Acknowledgement::Release),
        (b"\x70\x02\0\x09", Acknowledgement::Complete),
    ] {
        let Packet::Acknowledge(found, 9) = read(bytes, Version::V5).unwrap() else { panic!("{bytes:02x?}") };
        assert_eq!(found, kind);
    }
}

#[test]
fn a_disconnect_may_leave_its_reason_and_properties_out() {
    for (bytes, expected) in [
        (&b"\xE0\x00"[..], (false, None)),
        (b"\xE0\x01\x04", (true, None)),
        (b"\xE0\x02\x00\x00", (false, None)),
        (b"\xE0\x07\x00\x05\x11\0\0\0\x3C", (false, Some(60))),
        (b"\xE0\x10\x81\x0E\x1F\0\x01x\x26\0\0\0\0\x11\0\0\0\x3C", (true, Some(60))),
    ] {
        let Packet::Disconnect { with_will, expiry } = read(bytes, Version::V5).unwrap() else {
            panic!("{bytes:02x?}")
        };
        assert_eq!((with_will, expiry), expected, "{bytes:02x?}");
    }
    assert_eq!(read(b"\xE0\x03\x00\x02\x11", Version::V5).unwrap_err().code, 0x81);
    assert_eq!(read(b"\xE0\x04\x00\x02\x11\0", Version::V5).unwrap_err().code, 0x81);
}

#[test]
fn every_cut_of_a_packet_is_a_fault_or_a_shorter_packet_and_never_a_panic() {
    let packets: [&[u8]; 5] = [
        b"\x33\x07\0\x01a\x12\x34hi",
        b"\x35\x1B\0\x01a\x12\x34\x12\x08\0\x01r\x09\0\x01c\x26\0\x01k\0\x01v\x01\x01\x23\0\x01hi",
        b"\x82\x0D\0\x01\x02\x0B\x05\0\x01a\x2D\0\x01#\0",
        b"\xA2\x06\0\x01\0\0\x01a",
        b"\xE0\x07\x00\x05\x11\0\0\0\x3C",
    ];
    for whole in packets {
        for cut in 2..whole.len() {
            let mut short = whole[..cut].to_vec();
            short[1] = u8::try_from(cut - 2).unwrap();
            for version in [Version::V3, Version::V4, Version::V5] {
                let found = read(&short, version);
                // Only payloads and lists of filters can be shorter.
                let shorter =
                    matches!(found, Ok(Packet::Publish(_) | Packet::Subscribe { .. } | Packet::Disconnect { .. }));
                assert!(found.is_err() || shorter || version != Version::V5, "{short:02x?} {found:?}");
            }
        }
    }
}
