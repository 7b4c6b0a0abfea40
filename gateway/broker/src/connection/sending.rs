//! From the messages of a session to the bytes for its client.

use std::collections::HashMap;

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use super::{Connection, ENOUGH, End};
use crate::{
    session::Outgoing,
    wire::{self, Acknowledgement, Alias, Content, Version},
};

/// Messages that wait, below which retained messages are put to them.
const FEW: usize = 32;
/// Topics that are given a number for one client, whatever more it allows.
const MOST_ALIASES: u16 = 64;

/// Topics that the client knows by a number (MQTT 5.0 §3.3.2.3.4). The first ones get one and keep it, for as long as the
/// connection lasts.
#[derive(Debug)]
pub(super) struct Aliases {
    most: u16,
    numbers: HashMap<Bytes, u16>,
}

impl Aliases {
    pub(super) fn new(allowed: u16) -> Aliases {
        Aliases { most: allowed.min(MOST_ALIASES), numbers: HashMap::new() }
    }

    fn alias(&self, topic: &Bytes) -> Option<Alias> {
        if self.most == 0 {
            return None;
        }
        if let Some(number) = self.numbers.get(topic) {
            return Some(Alias::Use(*number));
        }
        let given = u16::try_from(self.numbers.len()).unwrap_or(u16::MAX);
        (given < self.most).then(|| Alias::Set(given + 1))
    }

    /// The client has been told.
    fn told(&mut self, topic: &Bytes, alias: Option<Alias>) {
        if let Some(Alias::Set(number)) = alias {
            // A copy: the topic of a message is a part of the packet that it came in.
            self.numbers.insert(Bytes::copy_from_slice(topic), number);
        }
    }
}

impl Connection {
    /// Sends the next batch on its way when the one before has been sent.
    pub(super) fn next_batch(&mut self) -> Result<(), End> {
        self.more = false;
        if self.sending.has_remaining() {
            return Ok(());
        }
        self.fill(self.pace.least(Instant::now()))?;
        std::mem::swap(&mut self.sending, &mut self.out);
        Ok(())
    }

    /// Adds to the batch what waits in the session, until it is enough; nothing while fewer than `least` messages wait.
    pub(crate) fn fill(&mut self, least: usize) -> Result<(), End> {
        let now = Instant::now();
        let (mut count, mut bytes, mut packets) = (0, 0, 0);
        while self.out.remaining() < ENOUGH {
            self.replay();
            let held = self.session.take(self.attached.connection, (ENOUGH, least), now, &mut self.taken)?;
            self.held = held.then(|| self.pace.next());
            if self.taken.is_empty() {
                break;
            }
            packets += self.taken.len();
            let mut taken = std::mem::take(&mut self.taken);
            for outgoing in taken.drain(..) {
                if let Some(payload) = self.write(outgoing, now)? {
                    count += 1;
                    bytes += payload;
                }
            }
            self.taken = taken;
        }
        if packets > 0 {
            self.pace.taken(packets, now);
            self.hub.counters.delivered.add(count);
            self.hub.counters.delivered_bytes.add(bytes);
            self.hub.counters.packets_sent.add(packets);
        }
        Ok(())
    }

    /// Puts some retained messages into the session, while few wait there and there are steps left.
    fn replay(&mut self) {
        while !self.replays.is_empty()
            && self.session.waiting() < FEW
            && let Some(replay) = self.replays.front_mut()
        {
            if self.steps == 0 {
                self.more = true;
                return;
            }
            self.steps -= 1;
            if !self.hub.replay(&self.session, replay) {
                self.replays.pop_front();
            }
        }
    }

    /// Writes a packet; returns the bytes of the payload when it was a message.
    fn write(&mut self, outgoing: Outgoing, now: Instant) -> Result<Option<usize>, End> {
        let (queued, id, duplicate) = match outgoing {
            Outgoing::Publish { queued, id, duplicate } => (queued, id, duplicate),
            Outgoing::Release(id) => {
                wire::acknowledge(self.out.small(), self.reply, Acknowledgement::Release, id, 0, None);
                return Ok(None);
            }
        };
        let message = &queued.message;
        let version = self.reply.version;
        let alias = if version == Version::V5 { self.numbered.alias(&message.topic) } else { None };
        let content = Content {
            topic: &message.topic,
            payload: &message.payload,
            qos: queued.qos,
            retain: queued.retain,
            duplicate,
            id,
            expiry: message.expires_in(now),
            alias,
            identifiers: queued.identifiers.as_deref().unwrap_or_default(),
            passed: &message.properties,
        };
        if !wire::publish(&mut self.out, version, &content, self.reply.packet_bytes) {
            // MQTT 5.0 §3.1.2.11.4: what is too large for the client is dropped as if it had been sent.
            self.hub.counters.dropped.increase();
            self.session.finished(self.attached.connection, id)?;
            return Ok(None);
        }
        self.numbered.told(&message.topic, alias);
        Ok(Some(message.payload.len()))
    }
}
