//! One group of one device: from readings to the next row of its stream, and what it said last.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tidegate_driver_api::Readings;
use tidegate_model::{Reading, Reason, Row, Stream};
use tidegate_pipeline::{Stages, State, plausible_device_time};

use crate::{
    clock::Clock,
    counters::{DeviceCounters, LinkCounters},
    hold::Hold,
    outputs::{Outputs, PayloadSize},
    view::{GroupView, Moment},
};

/// What a link task needs to turn readings into rows.
pub(crate) struct Emitter {
    pub(crate) outputs: Outputs,
    pub(crate) clock: Clock,
    pub(crate) counters: Arc<LinkCounters>,
}

/// One group of one device, ready to be polled.
pub(crate) struct GroupTask {
    pub(crate) interval: Duration,
    stages: Arc<Stages>,
    view: GroupView,
    last_seq: u64,
    topic: Bytes,
    size: PayloadSize,
    /// The row that waits for the next one, where tags have a swinging door.
    hold: Option<Box<Hold>>,
    /// Why some tag had no value in the last poll.
    trouble: Option<Reason>,
    /// Why no tag had a value in the last poll.
    dark: Option<Reason>,
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
        let view = GroupView::new(stream, State::new(&stages), false);
        let size = PayloadSize::default();
        let hold = Hold::new(&stages, interval).map(Box::new);
        let dark = Some(Reason::NotYetRead);
        GroupTask { interval, stages, view, last_seq, topic: topic.into(), size, hold, trouble: None, dark }
    }

    /// Where the latest samples can be read.
    pub(crate) fn view(&self) -> GroupView {
        self.view.clone()
    }

    /// How many columns the group has.
    pub(crate) fn columns(&self) -> usize {
        self.view.stream().columns().len()
    }

    /// Why some tag had no value in the last poll.
    pub(crate) fn trouble(&self) -> Option<Reason> {
        self.trouble
    }

    /// Why no tag had a value in the last poll.
    pub(crate) fn dark(&self) -> Option<Reason> {
        self.dark
    }

    /// Turns the readings of one poll into a row, if there is something to report, and sends it on its way.
    pub(crate) fn emit(&mut self, readings: &mut Readings, emitter: &Emitter, counters: &DeviceCounters) {
        self.note(readings.items());
        let now = emitter.clock.now();
        let time = emitter.clock.timestamp(now);
        let own_time = readings.device_time().and_then(|own| plausible_device_time(own, time));
        let since_start = emitter.clock.since_start(now);
        let outcome = self.view.change(|seen| {
            let outcome = self.stages.run(&mut seen.state, readings.items_mut(), since_start, time);
            let own_time = own_time.or(outcome.as_ref().and_then(|outcome| outcome.device_time));
            seen.touch(None::<std::iter::Empty<usize>>, Moment { time: Some(time), device_time: own_time });
            outcome
        });
        let Some(outcome) = outcome else { return };
        let seq = self.last_seq + 1;
        let values = outcome.slots.iter().filter(|slot| slot.value().is_some()).count();
        let row = Row {
            stream: Arc::clone(self.view.stream()),
            seq,
            time,
            device_time: own_time.or(outcome.device_time),
            slots: outcome.slots,
        };
        let payload = emitter.outputs.publish(&self.topic, &row, &mut self.size);
        let bytes = payload.len();
        match &mut self.hold {
            None => emitter.outputs.keep(row, payload),
            Some(hold) => hold.next(row, payload, now, &emitter.outputs),
        }
        // Only now: a number whose row got nowhere would be a hole.
        self.last_seq = seq;
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

    fn note(&mut self, readings: &[Reading]) {
        self.trouble = readings.iter().find_map(|reading| match reading {
            Reading::Failed(reason) => Some(*reason),
            Reading::Missing | Reading::Value(_) | Reading::Doubtful(..) => None,
        });
        let has_value = readings.iter().any(|reading| matches!(reading, Reading::Value(_) | Reading::Doubtful(..)));
        self.dark = if has_value { None } else { self.trouble };
    }
}
