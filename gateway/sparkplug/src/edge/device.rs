//! A device of an edge node: its metrics with their aliases, and whether it is born.

use std::{collections::HashMap, sync::Arc, time::Instant};

use tidegate_model::{Column, Name, Stream, StreamId, TagName, Timestamp};

use super::{Device, LAST_ROWS, MetricInfo, PASSING, left_out::Ceiling, millis};
use crate::DataType;

/// Numbers that a node may give out in a millisecond of its life without those of two lives ever meeting.
const ALIASES_PER_MILLI: u64 = 16;

/// Gives out numbers for metrics, none twice: not in this life of the node, and not in two of them.
#[derive(Debug, Default)]
pub(super) struct Aliases(u64);

/// Whether a device is born.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// Not yet, in this connection.
    Unborn,
    Born,
    /// Only so that rows of it can be published: it is not there.
    Passing {
        until: Instant,
    },
    Dead,
}

/// What is to be done about a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    None,
    Birth,
    Death,
}

/// One metric of a device.
#[derive(Debug)]
pub(super) struct MetricEntry {
    pub(super) info: MetricInfo,
    /// Its name in messages: that of the tag, with the type where another metric of the device has that name.
    pub(super) wire_name: String,
    pub(super) alias: u64,
    /// The time of the newest present value that was published.
    pub(super) shown: Option<Timestamp>,
    /// Whether the last present value was not good.
    pub(super) doubtful: bool,
}

/// One device.
pub(super) struct Entry {
    name: Name,
    /// `None` when the site has it no more.
    source: Option<Box<dyn Device>>,
    /// Those of the device first, in its order; behind them those that only rows of the past have.
    metrics: Vec<MetricEntry>,
    present: usize,
    places: HashMap<(TagName, DataType), usize>,
    /// The metric of each column, of streams that have been seen.
    streams: HashMap<StreamId, (Arc<Stream>, Arc<[usize]>)>,
    life: Life,
    /// What has been said in a birth is not so any more.
    changed: bool,
    /// When it is declared dead.
    dies_at: Option<Instant>,
    /// Its birth cannot be sent, with the metrics that it has.
    too_large: bool,
    /// Bytes of the payload of its birth, at most, with the metrics that it has.
    pub(super) largest_birth: Ceiling,
}

impl Aliases {
    /// Numbers from here on are of a life that begins now. Below 2^53 for some 17,000 years, for hosts that count with floats.
    pub(super) fn begin(now: Timestamp) -> Aliases {
        Aliases(millis(now).saturating_mul(ALIASES_PER_MILLI))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

impl Entry {
    /// A device that the site has (`source`), or does not have any more.
    pub(super) fn new(name: Name, source: Option<Box<dyn Device>>, aliases: &mut Aliases) -> Entry {
        let mut entry = Entry {
            name,
            source: None,
            metrics: Vec::new(),
            present: 0,
            places: HashMap::new(),
            streams: HashMap::new(),
            life: Life::Unborn,
            changed: false,
            dies_at: None,
            too_large: false,
            largest_birth: Ceiling::new(),
        };
        if let Some(source) = source {
            entry.take_over(source, aliases);
        }
        entry
    }

    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    pub(super) fn life(&self) -> Life {
        self.life
    }

    pub(super) fn is_gone(&self) -> bool {
        self.source.is_none()
    }

    pub(super) fn is_writable(&self) -> bool {
        self.present().iter().any(|metric| metric.info.writable)
    }

    pub(super) fn source(&self) -> Option<&dyn Device> {
        self.source.as_deref()
    }

    /// The metrics that the device has now.
    pub(super) fn present(&self) -> &[MetricEntry] {
        self.metrics.get(..self.present).unwrap_or(&[])
    }

    pub(super) fn metrics(&mut self) -> &mut [MetricEntry] {
        &mut self.metrics
    }

    pub(super) fn metric(&mut self, place: usize) -> Option<&mut MetricEntry> {
        self.metrics.get_mut(place)
    }

    /// Goes over to what the site says of the device now.
    pub(super) fn take_over(&mut self, source: Box<dyn Device>, aliases: &mut Aliases) {
        let same = self.source.is_some()
            && self.present().len() == source.metrics().len()
            && self.present().iter().zip(source.metrics()).all(|(metric, info)| metric.info == *info);
        if !same {
            (self.changed, self.too_large, self.largest_birth) = (true, false, Ceiling::new());
            let mut before: HashMap<(TagName, DataType), u64> = HashMap::new();
            for metric in self.metrics.drain(..) {
                before.insert((metric.info.name.clone(), metric.info.datatype), metric.alias);
            }
            (self.present, self.places, self.streams) = (0, HashMap::new(), HashMap::new());
            for info in source.metrics() {
                let alias = before.get(&(info.name.clone(), info.datatype)).copied();
                self.add(info.clone(), alias.unwrap_or_else(|| aliases.next()));
            }
            self.present = self.metrics.len();
        }
        self.source = Some(source);
    }

    /// The site has the device no more.
    pub(super) fn leave(&mut self) {
        self.source = None;
        self.dies_at = None;
    }

    fn add(&mut self, info: MetricInfo, alias: u64) -> usize {
        let place = self.metrics.len();
        let taken = self.metrics.iter().any(|metric| metric.info.name == info.name);
        let wire_name = match taken {
            false => info.name.to_string(),
            true => format!("{} ({})", info.name, info.datatype.as_str()),
        };
        self.places.insert((info.name.clone(), info.datatype), place);
        self.metrics.push(MetricEntry { info, wire_name, alias, shown: None, doubtful: false });
        place
    }

    /// The metric of each column of a stream. Columns that the device does not have (any more) become metrics, which a birth has to
    /// announce: then [`Entry::step`] asks for one.
    pub(super) fn columns(&mut self, stream: &Arc<Stream>, aliases: &mut Aliases) -> Arc<[usize]> {
        if let Some((known, places)) = self.streams.get(&stream.id())
            && Arc::ptr_eq(known, stream)
        {
            return Arc::clone(places);
        }
        let places: Vec<usize> = stream.columns().iter().map(|column| self.place(column, aliases)).collect();
        let places: Arc<[usize]> = places.into();
        self.streams.insert(stream.id(), (Arc::clone(stream), Arc::clone(&places)));
        places
    }

    fn place(&mut self, column: &Column, aliases: &mut Aliases) -> usize {
        let datatype = DataType::of_tag(column.value_type);
        if let Some(place) = self.places.get(&(column.name.clone(), datatype)) {
            return *place;
        }
        self.changed = true;
        let (name, unit) = (column.name.clone(), column.unit.clone());
        let info = MetricInfo { name, datatype, unit, range: None, description: None, writable: false };
        self.add(info, aliases.next())
    }

    /// A new connection, or all births anew.
    pub(super) fn unborn(&mut self) {
        self.life = Life::Unborn;
        self.dies_at = None;
    }

    /// A birth was published.
    pub(super) fn born(&mut self) {
        self.changed = false;
        self.dies_at = None;
        self.life = Life::Born;
    }

    /// Whether a birth of it is out, and no death.
    pub(super) fn is_known(&self) -> bool {
        matches!(self.life, Life::Born | Life::Passing { .. })
    }

    /// Its birth is too large to be sent.
    pub(super) fn cannot_be_born(&mut self) {
        (self.life, self.dies_at, self.too_large) = (Life::Dead, None, true);
    }

    /// It is tried again to send its birth.
    pub(super) fn can_be_born(&mut self) {
        self.too_large = false;
    }

    pub(super) fn is_too_large(&self) -> bool {
        self.too_large
    }

    /// A birth was published only so that rows can be.
    pub(super) fn passing(&mut self, now: Instant) {
        self.changed = false;
        self.life = Life::Passing { until: now + PASSING };
    }

    /// Whether rows can be published without a birth before them.
    pub(super) fn takes_rows(&self) -> bool {
        matches!(self.life, Life::Born | Life::Passing { .. }) && !self.changed
    }

    /// Whether it answers; not, when the site has it no more.
    pub(super) fn is_there(&self) -> Option<bool> {
        match &self.source {
            Some(source) => source.is_there(),
            None => Some(false),
        }
    }

    /// What is to be done now.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        match (self.life, self.is_there()) {
            _ if self.too_large => Step::None,
            (Life::Unborn | Life::Dead | Life::Passing { .. }, Some(true)) => Step::Birth,
            (Life::Born, Some(true)) | (Life::Born, None) => {
                self.dies_at = None;
                if self.changed { Step::Birth } else { Step::None }
            }
            (Life::Born, Some(false)) => {
                let grace = if self.source.is_some() { LAST_ROWS } else { std::time::Duration::ZERO };
                let at = *self.dies_at.get_or_insert(now + grace);
                self.die(now, at)
            }
            (Life::Passing { until }, _) => self.die(now, until),
            (Life::Unborn | Life::Dead, _) => Step::None,
        }
    }

    fn die(&mut self, now: Instant, at: Instant) -> Step {
        if now < at {
            return Step::None;
        }
        (self.life, self.dies_at) = (Life::Dead, None);
        Step::Death
    }
}
