//! Whether the registers of a tag can hold its `invalid` numbers. One that they never hold would let its value pass as good.

use std::ops::RangeInclusive;

use tidegate_driver_api::config::{At, RawNumber, Report, Tag};

use crate::Format;

/// Reports each whole number that the format has no room for. Whatever else can be wrong is found where numbers of all drivers are
/// looked at.
pub(crate) fn check(tag: &Tag, format: Format, report: &mut Report) -> Option<()> {
    let Some(range) = format.integers() else { return Some(()) };
    let mut fine = Some(());
    for At { value, origin } in &tag.invalid {
        let RawNumber::Integer(number) = *value else { continue };
        if range.contains(&number) {
            continue;
        }
        let message = format!("{value} is invalid, but `{}` holds only {} to {}", tag.name, range.start(), range.end());
        let own = "where [defaults] has it, give the tag an `invalid` of its own";
        let help = match with_other_sign(number, &range) {
            Some(other) => format!("its bits are {other} in this type; {own}"),
            None => own.to_owned(),
        };
        report.error(origin, message, Some(help));
        fine = None;
    }
    fine
}

/// What the bits of the number are with a sign, when it was written without one, and the other way round.
fn with_other_sign(number: i128, range: &RangeInclusive<i128>) -> Option<i128> {
    let numbers = range.end() - range.start() + 1;
    // Decimal digits have no sign.
    if numbers.count_ones() != 1 {
        return None;
    }
    if *range.start() < 0 {
        Some(number - numbers).filter(|other| *other < 0 && range.contains(other))
    } else {
        Some(number + numbers).filter(|other| *other >= numbers / 2 && range.contains(other))
    }
}
