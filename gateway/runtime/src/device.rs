//! One device of a link: its groups, its breaker, and what the world is told about it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tidegate_driver_api::{Poll, Readings};
use tidegate_model::{Name, Reading, Reason, Row, Slot, Stream, TagName, Timestamp};
use tidegate_pipeline::{Stages, State, plausible_device_time};

use crate::{
    breaker::Breaker,
    clock::Clock,
    counters::LinkCounters,
    outputs::{Outputs, PayloadSize},
    status::DeviceState,
};

/// One group of one device, ready to be polled.
pub(crate) struct GroupTask {
    pub(crate) interval: Duration,
    pub(crate) stages: Arc<Stages>,
    state: State,
    stream: Arc<Stream>,
    last_seq: u64,
    topic: Bytes,
    size: PayloadSize,
    /// When the group was last polled.
    polled: Option<Timestamp>,
}

impl GroupTask {
    /// A group whose stream ends with row `last_seq` so far.
    pub(crate) fn new(
        interval: Duration,
        stages: Arc<Stages>,
        stream: Arc<Stream>,
        last_seq: u64,
        topic: String,
    ) -> GroupTask {
        let state = State::new(&stages);
        let size = PayloadSize::default();
        GroupTask { interval, stages, state, stream, last_seq, topic: topic.into(), size, polled: None }
    }
}

/// What the world knows about a device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Health {
    /// `None` until the first poll has ended.
    pub(crate) state: Option<DeviceState>,
    pub(crate) reason: Option<Reason>,
    pub(crate) since: Timestamp,
    pub(crate) next_try: Option<Timestamp>,
}

/// A device's health where the status can read it.
#[derive(Debug)]
pub(crate) struct SharedHealth(Mutex<Health>);

impl SharedHealth {
    pub(crate) fn new(since: Timestamp) -> SharedHealth {
        SharedHealth(Mutex::new(Health { state: None, reason: None, since, next_try: None }))
    }

    pub(crate) fn get(&self) -> Health {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, health: Health) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }
}

/// The latest sample of one tag.
#[derive(Debug, Clone)]
pub struct Latest {
    /// The tag.
    pub tag: TagName,
    /// Its value and quality; never [`Slot::Unchanged`], except for tags that are only written.
    pub slot: Slot,
    /// When its group was last polled; `None` before the first time.
    pub time: Option<Timestamp>,
    /// Its unit.
    pub unit: Option<String>,
}

/// One device of a link, owned by the link's task.
pub(crate) struct DeviceTask {
    pub(crate) name: Name,
    pub(crate) groups: Vec<GroupTask>,
    pub(crate) breaker: Breaker,
    pub(crate) health: Arc<SharedHealth>,
}

/// What a link task needs to turn readings into rows.
pub(crate) struct Emitter {
    pub(crate) outputs: Outputs,
    pub(crate) clock: Clock,
    pub(crate) counters: Arc<LinkCounters>,
}

impl DeviceTask {
    /// Turns the readings of one poll into a row and sends it on its way.
    pub(crate) fn emit(&mut self, group: usize, readings: &mut Readings, emitter: &Emitter) {
        let Some(group) = self.groups.get_mut(group) else { return };
        let now = emitter.clock.now();
        let time = emitter.clock.timestamp(now);
        let own_time = readings.device_time().and_then(|own| plausible_device_time(own, time));
        group.polled = Some(time);
        let since_start = emitter.clock.since_start(now);
        let Some(outcome) = group.stages.run(&mut group.state, readings.items_mut(), since_start, time) else {
            return;
        };
        group.last_seq += 1;
        let values = outcome.slots.iter().filter(|slot| slot.value().is_some()).count();
        let row = Row {
            stream: Arc::clone(&group.stream),
            seq: group.last_seq,
            time,
            device_time: own_time.or(outcome.device_time),
            slots: outcome.slots,
        };
        let bytes = emitter.outputs.row(&group.topic, row, &mut group.size);
        emitter.counters.rows.add(1);
        emitter.counters.values.add(u64::try_from(values).unwrap_or(u64::MAX));
        emitter.counters.payload_bytes.add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Gives every group a row in which all polled tags are bad for this reason.
    pub(crate) fn emit_all_bad(&mut self, reason: Reason, readings: &mut Readings, emitter: &Emitter) {
        for group in 0..self.groups.len() {
            let columns = self.columns(group);
            readings.reset(columns);
            readings.fail_missing(0..columns, reason);
            self.emit(group, readings, emitter);
        }
    }

    /// How many columns a group has.
    pub(crate) fn columns(&self, group: usize) -> usize {
        self.groups.get(group).map_or(0, |group| group.stream.columns().len())
    }

    /// The device has answered a poll.
    pub(crate) fn answered(&mut self, readings: &Readings, emitter: &Emitter) {
        self.breaker.success();
        let trouble = readings.items().iter().find_map(|reading| match reading {
            Reading::Failed(reason) => Some(*reason),
            Reading::Missing | Reading::Value(_) => None,
        });
        let state = if trouble.is_some() { DeviceState::Degraded } else { DeviceState::Online };
        self.tell(state, trouble, emitter);
    }

    /// The device has not answered a poll.
    pub(crate) fn failed(&mut self, reason: Reason, now: Instant, emitter: &Emitter) {
        self.breaker.failure(now, rand::random());
        let state = if self.breaker.next_try().is_some() { DeviceState::Offline } else { DeviceState::Degraded };
        self.tell(state, Some(reason), emitter);
    }

    /// The link is down, so the device cannot be reached.
    pub(crate) fn unreachable(&mut self, emitter: &Emitter) {
        self.tell(DeviceState::Offline, Some(Reason::Disconnected), emitter);
    }

    /// Notes what the device is now; a change of the state is published and logged once.
    fn tell(&mut self, state: DeviceState, reason: Option<Reason>, emitter: &Emitter) {
        let before = self.health.get();
        let next_try = self.breaker.next_try().map(|moment| emitter.clock.timestamp(moment));
        if before.state == Some(state) && before.reason == reason {
            if before.next_try != next_try {
                self.health.set(Health { next_try, ..before });
            }
            return;
        }
        let since = emitter.clock.timestamp(emitter.clock.now());
        let since = if before.state == Some(state) { before.since } else { since };
        self.health.set(Health { state: Some(state), reason, since, next_try });
        let reason = reason.map(Reason::as_str);
        emitter.outputs.device_state(&self.name, state, reason, since);
        match state {
            DeviceState::Online if before.state.is_some() => {
                tracing::info!(device = %self.name, "device is online again")
            }
            DeviceState::Online => tracing::debug!(device = %self.name, "device is online"),
            DeviceState::Degraded => tracing::debug!(device = %self.name, reason, "device answers in part"),
            DeviceState::Offline => tracing::info!(
                device = %self.name,
                reason,
                "device does not answer; its tags are bad and it is tried again from time to time"
            ),
        }
    }

    /// The latest sample of every tag.
    pub(crate) fn latest(&self) -> Vec<Latest> {
        let mut samples = Vec::new();
        for group in &self.groups {
            for (column, slot) in group.stream.columns().iter().zip(group.state.latest()) {
                samples.push(Latest {
                    tag: column.name.clone(),
                    slot: slot.clone(),
                    time: group.polled,
                    unit: column.unit.clone(),
                });
            }
        }
        samples
    }

    /// The polls of the device.
    pub(crate) fn polls(&self, device: usize) -> impl Iterator<Item = (Poll, Duration)> {
        self.groups.iter().enumerate().map(move |(group, task)| (Poll { device, group }, task.interval))
    }
}
