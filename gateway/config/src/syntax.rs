//! Mistakes of the TOML syntax in the words of the rest of the report.

use std::sync::Arc;

use crate::{Origin, Place, Report, Source};

impl Report {
    /// Notes what the parser found.
    pub(crate) fn parser_error(&mut self, source: &Arc<Source>, error: &toml::de::Error) {
        let place = Place::new(source, error.span().unwrap_or(0..0));
        let (message, help) = explain(error.message(), &place);
        self.syntax_error(&Origin::File(place), &message, help);
    }
}

/// The parser's message and what to do about it. What is not often seen keeps the parser's own words.
fn explain(message: &str, place: &Place) -> (String, Option<String>) {
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let (own, help) = match what {
        "string values must be quoted" if place.is_blank() => ("the value is missing", ""),
        "string values must be quoted" => ("a text has to stand in quotes", "put `\"` before and behind it"),
        "key with no value" => ("`=` and a value are missing behind the key", ""),
        "duplicate key" => ("this is already set above", "keep one of the two"),
        "unclosed table" => ("`]` is missing", ""),
        "unclosed array table" => ("`]]` is missing", ""),
        "unclosed array" => ("the array is not closed: `]` is missing", ""),
        "unclosed inline table" => ("the inline table is not closed: `}` is missing", ""),
        "missing comma between array elements" | "missing comma between key-value pairs" => ("`,` is missing", ""),
        "unexpected key or value" => {
            ("something stands behind the value", "each key has a line of its own, and a comment begins with `#`")
        }
        "invalid basic string" if expected == "`\"`" => ("the string is not closed: `\"` is missing", ""),
        "invalid literal string" if expected == "`'`" => ("the string is not closed: `'` is missing", ""),
        "cannot recurse further; max recursion depth met" => ("nested too deeply", ""),
        _ => return (printable(message), None),
    };
    (own.to_owned(), (!help.is_empty()).then(|| help.to_owned()))
}

fn printable(message: &str) -> String {
    message.replace('\n', ", ")
}
