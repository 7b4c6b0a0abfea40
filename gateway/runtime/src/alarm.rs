//! Alarms: what a device warns of, on a topic for each, beside the rows of their group of events.
//!
//! An alarm is retained as long as it is of interest. What was of interest when a session was lost is so until the next session
//! has told everything that still is.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use serde_json::{Value as Json, json};
use tidegate_driver_api::AlarmColumns;
use tidegate_model::{Name, Reading, Timestamp, Value};

use crate::{alarm_feed::AlarmNotice, health::Shared, outputs::Outputs};

/// Alarms of one group that are retained at the same time, at most. More are published, but not retained.
const MOST: usize = 10_000;
/// Characters of an alarm's name in its topic, at most, without what tells it from names that are alike.
const LONGEST_NAME: usize = 100;

/// The alarms of one group of events.
#[derive(Debug)]
pub(crate) struct Alarms {
    columns: AlarmColumns,
    retained: Retained,
    /// Whether the log says that there are too many.
    full: bool,
}

/// The alarms that are retained, by the level of their topic, each with whether this session has told of it.
#[derive(Debug, Clone)]
pub(crate) struct Retained(Arc<Shared<BTreeMap<String, bool>>>);

impl Alarms {
    /// None so far.
    pub(crate) fn new(columns: AlarmColumns) -> Alarms {
        Alarms { columns, retained: Retained(Arc::new(Shared::new(BTreeMap::new()))), full: false }
    }

    /// Where it is known what is retained.
    pub(crate) fn retained(&self) -> Retained {
        self.retained.clone()
    }

    /// Publishes what an event says about an alarm.
    pub(crate) fn note(&mut self, device: &Name, event: &[Reading], time: Timestamp, outputs: &Outputs) {
        let field = |column: Option<usize>| column.and_then(|column| value(event.get(column)?));
        let AlarmColumns { name, active, acked, severity, message, source, condition, retain } = self.columns;
        let Some(Value::Text(name)) = field(Some(name)) else { return };
        let (active, acked) = (switch(field(active)), switch(field(acked)));
        let is_of_interest = switch(field(retain)).unwrap_or(active == Some(true) || acked == Some(false));
        let shown = |column| field(column).map_or(Json::Null, in_json);
        let payload = json!({
            "ts": time.as_millis(), "name": &**name, "active": active, "acked": acked, "severity": shown(severity),
            "message": shown(message), "source": shown(source), "condition": shown(condition),
        });
        let level = level(name);
        let topic = outputs.topics.alarm(device, &level);
        let text = |column| match field(column) {
            Some(Value::Text(text)) => Some(text.to_string()),
            _ => None,
        };
        let notice = AlarmNotice {
            device: device.clone(),
            key: level.clone(),
            name: name.to_string(),
            time: Some(time),
            active,
            acked,
            severity: field(severity).and_then(Value::as_f64).map(whole),
            message: text(message),
            source: text(source),
            condition: text(condition),
            is_of_interest,
        };
        let (stays, was_there) = self.keep(level, is_of_interest);
        outputs.alarms.send(notice, stays);
        outputs.announce(topic.clone(), payload.to_string().into(), stays);
        if was_there && !stays {
            outputs.announce(topic, bytes::Bytes::new(), true);
        }
        if is_of_interest && !stays && !std::mem::replace(&mut self.full, true) {
            tracing::warn!(%device, most = MOST, "more alarms at the same time than can be kept; those beyond are published without being retained");
        }
    }

    /// Notes that an alarm is of interest or not. Whether it is retained, and whether it was.
    fn keep(&self, level: String, is_of_interest: bool) -> (bool, bool) {
        self.retained.0.with(|retained| {
            let was_there = retained.contains_key(&level);
            if !is_of_interest {
                retained.remove(&level);
            } else if was_there || retained.len() < MOST {
                retained.insert(level, true);
                return (true, was_there);
            }
            (false, was_there)
        })
    }

    /// The session is over: nobody knows which alarms still are of interest.
    pub(crate) fn lost(&self) {
        self.retained.0.with(|retained| retained.values_mut().for_each(|told| *told = false));
    }

    /// The session has told everything that is of interest: the other alarms are over.
    pub(crate) fn settled(&self, device: &Name, outputs: &Outputs) {
        let mut over = Vec::new();
        self.retained.0.with(|retained| {
            retained.retain(|level, told| {
                if !*told {
                    over.push(level.clone());
                }
                *told
            });
        });
        clear(device, &over, outputs);
    }
}

impl Retained {
    /// Takes all alarms off the local broker.
    pub(crate) fn forget(&self, device: &Name, outputs: &Outputs) {
        let levels = self.0.with(std::mem::take);
        clear(device, &levels.into_keys().collect::<Vec<_>>(), outputs);
    }
}

fn clear(device: &Name, levels: &[String], outputs: &Outputs) {
    for level in levels {
        outputs.alarms.send(AlarmNotice::over(device, level), false);
        outputs.announce(outputs.topics.alarm(device, level), bytes::Bytes::new(), true);
    }
}

/// A severity as OPC UA counts it.
#[expect(
    clippy::as_conversions,
    reason = "there is no `From`; what is too large or small becomes the largest or smallest"
)]
fn whole(severity: f64) -> u16 {
    severity as u16
}

fn value(reading: &Reading) -> Option<&Value> {
    match reading {
        Reading::Value(value) | Reading::Doubtful(value, _) => Some(value),
        Reading::Missing | Reading::Failed(_) => None,
    }
}

fn switch(value: Option<&Value>) -> Option<bool> {
    match value {
        Some(Value::Bool(on)) => Some(*on),
        Some(number) => number.as_f64().map(|number| number != 0.0),
        None => None,
    }
}

fn in_json(value: &Value) -> Json {
    match value {
        Value::Bool(on) => (*on).into(),
        Value::Int(number) => (*number).into(),
        Value::Uint(number) => (*number).into(),
        Value::F32(number) => f64::from(*number).into(),
        Value::F64(number) => (*number).into(),
        Value::Text(text) => Json::from(&**text),
        Value::Bytes(_) | Value::Array(_) => Json::Null,
    }
}

/// The level of a topic for a name: letters, digits, `_`, `-` and `.` stay. A name that is not the same there gets a number of its
/// own at its end, so that two that look alike stay two.
fn level(name: &str) -> String {
    let fits = |character: char| character.is_alphanumeric() || matches!(character, '_' | '-' | '.');
    let clean = |character| if fits(character) { character } else { '_' };
    let mut level: String = name.chars().take(LONGEST_NAME).map(clean).collect();
    if level.is_empty() || level != name {
        // Writing to a text does not fail.
        let _ = write!(level, "-{:08x}", fingerprint(name));
    }
    level
}

/// FNV-1a, 32 bits: the same in every version of the program, as topics have to be.
fn fingerprint(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_fits_is_its_own_level() {
        for name in ["high_level", "Tank-1.HH", "Füllstand", "温度"] {
            assert_eq!(level(name), name);
        }
    }

    #[test]
    fn a_name_that_would_break_a_topic_is_cleaned_and_stays_apart_from_others() {
        let levels: Vec<String> =
            ["a/b", "a b", "a+b", "a#b", "a\nb", "", "$SYS"].iter().map(|name| level(name)).collect();
        for level in &levels {
            assert!(!level.contains(['/', '+', '#', '$', ' ', '\n']) && !level.is_empty(), "{level}");
        }
        let mut different = levels.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), levels.len(), "{levels:?}");
        assert_eq!(level("a/b"), "a_b-3a8e75c1", "the same in every version");
        let long = "x".repeat(5_000);
        assert!(level(&long).len() < 128);
        assert_ne!(level(&long), level(&(long.clone() + "y")));
    }
}
