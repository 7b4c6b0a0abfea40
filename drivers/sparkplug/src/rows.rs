//! What a node has said, as rows of groups.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use tidegate_driver_api::{
    Poll, Readings,
    model::{Reading, Reason, Timestamp, Value, ValueKind},
};
use tidegate_sparkplug::{Known, QualityCode, Sample, Worth};

use crate::{
    link::NodeDevice,
    plan::{Group, Item},
};

/// Rows that wait to be fetched, at most, and the bytes of what is in them.
const MOST: usize = 100_000;
const MOST_BYTES: usize = 64 << 20;

/// A row that waits.
struct Row {
    poll: Poll,
    columns: usize,
    readings: Vec<(usize, Reading)>,
    time: Option<Timestamp>,
    past: bool,
    bytes: usize,
}

/// Rows that wait, and what was said last.
pub(crate) struct Rows {
    waiting: VecDeque<Row>,
    /// Memory that they take, about.
    bytes: usize,
    /// By device, group and column.
    latest: Vec<Vec<Vec<Reading>>>,
}

impl Rows {
    pub(crate) fn new(devices: &[NodeDevice]) -> Rows {
        let of = |group: &Group| vec![Reading::Missing; group.columns];
        let latest = devices.iter().map(|device| device.plan.groups.iter().map(of).collect()).collect();
        Rows { waiting: VecDeque::new(), bytes: 0, latest }
    }

    /// Whether more wait than may.
    pub(crate) fn are_too_many(&self) -> bool {
        self.waiting.len() > MOST || self.bytes > MOST_BYTES
    }

    pub(crate) fn are_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next row.
    pub(crate) fn next(&mut self, out: &mut Readings) -> Option<Poll> {
        let row = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(row.bytes);
        out.reset(row.columns);
        for (column, reading) in row.readings {
            if let Some(place) = out.items_mut().get_mut(column) {
                *place = reading;
            }
        }
        if let Some(time) = row.time {
            out.set_device_time(time);
        }
        if row.past {
            out.set_past();
        }
        Some(row.poll)
    }

    /// What was said last of a tag.
    pub(crate) fn latest(&self, poll: Poll, column: usize) -> Option<&Reading> {
        self.latest.get(poll.device)?.get(poll.group)?.get(column)
    }

    /// Every tag of a device has this fault.
    pub(crate) fn fail(&mut self, device: usize, of: &NodeDevice, reason: Reason) {
        for (number, group) in of.plan.groups.iter().enumerate() {
            let poll = Poll { device, group: number };
            let readings = group.read().map(|item| (item.column, Reading::Failed(reason))).collect();
            self.add(poll, group, readings, None, false);
        }
    }

    /// The tags of a device whose metrics its birth does not have.
    pub(crate) fn missing(&mut self, device: usize, of: &NodeDevice, metrics: &[Known]) {
        let names: HashSet<&str> = metrics.iter().map(|known| &*known.name).collect();
        for (number, group) in of.plan.groups.iter().enumerate() {
            let lacks = |item: &&Item| !names.contains(&*item.metric);
            let missing: Vec<_> =
                group.read().filter(lacks).map(|item| (item.column, Reading::Failed(Reason::BadAddress))).collect();
            if !missing.is_empty() {
                self.add(Poll { device, group: number }, group, missing, None, false);
            }
        }
    }

    /// Values of a device have come. What has one time shares a row. Those beyond what may wait are not taken.
    pub(crate) fn take(&mut self, device: usize, of: &NodeDevice, metrics: &Arc<[Known]>, samples: &[Sample]) {
        // The newest row of this message for each group, time and kind, and which columns of which rows are taken.
        let mut newest: HashMap<(usize, Timestamp, bool), usize> = HashMap::new();
        let mut taken: HashSet<(usize, usize)> = HashSet::new();
        for sample in samples {
            let places = metrics.get(sample.metric).and_then(|known| of.plan.places.get(&known.name));
            for (number, place) in places.into_iter().flatten() {
                let Some(group) = of.plan.groups.get(*number) else { continue };
                let Some(item) = group.items.get(*place) else { continue };
                if self.are_too_many() {
                    return;
                }
                let (poll, reading) = (Poll { device, group: *number }, reading(sample, item));
                if !sample.historical {
                    self.remember(poll, item.column, &reading);
                }
                let key = (*number, sample.time, sample.historical);
                let free = newest.get(&key).copied().filter(|row| !taken.contains(&(*row, item.column)));
                let row = free.unwrap_or(self.waiting.len());
                match self.waiting.get_mut(row) {
                    Some(row) => {
                        let bytes = memory(&reading);
                        row.bytes += bytes;
                        self.bytes += bytes;
                        row.readings.push((item.column, reading));
                    }
                    None => self.add(poll, group, vec![(item.column, reading)], Some(sample.time), sample.historical),
                }
                newest.insert(key, row);
                taken.insert((row, item.column));
            }
        }
    }

    fn add(&mut self, poll: Poll, group: &Group, readings: Vec<(usize, Reading)>, time: Option<Timestamp>, past: bool) {
        if !past {
            for (column, reading) in &readings {
                self.remember(poll, *column, reading);
            }
        }
        let bytes = size_of::<Row>() + readings.iter().map(|(_, reading)| memory(reading)).sum::<usize>();
        self.bytes += bytes;
        self.waiting.push_back(Row { poll, columns: group.columns, readings, time, past, bytes });
    }

    fn remember(&mut self, poll: Poll, column: usize, reading: &Reading) {
        let groups = self.latest.get_mut(poll.device).and_then(|groups| groups.get_mut(poll.group));
        if let Some(latest) = groups.and_then(|columns| columns.get_mut(column)) {
            latest.clone_from(reading);
        }
    }
}

/// Memory that a reading takes, about.
fn memory(reading: &Reading) -> usize {
    let value = match reading {
        Reading::Value(value) | Reading::Doubtful(value, _) => value.heap_bytes(),
        Reading::Failed(_) | Reading::Missing => 0,
    };
    size_of::<(usize, Reading)>() + value
}

/// What a sample is for a tag.
fn reading(sample: &Sample, item: &Item) -> Reading {
    match &sample.worth {
        Worth::Null(QualityCode::Stale) => Reading::Failed(Reason::Stale),
        Worth::Null(_) => Reading::Failed(Reason::DeviceFault),
        Worth::Unreadable(_) => Reading::Failed(Reason::InvalidValue),
        Worth::Value(value, quality) => match (fit(value, item), quality) {
            (None, _) => Reading::Failed(Reason::InvalidValue),
            (Some(value), QualityCode::Good) => Reading::Value(value),
            (Some(value), _) => Reading::Doubtful(value, Reason::Stale),
        },
    }
}

/// A value as the kind that the profile says; `None` when it cannot be.
fn fit(value: &Value, item: &Item) -> Option<Value> {
    let (kind, array) = item.datatype.kind()?;
    match value {
        Value::Array(items) if array => {
            let count = u32::try_from(items.len()).ok();
            if count != item.items {
                return None;
            }
            Some(Value::Array(items.iter().map(|value| single(value, kind)).collect::<Option<_>>()?))
        }
        _ if array => None,
        value => single(value, kind),
    }
}

fn single(value: &Value, kind: ValueKind) -> Option<Value> {
    Some(match (value, kind) {
        (Value::Bool(_), ValueKind::Bool)
        | (Value::Int(_), ValueKind::Int)
        | (Value::Uint(_), ValueKind::Uint)
        | (Value::F32(_), ValueKind::F32)
        | (Value::F64(_), ValueKind::F64)
        | (Value::Text(_), ValueKind::Text)
        | (Value::Bytes(_), ValueKind::Bytes) => value.clone(),
        (Value::Int(number), ValueKind::Uint) => Value::Uint(u64::try_from(*number).ok()?),
        (Value::Uint(number), ValueKind::Int) => Value::Int(i64::try_from(*number).ok()?),
        (Value::F32(number), ValueKind::F64) => Value::F64((*number).into()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use tidegate_driver_api::config::Access;
    use tidegate_sparkplug::DataType;

    use super::*;
    use crate::{config::Whose, plan::Plan};

    fn noted(text: &str, time: i64) -> Sample {
        let worth = Worth::Value(Value::Text(text.into()), QualityCode::Good);
        Sample { metric: 0, worth, time: Timestamp::from_millis(time), historical: false, reason: None }
    }

    #[test]
    fn large_values_that_nobody_fetches_are_too_many_long_before_their_rows_are() {
        let metric: Arc<str> = "Note".into();
        let item = Item {
            column: 0,
            metric: Arc::clone(&metric),
            datatype: DataType::String,
            items: None,
            access: Access::Read,
        };
        let groups = vec![Group { items: vec![item], columns: 1 }];
        let places = HashMap::from([(Arc::clone(&metric), vec![(0, 0)])]);
        let device = NodeDevice { whose: Whose::Node, plan: Plan { groups, places } };
        let devices = [device];
        let known = Known {
            name: metric,
            alias: None,
            datatype: DataType::String,
            unit: None,
            range: None,
            description: None,
            writable: false,
        };
        let (mut rows, metrics, text) = (Rows::new(&devices), Arc::from([known]), "x".repeat(1 << 20));
        for time in 0..200 {
            rows.take(0, &devices[0], &metrics, &[noted(&text, time)]);
        }
        assert!(rows.are_too_many());
        let (mut out, mut fetched) = (Readings::default(), 0);
        while rows.next(&mut out).is_some() {
            fetched += 1;
        }
        assert!((60..=65).contains(&fetched), "{fetched} rows of 1 MiB");
        assert!(!rows.are_too_many() && rows.bytes == 0);
    }
}
