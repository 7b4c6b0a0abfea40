//! Where the latest samples of a group are: written by the link's task, read by whoever asks.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tidegate_model::{Reading, Slot, Stream, TagName, Timestamp};
use tidegate_pipeline::State;

use crate::health::Shared;

/// The latest samples of one group of one device. Clones look at the same.
#[derive(Debug, Clone)]
pub(crate) struct GroupView {
    stream: Arc<Stream>,
    version: Arc<AtomicU64>,
    seen: Arc<Shared<Seen>>,
}

/// What a group said last.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) state: State,
    times: Times,
}

/// When the samples are from.
#[derive(Debug)]
enum Times {
    /// All tags are read together.
    Together(Moment),
    /// Each tag comes when it has changed; by column.
    Each(Box<[Moment]>),
}

/// When a sample is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Moment {
    /// The gateway's time; `None` before the first sample.
    pub(crate) time: Option<Timestamp>,
    /// The device's own, where it has one.
    pub(crate) device_time: Option<Timestamp>,
}

/// The latest sample of one tag.
#[derive(Debug, Clone)]
pub struct Latest {
    /// The tag.
    pub tag: TagName,
    /// Its value and quality; never [`Slot::Unchanged`], except for tags that are only written.
    pub slot: Slot,
    /// When the tag was last read, or last came by itself; `None` before the first time.
    pub time: Option<Timestamp>,
    /// Its unit.
    pub unit: Option<String>,
}

/// The latest sample of one tag, without the tag: 64 bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct TagSample {
    /// Its value and quality; [`Slot::Unchanged`] for tags that are only written.
    pub slot: Slot,
    /// When the tag was last read, or last came by itself; `None` before the first time.
    pub time: Option<Timestamp>,
    /// The device's own time of it, where it gave one that is plausible.
    pub device_time: Option<Timestamp>,
}

impl Seen {
    fn moment(&self, column: usize) -> Moment {
        match &self.times {
            Times::Together(moment) => *moment,
            Times::Each(moments) => moments.get(column).copied().unwrap_or_default(),
        }
    }

    /// Notes when all samples are from.
    pub(crate) fn touch(&mut self, moment: Moment) {
        match &mut self.times {
            Times::Together(all) => *all = moment,
            Times::Each(moments) => moments.fill(moment),
        }
    }

    /// Notes when those samples are from that have come.
    pub(crate) fn touch_come(&mut self, readings: &[Reading], moment: Moment) {
        self.touch_some(readings.iter().map(|reading| !matches!(reading, Reading::Missing)), moment);
    }

    /// Notes when those samples are from that have been calculated for a row with these slots.
    pub(crate) fn touch_calculated(
        &mut self,
        comes_from_device: impl Iterator<Item = bool>,
        slots: &[Slot],
        moment: Moment,
    ) {
        let calculated = slots.iter().zip(comes_from_device);
        self.touch_some(calculated.map(|(slot, comes)| !comes && !matches!(slot, Slot::Unchanged)), moment);
    }

    fn touch_some(&mut self, chosen: impl Iterator<Item = bool>, moment: Moment) {
        match &mut self.times {
            Times::Together(all) => *all = moment,
            Times::Each(moments) => {
                for (of_column, _) in moments.iter_mut().zip(chosen).filter(|(_, chosen)| *chosen) {
                    *of_column = moment;
                }
            }
        }
    }
}

impl GroupView {
    /// `each`: whether tags have times of their own.
    pub(crate) fn new(stream: Arc<Stream>, state: State, each: bool) -> GroupView {
        let times = match each {
            true => Times::Each(vec![Moment::default(); stream.columns().len()].into()),
            false => Times::Together(Moment::default()),
        };
        GroupView { stream, version: Arc::default(), seen: Arc::new(Shared::new(Seen { state, times })) }
    }

    pub(crate) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Changes what was said last. Nobody can look meanwhile.
    pub(crate) fn change<R>(&self, work: impl FnOnce(&mut Seen) -> R) -> R {
        let result = self.seen.with(work);
        self.version.fetch_add(1, Ordering::Release);
        result
    }

    /// How often the samples have changed.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The latest sample of every tag of the group.
    pub(crate) fn latest(&self, out: &mut Vec<Latest>) {
        self.seen.with(|seen| {
            let samples = self.stream.columns().iter().zip(seen.state.latest()).enumerate();
            out.extend(samples.map(|(index, (column, slot))| Latest {
                tag: column.name.clone(),
                slot: slot.clone(),
                time: seen.moment(index).time,
                unit: column.unit.clone(),
            }));
        });
    }

    /// The latest sample of every tag of the group, by column.
    pub(crate) fn samples(&self, out: &mut Vec<TagSample>) {
        self.seen.with(|seen| {
            let slots = seen.state.latest().iter().enumerate();
            out.extend(slots.map(|(column, slot)| sample(slot, seen.moment(column))));
        });
    }

    /// The latest sample of one tag.
    pub(crate) fn sample(&self, column: usize) -> Option<TagSample> {
        self.seen.with(|seen| Some(sample(seen.state.latest().get(column)?, seen.moment(column))))
    }
}

fn sample(slot: &Slot, Moment { time, device_time }: Moment) -> TagSample {
    TagSample { slot: slot.clone(), time, device_time }
}
