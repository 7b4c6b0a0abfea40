//! From the bytes of a client to its packets, no faster than it may send them.

use bytes::{Buf, BytesMut};
use tokio::time::Instant;

use super::{Connection, ENOUGH, End};
use crate::{
    limits::Limits,
    rate::Rate,
    wire::{self, Packet},
};

/// Bytes read at a time: at least, and at most from a client that sends much.
const FEW: usize = 2 * 1024;
const MANY: usize = 64 * 1024;

/// What a client may send, and how much of it is read at a time.
#[derive(Debug)]
pub(super) struct Receiving {
    messages: Option<Rate>,
    bytes: Option<Rate>,
    /// Until when the client is not read, because it has sent more than it may.
    rest: Option<Instant>,
    /// Bytes that are read at a time.
    piece: usize,
    /// The most bytes that lay in the buffer since it was empty.
    most: usize,
}

impl Receiving {
    pub(super) fn new(limits: &Limits) -> Receiving {
        let (messages, bytes) = (Rate::new(limits.rate_messages), Rate::new(limits.rate_bytes));
        Receiving { messages, bytes, rest: None, piece: FEW, most: 0 }
    }

    pub(super) fn rest(&self) -> Option<Instant> {
        self.rest
    }

    /// Ends the rest when it is over; says whether it has ended now.
    pub(super) fn wake(&mut self, now: Instant) -> bool {
        self.rest.take_if(|rest| *rest <= now).is_some()
    }

    /// A packet has been worked on; says whether the client has to rest from now on.
    fn spend(&mut self, is_message: bool, bytes: usize, now: Instant) -> bool {
        let by_messages = self.messages.as_mut().filter(|_| is_message).and_then(|rate| rate.spend(1, now));
        let by_bytes = self.bytes.as_mut().and_then(|rate| rate.spend(bytes, now));
        self.rest = self.rest.max(by_messages).max(by_bytes);
        self.rest.is_some()
    }

    /// So many bytes lie in the buffer.
    fn arrived(&mut self, bytes: usize) {
        self.most = self.most.max(bytes);
    }

    /// Makes room for what comes next, and more for a client that fills what it is given. A buffer that has grown is given
    /// back when little has come into it.
    pub(super) fn make_room(&mut self, input: &mut BytesMut) {
        if input.is_empty() {
            if input.capacity() > 2 * FEW && 4 * self.most < input.capacity() {
                (*input, self.piece) = (BytesMut::new(), FEW);
            }
            self.most = 0;
        }
        if input.capacity() - input.len() >= FEW / 4 {
            return;
        }
        if !input.is_empty() {
            self.piece = (self.piece * 2).min(MANY);
        }
        let missing = wire::announced(input).saturating_sub(input.len());
        input.reserve(missing.clamp(self.piece, MANY));
    }
}

impl Connection {
    /// Works on the packets that have arrived whole, as long as there is room for answers and the client may send.
    pub(super) fn handle_all(&mut self, input: &mut BytesMut) -> Result<(), End> {
        if input.is_empty() {
            return Ok(());
        }
        self.receiving.arrived(input.len());
        let now = Instant::now();
        let (mut packets, mut answers) = (0, 0);
        let result = loop {
            if self.out.remaining() >= ENOUGH || self.receiving.rest.is_some() {
                break Ok(());
            }
            let (packet, length) = match self.next_packet(input) {
                Ok(Some(packet)) => packet,
                Ok(None) => break Ok(()),
                Err(end) => break Err(end),
            };
            input.advance(length);
            packets += 1;
            let is_message = matches!(packet, Packet::Publish(_));
            let before = self.out.remaining();
            if let Err(end) = self.handle(packet) {
                break Err(end);
            }
            answers += usize::from(self.out.remaining() > before);
            if self.receiving.spend(is_message, length, now) {
                self.hub.counters.slowed.increase();
            }
        };
        self.hub.counters.packets_received.add(packets);
        self.hub.counters.packets_sent.add(answers);
        result
    }

    /// The next packet and its length.
    fn next_packet(&self, input: &BytesMut) -> Result<Option<(Packet, usize)>, End> {
        let Some(frame) = wire::frame(input, self.hub.limits.packet_bytes)? else { return Ok(None) };
        Ok(Some((wire::packet(&frame, self.reply.version)?, frame.length())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets a client send packets of `size` bytes through the buffer. Returns the reads and the largest capacity.
    fn reads(receiving: &mut Receiving, input: &mut BytesMut, size: usize, packets: usize) -> (usize, usize) {
        let (mut reads, mut largest) = (0, 0);
        for _ in 0..packets {
            let mut body = vec![b'x'; size];
            body[..5].copy_from_slice(&[0x30, 0xFF, 0xFF, 0x3F, 0]);
            let mut sent = 0;
            while sent < size {
                receiving.make_room(input);
                largest = largest.max(input.capacity());
                let step = (input.capacity() - input.len()).min(size - sent);
                input.extend_from_slice(&body[sent..sent + step]);
                sent += step;
                reads += 1;
                receiving.arrived(input.len());
            }
            input.clear();
        }
        (reads, largest)
    }

    #[test]
    fn large_packets_are_read_in_few_pieces_and_their_room_is_given_back() {
        let (mut receiving, mut input) = (Receiving::new(&Limits::default()), BytesMut::new());
        let (count, largest) = reads(&mut receiving, &mut input, 100, 50);
        assert!(count <= 100 && largest <= 2 * FEW, "{count} {largest}");
        let (count, largest) = reads(&mut receiving, &mut input, 1_000_000, 1);
        assert!(count < 40 && largest < 2_500_000, "{count} {largest}");
        reads(&mut receiving, &mut input, 100, 20);
        assert!(input.capacity() <= 2 * FEW, "{}", input.capacity());
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_more_than_it_may_rests_until_that_is_made_up_for() {
        let limits = Limits { rate_messages: 10, rate_bytes: 1_000, ..Limits::default() };
        let mut receiving = Receiving::new(&limits);
        let now = Instant::now();
        for _ in 0..10 {
            assert!(!receiving.spend(true, 10, now) && !receiving.spend(false, 0, now));
        }
        assert!(receiving.spend(true, 0, now));
        let rest = receiving.rest().unwrap();
        assert!(rest > now && !receiving.wake(now) && receiving.wake(rest) && receiving.rest().is_none());
        assert!(receiving.spend(false, 3_000, rest), "bytes count as well");
    }
}
