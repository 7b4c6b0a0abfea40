//! From the tags of a group to its stages. All mistakes at once.

mod reported;

use std::collections::BTreeMap;

use tidegate_config::{self as config, Access, At, Report, Tag, TagSource};
use tidegate_model::{Column, Scaling, Value, ValueKind, ValueType};

use self::reported::{Reported, compile_limits, loss};
use crate::{
    Stages, constant,
    expression::{Expression, Input, in_order},
    invalid::{Invalid, in_kind},
    range::Range,
    scale::Scale,
    stages::{Calculated, Convert, Guarded, Source, Staged},
    texts::Texts,
    write::{Target, is_writable},
};

/// One tag, as far as it can be compiled without the others.
struct Compiled {
    source: Source,
    target: Option<Target>,
    /// The type of the delivered values.
    value_type: ValueType,
    reported: Reported,
}

impl Stages {
    /// Compiles the stages of one group.
    ///
    /// `raw`: by column, what the driver delivers; `None` for constants and expressions. Every mistake goes into `report` with its
    /// place; the answer is `None` when there is one.
    pub fn compile(group: &config::Group, raw: &[Option<ValueType>], report: &mut Report) -> Option<Stages> {
        let raw = raw.iter().copied().chain(std::iter::repeat(None));
        // Everything is compiled before anything is given up, so that all mistakes come out at once.
        let tags: Vec<Option<Compiled>> =
            group.tags.iter().zip(raw).map(|(tag, raw)| compile_tag(tag, raw, report)).collect();
        let expressions = compile_expressions(&group.tags, &tags, report);
        let device_time = check_device_time(group, &tags, report);
        let tags: Vec<Compiled> = tags.into_iter().collect::<Option<_>>()?;
        let (expressions, ()) = expressions.zip(device_time)?;

        let columns = group.tags.iter().zip(&tags).map(column).collect();
        let (mut sources, mut targets) = (Vec::new(), Vec::new());
        let (mut roundings, mut doors, mut deadbands) = (Vec::new(), Vec::new(), Vec::new());
        for (column, Compiled { source, target, reported, .. }) in tags.into_iter().enumerate() {
            sources.push(source);
            targets.push(target);
            roundings.extend(reported.rounding.map(|rounding| (column, rounding)));
            doors.extend(reported.door.map(|door| (column, door)));
            deadbands.extend(reported.deadband.map(|deadband| (column, deadband)));
        }
        Some(Stages {
            columns,
            sources: sources.into(),
            targets: targets.into(),
            expressions: expressions.into(),
            roundings: roundings.into(),
            doors: doors.into(),
            deadbands: deadbands.into(),
            device_time: group.device_time,
            report: group.report,
            arguments: Box::default(),
        })
    }

    /// The same, when these columns are written with a list of arguments that the driver checks itself.
    pub fn with_arguments(self, columns: &[usize]) -> Stages {
        Stages { arguments: columns.into(), ..self }
    }
}

/// The column of a tag.
fn column((tag, compiled): (&Tag, &Compiled)) -> Column {
    let scaling = tag.scaling.as_ref();
    Column {
        name: tag.name.clone(),
        value_type: compiled.value_type,
        unit: tag.unit.clone(),
        scaling: scaling.map(|at| Scaling { scale: at.value.scale.clone(), offset: at.value.offset.clone() }),
        loss: loss(tag, &compiled.reported),
    }
}

fn compile_tag(tag: &Tag, raw: Option<ValueType>, report: &mut Report) -> Option<Compiled> {
    match &tag.source {
        TagSource::Device(_) => compile_device(tag, raw, report),
        TagSource::Constant(value) => compile_constant(tag, value, report),
        TagSource::Expression(_) => {
            let value_type = ValueType::single(ValueKind::F64);
            let plain = refuse_conversions(tag, "an expression", report);
            refuse_write(tag, "an expression", report).and(plain)?;
            let (_, reported) = compile_limits(tag, value_type, report)?;
            Some(Compiled { source: Source::Expression, target: None, value_type, reported })
        }
    }
}

fn compile_device(tag: &Tag, raw: Option<ValueType>, report: &mut Report) -> Option<Compiled> {
    let Some(raw) = raw else {
        report.error(&tag.origin, format!("the driver does not know how to read `{}`", tag.name), None);
        return None;
    };
    let invalid = compile_invalid(tag, raw, report);
    let (convert, value_type) = compile_convert(tag, raw, report)?;
    let limits = compile_limits(tag, value_type, report);
    let write_limits = check_write_limits(tag, value_type, report);
    let (((range, reported), ()), invalid) = limits.zip(write_limits).zip(invalid)?;
    let limit = |limit: &Option<At<f64>>| limit.as_ref().map(|limit| limit.value);
    let target = is_writable(tag.access).then(|| Target {
        raw,
        convert: convert.clone(),
        invalid: invalid.clone(),
        minimum: limit(&tag.minimum),
        maximum: limit(&tag.maximum),
    });
    if tag.access == Access::Write {
        return Some(Compiled { source: Source::Nothing, target, value_type, reported: Reported::default() });
    }
    let source = match (invalid, convert, range) {
        (Some(invalid), convert, range) => {
            Source::Guarded(Box::new(Guarded { invalid, staged: Staged { convert, range } }))
        }
        (None, Convert::Nothing, None) => Source::Device,
        (None, convert, range) => Source::Staged(Box::new(Staged { convert, range })),
    };
    Some(Compiled { source, target, value_type, reported })
}

fn compile_constant(tag: &Tag, value: &Value, report: &mut Report) -> Option<Compiled> {
    let value_type = constant::value_type(value);
    if value_type.is_none() {
        report.error(&tag.origin, "the items of a constant array have to be of one kind", None);
    }
    let plain = refuse_conversions(tag, "a constant", report);
    refuse_write(tag, "a constant", report).and(plain)?;
    // The range of a constant is of no use, but its deadband keeps it out of most rows.
    let (_, reported) = compile_limits(tag, value_type?, report)?;
    Some(Compiled { source: Source::Constant(value.clone()), target: None, value_type: value_type?, reported })
}

/// Invalid numbers, scale and texts are about the device's number; what is no device's number has no use for them.
fn refuse_conversions(tag: &Tag, what: &str, report: &mut Report) -> Option<()> {
    let scaling = tag.scaling.as_ref().map(|scaling| (&scaling.origin, "`scale` and `offset` are"));
    let texts = tag.texts.as_ref().map(|texts| (&texts.origin, "texts are"));
    let invalid = tag.invalid.first().map(|number| (&number.origin, "`invalid` is"));
    let mut fine = Some(());
    for (origin, subject) in invalid.into_iter().chain(scaling).chain(texts) {
        report.error(origin, format!("{subject} for what is read from the device, but `{}` is {what}", tag.name), None);
        fine = None;
    }
    fine
}

fn refuse_write(tag: &Tag, what: &str, report: &mut Report) -> Option<()> {
    if is_writable(tag.access) {
        report.error(&tag.origin, format!("`{}` is {what} and cannot be written", tag.name), None);
        return None;
    }
    Some(())
}

/// The numbers that are no value, `Some(None)` when there are none.
fn compile_invalid(tag: &Tag, raw: ValueType, report: &mut Report) -> Option<Option<Invalid>> {
    let Some(first) = tag.invalid.first() else { return Some(None) };
    if !raw.kind.is_number() {
        let message = format!("`invalid` is for numbers, but `{}` is {}", tag.name, described(raw));
        let help = "remove it; where [defaults] has it, write `invalid = []` in the tag".to_owned();
        report.error(&first.origin, message, Some(help));
        return None;
    }
    let mut numbers = Vec::with_capacity(tag.invalid.len());
    for At { value, origin } in &tag.invalid {
        let what = described(raw);
        let message = match in_kind(*value, raw.kind) {
            Some(number) if Invalid::is_among(number, &numbers) => {
                format!("{value} and another number of `invalid` are the same for `{}`, which is {what}", tag.name)
            }
            Some(number) => {
                numbers.push(number);
                continue;
            }
            None => format!("{value} is invalid, but `{}` is {what}, which is never {value}", tag.name),
        };
        let help = "where [defaults] has it, give the tag an `invalid` of its own".to_owned();
        report.error(origin, message, Some(help));
    }
    (numbers.len() == tag.invalid.len()).then(|| Some(Invalid::new(numbers)))
}

fn compile_convert(tag: &Tag, raw: ValueType, report: &mut Report) -> Option<(Convert, ValueType)> {
    match (&tag.scaling, &tag.texts) {
        (None, None) => Some((Convert::Nothing, raw)),
        (Some(scaling), None) => compile_scale(tag, scaling, raw, report),
        (_, Some(texts)) if raw.items.is_none() && raw.kind != ValueKind::Text => {
            check_beside_texts(tag, texts, report)?;
            match Texts::new(texts, raw.kind) {
                Ok(texts) => Some((Convert::Texts(texts), ValueType::single(ValueKind::Text))),
                Err(message) => refused(texts, message, report),
            }
        }
        (_, Some(texts)) => refused(
            texts,
            format!("only a single number can have texts, but `{}` is {}", tag.name, described(raw)),
            report,
        ),
    }
}

/// A text has no scale and no limits. The configuration says so at each key; nothing is said twice.
fn check_beside_texts<T>(tag: &Tag, texts: &At<T>, report: &mut Report) -> Option<()> {
    let limits = tag.range.is_some() || tag.minimum.is_some() || tag.maximum.is_some();
    if tag.scaling.is_none() && !limits {
        return Some(());
    }
    if !report.has_errors() {
        refused::<(), T>(texts, format!("`{}` has texts, so it has no scale, range or limits", tag.name), report);
    }
    None
}

fn compile_scale(
    tag: &Tag,
    scaling: &At<config::Scaling>,
    raw: ValueType,
    report: &mut Report,
) -> Option<(Convert, ValueType)> {
    let Some(kind) = Scale::delivered(raw.kind) else {
        let message = format!("`{}` is {} and cannot be scaled", tag.name, described(raw));
        return refused(scaling, message, report);
    };
    match Scale::new(&scaling.scale, &scaling.offset) {
        Ok(scale) if scale.is_identity() => Some((Convert::Nothing, raw)),
        Ok(scale) => Some((Convert::Scale(scale), ValueType { kind, items: raw.items })),
        Err(message) => refused(scaling, message, report),
    }
}

/// What is written is limited only where it is a number.
fn check_write_limits(tag: &Tag, value_type: ValueType, report: &mut Report) -> Option<()> {
    if let Some(limit) = tag.minimum.as_ref().or(tag.maximum.as_ref())
        && !value_type.kind.is_number()
    {
        let message =
            format!("`minimum` and `maximum` are for numbers, but `{}` is {}", tag.name, described(value_type));
        return refused(limit, message, report);
    }
    Some(())
}

/// All expressions, each after those it needs.
fn compile_expressions(tags: &[Tag], compiled: &[Option<Compiled>], report: &mut Report) -> Option<Vec<Calculated>> {
    let columns: Vec<Input> = tags.iter().zip(compiled).map(|(tag, compiled)| input(tag, compiled.as_ref())).collect();
    let mut expressions = BTreeMap::new();
    let mut fine = true;
    for (column, tag) in tags.iter().enumerate() {
        if let TagSource::Expression(text) = &tag.source {
            match Expression::compile(text, &columns, report) {
                Some(expression) => {
                    expressions.insert(column, expression);
                }
                None => fine = false,
            }
        }
    }
    let inputs = expressions.iter().map(|(column, expression)| (*column, expression.inputs())).collect();
    let order = match in_order(&inputs) {
        Ok(order) => order,
        Err(cycles) => {
            for cycle in cycles {
                report_cycle(tags, &cycle, report);
            }
            return None;
        }
    };
    let calculated = |column: usize| {
        let range = tags.get(column)?.range.as_ref().map(|range| Range::new(range.value));
        Some(Calculated { column, expression: expressions.remove(&column)?, range })
    };
    fine.then(|| order.into_iter().filter_map(calculated).collect())
}

/// A tag as expressions see it. One with a mistake of its own is let pass: its mistake is reported already.
fn input<'a>(tag: &'a Tag, compiled: Option<&Compiled>) -> Input<'a> {
    let unfit = compiled.and_then(|compiled| match (&compiled.source, compiled.value_type) {
        (Source::Nothing, _) => Some("is only written, never read"),
        (_, ValueType { items: Some(_), .. }) => Some("is an array"),
        (_, ValueType { kind: ValueKind::Text, .. }) => Some("is text"),
        (_, ValueType { kind: ValueKind::Bytes, .. }) => Some("is bytes"),
        _ => None,
    });
    Input { name: tag.name.as_str(), unfit }
}

fn report_cycle(tags: &[Tag], cycle: &[usize], report: &mut Report) {
    let Some(first) = cycle.first().and_then(|first| tags.get(*first)) else { return };
    let names: Vec<&str> =
        cycle.iter().chain(cycle.first()).filter_map(|tag| tags.get(*tag)).map(|tag| tag.name.as_str()).collect();
    let origin = match &first.source {
        TagSource::Expression(text) => &text.origin,
        TagSource::Device(_) | TagSource::Constant(_) => &first.origin,
    };
    report.error(origin, format!("`{}` is calculated from itself: {}", first.name, names.join(" needs ")), None);
}

/// The column with the device's own time has to be a number.
fn check_device_time(group: &config::Group, tags: &[Option<Compiled>], report: &mut Report) -> Option<()> {
    let Some((column, _)) = group.device_time else { return Some(()) };
    let (tag, compiled) = group.tags.get(column).zip(tags.get(column)?.as_ref())?;
    let value_type = compiled.value_type;
    if value_type.kind.is_number() && value_type.items.is_none() && !matches!(compiled.source, Source::Nothing) {
        return Some(());
    }
    let message =
        format!("the device's time has to be a number that is read, but `{}` is {}", tag.name, described(value_type));
    report.error(&tag.origin, message, None);
    None
}

fn refused<T, A>(at: &At<A>, message: impl Into<String>, report: &mut Report) -> Option<T> {
    report.error(&at.origin, message, None);
    None
}

/// The type for a person, with its article.
pub(crate) fn described(value_type: ValueType) -> String {
    match (value_type.items, value_type.kind) {
        (Some(items), kind) => format!("an array of {items} ({kind})"),
        (None, ValueKind::Text) => "text".to_owned(),
        (None, ValueKind::Bytes) => "bytes".to_owned(),
        (None, kind @ (ValueKind::Int | ValueKind::Uint)) => format!("an {kind}"),
        (None, kind) => format!("a {kind}"),
    }
}
