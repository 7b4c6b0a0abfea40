//! `[[tag]]` of a profile.

use tidegate_model::{TagName, Value};

use super::{invalid, loss, stages};
use crate::{
    Access, At, Kind, Report, Table, Tag, TagSource,
    words::{list, nearest},
};

/// What a constant can have; every key of `[defaults]` but these passes it by.
const OF_A_CONSTANT: [&str; 5] = ["name", "group", "description", "unit", "value"];
/// What a calculated tag can have.
const OF_AN_EXPRESSION: [&str; 9] =
    ["name", "group", "description", "unit", "expr", "range", "rounding", "swinging_door", "deadband"];
/// What a tag with texts cannot have from `[defaults]`: its delivered value is no number.
const OF_NUMBERS: [&str; 8] =
    ["scale", "offset", "range", "rounding", "swinging_door", "deadband", "minimum", "maximum"];
/// What only a tag that can be written has a use for.
const OF_WRITES: [&str; 2] = ["minimum", "maximum"];
/// What only a tag that is read has a use for.
const OF_READS: [&str; 2] = ["rounding", "swinging_door"];

/// A tag and where it belongs.
pub(super) struct Placed {
    pub(super) tag: Tag,
    /// The name as it was given, if it is one.
    pub(super) name: Option<At<TagName>>,
    /// Index of the group.
    pub(super) group: usize,
}

/// Reads a `[[tag]]`, filled up with the profile's defaults.
pub(super) fn tag(table: Table, defaults: &Table, groups: &[&str], report: &mut Report) -> Placed {
    let mut table = table.named("tag", "");
    let calculated = table.has("expr");
    let constant = table.has("value");
    if calculated && constant {
        let help = "keep `expr` for a calculated tag, or `value` for a constant".to_owned();
        report.error(table.origin_of("expr"), "a tag has either `value` or `expr`, not both", Some(help));
        table.node("value", report);
    }
    fill(&mut table, defaults, report);
    let name = table.require::<TagName>("name", "\"voltage_l1\"", report);
    let group = group(&table, groups, report);
    let description = table.take("description", report).map(|at| at.value);
    let unit = table.take("unit", report).map(|at| at.value);
    let mut tag = Tag {
        name: name.clone().map_or_else(TagName::placeholder, |name| name.value),
        origin: table.origin().clone(),
        description,
        unit,
        source: TagSource::Constant(Value::Bool(false)),
        invalid: Vec::new(),
        scaling: None,
        texts: None,
        range: None,
        rounding: None,
        swinging_door: None,
        deadband: None,
        access: Access::Read,
        minimum: None,
        maximum: None,
    };
    if calculated {
        limits(&mut tag, &table, false, report);
        tag.source = expression(&table, report);
        finish(&table, "a calculated tag", &OF_AN_EXPRESSION, report);
    } else if constant {
        tag.source = TagSource::Constant(value(&table, report));
        finish(&table, "a constant", &OF_A_CONSTANT, report);
    } else {
        device_keys(&mut tag, &table, report);
        tag.source = TagSource::Device(table);
    }
    Placed { tag, name, group }
}

/// Fills the table up with the defaults that this kind of tag has a use for.
fn fill(table: &mut Table, defaults: &Table, report: &mut Report) {
    let own = loss::GIVE_WAY.iter().filter(|(own, _)| table.has(own));
    let mut without: Vec<&str> = own.flat_map(|(_, others)| others.iter().copied()).collect();
    if table.has("expr") {
        table.fill_some_from(defaults, |key| OF_AN_EXPRESSION.contains(&key) && !without.contains(&key));
    } else if table.has("value") {
        table.fill_some_from(defaults, |key| OF_A_CONSTANT.contains(&key));
    } else {
        // Looked at before the choice is checked: whatever else the word is, it is not "read".
        let access = table.peek_text("access").or(defaults.peek_text("access")).unwrap_or("read");
        let useless = [
            (table.has("texts"), OF_NUMBERS.as_slice()),
            (access == "read", OF_WRITES.as_slice()),
            (access == "write", OF_READS.as_slice()),
        ];
        without.extend(useless.into_iter().filter(|(is_so, _)| *is_so).flat_map(|(_, keys)| keys));
        table.fill_some_from(defaults, |key| !without.contains(&key));
    }
    // Whoever is not asked for these here is asked by other tags: they are known.
    for key in OF_NUMBERS.into_iter().chain(["access", "texts", "invalid", "value", "expr"]) {
        report.note_asked("tag", key);
    }
}

fn group(table: &Table, groups: &[&str], report: &mut Report) -> usize {
    let example = format!("\"{}\"", groups.first().unwrap_or(&"fast"));
    let Some(group) = table.require::<String>("group", &example, report) else { return 0 };
    let place = groups.iter().position(|word| *word == group.value);
    if place.is_none() && !groups.is_empty() && !report.is_incomplete() {
        report.unknown_word(&group.origin, "group", &group, groups);
    }
    place.unwrap_or(0)
}

/// The keys of a tag that is read from the device, or written to it, but for those of its driver.
fn device_keys(tag: &mut Tag, table: &Table, report: &mut Report) {
    let words = [("read", Access::Read), ("read_write", Access::ReadWrite), ("write", Access::Write)];
    let access = table.choice("access", &words, report);
    tag.access = access.as_ref().map_or(Access::Read, |access| access.value);
    tag.invalid = invalid::invalid(table, report);
    tag.texts = stages::texts(table, tag.access, report);
    invalid::check_texts(tag, report);
    tag.scaling = stages::scaling(table, report);
    limits(tag, table, tag.access == Access::Write, report);
    tag.minimum = table.take("minimum", report);
    tag.maximum = table.take("maximum", report);
    // A word that is no access was reported; what it should have allowed is not known.
    if access.is_some() || !table.has("access") {
        stages::check_limits(tag, report);
    }
    if tag.texts.is_some() {
        for key in OF_NUMBERS.into_iter().filter(|key| table.has(key)) {
            let help = "remove one of the two: with `texts` the delivered value is a text, not a number".to_owned();
            report.error(table.origin_of(key), format!("`{key}` does not go with `texts`"), Some(help));
        }
    }
}

/// What the delivered value of a tag goes through, whatever it comes from.
fn limits(tag: &mut Tag, table: &Table, written: bool, report: &mut Report) {
    tag.range = stages::range(table, report);
    tag.rounding = loss::rounding(table, report);
    tag.swinging_door = loss::swinging_door(table, report);
    tag.deadband = stages::deadband(table, report);
    loss::check(tag, written, report);
}

fn expression(table: &Table, report: &mut Report) -> TagSource {
    match table.take::<String>("expr", report) {
        Some(expr) if expr.trim().is_empty() => {
            let help = "write a formula over tags of the same group: \"p_l1 + p_l2\"".to_owned();
            report.error(&expr.origin, "`expr` is empty", Some(help));
            TagSource::Constant(Value::Bool(false))
        }
        Some(expr) => TagSource::Expression(expr),
        None => TagSource::Constant(Value::Bool(false)),
    }
}

fn value(table: &Table, report: &mut Report) -> Value {
    let Some(node) = table.node("value", report) else { return Value::Bool(false) };
    match &node.kind {
        Kind::Text(text) => Value::Text(text.as_str().into()),
        Kind::Integer(number) => Value::Int(*number),
        Kind::Float(number, _) => Value::F64(*number),
        Kind::Bool(on) => Value::Bool(*on),
        Kind::Array(_) | Kind::Table(_) | Kind::Date(_) => {
            let message = format!("`value` has to be a number, a string or a boolean, but is {}", node.kind.describe());
            report.error(&node.origin, message, None);
            Value::Bool(false)
        }
    }
}

/// Reports what a tag without a driver has no use for.
fn finish(table: &Table, what: &str, known: &[&str], report: &mut Report) {
    for (key, origin) in table.untaken() {
        if nearest(key, known.iter().copied()).is_some() {
            report.unknown_key(origin, key, known);
        } else {
            let help = format!("{what} has only {}", list(known, '`'));
            report.error(origin, format!("`{key}` has no place in {what}"), Some(help));
        }
    }
}
