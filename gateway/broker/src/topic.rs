//! Topic names and topic filters.
//!
//! Rules of MQTT 5.0 §4.7, which are those of MQTT 3.1.1 §4.7. Names and filters are compared as bytes, level by level,
//! so any UTF-8 text works in them.

/// Longest topic name or filter on the wire.
const LONGEST: usize = 65_535;

/// Whether messages may be published to `topic`.
pub(crate) fn is_topic(topic: &str) -> bool {
    !topic.is_empty() && topic.len() <= LONGEST && !topic.contains(['+', '#', '\0'])
}

/// Whether `filter` is well formed: `#` only as the last level, `+` only as a whole level.
pub(crate) fn is_filter(filter: &str) -> bool {
    if filter.is_empty() || filter.len() > LONGEST || filter.contains('\0') {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let last = levels.peek().is_none();
        match level {
            "+" => {}
            "#" if last => {}
            _ if level.contains(['+', '#']) => return false,
            _ => {}
        }
    }
    true
}

/// Whether a topic has no more levels and bytes than it may have.
pub(crate) fn is_within(topic: &str, levels: usize, bytes: usize) -> bool {
    topic.len() <= bytes && topic.bytes().filter(|byte| *byte == b'/').count() < levels
}

/// Whether a topic is the broker's own, where nobody may publish. Below `$sparkplug` a broker may keep births for hosts
/// (Sparkplug 3.0 §10): this one does not, and nobody is to make them up.
pub(crate) fn is_brokers(topic: &str) -> bool {
    matches!(topic.split('/').next(), Some("$SYS" | "$share" | "$sparkplug"))
}

/// The group and the filter of a shared subscription, `$share/<group>/<filter>` (MQTT 5.0 §4.8.2). `Some(None)` is one
/// that is not well formed.
pub(crate) fn shared(filter: &str) -> Option<Option<(&str, &str)>> {
    let rest = filter.strip_prefix("$share/")?;
    let well_formed =
        |(group, filter): &(&str, &str)| !group.is_empty() && !group.contains(['+', '#']) && is_filter(filter);
    Some(rest.split_once('/').filter(well_formed))
}

/// Whether `filter` selects `topic`. A wildcard at the beginning does not select topics that begin with `$`.
pub(crate) fn matches(filter: &[u8], topic: &[u8]) -> bool {
    if topic.first() == Some(&b'$') && matches!(filter.first(), Some(b'+' | b'#')) {
        return false;
    }
    let mut levels = topic.split(|byte| *byte == b'/');
    for wanted in filter.split(|byte| *byte == b'/') {
        match (wanted, levels.next()) {
            (b"#", _) => return true,
            (b"+", Some(_)) => {}
            (_, Some(level)) if level == wanted => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Whether every topic that `wanted` selects is also selected by `granted`.
pub(crate) fn covers(granted: &str, wanted: &str) -> bool {
    if wanted.starts_with('$') && granted.starts_with(['+', '#']) {
        return false;
    }
    // Every topic has a first level, so these two select the same.
    let granted = if granted == "+/#" { "#" } else { granted };
    let mut levels = wanted.split('/');
    for level in granted.split('/') {
        match (level, levels.next()) {
            ("#", _) => return true,
            (_, Some("#")) => return false,
            ("+", Some(_)) => {}
            (_, Some(other)) if other == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// The part of a filter that every topic it selects begins with.
pub(crate) fn literal_prefix(filter: &str) -> &str {
    match filter.find(['+', '#']) {
        Some(wildcard) => filter.get(..wildcard).unwrap_or_default().trim_end_matches('/'),
        None => filter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_alone_in_their_level_and_the_hash_comes_last() {
        for good in ["a", "/", "a/b", "+", "#", "a/+/c", "+/+", "a/#", "/#", "a//b", "é/ü", " ", "$SYS/#"] {
            assert!(is_filter(good), "{good}");
        }
        for bad in ["", "a+", "+a", "a/b+/c", "#/a", "a/#/b", "a#", "##", "a\0b"] {
            assert!(!is_filter(bad), "{bad}");
        }
        assert!(is_topic("a/b") && is_topic("é/temp") && is_topic("/"));
        assert!(!is_topic("") && !is_topic("a/+") && !is_topic("#") && !is_topic("a\0"));
        assert!(!is_topic(&"x".repeat(65_536)) && !is_filter(&"x".repeat(65_536)));
    }

    #[test]
    fn a_filter_selects_the_topics_that_the_standard_says() {
        let yes = [
            ("a/b", "a/b"),
            ("a/+", "a/b"),
            ("a/+", "a/"),
            ("+/+", "/b"),
            ("#", "a/b/c"),
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("a/+/#", "a/b"),
            ("+", "é"),
            ("é/+", "é/temp"),
            ("$SYS/#", "$SYS/uptime"),
        ];
        for (filter, topic) in yes {
            assert!(matches(filter.as_bytes(), topic.as_bytes()), "{filter} {topic}");
        }
        let no = [
            ("a/b", "a/b/c"),
            ("a/b", "a"),
            ("a/+", "a"),
            ("a/+", "a/b/c"),
            ("+", "a/b"),
            ("a/#", "ab"),
            ("#", "$SYS/uptime"),
            ("+/uptime", "$SYS/uptime"),
            ("A", "a"),
        ];
        for (filter, topic) in no {
            assert!(!matches(filter.as_bytes(), topic.as_bytes()), "{filter} {topic}");
        }
    }

    #[test]
    fn a_granted_filter_covers_what_selects_no_other_topic() {
        let yes = [
            ("#", "#"),
            ("#", "a/+/b"),
            ("a/#", "a/#"),
            ("a/#", "a"),
            ("a/#", "a/+/#"),
            ("a/+", "a/b"),
            ("a/+", "a/+"),
            ("+/set", "x/set"),
            ("a/b", "a/b"),
            ("$SYS/#", "$SYS/+/x"),
        ];
        for (granted, wanted) in yes {
            assert!(covers(granted, wanted), "{granted} {wanted}");
        }
        let no = [
            ("a/#", "#"),
            ("a/#", "+/b"),
            ("a/+", "a/#"),
            ("a/+", "a"),
            ("a/+", "a/b/c"),
            ("a/b", "a/+"),
            ("+", "#"),
            ("a/+/c", "a/#"),
            ("#", "$SYS/#"),
            ("+/x", "$SYS/x"),
        ];
        for (granted, wanted) in no {
            assert!(!covers(granted, wanted), "{granted} {wanted}");
        }
    }

    #[test]
    fn coverage_agrees_with_selection_on_every_short_filter_and_topic() {
        let levels = ["a", "b", "+", "#"];
        let mut filters = Vec::new();
        for one in levels {
            filters.push(one.to_owned());
            for two in levels {
                filters.push(format!("{one}/{two}"));
                filters.extend(levels.iter().map(|three| format!("{one}/{two}/{three}")));
            }
        }
        filters.retain(|filter| is_filter(filter));
        let names = ["a", "b", "c"];
        let mut topics: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        for depth in 1..4 {
            let longer: Vec<String> = topics
                .iter()
                .filter(|topic| topic.split('/').count() == depth)
                .flat_map(|topic| names.iter().map(move |name| format!("{topic}/{name}")))
                .collect();
            topics.extend(longer);
        }
        for granted in &filters {
            for wanted in &filters {
                let contained = topics.iter().all(|topic| {
                    !matches(wanted.as_bytes(), topic.as_bytes()) || matches(granted.as_bytes(), topic.as_bytes())
                });
                assert_eq!(covers(granted, wanted), contained, "{granted} {wanted}");
            }
        }
    }

    #[test]
    fn a_shared_subscription_has_a_group_and_a_filter() {
        assert_eq!(shared("$share/g/a/#"), Some(Some(("g", "a/#"))));
        assert_eq!(shared("$share/é//a"), Some(Some(("é", "/a"))));
        for bad in ["$share/g", "$share/g/", "$share//a", "$share/g+/a", "$share/#/a", "$share/g/a#", "$share/"] {
            assert_eq!(shared(bad), Some(None), "{bad}");
        }
        assert_eq!((shared("share/g/a"), shared("$share")), (None, None));
    }

    #[test]
    fn a_topic_has_as_many_levels_as_there_are_parts() {
        assert!(is_within("a/b", 2, 3) && !is_within("a/b", 1, 3) && !is_within("a/b", 2, 2) && is_within("a", 1, 1));
        assert!(is_brokers("$SYS/broker") && is_brokers("$SYS") && is_brokers("$share/g/a"));
        assert!(!is_brokers("$SYSTEM/x") && !is_brokers("a/$SYS") && !is_brokers("$aws/things/a"));
    }

    #[test]
    fn the_literal_prefix_ends_before_the_first_wildcard() {
        for (filter, prefix) in [("a/b", "a/b"), ("a/#", "a"), ("a/b/+/c", "a/b"), ("#", ""), ("+/a", "")] {
            assert_eq!(literal_prefix(filter), prefix);
        }
    }
}
