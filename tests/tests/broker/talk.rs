//! A client of the fewest words, that blocks.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context, bail, ensure};
use tidegate_tests::PATIENCE;

/// A connection of MQTT 3.1.1.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A packet with this first byte.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let digit = (length % 128) as u8;
        length /= 128;
        packet.push(if length > 0 { digit | 0x80 } else { digit });
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

/// A text as it stands in a packet.
pub(crate) fn text(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text].concat()
}

/// CONNECT of MQTT 3.1.1 without a keep-alive.
pub(crate) fn connect(client: &str, clean: bool) -> Vec<u8> {
    packet(0x10, &[text(b"MQTT"), vec![4, if clean { 2 } else { 0 }, 0, 0], text(client.as_bytes())].concat())
}

/// SUBSCRIBE.
pub(crate) fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    packet(0x82, &[vec![0, 1], text(filter.as_bytes()), vec![qos]].concat())
}

/// PUBLISH at QoS 1.
pub(crate) fn publish(topic: &str, id: u16, payload: &[u8]) -> Vec<u8> {
    packet(0x32, &[text(topic.as_bytes()), id.to_be_bytes().to_vec(), payload.to_vec()].concat())
}

impl Client {
    /// Connects and waits for the answer.
    pub(crate) fn connect(address: SocketAddr, client: &str) -> anyhow::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut made = Client { stream, buffer: Vec::new() };
        made.send(&connect(client, true))?;
        let answer = made.packet()?;
        ensure!(answer == [0x20, 2, 0, 0], "{client} was answered {answer:02x?}");
        Ok(made)
    }

    pub(crate) fn send(&mut self, packet: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(packet).context("failed to send")
    }

    /// The next packet, whole.
    pub(crate) fn packet(&mut self) -> anyhow::Result<Vec<u8>> {
        loop {
            if let Some(length) = whole(&self.buffer) {
                let rest = self.buffer.split_off(length);
                return Ok(std::mem::replace(&mut self.buffer, rest));
            }
            let mut bytes = [0; 16 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => bail!("the broker has closed the connection"),
                Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => bail!("nothing came within {PATIENCE:?}"),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The payload of the next packet, which has to be a PUBLISH at QoS 1; acknowledged.
    pub(crate) fn message(&mut self) -> anyhow::Result<Vec<u8>> {
        let packet = self.packet()?;
        ensure!(packet[0] & 0xF6 == 0x32, "{:02x?} came instead of a message", &packet[..packet.len().min(20)]);
        let start = 2 + packet[1..].iter().take_while(|digit| **digit & 0x80 != 0).count();
        let topic = usize::from(u16::from_be_bytes([packet[start], packet[start + 1]]));
        let id = [packet[start + 2 + topic], packet[start + 3 + topic]];
        self.send(&[0x40, 2, id[0], id[1]])?;
        Ok(packet[start + 4 + topic..].to_vec())
    }
}

/// The length of the first packet, if it is there whole.
fn whole(buffer: &[u8]) -> Option<usize> {
    let mut length = 0;
    for (index, digit) in buffer.get(1..)?.iter().take(4).enumerate() {
        length |= usize::from(digit & 0x7F) << (7 * index);
        if digit & 0x80 == 0 {
            return Some(index + 2 + length).filter(|end| *end <= buffer.len());
        }
    }
    None
}
