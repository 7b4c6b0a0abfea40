//! One group of one device: from readings to the next row of its stream, and what it said last.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tidegate_driver_api::{AlarmColumns, Readings};
use tidegate_model::{Quality, Reading, Reason, Row, Stream, TagName, Timestamp};
use tidegate_pipeline::{Outcome, Stages, State, plausible_device_time};
use tidegate_topics::StreamTopics;

use crate::{
    alarm::{Alarms, Retained},
    clock::Clock,
    counters::{DeviceCounters, LinkCounters},
    hold::Hold,
    outputs::{Outputs, PayloadSize},
    standing::Standing,
    view::{GroupView, Moment},
};

/// So far apart are polls that are made because of writes: whoever writes without end does not fill the bus with them. A group with
/// slots as near is read in its slot.
const READ_BACKS_APART: Duration = Duration::from_secs(1);

/// What a link task needs to turn readings into rows.
pub(crate) struct Emitter {
    pub(crate) outputs: Outputs,
    pub(crate) clock: Clock,
    pub(crate) counters: Arc<LinkCounters>,
}

/// What a group is, apart from what becomes of its readings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// Time between two polls.
    pub(crate) interval: Duration,
    /// Whether the driver means to subscribe to it.
    pub(crate) subscribed: bool,
    /// Where the fields of an alarm are, when its rows are events.
    pub(crate) alarm: Option<AlarmColumns>,
}

/// One group of one device, ready to be polled.
pub(crate) struct GroupTask {
    pub(crate) interval: Duration,
    stages: Arc<Stages>,
    view: GroupView,
    last_seq: u64,
    topic: Bytes,
    /// The topics of the site's templates.
    others: StreamTopics,
    size: PayloadSize,
    /// The row that waits for the next one, where tags have a swinging door.
    hold: Option<Box<Hold>>,
    /// Why some tag had no value in the last poll.
    trouble: Option<Reason>,
    /// Why no tag had a value in the last poll.
    dark: Option<Reason>,
    /// Of a group that is to be subscribed to: what is known of its tags.
    standing: Option<Box<Standing>>,
    /// Whether the last that was heard of the group came without being asked for.
    arrived: bool,
    alarms: Option<Box<Alarms>>,
    /// Whether a tag has been written since the group was last asked.
    outdated: bool,
    /// When the group was last asked because of that.
    read_back: Option<Instant>,
}

impl GroupTask {
    /// A group whose stream ends with row `last_seq` so far.
    pub(crate) fn new(
        manner: Manner,
        stages: Arc<Stages>,
        stream: Arc<Stream>,
        last_seq: u64,
        (topic, others): (String, StreamTopics),
    ) -> GroupTask {
        let Manner { interval, subscribed, alarm } = manner;
        let state = match (alarm, subscribed) {
            (Some(_), _) => State::of_events(&stages),
            (None, true) => State::of_arrivals(&stages),
            (None, false) => State::new(&stages),
        };
        GroupTask {
            interval,
            standing: subscribed.then(|| Box::new(Standing::new(&stages))),
            alarms: alarm.map(|columns| Box::new(Alarms::new(columns))),
            hold: Hold::new(&stages, interval).map(Box::new),
            stages,
            view: GroupView::new(stream, state, subscribed),
            last_seq,
            topic: topic.into(),
            others,
            size: PayloadSize::default(),
            trouble: None,
            dark: Some(Reason::NotYetRead),
            arrived: false,
            outdated: false,
            read_back: None,
        }
    }

    /// Where the latest samples can be read.
    pub(crate) fn view(&self) -> GroupView {
        self.view.clone()
    }

    /// The topics of the site's templates.
    pub(crate) fn others(&self) -> StreamTopics {
        self.others.clone()
    }

    /// How many columns the group has.
    pub(crate) fn columns(&self) -> usize {
        self.view.stream().columns().len()
    }

    /// Whether the driver means to subscribe to the group.
    pub(crate) fn is_subscribed(&self) -> bool {
        self.standing.is_some()
    }

    /// Whether values of the group have come without being asked for, and nothing has ended that since.
    pub(crate) fn comes_by_itself(&self) -> bool {
        self.is_subscribed() && self.arrived && self.dark.is_none()
    }

    /// Why some tag had no value in the last poll.
    pub(crate) fn trouble(&self) -> Option<Reason> {
        self.trouble
    }

    /// Why no tag had a value in the last poll.
    pub(crate) fn dark(&self) -> Option<Reason> {
        self.dark
    }

    /// A tag has been written. When what it holds now should be read, if that is before the next slot.
    pub(crate) fn written(&mut self, now: Instant) -> Option<Instant> {
        if self.interval <= READ_BACKS_APART {
            return None;
        }
        self.outdated = true;
        Some(self.read_back.map_or(now, |last| now.max(last + READ_BACKS_APART)))
    }

    /// Whether a tag has been written since the group was last asked.
    pub(crate) fn is_outdated(&self) -> bool {
        self.outdated
    }

    /// The group is about to be asked. What is written from now on may come after its tag has been read.
    pub(crate) fn asked(&mut self, now: Instant) {
        if std::mem::take(&mut self.outdated) {
            self.read_back = Some(now);
        }
    }

    /// The tags that the device has no value for, each with the reason; none of a group without trouble.
    pub(crate) fn without_value(&self) -> Vec<(TagName, Reason)> {
        let mut latest = Vec::new();
        if self.trouble.is_some() {
            self.view.latest(&mut latest);
        }
        let read = latest.into_iter().zip(self.stages.comes_from_device()).filter(|(_, comes)| *comes);
        read.filter_map(|(latest, _)| match latest.slot.quality() {
            Some(Quality::Bad(reason)) if reason != Reason::NotYetRead => Some((latest.tag, reason)),
            _ => None,
        })
        .collect()
    }

    /// Turns the readings of one poll into a row, if there is something to report, and sends it on its way.
    pub(crate) fn emit(&mut self, readings: &mut Readings, emitter: &Emitter, counters: &DeviceCounters) {
        self.arrived = false;
        self.note(readings);
        let now = emitter.clock.now();
        let (time, own_time) = times(readings, now, emitter);
        let since_start = emitter.clock.since_start(now);
        let outcome = self.view.change(|seen| {
            let outcome = self.stages.run(&mut seen.state, readings.items_mut(), since_start, time);
            let device_time = own_time.or(outcome.as_ref().and_then(|outcome| outcome.device_time));
            seen.touch(Moment { time: Some(time), device_time });
            outcome
        });
        if let Some(outcome) = outcome {
            self.send(outcome, (now, time, own_time), emitter, counters);
        }
    }

    /// Turns what came without being asked for into a row, if there is something to report, and sends it on its way.
    pub(crate) fn arrive(&mut self, readings: &mut Readings, emitter: &Emitter, counters: &DeviceCounters) {
        if readings.is_past() {
            return self.remember(readings, emitter, counters);
        }
        self.arrived = true;
        self.note(readings);
        let now = emitter.clock.now();
        let (time, own_time) = times(readings, now, emitter);
        if let Some(alarms) = &mut self.alarms {
            let time = own_time.unwrap_or(time);
            alarms.note(self.view.stream().device(), readings.items(), time, &emitter.outputs);
        }
        let since_start = emitter.clock.since_start(now);
        let moment = Moment { time: Some(time), device_time: own_time };
        let outcome = self.view.change(|seen| {
            seen.touch_come(readings.items(), moment);
            let outcome = self.stages.run_partial(&mut seen.state, readings.items_mut(), since_start, time);
            if let Some(outcome) = &outcome {
                seen.touch_calculated(self.stages.comes_from_device(), &outcome.slots, moment);
            }
            outcome
        });
        if let Some(outcome) = outcome {
            self.send(outcome, (now, time, own_time), emitter, counters);
        }
    }

    /// Reports the tags of a group that comes by itself which may not be silent any longer.
    pub(crate) fn break_silence(&mut self, readings: &mut Readings, emitter: &Emitter, counters: &DeviceCounters) {
        if self.dark.is_some() || !self.stages.has_longest_silence() {
            return;
        }
        readings.reset(self.columns());
        let now = emitter.clock.now();
        let (time, since_start) = (emitter.clock.timestamp(now), emitter.clock.since_start(now));
        let mut run = |state: &mut State| self.stages.run_partial(state, readings.items_mut(), since_start, time);
        if let Some(outcome) = self.view.change(|seen| run(&mut seen.state)) {
            self.send(outcome, (now, time, None), emitter, counters);
        }
    }

    /// The device has said everything that it had to say when the session began.
    pub(crate) fn settle(&mut self, readings: &mut Readings, emitter: &Emitter, counters: &DeviceCounters) {
        let Some(alarms) = &self.alarms else { return };
        alarms.settled(self.view.stream().device(), &emitter.outputs);
        if self.dark.is_some_and(|reason| reason != Reason::NotYetRead) {
            self.emit_bad(Reason::NotYetRead, readings, emitter, counters);
        }
        self.arrived = true;
        (self.trouble, self.dark) = (None, None);
        if let Some(standing) = &mut self.standing {
            standing.forget();
        }
    }

    /// What is known of the group's alarms may have holes, and is told once more.
    pub(crate) fn tells_anew(&self) {
        if let Some(alarms) = &self.alarms {
            alarms.lost();
        }
    }

    /// The session is over. Whether the group is bad now and was not before.
    pub(crate) fn session_over(&mut self) -> bool {
        if let Some(alarms) = &self.alarms {
            alarms.lost();
        }
        let was_polled = !self.arrived && !matches!(self.dark, Some(Reason::NotYetRead));
        self.is_subscribed() && !was_polled && self.has_been_well()
    }

    /// Whether nobody has been told yet that the group has no values.
    pub(crate) fn has_been_well(&self) -> bool {
        matches!(self.dark, None | Some(Reason::NotYetRead))
    }

    /// The alarms that are retained, of a group of events.
    pub(crate) fn alarms(&self) -> Option<Retained> {
        self.alarms.as_ref().map(|alarms| alarms.retained())
    }

    /// Turns readings of the past into a row of the time that the device states, beside those of the present, which stay the latest.
    fn remember(&mut self, readings: &mut Readings, emitter: &Emitter, counters: &DeviceCounters) {
        let now = emitter.clock.now();
        let (now, own_time) = times(readings, now, emitter);
        let time = own_time.map_or(now, |own| own.min(now));
        let Some(outcome) = self.stages.run_past(readings.items_mut(), time) else { return };
        // What waits may not be compared with it.
        self.release(&emitter.outputs);
        let row = self.row(outcome, time, own_time);
        let payload = emitter.outputs.publish_past(&self.topic, &row, &mut self.size);
        emitter.outputs.publish_otherwise(&self.others, &row, true);
        self.count(&row, payload.len(), emitter, counters);
        emitter.outputs.keep_past(row, payload);
    }

    fn row(&self, outcome: Outcome, time: Timestamp, own_time: Option<Timestamp>) -> Row {
        Row {
            stream: Arc::clone(self.view.stream()),
            seq: self.last_seq + 1,
            time,
            device_time: own_time.or(outcome.device_time),
            slots: outcome.slots,
        }
    }

    /// Sends the next row on its way: the local broker first, then the store.
    fn send(
        &mut self,
        outcome: Outcome,
        (now, time, own_time): (Instant, Timestamp, Option<Timestamp>),
        emitter: &Emitter,
        counters: &DeviceCounters,
    ) {
        let row = self.row(outcome, time, own_time);
        let payload = emitter.outputs.publish(&self.topic, &row, &mut self.size);
        emitter.outputs.publish_otherwise(&self.others, &row, false);
        self.count(&row, payload.len(), emitter, counters);
        match &mut self.hold {
            None => emitter.outputs.keep(row, payload),
            Some(hold) => hold.next(row, payload, now, &emitter.outputs),
        }
    }

    /// Counts a row that goes on its way. Only now: a number whose row got nowhere would be a hole.
    fn count(&mut self, row: &Row, bytes: usize, emitter: &Emitter, counters: &DeviceCounters) {
        let values = row.slots.iter().filter(|slot| slot.value().is_some()).count();
        self.last_seq = row.seq;
        counters.rows.add(1);
        emitter.counters.rows.add(1);
        emitter.counters.values.add(u64::try_from(values).unwrap_or(u64::MAX));
        emitter.counters.payload_bytes.add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Whether rows of the group wait for the next one.
    pub(crate) fn holds(&self) -> bool {
        self.hold.is_some()
    }

    /// When the row that waits for the next one, if there is one, waits no longer.
    pub(crate) fn overdue(&self) -> Option<Instant> {
        self.hold.as_ref()?.overdue()
    }

    /// Gives the row that waits for the next one to the store.
    pub(crate) fn release(&mut self, outputs: &Outputs) {
        if let Some(hold) = &mut self.hold {
            hold.release(outputs);
        }
    }

    /// Makes a row in which every tag that is read from the device is bad for this reason.
    pub(crate) fn emit_bad(
        &mut self,
        reason: Reason,
        readings: &mut Readings,
        emitter: &Emitter,
        counters: &DeviceCounters,
    ) {
        let columns = self.columns();
        readings.reset(columns);
        readings.fail_missing(0..columns, reason);
        self.emit(readings, emitter, counters);
    }

    fn note(&mut self, readings: &Readings) {
        if let Some(standing) = &mut self.standing {
            standing.note(readings);
            self.trouble = standing.trouble();
            self.dark = standing.dark();
            return;
        }
        let readings = readings.items();
        self.trouble = readings.iter().find_map(|reading| match reading {
            Reading::Failed(reason) => Some(*reason),
            Reading::Missing | Reading::Value(_) | Reading::Doubtful(..) => None,
        });
        let has_value = readings.iter().any(|reading| matches!(reading, Reading::Value(_) | Reading::Doubtful(..)));
        self.dark = if has_value { None } else { self.trouble };
    }
}

/// The gateway's time of readings, and the device's own.
fn times(readings: &Readings, now: Instant, emitter: &Emitter) -> (Timestamp, Option<Timestamp>) {
    let time = emitter.clock.timestamp(now);
    (time, readings.device_time().and_then(|own| plausible_device_time(own, time)))
}
