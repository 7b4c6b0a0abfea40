//! From a tag to what becomes of its delivered values: range, rounding, swinging door and deadband.

use tidegate_config::{At, Report, Tag};
use tidegate_model::{Loss, ValueKind, ValueType};

use super::{described, refused};
use crate::{deadband::Deadband, range::Range, rounding::Rounding, swinging_door::Door};

/// How exact a tag is delivered, and what of it.
#[derive(Default)]
pub(super) struct Reported {
    pub(super) rounding: Option<Rounding>,
    pub(super) door: Option<Door>,
    pub(super) deadband: Option<Deadband>,
}

/// Range, rounding, swinging door and deadband of a tag with delivered values of this type.
pub(super) fn compile_limits(
    tag: &Tag,
    value_type: ValueType,
    report: &mut Report,
) -> Option<(Option<Range>, Reported)> {
    if let Some(range) = &tag.range
        && !value_type.kind.is_number()
    {
        return refused(
            range,
            format!("a range is for numbers, but `{}` is {}", tag.name, described(value_type)),
            report,
        );
    }
    let losses = compile_losses(tag, value_type, report);
    let span = tag.range.as_ref().map(|range| range.high - range.low);
    let deadband = match tag.deadband.as_ref().map(|deadband| (deadband, Deadband::new(deadband.value, span))) {
        None => None,
        Some((_, Ok(deadband))) => Some(deadband),
        Some((at, Err(message))) => return refused(at, message, report),
    };
    let (rounding, door) = losses?;
    Some((tag.range.as_ref().map(|range| Range::new(range.value)), Reported { rounding, door, deadband }))
}

/// Rounding and swinging door of a tag; an error that is too small for integers rounds nothing.
fn compile_losses(tag: &Tag, value_type: ValueType, report: &mut Report) -> Option<(Option<Rounding>, Option<Door>)> {
    let is_number = value_type.kind.is_number();
    let is_whole = matches!(value_type.kind, ValueKind::Int | ValueKind::Uint);
    let rounding = match &tag.rounding {
        None => None,
        Some(at) if !is_number => return not_for(at, "rounding", "numbers", tag, value_type, report),
        Some(at) => match Rounding::new(&at.error) {
            Ok(rounding) => Some(rounding).filter(|rounding| !is_whole || rounding.moves_integers()),
            Err(message) => return refused(at, message, report),
        },
    };
    let door = match &tag.swinging_door {
        None => None,
        Some(at) if !is_number || value_type.items.is_some() => {
            return not_for(at, "a swinging door", "single numbers", tag, value_type, report);
        }
        Some(at) => match Door::new(at) {
            Ok(door) => Some(door),
            Err(message) => return refused(at, message, report),
        },
    };
    Some((rounding, door))
}

/// A tag of this type has no use for the key.
fn not_for<T, A>(
    at: &At<A>,
    what: &str,
    whom: &str,
    tag: &Tag,
    value_type: ValueType,
    report: &mut Report,
) -> Option<T> {
    let message = format!("{what} is for {whom}, but `{}` is {}", tag.name, described(value_type));
    let help = "remove it; where [defaults] has it, move it from there to the tags that need it".to_owned();
    report.error(&at.origin, message, Some(help));
    None
}

/// What is lost of the tag's values by its own wish.
pub(super) fn loss(tag: &Tag, reported: &Reported) -> Option<Loss> {
    if let (Some(at), Some(_)) = (&tag.rounding, &reported.rounding) {
        return Some(Loss::Rounding { error: at.error.clone() });
    }
    let (at, door) = tag.swinging_door.as_ref().zip(reported.door.as_ref())?;
    let max_silence = u64::try_from(door.max_silence().as_millis()).unwrap_or(u64::MAX);
    Some(Loss::SwingingDoor { error: at.error.clone(), max_silence })
}
