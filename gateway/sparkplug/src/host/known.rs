//! The metrics that a birth has told of.

use std::{collections::HashMap, sync::Arc};

use tidegate_model::Timestamp;

use super::{Sample, Worth};
use crate::{
    DataType, QualityCode, from_wire,
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
}

/// Structures within structures are taken apart that deeply.
const DEEPEST: usize = 6;

impl Metrics {
    /// The metrics of a birth.
    pub(super) fn of(birth: &[Metric]) -> Metrics {
        let mut metrics = Metrics::default();
        let mut list = Vec::with_capacity(birth.len());
        for metric in birth {
            let Some(name) = metric.name.as_deref().filter(|name| !name.is_empty()) else { continue };
            metrics.learn(metric, name, 0, &mut list);
        }
        metrics.list = list.into();
        metrics
    }

    fn learn(&mut self, metric: &Metric, name: &str, depth: usize, list: &mut Vec<Known>) {
        let Some(datatype) = metric.datatype.and_then(DataType::from_code) else { return };
        if let Some(MetricValue::Template(template)) = &metric.value {
            // Definitions say how instances are; the instances say it again.
            if template.is_definition == Some(true) || depth >= DEEPEST {
                return;
            }
            if let Some(alias) = metric.alias {
                self.structures.insert(alias, name.into());
            }
            for member in &template.metrics {
                let Some(own) = &member.name else { continue };
                self.learn(member, &format!("{name}/{own}"), depth + 1, list);
            }
            return;
        }
        if datatype.kind().is_none() {
            return;
        }
        let name: Arc<str> = name.into();
        if self.by_name.contains_key(&name) {
            return;
        }
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
        if let Some(MetricValue::Template(template)) = &metric.value {
            let structure = name.or_else(|| self.structures.get(&metric.alias?).map(|name| &**name));
            let Some(structure) = structure.filter(|_| template.is_definition != Some(true) && depth < DEEPEST) else {
                return;
            };
            for member in &template.metrics {
                let Some(own) = &member.name else { continue };
                let historical = historical || member.is_historical == Some(true);
                self.sample(member, Some(&format!("{structure}/{own}")), historical, at, depth + 1, out, unknown);
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
        out.push(Sample { metric: place, worth, time: at, historical });
    }
}

fn text(properties: Option<&PropertySet>, keys: &[&str]) -> Option<Arc<str>> {
    keys.iter().find_map(|key| match properties?.get(key)? {
        PropertyContent::String(text) => Some(text.as_str().into()),
        _ => None,
    })
}
