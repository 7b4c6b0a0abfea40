//! Births: of the node, and of each device.

use std::collections::HashSet;

use tidegate_model::{Name, Reason, Slot};

use super::{
    BD_SEQ, Device, EdgeNode, GAP, Latest, Message, MetricInfo, Now, Phase, Plant, REBIRTH, REBIRTH_PAUSE, SOFTWARE,
    What,
    device::{Entry, Life, MetricEntry},
    left_out::TooLarge,
    millis,
};
use crate::{
    DataType, QualityCode, Verb, to_wire,
    wire::{Metric, MetricValue, PropertyContent, PropertySet},
};

/// Bytes that it takes to say that there is no value, at most.
const NULL: usize = 64;

impl EdgeNode {
    /// The births of everything that is there.
    pub(super) fn births(&mut self, now: Now, out: &mut Vec<Message>) {
        (self.births_due, self.stopped) = (None, false);
        self.deaths_before_births(now, out);
        self.born_at = Some(now.at);
        self.phase = Phase::Born;
        self.seq = 0;
        // Devices that the site has no more are born again when there are rows of them.
        self.entries.retain(|_, entry| !entry.is_gone());
        self.entries.values_mut().for_each(Entry::unborn);
        let metrics = self.node_metrics(now);
        out.push(self.message(Verb::Birth, None, metrics, now));
        for name in self.order.clone() {
            let there =
                self.entries.get(&name).is_some_and(|entry| entry.is_there() == Some(true) && !entry.is_too_large());
            if there {
                self.device_birth(&name, now, out);
            }
        }
    }

    /// Of what is born and will not be born again: hosts would take it for alive, as an NBIRTH in the middle says nothing of devices.
    fn deaths_before_births(&mut self, now: Now, out: &mut Vec<Message>) {
        if self.phase != Phase::Born {
            return;
        }
        let is_over = |entry: &&Entry| entry.is_known() && entry.is_there() != Some(true);
        let mut over: Vec<Name> = self.entries.values().filter(is_over).map(|entry| entry.name().clone()).collect();
        over.sort_unstable();
        for name in over {
            let death = self.message(Verb::Death, Some(&name), Vec::new(), now);
            out.push(death);
        }
    }

    /// A host asks for all births. Those of a moment ago are not made again at once, whoever asks.
    pub(super) fn ask_for_births(&mut self, now: Now) {
        if self.phase == Phase::Born && self.births_due.is_none() {
            let soonest = self.born_at.map_or(now.at, |born| born + REBIRTH_PAUSE);
            self.births_due = Some(soonest.max(now.at));
            self.stopped = soonest <= now.at;
        }
    }

    pub(super) fn bd_seq(&self, now: Now) -> Metric {
        Metric {
            name: Some(BD_SEQ.to_owned()),
            timestamp: Some(millis(now.time)),
            datatype: Some(DataType::Int64.code()),
            value: Some(MetricValue::Long(self.bd_seq.into())),
            ..Metric::default()
        }
    }

    fn node_metrics(&self, now: Now) -> Vec<Metric> {
        let timestamp = Some(millis(now.time));
        let rebirth = Metric {
            name: Some(REBIRTH.to_owned()),
            timestamp,
            datatype: Some(DataType::Boolean.code()),
            value: Some(MetricValue::Boolean(false)),
            ..Metric::default()
        };
        let software = Metric {
            name: Some(SOFTWARE.to_owned()),
            timestamp,
            datatype: Some(DataType::String.code()),
            value: Some(MetricValue::String(self.options.software.clone())),
            ..Metric::default()
        };
        let gap = Metric {
            name: Some(GAP.to_owned()),
            alias: Some(self.gap_alias),
            timestamp,
            datatype: Some(DataType::String.code()),
            is_null: Some(true),
            ..Metric::default()
        };
        vec![self.bd_seq(now), rebirth, software, gap]
    }

    /// The birth of a device that is there, with what it says now.
    pub(super) fn device_birth(&mut self, name: &Name, now: Now, out: &mut Vec<Message>) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        let mut latest = Vec::with_capacity(entry.present().len());
        if let Some(source) = entry.source() {
            source.latest(&mut latest);
        }
        let known = entry.is_known();
        entry.born();
        let with_values = metrics(entry, latest, now);
        match self.fitting(Verb::Birth, name, with_values, now) {
            Ok(birth) => out.push(birth),
            Err(too_large) => self.smaller_birth(name, known, too_large.bytes, now, out),
        }
    }

    /// The birth of a device without its largest values, as many bytes (`bytes`) it has with them; or without any.
    fn smaller_birth(&mut self, name: &Name, known: bool, bytes: usize, now: Now, out: &mut Vec<Message>) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        let mut latest = Vec::with_capacity(entry.present().len());
        if let Some(source) = entry.source() {
            source.latest(&mut latest);
        }
        let excess = bytes.saturating_sub(entry.largest_birth.bytes().min(self.limits.largest()));
        let dropped = without_largest(entry.present(), &mut latest, excess);
        let tags =
            dropped.iter().filter_map(|place| entry.present().get(*place)).map(|metric| metric.info.name.clone());
        let what = What::values_of_birth(tags.collect::<Vec<_>>().into_iter());
        let smaller = metrics(entry, latest, now);
        match self.fitting(Verb::Birth, name, smaller, now) {
            Ok(birth) => {
                out.push(birth);
                self.leave_out(name, what, bytes);
            }
            Err(_) => {
                let tags = self.entries.get(name).map(Entry::present).unwrap_or_default();
                let what = What::values_of_birth(tags.iter().map(|metric| metric.info.name.clone()));
                if self.birth_without_values(name, known, now, out) {
                    self.leave_out(name, what, bytes);
                }
            }
        }
    }

    /// False when not even that can be sent: then there is no such device for hosts, and one that they know (`known`) dies.
    fn birth_without_values(&mut self, name: &Name, known: bool, now: Now, out: &mut Vec<Message>) -> bool {
        let Some(entry) = self.entries.get_mut(name) else { return false };
        let without_values = metrics(entry, Vec::new(), now);
        match self.fitting(Verb::Birth, name, without_values, now) {
            Ok(birth) => out.push(birth),
            Err(TooLarge { bytes, .. }) => {
                if let Some(entry) = self.entries.get_mut(name) {
                    entry.cannot_be_born();
                }
                self.leave_out(name, What::Birth, bytes);
                if known {
                    out.push(self.message(Verb::Death, Some(name), Vec::new(), now));
                }
                return false;
            }
        }
        true
    }

    /// The birth of a device that is not there, so that rows of it can be published. Nothing in it has a value.
    pub(super) fn passing_birth(&mut self, name: &Name, now: Now, out: &mut Vec<Message>) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        let known = entry.is_known();
        entry.passing(now.at);
        self.birth_without_values(name, known, now, out);
    }

    /// Goes over to the devices that the plant has now. What is the same stays born.
    pub(super) fn take_over(&mut self, plant: &dyn Plant) {
        // Before the look: a change in between is found by the next one.
        self.plant_version = Some(plant.version());
        self.next_look = None;
        let devices: Vec<Box<dyn Device>> = plant.devices();
        self.order = devices.iter().map(|device| device.name().clone()).collect();
        for device in devices {
            match self.entries.get_mut(device.name()) {
                Some(entry) => entry.take_over(device, &mut self.aliases),
                None => {
                    let name = device.name().clone();
                    self.entries.insert(name.clone(), Entry::new(name, Some(device), &mut self.aliases));
                }
            }
        }
        let order: HashSet<&Name> = self.order.iter().collect();
        for (_, entry) in self.entries.iter_mut().filter(|(name, _)| !order.contains(name)) {
            entry.leave();
        }
        self.entries
            .retain(|name, entry| order.contains(name) || matches!(entry.life(), Life::Born | Life::Passing { .. }));
    }
}

/// Takes the largest values away until that makes so many bytes of the message; gives their places. Values of less than some bytes are not
/// worth it.
fn without_largest(metrics: &[MetricEntry], latest: &mut [Latest], excess: usize) -> Vec<usize> {
    let bytes = |(sample, metric): (&Latest, &MetricEntry)| {
        let value = sample.slot.value().and_then(|value| to_wire(value, metric.info.datatype).ok());
        value.map_or(0, |value| value.encoded_len())
    };
    let mut large: Vec<(usize, usize)> =
        latest.iter().zip(metrics).map(bytes).enumerate().map(|(place, bytes)| (bytes, place)).collect();
    large.retain(|(bytes, _)| *bytes > 2 * NULL);
    large.sort_unstable_by(|one, other| other.cmp(one));
    let (mut freed, mut places) = (0, Vec::new());
    for (bytes, place) in large {
        if freed >= excess {
            break;
        }
        if let Some(sample) = latest.get_mut(place) {
            *sample = Latest { slot: Slot::Bad(Reason::NotYetRead), time: None };
            freed += bytes - NULL;
            places.push(place);
        }
    }
    places
}

/// The metrics of a birth. Those without a sample are null and stale.
fn metrics(entry: &mut Entry, latest: Vec<Latest>, now: Now) -> Vec<Metric> {
    let mut latest = latest.into_iter();
    let metric = |metric: &mut MetricEntry| {
        let sample = latest.next();
        metric.shown = sample.as_ref().and_then(|sample| sample.time);
        let slot = sample.map_or(Slot::Bad(Reason::NotYetRead), |sample| sample.slot);
        metric.doubtful = QualityCode::of(&slot) != QualityCode::Good;
        let value = slot.value().and_then(|value| to_wire(value, metric.info.datatype).ok());
        Metric {
            name: Some(metric.wire_name.clone()),
            alias: Some(metric.alias),
            timestamp: Some(millis(metric.shown.unwrap_or(now.time))),
            datatype: Some(metric.info.datatype.code()),
            is_null: value.is_none().then_some(true),
            properties: Some(properties(&metric.info, &slot)),
            value,
            ..Metric::default()
        }
    };
    entry.metrics().iter_mut().map(metric).collect()
}

fn properties(info: &MetricInfo, slot: &Slot) -> PropertySet {
    let mut set = PropertySet::default();
    set.add_quality(slot);
    if let Some(unit) = &info.unit {
        set.add("engUnit", DataType::String, PropertyContent::String(unit.clone()));
    }
    if let Some((low, high)) = info.range {
        set.add("engLow", DataType::Double, PropertyContent::Double(low));
        set.add("engHigh", DataType::Double, PropertyContent::Double(high));
    }
    if let Some(description) = &info.description {
        set.add("Documentation", DataType::String, PropertyContent::String(description.clone()));
    }
    set.add("readOnly", DataType::Boolean, PropertyContent::Boolean(!info.writable));
    set
}
