//! The keys by which a tag gives up exactness for less to keep: `rounding` and `swinging_door`.

use std::{ops::RangeInclusive, time::Duration};

use super::stages::{Decimal, SILENCES};
use crate::{At, Report, Rounding, SwingingDoor, Table, Tag};

/// How far off a value may be made. Far below and above what anything measures, and exact to calculate with.
const ERRORS: RangeInclusive<f64> = RangeInclusive::new(1e-15, 1e15);
/// The longest time between two values behind a swinging door, unless set.
const SILENCE: Duration = Duration::from_secs(15 * 60);

/// Keys of `[defaults]` that give way to a key of the tag's own.
pub(super) const GIVE_WAY: [(&str, &[&str]); 3] =
    [("rounding", &["swinging_door"]), ("swinging_door", &["rounding", "deadband"]), ("deadband", &["swinging_door"])];

/// `rounding = { error = 0.05 }`.
pub(super) fn rounding(table: &Table, report: &mut Report) -> Option<At<Rounding>> {
    let inner = table.inner("rounding", "rounding", "{ error = 0.05 }", report)?;
    let error = error(&inner, report);
    inner.finish(report);
    Some(At { value: Rounding { error: error? }, origin: inner.origin().clone() })
}

/// `swinging_door = { error = 0.05, max_silence = "15m" }`.
pub(super) fn swinging_door(table: &Table, report: &mut Report) -> Option<At<SwingingDoor>> {
    let example = "{ error = 0.05, max_silence = \"15m\" }";
    let inner = table.inner("swinging_door", "swinging_door", example, report)?;
    let error = error(&inner, report);
    let max_silence = inner.take_within("max_silence", SILENCE, SILENCES, report).value;
    inner.finish(report);
    Some(At { value: SwingingDoor { error: error?, max_silence }, origin: inner.origin().clone() })
}

/// The largest error, as the decimal it was written as.
fn error(table: &Table, report: &mut Report) -> Option<String> {
    let error = table.require::<Decimal>("error", "0.05", report)?;
    let number: f64 = error.value.0.parse().unwrap_or(f64::NAN);
    if ERRORS.contains(&number) {
        return Some(error.value.0);
    }
    let (message, help) = if number <= 0.0 {
        let help = "write how far off a value may be made, in the tag's unit; to keep every bit, remove the key";
        (format!("`error` is a distance above 0 and cannot be {number}"), Some(help.to_owned()))
    } else {
        (format!("`error` has to be between {:e} and {:e}, but is {number:e}", ERRORS.start(), ERRORS.end()), None)
    };
    report.error(&error.origin, message, help);
    None
}

/// Reports what a tag cannot have together. `written`: the tag is never read.
pub(super) fn check(tag: &Tag, written: bool, report: &mut Report) {
    let rounding = tag.rounding.as_ref().map(|at| ("rounding", &at.origin));
    let door = tag.swinging_door.as_ref().map(|at| ("swinging_door", &at.origin));
    if written {
        for (key, origin) in [rounding, door].into_iter().flatten() {
            let message = format!("`{key}` is for what is read, but `{}` is only written", tag.name);
            report.error(origin, message, Some("remove it: a write is sent as it is".to_owned()));
        }
        return;
    }
    let Some((_, door)) = door else { return };
    if rounding.is_some() {
        let help =
            "keep one: `rounding` where the signal is noisy, `swinging_door` where it is smooth and slow".to_owned();
        report.error(door, "`swinging_door` does not go with `rounding`", Some(help));
    }
    if tag.deadband.is_some() {
        let help =
            "keep one: behind a swinging door what is left out lies on a line, with a deadband it stays as it was";
        report.error(door, "`swinging_door` does not go with `deadband`", Some(help.to_owned()));
    }
}
