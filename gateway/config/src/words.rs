//! Lists of known words in messages, and the nearest one to a word that is unknown.

use crate::{Origin, Report};

/// Longer words are nobody's typing mistake, and comparing them would take long.
const MAX_WORD: usize = 64;
/// More known words than this are not listed one by one.
const MAX_LISTED: usize = 12;

impl Report {
    /// Notes that `word` is none of `known`: "unknown {what} "word"", and the nearest known word, or all of them, as the help.
    pub fn unknown_word(&mut self, origin: &Origin, what: &str, word: &str, known: &[&str]) {
        let help = match nearest(word, known.iter().copied()) {
            Some(near) => Some(format!("did you mean \"{near}\"?")),
            None if known.is_empty() => None,
            None => Some(format!("known {} {}", are(known), list(known, '"'))),
        };
        self.error(origin, format!("unknown {what} \"{}\"", shorten(word)), help);
    }

    /// Notes that `word` names nothing that is built in, where a name that looks like it may be something else entirely: all names that
    /// there are as the help, and the nearest one only when `word` is that one mistyped.
    pub fn not_built_in(&mut self, origin: &Origin, what: &str, word: &str, known: &[&str]) {
        let slip = nearest(word, known.iter().copied()).filter(|near| is_slip(word, near));
        let all = format!("built in {} {}", are(known), list(known, '"'));
        let help = match slip {
            Some(near) => format!("did you mean \"{near}\"? {all}"),
            None => all,
        };
        self.error(origin, format!("unknown {what} \"{}\"", shorten(word)), Some(help));
    }
}

/// Whether somebody who meant `candidate` may have typed `word`.
fn is_slip(word: &str, candidate: &str) -> bool {
    distance(word, candidate) <= (candidate.chars().count() / LETTERS_OF_A_SLIP).max(1)
}

/// The only one of `candidates` that `word` is a part of, or that is a part of `word`: the beginning before any other place.
pub(crate) fn only_part<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let word = folded(word);
    let only = |fits: &dyn Fn(&str, &str) -> bool| {
        let mut found = candidates.iter().copied().filter(|candidate| {
            let candidate = folded(candidate);
            let (short, long) = if candidate.len() < word.len() { (&candidate, &word) } else { (&word, &candidate) };
            short.len() >= SHORTEST_PART && long.len() <= MAX_WORD && fits(long, short)
        });
        found.next().filter(|_| found.next().is_none())
    };
    only(&|long, short| long.starts_with(short)).or_else(|| only(&|long, short| long.contains(short)))
}

/// A word that differs in so few letters from one of the same length has been mistyped. One of five at most, and one at least.
const LETTERS_OF_A_SLIP: usize = 5;
/// A shorter word is part of too many.
const SHORTEST_PART: usize = 3;

/// `is` before one word, `are` before several.
pub(crate) fn are(words: &[&str]) -> &'static str {
    if words.len() == 1 { "is" } else { "are" }
}

/// Words as `a, b and c`, each in this kind of quotes; after a dozen the rest is counted.
pub(crate) fn list(words: &[&str], quote: char) -> String {
    joined(words, quote, "and")
}

/// Words as `a, b or c`, each in double quotes.
pub(crate) fn either(words: &[&str]) -> String {
    joined(words, '"', "or")
}

fn joined(words: &[&str], quote: char, last_by: &str) -> String {
    let quoted: Vec<String> = words.iter().take(MAX_LISTED).map(|word| format!("{quote}{word}{quote}")).collect();
    if words.len() > MAX_LISTED {
        return format!("{} and {} more", quoted.join(", "), words.len() - MAX_LISTED);
    }
    match quoted.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {last_by} {last}", rest.join(", ")),
    }
}

/// The nearest of `candidates` to `word`, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_WORD {
        return None;
    }
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= 2 * MAX_WORD && candidate.len().abs_diff(word.len()) <= MAX_WORD / 2)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed(word, candidate))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Typing mistakes between the two; upper and lower case, `-` and `_` count as the same.
fn distance(word: &str, candidate: &str) -> usize {
    strsim::damerau_levenshtein(&folded(word), &folded(candidate))
}

/// A third of the longer word may be wrong.
fn allowed(word: &str, candidate: &str) -> usize {
    (candidate.chars().count().max(word.chars().count()) / 3).max(1)
}

/// Lower case, with `_` for `-`: how names from the environment are compared.
pub(crate) fn folded(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

/// A word from outside, short enough for a message.
pub(crate) fn shorten(word: &str) -> String {
    match word.char_indices().nth(MAX_WORD) {
        None => word.to_owned(),
        Some((end, _)) => format!("{}…", word.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swapped_letter_a_missing_letter_and_another_case_are_near() {
        let known = ["max_age", "max_size", "commit", "when_full"];
        assert_eq!(nearest("max_aeg", known), Some("max_age"));
        assert_eq!(nearest("comit", known), Some("commit"));
        assert_eq!(nearest("When-Full", known), Some("when_full"));
    }

    #[test]
    fn another_word_is_not_near() {
        assert_eq!(nearest("retention", ["max_age", "max_size", "commit", "when_full"]), None);
        assert_eq!(nearest("ca", ["id"]), None);
    }

    #[test]
    fn a_part_of_one_known_word_alone_means_it() {
        let tls = ["certificate", "client_ca", "client_certificate", "key", "listen"];
        assert_eq!(only_part("cert", &tls), Some("certificate"));
        assert_eq!(only_part("key_file", &tls), Some("key"));
        assert_eq!(only_part("client", &tls), None, "two begin like that");
        assert_eq!(only_part("ca", &tls), None, "too short");
        assert_eq!(only_part("Discovery-Prefix", &["prefix", "status"]), Some("prefix"));
        assert_eq!(only_part("dir", &["direction", "topic"]), Some("direction"));
        assert_eq!(only_part("group", &["group_id", "node_id"]), Some("group_id"));
        assert_eq!(only_part("", &tls), None);
    }

    #[test]
    fn another_driver_is_not_one_that_was_mistyped() {
        let mut report = Report::new();
        for word in ["modbus-rtu", "modbus-tpc", "Modbus_TCP", "profinet"] {
            report.not_built_in(&Origin::Default, "driver", word, &["modbus-tcp", "opcua", "sparkplug"]);
        }
        let all = "built in are \"modbus-tcp\", \"opcua\" and \"sparkplug\"";
        let meant = format!("did you mean \"modbus-tcp\"? {all}");
        let helps: Vec<&str> = report.mistakes().iter().filter_map(|mistake| mistake.help.as_deref()).collect();
        assert_eq!(helps, [all, &meant, &meant, all]);
    }

    #[test]
    fn a_word_without_end_is_near_to_nothing() {
        assert_eq!(nearest(&"x".repeat(1_000_000), ["x"]), None);
    }

    #[test]
    fn lists_read_like_a_sentence() {
        assert_eq!(list(&[], '`'), "none");
        assert_eq!(list(&["a"], '`'), "`a`");
        assert_eq!(list(&["a", "b", "c"], '`'), "`a`, `b` and `c`");
        let many: Vec<&str> = std::iter::repeat_n("x", 15).collect();
        assert!(list(&many, '"').ends_with("\"x\" and 3 more"));
    }
}
