//! The metrics that a birth has told of.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tidegate_model::{Reason, Timestamp};

use super::{Sample, Worth};
use crate::{
    DataType, QualityCode, REASON, from_wire,
    wire::{Metric, MetricValue, PropertyContent, PropertySet},
};

/// A metric, as its birth describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its name; members of structures have that of the structure before theirs (`pump/speed`).
    pub name: Arc<str>,
    /// Its number in data.
    pub alias: Option<u64>,
    /// The type of its values.
    pub datatype: DataType,
    /// Their unit.
    pub unit: Option<Arc<str>>,
    /// The lowest and the highest plausible value.
    pub range: Option<(f64, f64)>,
    /// What a person should know about it.
    pub description: Option<Arc<str>>,
    /// Whether it can be written, as far as is known.
    pub writable: bool,
}

/// The metrics of a node or a device.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    pub(super) list: Arc<[Known]>,
    by_alias: HashMap<u64, usize>,
    by_name: HashMap<Arc<str>, usize>,
    /// Those that are structures, whose members are metrics of their own.
    structures: HashMap<u64, Arc<str>>,
    /// Names and aliases that the birth told and that are not taken: what data says of them is passed over.
    passed_names: HashSet<Arc<str>>,
    passed_aliases: HashSet<u64>,
}

/// Metrics that are being learnt.
struct Learning {
    list: Vec<Known>,
    /// Metrics that there is still room for, those that are passed over included.
    room: usize,
    /// Bytes of names that there is still room for.
    bytes: usize,
}

/// Structures within structures are taken apart that deeply.
const DEEPEST: usize = 6;
/// Bytes of a name with those of the structures that it is in, at most.
const LONGEST: usize = 1024;
/// Bytes of all names of a birth, at most: as many as a message may have, while those of structures repeat in each of their members.
const NAMES: usize = 16 * 1024 * 1024;

impl Metrics {
    /// The metrics of a birth; `None` when they are more than there is room for.
    pub(super) fn of(birth: &[Metric], room: usize) -> Option<Metrics> {
        let mut metrics = Metrics::default();
        let mut learning = Learning { list: Vec::new(), room, bytes: NAMES };
        for metric in birth {
            match metric.name.as_deref().filter(|name| !name.is_empty()) {
                Some(name) => metrics.learn(metric, name, 0, &mut learning)?,
                None => metrics.pass_over(metric, "", &mut learning)?,
            }
        }
        metrics.list = learning.list.into();
        Some(metrics)
    }

    /// How many there are, those that are passed over included.
    pub(super) fn count(&self) -> usize {
        self.list.len() + self.structures.len() + self.passed_names.len().max(self.passed_aliases.len())
    }

    fn pass_over(&mut self, metric: &Metric, name: &str, learning: &mut Learning) -> Option<()> {
        learning.take(name.len())?;
        self.passed_aliases.extend(metric.alias);
        // Longer ones are passed over without being known.
        if !name.is_empty() && name.len() <= LONGEST && !self.by_name.contains_key(name) {
            self.passed_names.insert(name.into());
        }
        Some(())
    }

    /// `None` when there is no more room.
    fn learn(&mut self, metric: &Metric, name: &str, depth: usize, learning: &mut Learning) -> Option<()> {
        let datatype = metric.datatype.and_then(DataType::from_code);
        if let (Some(MetricValue::Template(template)), Some(_)) = (&metric.value, datatype) {
            // Definitions say how instances are; the instances say it again.
            if template.is_definition == Some(true) || depth >= DEEPEST || name.len() > LONGEST {
                return self.pass_over(metric, name, learning);
            }
            learning.take(name.len())?;
            self.passed_names.remove(name);
            if let Some(alias) = metric.alias {
                self.structures.insert(alias, name.into());
            }
            for member in &template.metrics {
                match member_name(name, member) {
                    Some(name) => self.learn(member, &name, depth + 1, learning)?,
                    None => self.pass_over(member, "", learning)?,
                }
            }
            return Some(());
        }
        let Some(datatype) = datatype.filter(|datatype| datatype.kind().is_some() && name.len() <= LONGEST) else {
            return self.pass_over(metric, name, learning);
        };
        if self.by_name.contains_key(name) {
            return self.pass_over(metric, "", learning);
        }
        learning.take(name.len())?;
        self.passed_names.remove(name);
        let list = &mut learning.list;
        let name: Arc<str> = name.into();
        let place = list.len();
        self.by_name.insert(Arc::clone(&name), place);
        if let Some(alias) = metric.alias {
            self.by_alias.insert(alias, place);
        }
        let properties = metric.properties.as_ref();
        let number = |key: &str| match properties.and_then(|set| set.get(key)) {
            Some(PropertyContent::Double(number)) => Some(*number),
            Some(PropertyContent::Float(number)) => Some((*number).into()),
            Some(PropertyContent::Int(number)) => Some((*number).into()),
            _ => None,
        };
        list.push(Known {
            name,
            alias: metric.alias,
            datatype,
            unit: text(properties, &["engUnit"]),
            range: number("engLow").zip(number("engHigh")),
            description: text(properties, &["Documentation", "documentation", "Tooltip"]),
            writable: properties.and_then(|set| set.get("readOnly")) != Some(&PropertyContent::Boolean(true)),
        });
        Some(())
    }

    /// Whether the birth told it and it is not taken.
    fn is_passed_over(&self, metric: &Metric, name: Option<&str>) -> bool {
        match (name, metric.alias) {
            (Some(name), _) => name.len() > LONGEST || self.passed_names.contains(name),
            (None, Some(alias)) => {
                self.passed_aliases.contains(&alias)
                    && !self.by_alias.contains_key(&alias)
                    && !self.structures.contains_key(&alias)
            }
            (None, None) => false,
        }
    }

    /// The values of data. Adds to `unknown` how many are of metrics that no birth has told.
    pub(super) fn samples(&self, data: &[Metric], at: Timestamp, unknown: &mut u64) -> Vec<Sample> {
        let mut samples = Vec::with_capacity(data.len());
        for metric in data {
            let name = metric.name.as_deref().filter(|name| !name.is_empty());
            self.sample(metric, name, metric.is_historical == Some(true), at, 0, &mut samples, unknown);
        }
        samples
    }

    #[expect(clippy::too_many_arguments, reason = "what a structure hands down to its members")]
    fn sample(
        &self,
        metric: &Metric,
        name: Option<&str>,
        historical: bool,
        at: Timestamp,
        depth: usize,
        out: &mut Vec<Sample>,
        unknown: &mut u64,
    ) {
        let at = metric.timestamp.and_then(|time| i64::try_from(time).ok()).map_or(at, Timestamp::from_millis);
        if self.is_passed_over(metric, name) {
            return;
        }
        if let Some(MetricValue::Template(template)) = &metric.value {
            let structure = name.or_else(|| self.structures.get(&metric.alias?).map(|name| &**name));
            let Some(structure) = structure.filter(|_| template.is_definition != Some(true) && depth < DEEPEST) else {
                return;
            };
            for member in &template.metrics {
                let Some(own) = member_name(structure, member) else { continue };
                let historical = historical || member.is_historical == Some(true);
                self.sample(member, Some(&own), historical, at, depth + 1, out, unknown);
            }
            return;
        }
        let place = match (name, metric.alias) {
            (Some(name), _) => self.by_name.get(name),
            (None, Some(alias)) => self.by_alias.get(&alias),
            (None, None) => None,
        };
        let known = place.and_then(|place| Some((*place, self.list.get(*place)?)));
        let Some((place, known)) = known else {
            *unknown += 1;
            return;
        };
        let quality = QualityCode::told(metric.properties.as_ref());
        let worth = match &metric.value {
            _ if metric.is_null == Some(true) => Worth::Null(quality),
            None => Worth::Null(quality),
            Some(_) if quality == QualityCode::Bad => Worth::Null(QualityCode::Bad),
            Some(value) => match from_wire(value, known.datatype) {
                Ok(value) => Worth::Value(value, quality),
                Err(error) => Worth::Unreadable(error),
            },
        };
        let reason = match &worth {
            Worth::Value(_, QualityCode::Good) => None,
            _ => reason_told(metric.properties.as_ref()),
        };
        out.push(Sample { metric: place, worth, reason, time: at, historical });
    }
}

impl Learning {
    /// Room for one metric more with a name of so many bytes.
    fn take(&mut self, name: usize) -> Option<()> {
        self.room = self.room.checked_sub(1)?;
        self.bytes = self.bytes.checked_sub(name.min(LONGEST))?;
        Some(())
    }
}

/// The name of a member of a structure; `None` when it has none, or one that is too long.
fn member_name(structure: &str, member: &Metric) -> Option<String> {
    let own = member.name.as_deref().filter(|own| structure.len() + 1 + own.len() <= LONGEST)?;
    Some(format!("{structure}/{own}"))
}

fn text(properties: Option<&PropertySet>, keys: &[&str]) -> Option<Arc<str>> {
    keys.iter().find_map(|key| match properties?.get(key)? {
        PropertyContent::String(text) => Some(text.as_str().into()),
        _ => None,
    })
}

/// Our word for why a value is not good.
fn reason_told(properties: Option<&PropertySet>) -> Option<Reason> {
    match properties?.get(REASON)? {
        PropertyContent::String(word) => Reason::ALL.into_iter().find(|reason| reason.as_str() == word),
        _ => None,
    }
}
