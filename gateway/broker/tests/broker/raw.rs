//! A client that sends what it is told to, byte by byte.

use std::{net::SocketAddr, time::Duration};

use bytes::{Buf, BufMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// No answer of a broker on loopback takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// One connection.
pub(crate) struct Raw {
    stream: TcpStream,
    version: u8,
}

/// A PUBLISH as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) duplicate: bool,
    pub(crate) id: u16,
    /// With their length cut off; empty in 3.1.1.
    pub(crate) properties: Vec<u8>,
}

/// What to put into a CONNECT.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options<'a> {
    pub(crate) version: u8,
    pub(crate) id: &'a str,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    pub(crate) login: Option<(&'a str, &'a str)>,
    /// Topic and payload.
    pub(crate) will: Option<(&'a str, &'a str)>,
    pub(crate) will_qos: u8,
    pub(crate) properties: &'a [u8],
    pub(crate) will_properties: &'a [u8],
}

impl<'a> Options<'a> {
    pub(crate) fn new(version: u8, id: &'a str) -> Options<'a> {
        Options {
            version,
            id,
            clean: true,
            keep_alive: 0,
            login: None,
            will: None,
            will_qos: 0,
            properties: &[],
            will_properties: &[],
        }
    }

    pub(crate) fn packet(&self) -> Vec<u8> {
        let mut body = Vec::new();
        text(&mut body, if self.version == 3 { b"MQIsdp" } else { b"MQTT" });
        body.put_u8(self.version);
        let mut flags = if self.clean { 2 } else { 0 };
        flags |= if self.will.is_some() { 4 | self.will_qos << 3 } else { 0 };
        flags |= if self.login.is_some() { 0xC0 } else { 0 };
        body.put_u8(flags);
        body.put_u16(self.keep_alive);
        properties(&mut body, self.version, self.properties);
        text(&mut body, self.id.as_bytes());
        if let Some((topic, payload)) = self.will {
            properties(&mut body, self.version, self.will_properties);
            text(&mut body, topic.as_bytes());
            text(&mut body, payload.as_bytes());
        }
        if let Some((name, password)) = self.login {
            text(&mut body, name.as_bytes());
            text(&mut body, password.as_bytes());
        }
        packet(0x10, &body)
    }
}

pub(crate) fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.put_u16(u16::try_from(text.len()).unwrap());
    out.put_slice(text);
}

fn properties(out: &mut Vec<u8>, version: u8, properties: &[u8]) {
    if version == 5 {
        out.put_u8(u8::try_from(properties.len()).unwrap());
        out.put_slice(properties);
    }
}

/// Type, packet id and reason code of PUBACK, PUBREC, PUBREL and PUBCOMP.
pub(crate) fn acknowledgements(packets: &[Vec<u8>]) -> Vec<(u8, u16, u8)> {
    let read = |packet: &Vec<u8>| {
        (packet[0] >> 4, u16::from_be_bytes([packet[2], packet[3]]), packet.get(4).copied().unwrap_or(0))
    };
    packets.iter().map(read).collect()
}

/// A packet of any length.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut length = body.len();
    loop {
        let digit = u8::try_from(length & 0x7F).unwrap();
        length >>= 7;
        out.push(if length > 0 { digit | 0x80 } else { digit });
        if length == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

impl Raw {
    /// A connection that has sent nothing yet.
    pub(crate) async fn open(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Raw { stream, version: 4 }
    }

    /// A connection that has sent CONNECT, with the answer to it.
    pub(crate) async fn try_connect(address: SocketAddr, options: Options<'_>) -> (Raw, Vec<u8>) {
        let mut raw = Raw::open(address).await;
        raw.version = options.version;
        raw.send(&options.packet()).await;
        let answer = raw.packet().await.expect("an answer to CONNECT");
        (raw, answer)
    }

    /// A connection that was accepted.
    pub(crate) async fn connect(address: SocketAddr, options: Options<'_>) -> Raw {
        let (raw, answer) = Raw::try_connect(address, options).await;
        assert_eq!((answer[0], answer[3]), (0x20, 0), "{answer:02x?}");
        raw
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("room to send").unwrap();
    }

    /// The next packet; `None` when the connection has ended.
    pub(crate) async fn packet(&mut self) -> Option<Vec<u8>> {
        timeout(PATIENCE, self.read_packet()).await.expect("a packet or the end")
    }

    async fn read_packet(&mut self) -> Option<Vec<u8>> {
        let mut packet = vec![self.stream.read_u8().await.ok()?];
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let digit = self.stream.read_u8().await.ok()?;
            packet.push(digit);
            length |= usize::from(digit & 0x7F) << shift;
            shift += 7;
            if digit & 0x80 == 0 {
                break;
            }
        }
        let start = packet.len();
        packet.resize(start + length, 0);
        self.stream.read_exact(&mut packet[start..]).await.ok()?;
        Some(packet)
    }

    /// The next packet, which has to be a PUBLISH.
    pub(crate) async fn published(&mut self) -> Published {
        let packet = self.packet().await.expect("a PUBLISH");
        self.read_publish(&packet)
    }

    /// Reads a PUBLISH.
    pub(crate) fn read_publish(&self, packet: &[u8]) -> Published {
        assert_eq!(packet[0] >> 4, 3, "{packet:02x?}");
        let start = 2 + packet[1..].iter().take_while(|digit| **digit & 0x80 != 0).count();
        let mut body = &packet[start..];
        let length = usize::from(body.get_u16());
        let topic = String::from_utf8(body[..length].to_vec()).unwrap();
        body.advance(length);
        let qos = (packet[0] >> 1) & 3;
        let id = if qos > 0 { body.get_u16() } else { 0 };
        let mut properties = Vec::new();
        if self.version == 5 {
            let length = usize::from(body.get_u8());
            properties = body[..length].to_vec();
            body.advance(length);
        }
        let (retain, duplicate) = (packet[0] & 1 != 0, packet[0] & 8 != 0);
        Published { topic, payload: body.to_vec(), qos, retain, duplicate, id, properties }
    }

    /// Subscribes and returns the codes of the SUBACK, whose packet has to be the next.
    pub(crate) async fn subscribe(&mut self, filters: &[(&str, u8)]) -> Vec<u8> {
        self.subscribe_with(filters, &[]).await
    }

    /// Subscribes with options and properties of MQTT 5.
    pub(crate) async fn subscribe_with(&mut self, filters: &[(&str, u8)], subscription: &[u8]) -> Vec<u8> {
        let mut body = vec![0, 9];
        properties(&mut body, self.version, subscription);
        for (filter, options) in filters {
            text(&mut body, filter.as_bytes());
            body.put_u8(*options);
        }
        self.send(&packet(0x82, &body)).await;
        let answer = self.packet().await.expect("a SUBACK");
        // No answer of a test is longer than 127 bytes.
        let codes = if self.version == 5 { 5 + usize::from(answer[4]) } else { 4 };
        assert_eq!((answer[0], &answer[2..4]), (0x90, &[0, 9][..]), "{answer:02x?}");
        answer[codes..].to_vec()
    }

    /// Unsubscribes and returns the codes of the UNSUBACK, of which 3.1.1 has none.
    pub(crate) async fn unsubscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let mut body = vec![0, 8];
        properties(&mut body, self.version, &[]);
        for filter in filters {
            text(&mut body, filter.as_bytes());
        }
        self.send(&packet(0xA2, &body)).await;
        let answer = self.packet().await.expect("an UNSUBACK");
        assert_eq!((answer[0], &answer[2..4]), (0xB0, &[0, 8][..]), "{answer:02x?}");
        answer.get(5..).unwrap_or_default().to_vec()
    }

    /// Publishes; the QoS is in bits 1 and 2 of the flags, the retain flag is bit 0.
    pub(crate) async fn publish(&mut self, flags: u8, topic: &str, id: u16, publish_properties: &[u8], payload: &[u8]) {
        let mut body = Vec::new();
        text(&mut body, topic.as_bytes());
        if flags & 6 != 0 {
            body.put_u16(id);
        }
        properties(&mut body, self.version, publish_properties);
        body.put_slice(payload);
        self.send(&packet(0x30 | flags, &body)).await;
    }

    /// Sends PUBACK (4), PUBREC (5), PUBREL (6) or PUBCOMP (7).
    pub(crate) async fn acknowledge(&mut self, kind: u8, id: u16) {
        let flags = if kind == 6 { 2 } else { 0 };
        let [high, low] = id.to_be_bytes();
        self.send(&[kind << 4 | flags, 2, high, low]).await;
    }

    /// Waits until the broker has worked on everything sent before; no packet may come in between.
    pub(crate) async fn quiet(&mut self) {
        assert_eq!(self.ping().await, Vec::<Vec<u8>>::new(), "nothing was to come");
    }

    /// Waits until the broker has worked on everything sent before, and returns the packets that came in between.
    pub(crate) async fn ping(&mut self) -> Vec<Vec<u8>> {
        self.send(&[0xC0, 0]).await;
        let mut before = Vec::new();
        loop {
            let packet = self.packet().await.expect("a PINGRESP");
            if packet == [0xD0, 0] {
                return before;
            }
            before.push(packet);
        }
    }

    /// Waits for the end and returns the reason code of the DISCONNECT before it, if there was one.
    pub(crate) async fn goodbye(&mut self) -> Option<u8> {
        self.ended().await.filter(|last| last[0] == 0xE0).map(|last| last.get(2).copied().unwrap_or(0))
    }

    /// Waits for the end and returns the last packet before it.
    pub(crate) async fn ended(&mut self) -> Option<Vec<u8>> {
        let mut last = None;
        while let Some(packet) = self.packet().await {
            last = Some(packet);
        }
        last
    }
}
