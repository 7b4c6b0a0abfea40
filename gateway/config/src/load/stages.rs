//! The keys of a tag that are the pipeline's: scale, texts, range, deadband and limits of writes.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use crate::{
    Access, At, Deadband, FromNode, Kind, Node, Range, Report, Scaling, Table, Tag, Threshold, from_node::wrong_kind,
};

/// How long a tag can keep silent.
pub(super) const SILENCES: std::ops::RangeInclusive<Duration> =
    std::ops::RangeInclusive::new(Duration::from_secs(1), Duration::from_secs(30 * 24 * 3600));

/// A finite number as it was written, so that no digit is lost.
pub(super) struct Decimal(pub(super) String);

impl FromNode for Decimal {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<Decimal> {
        match &node.kind {
            Kind::Float(number, text) if number.is_finite() => Some(Decimal(text.replace(['_', '+'], ""))),
            Kind::Integer(number) => Some(Decimal(number.to_string())),
            Kind::Float(..) => f64::from_node(node, key, report).map(|number| Decimal(number.to_toml())),
            _ => wrong_kind(node, key, "a number", report),
        }
    }

    fn to_toml(&self) -> String {
        self.0.clone()
    }
}

/// `scale` and `offset`.
pub(super) fn scaling(table: &Table, report: &mut Report) -> Option<At<Scaling>> {
    let scale = table.take::<Decimal>("scale", report);
    let offset = table.take::<Decimal>("offset", report);
    if let Some(scale) = &scale
        && scale.0.parse() == Ok(0.0)
    {
        let help = "delivered = raw * scale + offset; leave `scale` out to deliver the number as it is".to_owned();
        report.error(&scale.origin, "`scale` is 0: every value would be the same", Some(help));
        return None;
    }
    let origin = scale.as_ref().or(offset.as_ref())?.origin.clone();
    let text = |at: Option<At<Decimal>>, otherwise: &str| at.map_or(otherwise.to_owned(), |at| at.value.0);
    Some(At { value: Scaling { scale: text(scale, "1"), offset: text(offset, "0") }, origin })
}

/// `texts = { 0 = "off", 1 = "on" }`.
pub(super) fn texts(table: &Table, access: Access, report: &mut Report) -> Option<At<Vec<(i64, String)>>> {
    let inner = table.inner("texts", "texts", "{ 0 = \"off\", 1 = \"on\" }", report)?;
    let mut texts: Vec<(i64, String)> = Vec::new();
    let mut known = HashSet::new();
    let mut numbers: HashMap<String, i64> = HashMap::new();
    for (key, key_origin, node) in inner.entries() {
        let Ok(number) = key.parse::<i64>() else {
            let help = "write the device's number: `texts = { 0 = \"off\", 1 = \"on\" }`".to_owned();
            report.error(key_origin, format!("`{key}` has to be a whole number"), Some(help));
            continue;
        };
        let Kind::Text(text) = &node.kind else {
            let message = format!("the text of {number} has to be a string, but is {}", node.kind.describe());
            report.error(&node.origin, message, None);
            continue;
        };
        // `1` and `01` are two keys and one number.
        if !known.insert(number) {
            report.error(key_origin, format!("{number} has a text already"), Some("keep one of the two".to_owned()));
            continue;
        }
        if let Some(first) = numbers.insert(text.clone(), number)
            && access != Access::Read
        {
            let help = "give each number a text of its own: writing it has to be clear".to_owned();
            report.error(&node.origin, format!("\"{text}\" stands for both {first} and {number}"), Some(help));
        }
        texts.push((number, text.clone()));
    }
    if inner.entries().next().is_none() {
        report.error(
            inner.origin(),
            "`texts` is empty",
            Some("write `texts = { 0 = \"off\", 1 = \"on\" }`".to_owned()),
        );
    }
    Some(At { value: texts, origin: inner.origin().clone() })
}

/// `range = { low = …, high = … }`.
pub(super) fn range(table: &Table, report: &mut Report) -> Option<At<Range>> {
    let inner = table.inner("range", "range", "{ low = 0.0, high = 500.0 }", report)?;
    let low = inner.require::<f64>("low", "0.0", report);
    let high = inner.require::<f64>("high", "500.0", report);
    inner.finish(report);
    let (low, high) = (low?.value, high?.value);
    if low >= high {
        let message = format!("`low` ({low}) has to be less than `high` ({high})");
        report.error(inner.origin(), message, Some("a value outside of the range becomes uncertain".to_owned()));
        return None;
    }
    Some(At { value: Range { low, high }, origin: inner.origin().clone() })
}

/// `deadband = { absolute = … }` or `{ percent = … }`, with `max_silence`.
pub(super) fn deadband(table: &Table, report: &mut Report) -> Option<At<Deadband>> {
    let inner = table.inner("deadband", "deadband", "{ absolute = 0.1, max_silence = \"5m\" }", report)?;
    let absolute = inner.take::<f64>("absolute", report);
    let percent = inner.take::<f64>("percent", report);
    let max_silence = if inner.has("max_silence") {
        Some(inner.take_within("max_silence", Duration::from_secs(300), SILENCES, report).value)
    } else {
        report.note_asked("deadband", "max_silence");
        None
    };
    inner.finish(report);
    if inner.has("absolute") == inner.has("percent") {
        let help = "write `absolute` in the tag's unit, or `percent` of the range's span".to_owned();
        report.error(inner.origin(), "a deadband has either `absolute` or `percent`", Some(help));
        return None;
    }
    let threshold = match (absolute, percent) {
        (Some(absolute), _) => check_absolute(&absolute, report)?,
        (_, Some(percent)) => check_percent(&percent, table, report)?,
        _ => return None,
    };
    Some(At { value: Deadband { threshold, max_silence }, origin: inner.origin().clone() })
}

fn check_absolute(absolute: &At<f64>, report: &mut Report) -> Option<Threshold> {
    if absolute.value < 0.0 {
        report.error(&absolute.origin, format!("`absolute` is a distance and cannot be {}", absolute.value), None);
        return None;
    }
    Some(Threshold::Absolute(absolute.value))
}

fn check_percent(percent: &At<f64>, table: &Table, report: &mut Report) -> Option<Threshold> {
    if !(0.0..=100.0).contains(&percent.value) {
        let message = format!("`percent` has to be between 0 and 100, but is {}", percent.value);
        report.error(&percent.origin, message, None);
        return None;
    }
    if !table.has("range") {
        let help = "add `range = { low = 0.0, high = 500.0 }`, or write `absolute` instead".to_owned();
        report.error(&percent.origin, "a deadband in percent needs a `range`: percent of what?", Some(help));
        return None;
    }
    Some(Threshold::PercentOfSpan(percent.value))
}

/// `minimum` and `maximum`.
pub(super) fn check_limits(tag: &mut Tag, report: &mut Report) {
    for (key, limit) in [("minimum", &tag.minimum), ("maximum", &tag.maximum)] {
        if let (Some(limit), Access::Read) = (limit, tag.access) {
            let help = "add `access = \"read_write\"`; for what is read, `range` says what is plausible".to_owned();
            report.error(&limit.origin, format!("`{key}` limits writes, but the tag cannot be written"), Some(help));
        }
    }
    if let (Some(minimum), Some(maximum)) = (&tag.minimum, &tag.maximum)
        && minimum.value > maximum.value
    {
        let message = format!("`minimum` ({}) is above `maximum` ({})", minimum.value, maximum.value);
        report.error(&minimum.origin, message, None);
    }
}
