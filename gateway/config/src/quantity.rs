//! Durations, sizes and rates, written with their units.

use std::time::Duration;

use crate::{
    FromNode, Kind, Node, Report,
    from_node::{parsed, wrong_kind},
};

/// In nanoseconds.
const DURATION_UNITS: [(&str, u64); 6] = [
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];
/// In bytes.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];
/// More digits behind the point than that change nothing.
const MAX_DIGITS: usize = 12;

/// `12`, `1.5` and one of the units; the answer is in the smallest thing the units count, rounded down.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split).unwrap_or((text, ""));
    let unit = unit.trim();
    if number.is_empty() {
        return Err(format!("{text:?} does not begin with a number"));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
        let what = if unit.is_empty() { "has no unit".to_owned() } else { format!("ends in {unit:?}") };
        return Err(format!("{text:?} {what}; units are {}", names.join(", ")));
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = fraction.get(..fraction.len().min(MAX_DIGITS)).unwrap_or_default();
    let not_a_number = || format!("{number:?} is not a number");
    let too_large = || format!("{text:?} is too large");
    if whole.is_empty() || number.ends_with('.') || fraction.contains('.') {
        return Err(not_a_number());
    }
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let numerator: u128 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| not_a_number())? };
    let denominator = 10_u128.pow(u32::try_from(digits.len()).unwrap_or(0));
    let part = u64::try_from(numerator * u128::from(*factor) / denominator).map_err(|_| too_large())?;
    whole.checked_mul(*factor).and_then(|total| total.checked_add(part)).ok_or_else(too_large)
}

/// The largest unit of which `amount` is a whole number.
fn in_units(amount: u64, units: &[(&str, u64)]) -> String {
    let fits = units.iter().rev().find(|(_, factor)| amount > 0 && amount.is_multiple_of(*factor));
    match fits.or(units.first()) {
        Some((unit, factor)) => format!("\"{}{unit}\"", amount / factor),
        None => amount.to_string(),
    }
}

/// Reports a bare number where a unit is needed, with what was probably meant.
fn bare_number<T>(node: &Node, key: &str, wanted: &str, units: [&str; 2], report: &mut Report) -> Option<T> {
    let message = format!("`{key}` has to be {wanted}, but is {}", node.kind.describe());
    let [one, other] = units.map(|unit| format!("\"{node}{unit}\""));
    report.error(&node.origin, message, Some(format!("add the unit: {one}, {other} or another")));
    None
}

/// Reads a duration with its unit (`"250ms"`, `"5m"`, `"72h"`), as the files and commands write it.
///
/// # Errors
///
/// A sentence that says what is wrong with it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    with_unit(text, &DURATION_UNITS).map(Duration::from_nanos)
}

impl FromNode for Duration {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<Duration> {
        let wanted = "a duration with its unit (\"250ms\", \"5m\", \"72h\")";
        match &node.kind {
            Kind::Integer(_) | Kind::Float(..) => bare_number(node, key, wanted, ["ms", "s"], report),
            Kind::Text(_) => {
                let read = |text: &str| with_unit(text, &DURATION_UNITS);
                parsed(node, key, wanted, report, read).map(Duration::from_nanos)
            }
            _ => wrong_kind(node, key, wanted, report),
        }
    }

    fn to_toml(&self) -> String {
        match u64::try_from(self.as_nanos()).unwrap_or(u64::MAX) {
            // No unit is the largest of nothing.
            0 => "\"0s\"".to_owned(),
            nanos => in_units(nanos, &DURATION_UNITS),
        }
    }
}

/// A number of bytes, written with its unit (`"4GiB"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromNode for ByteSize {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<ByteSize> {
        let wanted = "a size with its unit (\"512MiB\", \"4GiB\")";
        match &node.kind {
            Kind::Integer(_) | Kind::Float(..) => bare_number(node, key, wanted, ["B", "MiB"], report),
            _ => parsed(node, key, wanted, report, |text| with_unit(text, &SIZE_UNITS)).map(ByteSize),
        }
    }

    fn to_toml(&self) -> String {
        in_units(self.0, &SIZE_UNITS)
    }
}

/// A number of bytes a second, written with its unit (`"200KiB/s"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteRate(pub u64);

impl FromNode for ByteRate {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<ByteRate> {
        let wanted = "a rate with its unit (\"200KiB/s\", \"1MB/s\")";
        match &node.kind {
            Kind::Integer(_) | Kind::Float(..) => bare_number(node, key, wanted, ["B/s", "KiB/s"], report),
            _ => parsed(node, key, wanted, report, rate).map(ByteRate),
        }
    }

    fn to_toml(&self) -> String {
        let size = in_units(self.0, &SIZE_UNITS);
        format!("\"{}/s\"", size.trim_matches('"'))
    }
}

/// A size, a slash and `s`.
fn rate(text: &str) -> Result<u64, String> {
    let Some(size) = text.strip_suffix("/s") else {
        return Err(format!("{text:?} does not end in \"/s\""));
    };
    with_unit(size.trim_end(), &SIZE_UNITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(text: &str) -> Result<u64, String> {
        with_unit(text, &DURATION_UNITS).map(|nanos| nanos / 1_000_000)
    }

    fn bytes(text: &str) -> Result<u64, String> {
        with_unit(text, &SIZE_UNITS)
    }

    #[test]
    fn every_unit_is_understood() {
        assert_eq!(with_unit("5us", &DURATION_UNITS), Ok(5_000));
        assert_eq!(
            ["250ms", "2s", "5m", "72h", "3d"].map(|text| millis(text).unwrap()),
            [250, 2_000, 300_000, 259_200_000, 259_200_000]
        );
        assert_eq!(
            ["7B", "1kB", "2MB", "1GB", "1TB"].map(|text| bytes(text).unwrap()),
            [7, 1_000, 2_000_000, 1_000_000_000, 1_000_000_000_000]
        );
        assert_eq!(
            ["1KiB", "1MiB", "4GiB", "1TiB"].map(|text| bytes(text).unwrap()),
            [1 << 10, 1 << 20, 4 << 30, 1 << 40]
        );
    }

    #[test]
    fn fractions_are_exact() {
        assert_eq!(millis("0.5s"), Ok(500));
        assert_eq!(with_unit("1.75ms", &DURATION_UNITS), Ok(1_750_000));
        assert_eq!(bytes("1.5GiB"), Ok(3 << 29));
        assert_eq!(bytes("0.1KiB"), Ok(102));
        assert_eq!(with_unit("0.0000000000000000000001d", &DURATION_UNITS), Ok(0));
    }

    #[test]
    fn a_space_before_the_unit_is_allowed() {
        assert_eq!(millis("250 ms"), Ok(250));
    }

    #[test]
    fn what_does_not_fit_is_too_large() {
        for text in ["99999999999d", "18446744073709551616s", "1000000000000000000h"] {
            assert!(millis(text).unwrap_err().ends_with("is too large"), "{text}");
        }
        assert!(bytes("17000000TiB").unwrap_err().ends_with("is too large"));
    }

    #[test]
    fn what_is_no_number_with_a_unit_is_refused() {
        for text in ["", "s", "-1s", "1", "1 parsec", "1..5s", "1.s", ".5s", "1.5.2s", "1h30m", "١s", "1S"] {
            assert!(millis(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_is_a_size_a_second() {
        assert_eq!(rate("200KiB/s"), Ok(200 << 10));
        assert_eq!(rate("1.5 MB /s"), Ok(1_500_000));
        for text in ["200KiB", "200KiB/m", "/s", "200/s", "fast/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_are_shown_in_their_largest_whole_unit() {
        assert_eq!(Duration::from_millis(60_000).to_toml(), "\"1m\"");
        assert_eq!(Duration::from_millis(1_500).to_toml(), "\"1500ms\"");
        assert_eq!(Duration::ZERO.to_toml(), "\"0s\"");
        assert_eq!(ByteSize(4 << 30).to_toml(), "\"4GiB\"");
        assert_eq!(ByteSize(1_000_000).to_toml(), "\"1MB\"");
        assert_eq!(ByteRate(200 << 10).to_toml(), "\"200KiB/s\"");
    }
}
