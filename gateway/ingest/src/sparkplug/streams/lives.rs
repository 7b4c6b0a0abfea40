//! Which devices are there: births, deaths, and births that are awaited.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_model::{Reason, Slot, Timestamp};
use tidegate_sparkplug::NodeId;

use super::{Row, Streams};

/// So long a device may take to be born again once its node is there, and a node to answer.
pub(in super::super) const PATIENCE: Duration = Duration::from_secs(60);

/// A birth that is awaited.
pub(super) struct Awaited {
    /// Since when nothing is known of the device.
    since: Timestamp,
    until: Instant,
}

impl Streams {
    /// Nothing that a device has said holds any more: its values are bad from then on. Of a node, those of all its devices.
    pub(in super::super) fn fail(&mut self, node: &NodeId, device: Option<&Arc<str>>, time: Timestamp, now: Instant) {
        for number in self.numbers(node, device) {
            self.fail_one(number, time, now);
        }
    }

    /// A device that may have been gone is there again. What it says next are its present values: one that it had before it was gone would
    /// otherwise stay bad.
    pub(in super::super) fn born(&mut self, node: &NodeId, device: Option<&Arc<str>>, time: Timestamp) {
        self.birth = time;
        let Some(number) = self.places.get(&(node.clone(), device.cloned())).copied() else { return };
        self.awaited.remove(&number);
        let Some(stream) = self.streams.get_mut(number) else { return };
        stream.present.fill(None);
        if let Some(died) = stream.died.take() {
            stream.reborn = Some((died, after(died, time)));
        }
    }

    /// What a node has said through itself and its devices is not sure since this time: those that are not born again within the patience fail
    /// as of then.
    pub(in super::super) fn await_births(&mut self, node: &NodeId, since: Timestamp, now: Instant) {
        for number in self.numbers(node, None) {
            self.await_birth(number, since, now);
        }
    }

    /// The same of every node.
    pub(in super::super) fn await_all(&mut self, since: Timestamp, now: Instant) {
        (0..self.streams.len()).for_each(|number| self.await_birth(number, since, now));
    }

    /// Births could not come until now.
    pub(in super::super) fn await_longer(&mut self, now: Instant) {
        self.awaited.values_mut().for_each(|awaited| awaited.until = now + PATIENCE);
    }

    /// Devices that have not been born in time fail.
    pub(in super::super) fn fail_awaited(&mut self, now: Instant) {
        let due = self.awaited.iter().filter(|(_, awaited)| awaited.until <= now);
        let due: Vec<(usize, Timestamp)> = due.map(|(number, awaited)| (*number, awaited.since)).collect();
        due.into_iter().for_each(|(number, since)| self.fail_one(number, since, now));
    }

    /// The streams of a device, or of a node with all its devices.
    fn numbers(&self, node: &NodeId, device: Option<&Arc<str>>) -> Vec<usize> {
        let is = |of: &(NodeId, Option<Arc<str>>)| of.0 == *node && (device.is_none() || of.1.as_ref() == device);
        self.places.iter().filter(|(of, _)| is(of)).map(|(_, number)| *number).collect()
    }

    fn await_birth(&mut self, number: usize, since: Timestamp, now: Instant) {
        if self.streams.get(number).is_some_and(|stream| stream.died.is_none()) {
            let awaited = self.awaited.entry(number).or_insert(Awaited { since, until: now });
            awaited.until = now + PATIENCE;
        }
    }

    fn fail_one(&mut self, number: usize, time: Timestamp, now: Instant) {
        // The word is small beside what it is about, and has room behind what may wait; beyond, it is tried again.
        if self.bytes >= self.most_bytes.saturating_mul(2) {
            return self.await_birth(number, time, now);
        }
        self.awaited.remove(&number);
        let Some(stream) = self.streams.get_mut(number).filter(|stream| stream.died.is_none()) else { return };
        stream.died = Some(time);
        stream.reborn = None;
        let widths: Vec<usize> = stream.schemas.iter().map(|known| known.schema.columns.len()).collect();
        for (schema, width) in widths.into_iter().enumerate() {
            let slots = (0..width).map(|column| (column, Slot::Bad(Reason::Disconnected))).collect();
            self.put(number, schema, Row::new(time, slots, false), now);
        }
    }
}

/// The time of a birth, which is behind that of the death.
pub(super) fn after(died: Timestamp, birth: Timestamp) -> Timestamp {
    birth.max(Timestamp::from_millis(died.as_millis().saturating_add(1)))
}
