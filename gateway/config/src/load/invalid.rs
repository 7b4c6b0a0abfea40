//! `invalid`: the numbers by which a device says that it has no value.

use crate::{At, Kind, Node, RawNumber, Report, Table, Tag, words::shorten};

/// More such numbers no tag has.
const MOST: usize = 16;

/// Takes `invalid`: a number or an array of numbers. An empty array undoes a default.
pub(super) fn invalid(table: &Table, report: &mut Report) -> Vec<At<RawNumber>> {
    let Some(node) = table.node("invalid", report) else { return Vec::new() };
    let items = match &node.kind {
        Kind::Array(items) => items.as_slice(),
        Kind::Table(_) | Kind::Bool(_) | Kind::Date(_) => {
            let message =
                format!("`invalid` has to be a number or an array of numbers, but is {}", node.kind.describe());
            report.error(&node.origin, message, None);
            return Vec::new();
        }
        Kind::Integer(_) | Kind::Float(..) | Kind::Text(_) => std::slice::from_ref(node),
    };
    if items.len() > MOST {
        let message = format!("`invalid` has {} numbers, but {MOST} are the most", items.len());
        report.error(&node.origin, message, Some("for a whole stretch of numbers write a `range`".to_owned()));
        return Vec::new();
    }
    let mut numbers: Vec<At<RawNumber>> = Vec::with_capacity(items.len());
    for item in items {
        let Some(value) = number(item, report) else { continue };
        if numbers.iter().any(|known| is_same(known.value, value)) {
            let help = "remove one of the two".to_owned();
            report.error(&item.origin, format!("{value} stands in `invalid` twice"), Some(help));
            continue;
        }
        numbers.push(At { value, origin: item.origin.clone() });
    }
    numbers
}

/// Reports the numbers that also have a text: nobody would ever see it.
pub(super) fn check_texts(tag: &Tag, report: &mut Report) {
    for number in &tag.invalid {
        let texts = tag.texts.iter().flat_map(|texts| &texts.value);
        for (_, text) in texts.filter(|(known, _)| number.value == RawNumber::Integer(i128::from(*known))) {
            let message =
                format!("{} is invalid, but `{}` has the text \"{}\" for it", number.value, tag.name, shorten(text));
            let help = "keep one of the two: an invalid number is bad, and its text would never be seen; `invalid = []` in the \
                        tag undoes a default";
            report.error(&number.origin, message, Some(help.to_owned()));
        }
    }
}

fn number(node: &Node, report: &mut Report) -> Option<RawNumber> {
    match &node.kind {
        Kind::Integer(number) => Some(RawNumber::Integer(i128::from(*number))),
        Kind::Float(number, _) => Some(RawNumber::Float(*number)),
        Kind::Text(text) => match text.as_str() {
            "NaN" => Some(RawNumber::Float(f64::NAN)),
            "Infinity" => Some(RawNumber::Float(f64::INFINITY)),
            "-Infinity" => Some(RawNumber::Float(f64::NEG_INFINITY)),
            text => large(text, node, report),
        },
        Kind::Array(_) | Kind::Table(_) | Kind::Bool(_) | Kind::Date(_) => {
            report.error(&node.origin, format!("`invalid` has numbers, but this is {}", node.kind.describe()), None);
            None
        }
    }
}

/// TOML's integers end where signed 64-bit ones end: what is larger stands in a string.
fn large(text: &str, node: &Node, report: &mut Report) -> Option<RawNumber> {
    let whole = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    match whole {
        Some(whole) if i64::try_from(whole).is_err() => return Some(RawNumber::Integer(i128::from(whole))),
        Some(_) => {
            let message = format!("\"{}\" is a string", shorten(text));
            report.error(&node.origin, message, Some(format!("write {} without quotes", shorten(text))));
        }
        None => {
            let message = format!("`invalid` cannot be \"{}\"", shorten(text));
            let help = "write the device's own number, or \"NaN\", \"Infinity\" or \"-Infinity\" for a float";
            report.error(&node.origin, message, Some(help.to_owned()));
        }
    }
    None
}

fn is_same(one: RawNumber, other: RawNumber) -> bool {
    match (one, other) {
        (RawNumber::Float(one), RawNumber::Float(other)) if one.is_nan() => other.is_nan(),
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Profile, Source, parse_profile};

    /// The numbers of the first tag, as text, in a profile with these defaults and this tag.
    fn numbers(defaults: &str, tag: &str) -> Vec<String> {
        let text = format!(
            "profile = {{ manufacturer = \"M\", model = \"X\", driver = \"modbus\" }}\n[defaults]\n{defaults}\n\
             [[group]]\nname = \"fast\"\ninterval = \"1s\"\n[[tag]]\nname = \"a\"\ngroup = \"fast\"\n{tag}\n"
        );
        let mut report = Report::new();
        let profile: &Profile = &parse_profile(&Source::new("meter", text), &mut report);
        assert!(!report.has_errors(), "{}", report.render());
        profile.groups[0].tags[0].invalid.iter().map(|number| number.value.to_string()).collect()
    }

    #[test]
    fn a_number_stands_alone_or_in_an_array() {
        assert_eq!(numbers("", "invalid = -32768"), ["-32768"]);
        assert_eq!(numbers("", "invalid = [0x7FFF, 0xFFFF]"), ["32767", "65535"]);
        assert_eq!(numbers("", "invalid = -9_999.5"), ["-9999.5"]);
    }

    #[test]
    fn floats_that_are_no_number_stand_as_toml_or_as_payloads_have_them() {
        let expected = ["NaN", "Infinity", "-Infinity"];
        assert_eq!(numbers("", "invalid = [\"NaN\", \"Infinity\", \"-Infinity\"]"), expected);
        assert_eq!(numbers("", "invalid = [nan, inf, -inf]"), expected);
    }

    #[test]
    fn an_unsigned_number_beyond_tomls_integers_stands_in_quotes() {
        assert_eq!(numbers("", "invalid = \"18446744073709551615\""), ["18446744073709551615"]);
        assert_eq!(numbers("", "invalid = [\"0xFFFFFFFFFFFFFFFF\", 0]"), ["18446744073709551615", "0"]);
    }

    #[test]
    fn a_tag_replaces_or_undoes_the_default() {
        assert_eq!(numbers("invalid = 0xFFFF", ""), ["65535"]);
        assert_eq!(numbers("invalid = 0xFFFF", "invalid = [1, 2]"), ["1", "2"]);
        assert_eq!(numbers("invalid = 0xFFFF", "invalid = []"), [""; 0]);
    }

    #[test]
    fn constants_and_calculated_tags_pass_the_default_by() {
        assert_eq!(numbers("invalid = 0xFFFF", "value = 1"), [""; 0]);
        assert_eq!(numbers("invalid = 0xFFFF", "expr = \"1\""), [""; 0]);
    }
}
