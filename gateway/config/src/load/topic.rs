//! Rules for topics and topic filters (MQTT 3.1.1 §4.7).

use crate::{At, Report};

/// A topic is at most this long, in bytes.
const MAX_BYTES: usize = 65_535;
/// What all topics begin with leaves room for the rest of them.
const MAX_ROOT: usize = 256;

/// Why a text cannot be what all topics begin with.
pub(super) fn check_root(root: &At<String>, report: &mut Report) -> bool {
    let why = if root.is_empty() {
        "is empty"
    } else if root.contains(['+', '#']) {
        "has a wildcard"
    } else if root.split('/').any(str::is_empty) {
        "has an empty level"
    } else if root.starts_with('$') {
        "begins with `$`, which belongs to brokers"
    } else if root.chars().any(char::is_control) {
        "has a control character"
    } else if root.len() > MAX_ROOT {
        "is too long"
    } else {
        return true;
    };
    let help = "write one or more levels like \"tidegate\" or \"plant/hall2\"".to_owned();
    report.error(&root.origin, format!("`topic_root` {why}"), Some(help));
    false
}

/// Whether a text is a topic filter; what is wrong with it goes into the report.
pub(super) fn check_filter(filter: &At<String>, key: &str, report: &mut Report) {
    let levels: Vec<&str> = filter.split('/').collect();
    let whole = |c: char| levels.iter().all(|level| !level.contains(c) || level.len() == 1);
    let why = if filter.is_empty() {
        "is empty"
    } else if filter.len() > MAX_BYTES || filter.contains('\0') {
        "is too long or has a NUL character"
    } else if !whole('+') {
        "has a `+` beside other characters; it stands for one whole level"
    } else if !whole('#') {
        "has a `#` beside other characters; it stands for all levels that follow"
    } else if levels.iter().rev().skip(1).any(|level| *level == "#") {
        "has a `#` before its end"
    } else {
        return;
    };
    let help = "filters look like \"tidegate/line3/+/set\" or \"tidegate/#\"".to_owned();
    report.error(&filter.origin, format!("a filter of `{key}` {why}"), Some(help));
}

/// Whether a text can stand before topics; what is wrong with it goes into the report.
pub(super) fn check_prefix(prefix: &At<String>, key: &str, report: &mut Report) {
    let why = if prefix.contains(['+', '#', '\0']) {
        "has a wildcard or a NUL character"
    } else if prefix.starts_with('$') {
        "begins with `$`, which belongs to brokers"
    } else if !prefix.is_empty() && !prefix.ends_with('/') {
        "does not end with `/`"
    } else if prefix.len() > MAX_ROOT {
        "is too long"
    } else {
        return;
    };
    let help = "write whole levels like \"plant/line3/\"".to_owned();
    report.error(&prefix.origin, format!("`{key}` {why}"), Some(help));
}

/// Whether a text is the path of a URL, without a query.
pub(super) fn is_path(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:@".contains(&b);
    text.starts_with('/') && text.len() <= MAX_ROOT && text.bytes().all(fits)
}

/// Whether a text is the origin of a page (RFC 6454 §6.2), or `*`.
pub(super) fn is_origin(text: &str) -> bool {
    let host = |rest: &str| {
        !rest.is_empty() && !rest.contains(['/', '?', '#', '@']) && rest.bytes().all(|b| b.is_ascii_graphic())
    };
    text == "*" || ["https://", "http://"].into_iter().any(|scheme| text.strip_prefix(scheme).is_some_and(host))
}
