//! Ids and names of Sparkplug, which may be any text, as the names that sinks take. Pure, and the same at every start.

use std::str::FromStr;

use tidegate_model::{Name, TagName};

/// The device that metrics of a node itself are under.
const NODE: &str = "_node";
/// Characters of what is cut: room is left for the checksum.
const NAME: usize = 55;
const TAG: usize = 119;
/// Bytes of an id that is kept as it is.
const LONGEST_ID: usize = 256;

/// A group or an edge node.
pub(super) fn name(id: &str) -> Name {
    id.parse().unwrap_or_else(|_| spelled(id, NAME, Name::placeholder))
}

/// A group or an edge node as its account has it: as on the wire, or as [`name`] where that is longer than an index of a database takes.
pub(super) fn of_account(id: &str) -> String {
    match id.len() <= LONGEST_ID {
        true => id.to_owned(),
        false => name(id).to_string(),
    }
}

/// A device; the node itself without an id.
pub(super) fn device(id: Option<&str>) -> Name {
    match id {
        None => name(NODE),
        Some(NODE) => spelled(NODE, NAME, Name::placeholder),
        Some(id) => name(id),
    }
}

/// A metric: its own name where it can be a tag's, `a.b` for `a/b`, and for the rest what can stand in one with a checksum of the
/// name.
pub(super) fn tag(metric: &str) -> TagName {
    let dotted = || (!metric.contains('.')).then(|| metric.replace('/', ".").parse().ok()).flatten();
    metric.parse().ok().or_else(dotted).unwrap_or_else(|| other_tag(metric))
}

/// The name of a metric when another has taken that of [`tag`].
pub(super) fn other_tag(metric: &str) -> TagName {
    spelled(&metric.replace('/', "."), TAG, TagName::placeholder)
}

fn spelled<T: FromStr>(text: &str, longest: usize, otherwise: fn() -> T) -> T {
    let dots = longest == TAG;
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || (dots && c == '.');
    let clean: String = text.chars().take(longest).map(|c| if allowed(c) { c } else { '_' }).collect();
    let whole = format!("{clean}-{:08x}", crc32c::crc32c(text.as_bytes()));
    whole.parse().unwrap_or_else(|_| otherwise())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_be_stay_and_others_keep_apart() {
        assert_eq!(name("line3").as_str(), "line3");
        let (one, other) = (name("Werk Süd"), name("Werk S\u{f6}d"));
        assert!(one.as_str().starts_with("Werk_S_d-") && one != other, "{one} {other}");
        assert_eq!(name("Werk Süd"), one, "the same at every start");
        assert_eq!(name(&"x".repeat(300)).as_str().len(), 64);
        assert_ne!(name(&"x".repeat(300)), name(&"x".repeat(299)));
    }

    #[test]
    fn the_account_of_a_node_has_its_id_or_what_its_streams_have() {
        assert_eq!(of_account("Werk Süd"), "Werk Süd");
        let (long, other) = ("ü".repeat(30_000), "ü".repeat(30_001));
        assert!(of_account(&long).len() <= 64 && of_account(&long) != of_account(&other));
        assert_eq!(name(&of_account(&long)), name(&long));
    }

    #[test]
    fn the_node_itself_is_no_device() {
        assert_eq!(device(None).as_str(), "_node");
        assert_ne!(device(Some("_node")), device(None));
        assert_eq!(device(Some("pump")).as_str(), "pump");
    }

    #[test]
    fn folders_of_metrics_become_dots() {
        assert_eq!(tag("Motor/Speed").as_str(), "Motor.Speed");
        assert_eq!(tag("axis.x").as_str(), "axis.x");
        assert_ne!(tag("a.b/c"), tag("a/b/c"), "dots and folders both");
        assert!(tag("Température").as_str().starts_with("Temp_rature-"));
        assert_ne!(other_tag("Motor/Speed"), tag("Motor/Speed"));
        assert!(tag(&"é/".repeat(500)).as_str().len() <= 128);
    }
}
