//! Values of the configuration tree, each with the place where it stands.

use std::{fmt, sync::Arc};

use toml::{Spanned, de::DeValue};

use crate::{Origin, Place, Report, Source, Table};

/// Deeper than this nothing of ours is nested; what is deeper is reported and left out.
const MAX_DEPTH: usize = 16;

/// One value of the tree and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where the value stands.
    pub origin: Origin,
    /// The value.
    pub kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A string.
    Text(String),
    /// An integer that fits 64 bits, signed.
    Integer(i64),
    /// A float, and its decimal text as written.
    Float(f64, String),
    /// A boolean.
    Bool(bool),
    /// An array.
    Array(Vec<Node>),
    /// A table.
    Table(Table),
    /// A TOML date or time; no key of ours takes one.
    Date(String),
}

impl Kind {
    /// The word for this kind in messages, with its article.
    pub fn describe(&self) -> &'static str {
        match self {
            Kind::Text(_) => "a string",
            Kind::Integer(_) => "an integer",
            Kind::Float(..) => "a float",
            Kind::Bool(_) => "a boolean",
            Kind::Array(_) => "an array",
            Kind::Table(_) => "a table",
            Kind::Date(_) => "a date",
        }
    }
}

impl Node {
    /// The node of a value that stands behind the key at `key_origin`, `depth` levels below the file.
    pub(crate) fn from_toml(
        source: &Arc<Source>,
        key_origin: &Origin,
        value: Spanned<DeValue<'_>>,
        depth: usize,
        report: &mut Report,
    ) -> Node {
        let span = value.span();
        // After a syntax error the parser makes up a value that stands nowhere.
        let origin = if span.is_empty() { key_origin.clone() } else { Origin::File(Place::new(source, span)) };
        let kind = match value.into_inner() {
            DeValue::String(text) => Kind::Text(text.into_owned()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Kind::Integer(number),
                Err(_) => {
                    let help =
                        "an integer ends at 9223372036854775807; a key that takes a larger one takes it in quotes";
                    report.syntax_error(&origin, "the number does not fit into 64 bits", Some(help.to_owned()));
                    Kind::Integer(0)
                }
            },
            DeValue::Float(number) => {
                let text = number.as_str().to_owned();
                Kind::Float(text.parse().unwrap_or(f64::NAN), text)
            }
            DeValue::Boolean(on) => Kind::Bool(on),
            DeValue::Datetime(date) => Kind::Date(date.to_string()),
            DeValue::Array(_) | DeValue::Table(_) if depth >= MAX_DEPTH => {
                report.syntax_error(&origin, "nested too deeply", None);
                Kind::Array(Vec::new())
            }
            DeValue::Array(items) => Kind::Array(
                items.into_iter().map(|item| Node::from_toml(source, key_origin, item, depth + 1, report)).collect(),
            ),
            DeValue::Table(table) => Kind::Table(Table::from_toml(source, origin.clone(), table, depth + 1, report)),
        };
        Node { origin, kind }
    }
}

/// The value as it would be written in TOML.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Text(text) => write!(f, "{text:?}"),
            Kind::Integer(number) => write!(f, "{number}"),
            Kind::Float(_, text) => f.write_str(text),
            Kind::Bool(on) => write!(f, "{on}"),
            Kind::Date(text) => f.write_str(text),
            Kind::Array(items) => {
                let items: Vec<String> = items.iter().map(Node::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Kind::Table(table) => {
                let items: Vec<String> = table.entries().map(|(key, _, node)| format!("{key} = {node}")).collect();
                write!(f, "{{ {} }}", items.join(", "))
            }
        }
    }
}
