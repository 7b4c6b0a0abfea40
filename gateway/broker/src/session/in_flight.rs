//! Messages with QoS 1 and 2 that were sent and are not yet acknowledged (MQTT 5.0 §4.3, §4.4).

use std::collections::VecDeque;

use super::{Attached, Outgoing, Queued};
use crate::wire::Qos;

/// Packet ids between the oldest message in flight and the next one, from which on that may have come round to an id in use.
const FAR: u16 = 50_000;

/// Messages in flight, in the order in which they were sent first.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    entries: VecDeque<Entry>,
    /// Bytes of the messages in them.
    bytes: usize,
    last_id: u16,
    /// Whether ids may not be in order, as after a restart.
    mixed: bool,
}

#[derive(Debug)]
struct Entry {
    id: u16,
    stage: Stage,
    /// Whether it was sent on this connection.
    sent: bool,
}

#[derive(Debug)]
enum Stage {
    /// PUBLISH, waits for PUBACK or PUBREC.
    Published(Queued),
    /// PUBREL, waits for PUBCOMP.
    Released,
}

impl InFlight {
    /// What was in flight before a restart: ids of PUBREL, and messages with their ids, in order.
    pub(super) fn restore(last_id: u16, released: Vec<u16>, published: Vec<(Queued, u16)>) -> InFlight {
        let bytes = published.iter().map(|(queued, _)| queued.message.cost()).sum();
        let released = released.into_iter().map(|id| Entry { id, stage: Stage::Released, sent: false });
        let published =
            published.into_iter().map(|(queued, id)| Entry { id, stage: Stage::Published(queued), sent: false });
        InFlight { entries: released.chain(published).collect(), bytes, last_id, mixed: true }
    }

    /// Messages and packet ids.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The messages.
    pub(super) fn published_mut(&mut self) -> impl Iterator<Item = &mut Queued> {
        self.entries.iter_mut().filter_map(|entry| match &mut entry.stage {
            Stage::Published(queued) => Some(queued),
            Stage::Released => None,
        })
    }

    /// Bytes of the messages.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The last packet id that was given.
    pub(super) fn last_id(&self) -> u16 {
        self.last_id
    }

    /// Messages with their packet ids, in order.
    pub(super) fn published(&self) -> impl Iterator<Item = (&Queued, u16)> {
        self.entries.iter().filter_map(|entry| match &entry.stage {
            Stage::Published(queued) => Some((queued, entry.id)),
            Stage::Released => None,
        })
    }

    /// Packet ids of messages that the client has and has not yet forgotten.
    pub(super) fn released(&self) -> impl Iterator<Item = u16> {
        self.entries.iter().filter(|entry| matches!(entry.stage, Stage::Released)).map(|entry| entry.id)
    }

    /// Whether the client takes another message.
    pub(super) fn has_room(&self, attached: &Attached) -> bool {
        self.entries.len() < attached.window && self.bytes < attached.window_bytes
    }

    /// Everything is sent again, on another connection.
    pub(super) fn send_again(&mut self) {
        for entry in &mut self.entries {
            entry.sent = false;
        }
    }

    /// Takes what was in flight on an earlier connection. Returns the bytes.
    pub(super) fn resend(&mut self, attached: &Attached, budget: usize, out: &mut Vec<Outgoing>) -> usize {
        let mut taken = 0;
        // The last one is sent last, so when it has been sent all have.
        if self.entries.back().is_none_or(|last| last.sent) {
            return 0;
        }
        for entry in self.entries.iter_mut().take(attached.window).filter(|entry| !entry.sent) {
            if taken >= budget {
                break;
            }
            entry.sent = true;
            match &entry.stage {
                Stage::Published(queued) => {
                    taken += queued.message.cost();
                    out.push(Outgoing::Publish { queued: queued.clone(), id: entry.id, duplicate: true });
                }
                Stage::Released => out.push(Outgoing::Release(entry.id)),
            }
        }
        taken
    }

    /// Adds a message that is sent now. Returns its packet id.
    pub(super) fn add(&mut self, queued: Queued) -> u16 {
        let id = self.free_id();
        self.bytes += queued.message.cost();
        self.entries.push_back(Entry { id, stage: Stage::Published(queued), sent: true });
        id
    }

    /// A packet id that is not in flight. There always is one: the window is smaller than the number of ids.
    fn free_id(&mut self) -> u16 {
        match self.entries.front() {
            None => self.mixed = false,
            Some(oldest) => {
                if self.last_id.wrapping_sub(oldest.id) >= FAR {
                    self.mixed = true;
                }
            }
        }
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.mixed || self.entries.iter().all(|entry| entry.id != self.last_id) {
                return self.last_id;
            }
        }
    }

    fn place(&self, id: u16) -> Option<usize> {
        // Most acknowledgements come in order.
        if self.entries.front()?.id == id {
            return Some(0);
        }
        self.entries.iter().position(|entry| entry.id == id)
    }

    fn entry(&self, id: u16) -> Option<(usize, &Stage)> {
        let place = self.place(id)?;
        Some((place, &self.entries.get(place)?.stage))
    }

    /// A message is done with, as long as it is none whose id is to be released.
    pub(super) fn finish(&mut self, id: u16) {
        if let Some((place, Stage::Published(queued))) = self.entry(id) {
            self.bytes = self.bytes.saturating_sub(queued.message.cost());
            self.entries.remove(place);
        }
    }

    /// A message with QoS 2 has arrived, its id is to be released; says whether there was one.
    pub(super) fn release(&mut self, id: u16) -> bool {
        let cost = match self.entry(id) {
            None => return false,
            Some((_, Stage::Published(queued))) if queued.qos != Qos::ExactlyOnce => return false,
            Some((_, Stage::Published(queued))) => queued.message.cost(),
            Some((_, Stage::Released)) => 0,
        };
        self.bytes = self.bytes.saturating_sub(cost);
        if let Some(place) = self.place(id)
            && let Some(entry) = self.entries.get_mut(place)
        {
            entry.stage = Stage::Released;
        }
        true
    }

    /// The client has forgotten an id.
    pub(super) fn complete(&mut self, id: u16) {
        if let Some((place, Stage::Released)) = self.entry(id) {
            self.entries.remove(place);
        }
    }

    /// Takes out what a shared subscription brought with QoS 1 and others take over.
    pub(super) fn hand_over(&mut self, hand_over: &mut impl FnMut(&Queued) -> bool) {
        let bytes = &mut self.bytes;
        self.entries.retain(|entry| {
            let Stage::Published(queued) = &entry.stage else { return true };
            let gone = queued.shared.is_some() && queued.qos == Qos::AtLeastOnce && hand_over(queued);
            if gone {
                *bytes = bytes.saturating_sub(queued.message.cost());
            }
            !gone
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::message::Published;

    fn queued(qos: Qos, payload: usize) -> Queued {
        let message = Published::by_gateway("a".into(), vec![0; payload].into(), false);
        Queued { message: Arc::new(message), qos, retain: false, identifiers: None, shared: None, number: 0 }
    }

    #[test]
    fn ids_go_round_and_leave_out_those_in_use() {
        let mut in_flight = InFlight::default();
        let stays = in_flight.add(queued(Qos::AtLeastOnce, 0));
        let mut seen = std::collections::HashSet::new();
        for _ in 0..200_000 {
            let id = in_flight.add(queued(Qos::AtLeastOnce, 0));
            assert!(id != 0 && id != stays);
            seen.insert(id);
            in_flight.finish(id);
        }
        assert_eq!(seen.len(), 65_534);
        assert_eq!(in_flight.published().count(), 1);
    }

    #[test]
    fn what_is_acknowledged_in_any_order_is_gone_with_its_bytes() {
        let mut in_flight = InFlight::default();
        let one = in_flight.add(queued(Qos::AtLeastOnce, 10));
        let two = in_flight.add(queued(Qos::ExactlyOnce, 20));
        assert!(!in_flight.release(one) && !in_flight.release(99));
        in_flight.complete(two);
        assert!(in_flight.release(two) && in_flight.release(two), "a client may say so twice");
        in_flight.finish(two);
        assert_eq!(in_flight.released().collect::<Vec<_>>(), [two]);
        in_flight.complete(two);
        in_flight.finish(one);
        assert!(in_flight.bytes() == 0 && in_flight.entries.is_empty());
    }
}
