//! A client of MQTT 3.1.1 that does next to nothing for each message, so that it does not take the processor from the broker.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
};

use anyhow::{Context, Result, ensure};

/// Bytes read at a time.
const READ: usize = 128 * 1024;

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Where the bytes that are not yet used begin.
    start: usize,
}

/// A packet with this first byte.
pub(crate) fn packet(first: u8, body: &[&[u8]]) -> Result<Vec<u8>> {
    let mut length: usize = body.iter().map(|part| part.len()).sum();
    let mut packet = Vec::with_capacity(length + 5);
    packet.push(first);
    while length > 127 {
        packet.push(u8::try_from(length % 128)? | 0x80);
        length /= 128;
    }
    packet.push(u8::try_from(length)?);
    body.iter().for_each(|part| packet.extend_from_slice(part));
    Ok(packet)
}

fn text(text: &str) -> Result<Vec<u8>> {
    Ok([&u16::try_from(text.len())?.to_be_bytes(), text.as_bytes()].concat())
}

/// A PUBLISH; the id is not there at QoS 0.
pub(crate) fn publish(topic: &str, qos: u8, id: u16, payload: &[u8]) -> Result<Vec<u8>> {
    let id = id.to_be_bytes();
    packet(0x30 | qos << 1, &[&text(topic)?, if qos > 0 { &id } else { &[] }, payload])
}

impl Client {
    /// Connects; with `clean` the session begins and ends with the connection.
    pub(crate) fn connect(port: u16, name: &str, clean: bool) -> Result<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        let mut client = Client { stream, buffer: Vec::new(), start: 0 };
        client.send(&packet(0x10, &[&text("MQTT")?, &[4, if clean { 2 } else { 0 }, 0, 0], &text(name)?])?)?;
        let answer = client.next()?;
        ensure!(answer.0 == 0x20 && answer.1.get(1) == Some(&0), "the broker does not let {name} in");
        Ok(client)
    }

    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) -> Result<()> {
        self.send(&packet(0x82, &[&[0, 1], &text(filter)?, &[qos]])?)?;
        let answer = self.next()?;
        ensure!(answer.0 == 0x90 && answer.1.get(2) == Some(&qos), "SUBSCRIBE was answered {answer:?}");
        Ok(())
    }

    /// Says goodbye, and waits until the broker has closed the connection.
    pub(crate) fn leave(mut self) -> Result<()> {
        self.send(&[0xE0, 0])?;
        while self.fill().is_ok() {}
        Ok(())
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("the broker has closed the connection")
    }

    /// Another handle for writing.
    pub(crate) fn writer(&self) -> Result<TcpStream> {
        Ok(self.stream.try_clone()?)
    }

    /// Waits for more bytes and reads them.
    pub(crate) fn fill(&mut self) -> Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let before = self.buffer.len();
        self.buffer.resize(before + READ, 0);
        let read = self.stream.read(self.buffer.get_mut(before..).unwrap_or_default())?;
        self.buffer.truncate(before + read);
        ensure!(read > 0, "the broker has closed the connection");
        Ok(())
    }

    /// The first byte and the body of the next packet that is there whole.
    pub(crate) fn take(&mut self) -> Option<(u8, &[u8])> {
        let rest = self.buffer.get(self.start..)?;
        let (mut length, mut shift) = (0, 0);
        for (index, digit) in rest.get(1..)?.iter().take(4).enumerate() {
            length |= usize::from(digit & 0x7F) << shift;
            shift += 7;
            if digit & 0x80 == 0 {
                let body = rest.get(index + 2..index + 2 + length)?;
                self.start += index + 2 + length;
                return Some((*rest.first()?, body));
            }
        }
        None
    }

    /// First byte and body of the next packet, waited for.
    fn next(&mut self) -> Result<(u8, Vec<u8>)> {
        loop {
            if let Some((first, body)) = self.take() {
                return Ok((first, body.to_vec()));
            }
            self.fill()?;
        }
    }
}

/// The id of a PUBLISH, which has none at QoS 0, and its payload.
pub(crate) fn published(first: u8, body: &[u8]) -> Result<(Option<[u8; 2]>, &[u8])> {
    let (length, rest) = body.split_first_chunk::<2>().context("a PUBLISH without a topic")?;
    let rest = rest.get(usize::from(u16::from_be_bytes(*length))..).context("a PUBLISH with half a topic")?;
    if first & 6 == 0 {
        return Ok((None, rest));
    }
    let (id, payload) = rest.split_first_chunk::<2>().context("a PUBLISH without an id")?;
    Ok((Some(*id), payload))
}
