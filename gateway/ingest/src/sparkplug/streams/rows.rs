//! Which values of a message are new, and the rows that they are.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tidegate_model::{Reason, Slot, Timestamp, Value};
use tidegate_sparkplug::{NodeId, Sample};

use super::{
    super::{
        columns,
        print::{Mark, Print},
    },
    Streams, Taken,
};

/// What a row takes in memory beside its values, and a value beside what it points to, about.
const ROW_BYTES: usize = 96;
const SLOT_BYTES: usize = 48;

#[derive(Debug)]
pub(in super::super) struct Row {
    pub(in super::super) time: Timestamp,
    /// Column and what is in it; no column twice.
    pub(in super::super) slots: Vec<(usize, Slot)>,
    /// Whether a value of it may have been written before and is not remembered here.
    pub(in super::super) doubtful: bool,
    pub(super) bytes: usize,
}

/// Where a value of a device goes.
struct Told {
    schema: usize,
    column: usize,
    metric: Arc<str>,
    slot: Slot,
    mark: Mark,
    /// Whether it goes back, at the time of what the metric said before, to what it was: that is known, and new all the same.
    returns: bool,
}

impl Streams {
    /// The rows that new values are, each with its schema.
    pub(super) fn rows_of(&mut self, number: usize, node: &NodeId, samples: &[Sample]) -> (Vec<(usize, Row)>, Taken) {
        let (mut rows, mut taken): (Vec<(usize, Row)>, Taken) = (Vec::new(), Taken::default());
        let mut copies: HashMap<Print, u32> = HashMap::new();
        let mut latest: HashMap<(usize, Timestamp), usize> = HashMap::new();
        let mut filled: HashSet<(usize, usize)> = HashSet::new();
        let several = several(samples);
        let reborn = self.streams.get_mut(number).and_then(|stream| stream.reborn.take());
        for sample in samples {
            let Some(told) = self.told(number, sample, reborn, &several) else { continue };
            let Told { schema, column, metric, slot, mark, returns } = told;
            let copy = copies.entry(mark.print).and_modify(|copies| *copies += 1).or_insert(0);
            if !returns && self.seen.is_known(&mark, *copy) {
                taken.repeated += 1;
                continue;
            }
            if let Some((of, time)) = self.seen.add(&mark, u32::try_from(number).ok()) {
                self.doubt(of, time);
            }
            if !self.gaps.hear(node, &metric, &slot) {
                taken.beyond += 1;
            }
            let time = mark.time;
            let doubt = self.streams.get(number).and_then(|stream| stream.doubt);
            let doubtful = !returns && doubt.is_some_and(|doubt| time <= doubt);
            let free = latest.get(&(schema, time)).copied().filter(|row| !filled.contains(&(*row, column)));
            let row = free.unwrap_or(rows.len());
            match rows.get_mut(row) {
                Some((_, row)) => row.add(column, slot, doubtful),
                None => rows.push((schema, Row::new(time, vec![(column, slot)], doubtful))),
            }
            latest.insert((schema, time), row);
            filled.insert((row, column));
        }
        (rows, taken)
    }

    /// What a value of a message says; `None` of a metric that is not taken. `several`: metrics that are in the message more than once.
    fn told(
        &mut self,
        number: usize,
        sample: &Sample,
        reborn: Option<(Timestamp, Timestamp)>,
        several: &HashSet<usize>,
    ) -> Option<Told> {
        let stream = self.streams.get_mut(number)?;
        let (schema, column) = stream.places.get(sample.metric).copied().flatten()?;
        let metric = Arc::clone(&stream.metrics.get(sample.metric)?.name);
        let slot = columns::slot(sample);
        // That a value is gone says the same as the death.
        let reborn = reborn
            .filter(|(died, _)| !sample.historical && sample.time <= *died && slot != Slot::Bad(Reason::Disconnected));
        let time = reborn.map_or(sample.time, |(_, reborn)| reborn);
        let mark = stream.prints.get(sample.metric).copied().flatten()?.mark(time, &slot);
        let mut returns = false;
        if !sample.historical {
            let before = stream.present.get_mut(sample.metric)?.replace((time, mark.print));
            let differs = before.is_some_and(|(then, print)| then == time && print != mark.print);
            returns = differs && !several.contains(&sample.metric);
        }
        Some(Told { schema, column, metric, slot, mark, returns })
    }

    /// A value of this stream and time is not remembered any more.
    fn doubt(&mut self, number: u32, time: Timestamp) {
        let stream = usize::try_from(number).ok().and_then(|number| self.streams.get_mut(number));
        if let Some(stream) = stream {
            stream.doubt = stream.doubt.max(Some(time));
        }
    }
}

/// The metrics that are in a message more than once.
fn several(samples: &[Sample]) -> HashSet<usize> {
    let mut once = HashSet::with_capacity(samples.len());
    samples.iter().map(|sample| sample.metric).filter(|metric| !once.insert(*metric)).collect()
}

impl Row {
    pub(in super::super) fn new(time: Timestamp, slots: Vec<(usize, Slot)>, doubtful: bool) -> Row {
        let heap: usize = slots.iter().map(|(_, slot)| bytes_of(slot)).sum();
        Row { time, bytes: ROW_BYTES.saturating_add(heap), slots, doubtful }
    }

    fn add(&mut self, column: usize, slot: Slot, doubtful: bool) {
        self.bytes = self.bytes.saturating_add(bytes_of(&slot));
        self.slots.push((column, slot));
        self.doubtful |= doubtful;
    }
}

fn bytes_of(slot: &Slot) -> usize {
    SLOT_BYTES.saturating_add(slot.value().map_or(0, Value::heap_bytes))
}
