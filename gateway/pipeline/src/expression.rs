//! Tags that are calculated from other tags of their group.

mod grammar;
mod operations;
mod order;

use exmex::{Express, FlatEx};
use tidegate_config::{At, Origin, Place, Report};
use tidegate_model::{Reason, Slot, Value};

use grammar::Wrong;
use operations::Operations;
pub(crate) use order::in_order;

/// A calculation, and the columns it takes its numbers from.
#[derive(Debug)]
pub(crate) struct Expression {
    calculation: FlatEx<f64, Operations>,
    inputs: Box<[usize]>,
}

/// One column as an expression sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) name: &'a str,
    /// Why it cannot be calculated with ("is text"), if it cannot.
    pub(crate) unfit: Option<&'static str>,
}

impl Expression {
    /// Compiles the expression that stands at `text` over the columns of its group. What is wrong goes into `report`, with the
    /// place inside of the expression where that can be found.
    pub(crate) fn compile(text: &At<String>, columns: &[Input], report: &mut Report) -> Option<Expression> {
        let report_wrong = |wrong: Wrong, report: &mut Report| {
            report.error(&inside(text, &wrong), wrong.message, wrong.help);
        };
        let parsed = match grammar::parse(text) {
            Ok(parsed) => parsed,
            Err(wrong) => {
                report_wrong(wrong, report);
                return None;
            }
        };
        let mut inputs = Vec::with_capacity(parsed.tags.len());
        for (name, at) in parsed.tags {
            match columns.iter().position(|column| column.name == name).map(|index| (index, columns.get(index))) {
                Some((index, Some(Input { unfit: None, .. }))) => inputs.push(index),
                Some((_, Some(Input { unfit: Some(why), .. }))) => {
                    let message = format!("`{name}` {why}, and an expression calculates with numbers");
                    report_wrong(Wrong { at, message, help: None }, report);
                    return None;
                }
                _ => {
                    unknown(text, name, at, columns, report);
                    return None;
                }
            }
        }
        match FlatEx::parse(&parsed.text) {
            Ok(calculation) => Some(Expression { calculation, inputs: inputs.into() }),
            Err(error) => {
                // The grammar lets nothing through that the library does not take; if it does, a person can still reword it.
                report.error(&text.origin, format!("the expression cannot be calculated: {error}"), None);
                None
            }
        }
    }

    /// The columns it takes its numbers from, each once.
    pub(crate) fn inputs(&self) -> &[usize] {
        &self.inputs
    }

    /// The result over the slots of a row, by column: bad when an input is bad, else uncertain when one is, with the first one's reason.
    ///
    /// `numbers` is memory to work in, kept by the caller from call to call.
    pub(crate) fn calculate<'a>(&self, slots: impl Fn(usize) -> Option<&'a Slot>, numbers: &mut Vec<f64>) -> Slot {
        numbers.clear();
        let mut doubt = None;
        for column in &self.inputs {
            let value = match slots(*column) {
                Some(Slot::Good(value)) => value,
                Some(Slot::Uncertain(value, reason)) => {
                    doubt = doubt.or(Some(*reason));
                    value
                }
                Some(Slot::Bad(reason)) => return Slot::Bad(*reason),
                Some(Slot::Unchanged) | None => return Slot::Bad(Reason::NotYetRead),
            };
            match value.as_f64() {
                Some(number) => numbers.push(number),
                None => return Slot::Bad(Reason::InvalidValue),
            }
        }
        let finite = numbers.iter().all(|number| number.is_finite());
        match (self.calculation.eval(numbers), doubt) {
            (Ok(result), _) if finite && !result.is_finite() => Slot::Bad(Reason::NoResult),
            (Ok(result), None) => Slot::Good(Value::F64(result)),
            (Ok(result), Some(reason)) => Slot::Uncertain(Value::F64(result), reason),
            (Err(_), _) => Slot::Bad(Reason::NoResult),
        }
    }
}

fn unknown(text: &At<String>, name: &str, at: std::ops::Range<usize>, columns: &[Input], report: &mut Report) {
    let wrong = Wrong { at, message: String::new(), help: None };
    let origin = inside(text, &wrong);
    // `flow-1` in a group with that tag reads as `flow` minus 1.
    let dashed = columns.iter().find(|column| column.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')));
    if let Some(column) = dashed {
        let help = format!("a tag with '-' in its name stands in braces: {{{}}}", column.name);
        report.error(&origin, format!("unknown tag of this group \"{name}\""), Some(help));
        return;
    }
    let known: Vec<&str> = columns.iter().map(|column| column.name).collect();
    report.unknown_word(&origin, "tag of this group", name, &known);
}

/// The place of what is wrong, when the text in the file is the expression letter by letter; else of the whole expression.
fn inside(text: &At<String>, wrong: &Wrong) -> Origin {
    let Origin::File(place) = &text.origin else { return text.origin.clone() };
    // After no, one or three quotes.
    let start = [0, 1, 3].into_iter().map(|quotes| place.start() + quotes).find(|start| {
        place.source().text().get(*start..).is_some_and(|source| source.starts_with(text.value.as_str()))
    });
    match start {
        Some(start) => Origin::File(Place::new(place.source(), start + wrong.at.start..start + wrong.at.end)),
        None => text.origin.clone(),
    }
}
