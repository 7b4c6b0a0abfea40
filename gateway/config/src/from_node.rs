//! The kinds of values that keys take: numbers, words, names, addresses, paths.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use tidegate_model::{Name, TagName};

use crate::{At, Kind, Node, Origin, Report};

/// A type that a key's value can be read as.
pub trait FromNode: Sized {
    /// Reads the node that stands at `key`. What is wrong with it goes into `report`, and the answer is `None`.
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<Self>;

    /// The value as it would be written in TOML, for `print-config`.
    fn to_toml(&self) -> String;

    /// The node as `print-config` shows it; a type that may hold something secret masks it here.
    fn shown(node: &Node) -> String {
        node.to_string()
    }
}

impl Node {
    /// The text of a variable of the environment, which has nothing but text for numbers and switches too.
    pub(crate) fn variable_text(&self) -> Option<&str> {
        match (&self.kind, &self.origin) {
            (Kind::Text(text), Origin::Environment(_)) => Some(text.trim()),
            _ => None,
        }
    }
}

/// Reports that a key has to be `wanted` but is something else.
pub(crate) fn wrong_kind<T>(node: &Node, key: &str, wanted: &str, report: &mut Report) -> Option<T> {
    let found = node.variable_text().map_or_else(|| node.kind.describe().to_owned(), |text| format!("{text:?}"));
    report.error(&node.origin, format!("`{key}` has to be {wanted}, but is {found}"), None);
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
        match (&node.kind, node.variable_text()) {
            (Kind::Bool(on), _) => Some(*on),
            (_, Some("true")) => Some(true),
            (_, Some("false")) => Some(false),
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
                let number = match &node.kind {
                    Kind::Integer(number) => Some(*number),
                    _ => node.variable_text().and_then(|text| text.parse().ok()),
                };
                let Some(number) = number else {
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
integer!(u64);
integer!(i32);
integer!(i64);

/// A finite float; an integer is taken for one too.
impl FromNode for f64 {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<f64> {
        let number = match &node.kind {
            Kind::Float(number, _) => Some(*number),
            Kind::Integer(number) => tidegate_model::Value::Int(*number).as_f64(),
            _ => node.variable_text().and_then(|text| text.parse().ok()),
        };
        match number {
            Some(number) if number.is_finite() => Some(number),
            Some(_) => {
                report.error(&node.origin, format!("`{key}` has to be a finite number, but is {node}"), None);
                None
            }
            None => wrong_kind(node, key, "a number", report),
        }
    }

    fn to_toml(&self) -> String {
        format!("{self:?}")
    }
}

/// An array; in a variable of the environment its items are separated by commas.
impl<T: FromNode> FromNode for Vec<T> {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<Vec<T>> {
        let split: Vec<Node>;
        let items = match (&node.kind, node.variable_text()) {
            (Kind::Array(items), _) => items,
            (_, Some(text)) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                let node = |item: &str| Node { origin: node.origin.clone(), kind: Kind::Text(item.to_owned()) };
                split = items.map(node).collect();
                &split
            }
            _ => return wrong_kind(node, key, "an array", report),
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

/// Any value, with where it stands; for the items of arrays.
impl<T: FromNode> FromNode for At<T> {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<At<T>> {
        T::from_node(node, key, report).map(|value| At { value, origin: node.origin.clone() })
    }

    fn to_toml(&self) -> String {
        self.value.to_toml()
    }

    fn shown(node: &Node) -> String {
        T::shown(node)
    }
}

/// Reads a string with `parse`; its error becomes the message.
pub(crate) fn parsed<T, E: fmt::Display>(
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
        parsed(node, key, "an IP address and a port (\"127.0.0.1:1883\")", report, address)
    }

    fn to_toml(&self) -> String {
        format!("\"{self}\"")
    }
}

/// A path; a relative one begins at the site file's folder.
impl FromNode for PathBuf {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<PathBuf> {
        let parse = |text: &str| match text {
            "" => Err("it is empty"),
            text if text.contains('\0') => Err("it has a NUL character"),
            text => Ok(PathBuf::from(text)),
        };
        let path = parsed(node, key, "a path", report, parse)?;
        Some(report.path_of(path))
    }

    fn to_toml(&self) -> String {
        format!("{:?}", self.display().to_string())
    }
}

/// An address to listen on, or why the text is none.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!("the port behind {text} is missing"));
    }
    Err(match text.rsplit_once(':') {
        None => format!("{text:?} has no port"),
        Some(("" | "*", port)) => format!("for all addresses of this machine write \"0.0.0.0:{port}\""),
        Some((_, port)) if port.parse::<u16>().is_err() => format!("{port:?} is not a port"),
        Some(("localhost", port)) => format!("for this machine alone write \"127.0.0.1:{port}\""),
        Some((host, _)) => format!("{host:?} is not an IP address"),
    })
}
