//! Which properties belong to which packets of a client (MQTT 5.0 §2.2.2.2).

use std::net::SocketAddr;

use tidegate_broker::Limits;

use crate::{
    raw::{Options, Raw, packet},
    rig::broker_with,
};

/// Every property, as it stands in a packet.
const ALL: [&[u8]; 27] = [
    b"\x01\x01",
    b"\x02\0\0\0\x64",
    b"\x03\0\x01t",
    b"\x08\0\x01r",
    b"\x09\0\x01c",
    b"\x0B\x07",
    b"\x11\0\0\0\x0A",
    b"\x12\0\x01i",
    b"\x13\0\x0A",
    b"\x15\0\x01m",
    b"\x16\0\x01d",
    b"\x17\x01",
    b"\x18\0\0\0\x01",
    b"\x19\0",
    b"\x1A\0\x01i",
    b"\x1C\0\x01s",
    b"\x1F\0\x01w",
    b"\x21\0\x0A",
    b"\x22\0\x0A",
    b"\x23\0\x01",
    b"\x24\x01",
    b"\x25\x01",
    b"\x26\0\x01k\0\x01v",
    b"\x27\0\0\x27\x10",
    b"\x28\x01",
    b"\x29\x01",
    b"\x2A\x01",
];
const USER: u8 = 0x26;
/// Method and data of an authentication that is not offered: a CONNECT with them is refused for another reason.
const AUTHENTICATION: [u8; 2] = [0x15, 0x16];

/// Where properties stand.
enum Place {
    Connect,
    Will,
    /// Behind a first byte and what comes before them; something may come after them.
    Packet(u8, &'static [u8], &'static [u8]),
}

/// Each place with what belongs there.
const PLACES: [(Place, &[u8]); 10] = [
    (Place::Connect, &[0x11, 0x17, 0x19, 0x21, 0x22, USER, 0x27]),
    (Place::Will, &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, USER]),
    (Place::Packet(0x32, b"\0\x01a\0\x01", b"x"), &[0x01, 0x02, 0x03, 0x08, 0x09, 0x23, USER]),
    (Place::Packet(0x40, b"\0\x01\0", b""), &[0x1F, USER]),
    (Place::Packet(0x50, b"\0\x01\0", b""), &[0x1F, USER]),
    (Place::Packet(0x62, b"\0\x01\0", b""), &[0x1F, USER]),
    (Place::Packet(0x70, b"\0\x01\0", b""), &[0x1F, USER]),
    (Place::Packet(0x82, b"\0\x01", b"\0\x01a\0"), &[0x0B, USER]),
    (Place::Packet(0xA2, b"\0\x01", b"\0\x01a"), &[USER]),
    (Place::Packet(0xE0, b"\0", b""), &[0x11, 0x1F, USER]),
];

impl Place {
    /// Sends a packet with these properties and returns the reason that the broker refuses it for, 0 when it does not.
    async fn try_there(&self, address: SocketAddr, properties: &[u8]) -> u8 {
        let options = Options::new(5, "client");
        match self {
            Place::Connect => Raw::try_connect(address, Options { properties, ..options }).await.1[3],
            Place::Will => {
                let options = Options { will: Some(("will", "gone")), will_properties: properties, ..options };
                Raw::try_connect(address, options).await.1[3]
            }
            Place::Packet(first, before, after) => {
                // The session outlives the connection, so that a goodbye may change for how long.
                let mut client = Raw::connect(address, Options { properties: b"\x11\0\0\0\x0A", ..options }).await;
                let length = [u8::try_from(properties.len()).unwrap()];
                let mut bytes = packet(*first, &[*before, &length, properties, *after].concat());
                // A goodbye comes at once, so that the connection ends in any case.
                bytes.extend([0xE0, 0]);
                client.send(&bytes).await;
                client.goodbye().await.unwrap_or(0)
            }
        }
    }
}

#[tokio::test]
async fn every_property_is_taken_where_it_belongs_once_and_whole_and_nowhere_else() {
    let broker = broker_with(Limits { connect_rate: 0, ..Limits::default() }).await;
    let address = broker.address();
    for (number, (place, belongs)) in PLACES.iter().enumerate() {
        assert_eq!(place.try_there(address, b"\x7F\0").await, 0x81, "an unknown property in place {number}");
        for property in ALL {
            let id = property[0];
            if matches!(place, Place::Connect) && AUTHENTICATION.contains(&id) {
                continue;
            }
            let about = format!("0x{id:02X} in place {number}");
            let alone = place.try_there(address, property).await;
            if !belongs.contains(&id) {
                assert_eq!(alone, 0x82, "{about}");
                continue;
            }
            assert_eq!(alone, 0, "{about}");
            let twice = place.try_there(address, &[property, property].concat()).await;
            assert_eq!(twice, if id == USER { 0 } else { 0x82 }, "{about}, twice");
            for length in 1..property.len() {
                assert_eq!(place.try_there(address, &property[..length]).await, 0x81, "{about}, cut to {length}");
            }
        }
    }
}
