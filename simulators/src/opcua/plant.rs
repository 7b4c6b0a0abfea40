//! What the server holds: the cells of the profile's tags, what clients have written, and the faults of values.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use opcua::types::{DataValue, StatusCode, Variant};
use tidegate_config::{Access, Profile, Tag, TagSource};
use tidegate_driver_opcua::{Address, Namespace};
use tidegate_model::Value;
use tokio::sync::watch;

use super::{
    cell::Cell,
    kind::{Kind, time},
    place,
    plan::Plan,
};
use crate::{clock::Clock, motion::Moment, noise::mix};

/// A node with a value.
#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) cell: Cell,
    pub(crate) place: Address,
    pub(crate) access: Access,
    pub(crate) unit: Option<String>,
    pub(crate) description: Option<String>,
    /// Name of the group, which is a folder for nodes that say no other place.
    pub(crate) group: String,
}

/// Everything that the server holds.
#[derive(Debug)]
pub(crate) struct Plant {
    pub(crate) points: Vec<Point>,
    pub(crate) clock: Clock,
    pub(crate) faults: watch::Sender<Arc<Plan>>,
    /// What was written, by the index of the point; such a value moves no more.
    held: Mutex<BTreeMap<usize, (Variant, Moment)>>,
}

impl Plant {
    /// The plant of a profile; tags that the simulator cannot serve (methods, events) are left out.
    pub(crate) fn new(profile: &Profile, clock: Clock, all_change: bool, seed: u64, plan: Plan) -> Plant {
        let mut points: Vec<Point> = Vec::new();
        for group in &profile.groups {
            for tag in &group.tags {
                let number = u64::try_from(points.len()).unwrap_or_default();
                let Some(point) = point(tag, group.name.as_str(), all_change, mix(seed, number)) else { continue };
                match points.iter_mut().find(|known| known.place == point.place && is_part(tag)) {
                    // Elements of the same array are one node.
                    Some(known) => known.cell.items = known.cell.items.max(point.cell.items),
                    None => points.push(point),
                }
            }
        }
        Plant { points, clock, faults: watch::Sender::new(Arc::new(plan)), held: Mutex::default() }
    }

    /// The value of a point now.
    pub(crate) fn value(&self, index: usize, moment: Moment) -> DataValue {
        let served = self.clock.exact(self.clock.now());
        let Some(point) = self.points.get(index) else { return status(StatusCode::BadNodeIdUnknown, moment, served) };
        if let Some(code) = self.faults.borrow().status(self.clock.now(), point.cell.name.as_str()) {
            return status(code, moment, served);
        }
        match self.lock().get(&index) {
            Some((value, since)) => DataValue { value: Some(value.clone()), ..stamped(*since, served) },
            None => DataValue { value: Some(point.cell.value(moment)), ..stamped(moment, served) },
        }
    }

    /// Whether the value of a point is another one at each step.
    pub(crate) fn moves(&self, index: usize) -> bool {
        self.points.get(index).is_some_and(|point| point.cell.moves())
    }

    /// Sets a value, as a client that writes or the machine itself.
    pub(crate) fn hold(&self, index: usize, value: Variant) {
        let moment = self.clock.exact(self.clock.now());
        self.lock().insert(index, (value, moment));
    }

    /// The point of a tag.
    pub(crate) fn find(&self, tag: &str) -> Option<usize> {
        self.points.iter().position(|point| point.cell.name.as_str() == tag)
    }

    /// Now, on the clock of the values.
    pub(crate) fn moment(&self) -> Moment {
        self.clock.moment(self.clock.now())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, (Variant, Moment)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value of ours as one of the point's type; `None` when it is no value of it.
pub(crate) fn convert(kind: Kind, value: &Value) -> Option<Variant> {
    match value {
        Value::Text(text) if !kind.is_number() => Some(kind.text(text, Moment { millis: 0, step: 0, unix_millis: 0 })),
        Value::Array(items) => {
            let items: Option<Vec<Variant>> = items.iter().map(|item| convert(kind, item)).collect();
            Some(Variant::from((kind.id(), items?)))
        }
        Value::Bool(on) => Some(kind.number(f64::from(u8::from(*on)))),
        _ => value.as_f64().filter(|_| kind.is_number()).map(|number| kind.number(number)),
    }
}

/// Whether a tag is only a part of its node.
fn is_part(tag: &Tag) -> bool {
    matches!(&tag.source, TagSource::Device(keys) if keys.has("index"))
}

fn point(tag: &Tag, group: &str, all_change: bool, seed: u64) -> Option<Point> {
    let TagSource::Device(keys) = &tag.source else { return None };
    if keys.has("method") || keys.has("field") {
        return None;
    }
    let text = |key: &str| keys.entries().find(|(name, ..)| *name == key).map(|(.., node)| node.kind.clone());
    let word = |key: &str| match text(key) {
        Some(tidegate_config::Kind::Text(word)) => Some(word),
        _ => None,
    };
    let number = |key: &str| match text(key) {
        Some(tidegate_config::Kind::Integer(number)) => u32::try_from(number).ok(),
        _ => None,
    };
    let place = match word("node") {
        Some(node) => place::of_node(&node)?,
        None => place::of_path(&word("path")?)?,
    };
    // What is in the namespace of OPC UA itself, each server has of its own.
    if matches!(&place, Address::Node(node) if node.namespace == Namespace::OPC_UA) {
        return None;
    }
    let kind = word("type").and_then(|word| Kind::of_word(&word)).unwrap_or(Kind::DOUBLE);
    let items = number("count").or_else(|| number("index").map(|index| index.saturating_add(1)));
    Some(Point {
        cell: Cell::new(tag, kind, items, all_change, seed),
        place,
        access: tag.access,
        unit: tag.unit.clone(),
        description: tag.description.clone(),
        group: group.to_owned(),
    })
}

fn stamped(source: Moment, server: Moment) -> DataValue {
    DataValue {
        status: Some(StatusCode::Good),
        source_timestamp: Some(time(source)),
        server_timestamp: Some(time(server)),
        ..DataValue::null()
    }
}

fn status(code: StatusCode, moment: Moment, served: Moment) -> DataValue {
    DataValue { status: Some(code), ..stamped(moment, served) }
}
