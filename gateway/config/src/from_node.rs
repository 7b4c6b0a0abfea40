//! The kinds of values that keys take: numbers, words, durations, sizes, names, secrets.

use std::{fmt, net::SocketAddr, time::Duration};

use tidegate_model::{Name, TagName};

use crate::{Kind, Node, Report};

/// A type that a key's value can be read as.
pub trait FromNode: Sized {
    /// Reads the node that stands at `key`. What is wrong with it goes into `report`, and the answer is `None`.
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<Self>;

    /// The value as it would be written in TOML, for `print-config`.
    fn to_toml(&self) -> String;
}

/// Reports that a key has to be `wanted` but is something else.
fn wrong_kind<T>(node: &Node, key: &str, wanted: &str, report: &mut Report) -> Option<T> {
    report.error(&node.origin, format!("`{key}` has to be {wanted}, but is {}", node.kind.describe()), None);
    None
}

impl FromNode for String {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<String> {
        match &node.kind {
            Kind::Text(text) => Some(text.clone()),
            _ => wrong_kind(node, key, "a string", report),
        }
    }

    fn to_toml(&self) -> String {
        format!("{self:?}")
    }
}

impl FromNode for bool {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<bool> {
        match &node.kind {
            Kind::Bool(on) => Some(*on),
            _ => wrong_kind(node, key, "`true` or `false`", report),
        }
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

macro_rules! integer {
    ($type:ty) => {
        impl FromNode for $type {
            fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<$type> {
                let Kind::Integer(number) = node.kind else {
                    return wrong_kind(node, key, "an integer", report);
                };
                match <$type>::try_from(number) {
                    Ok(number) => Some(number),
                    Err(_) => {
                        let message =
                            format!("`{key}` has to be between {} and {}, but is {number}", <$type>::MIN, <$type>::MAX);
                        report.error(&node.origin, message, None);
                        None
                    }
                }
            }

            fn to_toml(&self) -> String {
                self.to_string()
            }
        }
    };
}

integer!(u8);
integer!(u16);
integer!(u32);
integer!(i64);

/// A float; an integer is taken for one too.
impl FromNode for f64 {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<f64> {
        match &node.kind {
            Kind::Float(number, _) => Some(*number),
            Kind::Integer(number) => tidegate_model::Value::Int(*number).as_f64(),
            _ => wrong_kind(node, key, "a number", report),
        }
    }

    fn to_toml(&self) -> String {
        format!("{self:?}")
    }
}

impl<T: FromNode> FromNode for Vec<T> {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<Vec<T>> {
        let Kind::Array(items) = &node.kind else {
            return wrong_kind(node, key, "an array", report);
        };
        // Every item is read, so that all mistakes come out at once.
        let read: Vec<Option<T>> = items.iter().map(|item| T::from_node(item, key, report)).collect();
        read.into_iter().collect()
    }

    fn to_toml(&self) -> String {
        let items: Vec<String> = self.iter().map(FromNode::to_toml).collect();
        format!("[{}]", items.join(", "))
    }
}

/// Reads a string with `parse`; its error becomes the message.
fn parsed<T, E: fmt::Display>(
    node: &Node,
    key: &str,
    wanted: &str,
    report: &mut Report,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    let Kind::Text(text) = &node.kind else {
        return wrong_kind(node, key, wanted, report);
    };
    match parse(text) {
        Ok(value) => Some(value),
        Err(error) => {
            report.error(&node.origin, format!("`{key}` has to be {wanted}: {error}"), None);
            None
        }
    }
}

impl FromNode for Name {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<Name> {
        parsed(node, key, "a name", report, str::parse)
    }

    fn to_toml(&self) -> String {
        format!("{:?}", self.as_str())
    }
}

impl FromNode for TagName {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<TagName> {
        parsed(node, key, "a tag name", report, str::parse)
    }

    fn to_toml(&self) -> String {
        format!("{:?}", self.as_str())
    }
}

/// `host:port` with an IP address.
impl FromNode for SocketAddr {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<SocketAddr> {
        parsed(node, key, "an IP address and a port (\"127.0.0.1:1883\")", report, str::parse)
    }

    fn to_toml(&self) -> String {
        format!("\"{self}\"")
    }
}

const DURATION_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// `12`, `1.5` and one of the units; the answer is in the smallest unit.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split).unwrap_or((text, ""));
    let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit.trim()) else {
        return Err(format!("\"{text}\" has no unit of {}", names.join(", ")));
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let too_large = || format!("\"{text}\" is too large");
    let not_a_number = || format!("\"{number}\" is not a number");
    let whole: u64 = whole.parse().map_err(|_| not_a_number())?;
    let mut total = whole.checked_mul(*factor).ok_or_else(too_large)?;
    let mut place = *factor;
    for digit in fraction.chars() {
        let digit = digit.to_digit(10).ok_or_else(not_a_number)?;
        if place % 10 != 0 && digit != 0 {
            // A fraction of a power of two: exact enough in thousandths of the unit.
            total = total.checked_add(u64::from(digit) * place / 10).ok_or_else(too_large)?;
            place /= 10;
            continue;
        }
        place /= 10;
        total = total.checked_add(u64::from(digit) * place).ok_or_else(too_large)?;
    }
    Ok(total)
}

impl FromNode for Duration {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<Duration> {
        let wanted = "a duration with its unit (\"250ms\", \"5m\", \"72h\")";
        parsed(node, key, wanted, report, |text| with_unit(text, &DURATION_UNITS)).map(Duration::from_millis)
    }

    fn to_toml(&self) -> String {
        let millis = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        let (unit, factor) = DURATION_UNITS
            .into_iter()
            .rev()
            .find(|(_, factor)| millis % factor == 0 && millis > 0)
            .unwrap_or(("ms", 1));
        format!("\"{}{unit}\"", millis / factor)
    }
}

/// A number of bytes, written with its unit (`"4GiB"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromNode for ByteSize {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<ByteSize> {
        let wanted = "a size with its unit (\"512MiB\", \"4GiB\")";
        parsed(node, key, wanted, report, |text| with_unit(text, &SIZE_UNITS)).map(ByteSize)
    }

    fn to_toml(&self) -> String {
        let (unit, factor) =
            SIZE_UNITS.into_iter().rev().find(|(_, factor)| self.0 % factor == 0 && self.0 > 0).unwrap_or(("B", 1));
        format!("\"{}{unit}\"", self.0 / factor)
    }
}

/// A password or key, written as `env:NAME` or `file:PATH`; its text is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    reference: String,
    text: String,
}

impl Secret {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// How it is written in the file (`env:SCADA_PASSWORD`).
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// A secret that is not from a file, for tests and the demo.
    pub fn literal(text: impl Into<String>) -> Secret {
        Secret { reference: "literal".to_owned(), text: text.into() }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.reference)
    }
}

impl FromNode for Secret {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<Secret> {
        let Kind::Text(reference) = &node.kind else {
            return wrong_kind(node, key, "\"env:NAME\" or \"file:PATH\"", report);
        };
        let found = if let Some(name) = reference.strip_prefix("env:") {
            std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))
        } else if let Some(path) = reference.strip_prefix("file:") {
            std::fs::read_to_string(path)
                .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
                .map_err(|error| format!("the file {path} cannot be read: {error}"))
        } else {
            let help = "write \"env:NAME\" or \"file:PATH\"".to_owned();
            report.error(&node.origin, format!("`{key}` is a secret and may not stand in the file"), Some(help));
            return None;
        };
        match found {
            Ok(text) => Some(Secret { reference: reference.clone(), text }),
            Err(message) => {
                report.error(&node.origin, format!("`{key}` has no value: {message}"), None);
                None
            }
        }
    }

    fn to_toml(&self) -> String {
        format!("{:?}", self.reference)
    }
}
