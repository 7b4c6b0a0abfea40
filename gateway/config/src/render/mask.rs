//! What is never printed: finds passwords in the text of a file, also where its syntax is wrong, so that a forgotten quote or
//! a key in the wrong place does not print one.

use std::ops::Range;

/// What stands in place of a secret.
pub(super) const MASK: &str = "***";

/// A key with one of these in it holds a secret.
const WORDS: [&str; 8] = ["pass", "pasw", "pwd", "secret", "token", "credential", "apikey", "api_key"];

/// The stretches of a line that are never printed. `above` is the last line before it that is not blank: a value may have
/// slipped to the line after its key.
pub(super) fn secrets(above: &str, line: &str) -> Vec<Range<usize>> {
    let mut found = logins(line);
    if keys(above).last().is_some_and(|key| key.is_open(above)) && !is_a_line_of_its_own(line) {
        found.push(trimmed(line, 0..line.len()));
    }
    found.extend(keys(line).filter_map(|key| key.secret(line)));
    found
}

/// The text without what stands before the `@` of an address (`mqtt://***@broker`).
pub(crate) fn without_logins(text: &str) -> String {
    if !text.contains('@') {
        return text.to_owned();
    }
    let spans = logins(text);
    let mut shown = String::with_capacity(text.len());
    let mut masked = false;
    for (at, c) in text.char_indices() {
        let hide = spans.iter().any(|span| span.contains(&at));
        if !hide {
            shown.push(c);
        } else if !masked {
            shown.push_str(MASK);
        }
        masked = hide;
    }
    shown
}

/// What stands before the `@` of each address: a user name and a password.
fn logins(text: &str) -> Vec<Range<usize>> {
    let login = |(at, _): (usize, &str)| {
        let before = text.get(..at)?;
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`');
        let start = before.rfind(ends).map_or(0, |end| end + before.get(end..).map_or(1, first_length));
        let address = before.get(start..)?;
        let scheme = address.find("://").map_or(0, |scheme| scheme + 3);
        let login = address.get(scheme..)?;
        let is_login = !login.is_empty() && (scheme > 0 || login.contains(':'));
        is_login.then_some(start + scheme..at)
    };
    text.match_indices('@').filter_map(login).collect()
}

/// Bytes of the first character.
fn first_length(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// A key that looks like that of a secret.
struct Key {
    /// Where what stands behind the key begins.
    end: usize,
    /// Whether something (`=`, or `:` by mistake) stands between the key and its value.
    has_separator: bool,
}

/// The keys of a line that look like those of secrets.
fn keys(line: &str) -> impl Iterator<Item = Key> {
    let lower = line.to_ascii_lowercase();
    let mut next = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = lower.get(next..)?;
            let word = WORDS.iter().filter_map(|word| rest.find(word)).min()? + next;
            let of_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '"' | '\'');
            let end = lower.get(word..)?.find(|c| !of_key(c)).map_or(lower.len(), |length| word + length);
            next = end.max(word + 1);
            let before = lower.get(..word)?.trim_end_matches(of_key).trim_end();
            let behind = lower.get(end..)?;
            let value = behind.trim_start();
            let has_separator = value.starts_with(['=', ':']);
            let begins = before.is_empty() || before.ends_with(['{', ',']);
            if has_separator || begins {
                let spaces = behind.len() - value.len();
                return Some(Key { end: end + spaces + usize::from(has_separator), has_separator });
            }
        }
    })
}

impl Key {
    /// The value behind the key, unless there is none or it is a reference.
    fn secret(&self, line: &str) -> Option<Range<usize>> {
        let value = trimmed(line, self.end..line.len());
        let text = line.get(value.clone())?;
        let reference = text.trim_start_matches(['"', '\'']);
        let harmless = text.is_empty()
            || text.starts_with(['#', ',', '}', ']'])
            || ["env:", "file:"].iter().any(|begins| reference.starts_with(begins));
        (!harmless).then(|| value.start..value.start + length_of_value(text))
    }

    /// Whether the value is missing in the line.
    fn is_open(&self, line: &str) -> bool {
        let value = line.get(self.end..).unwrap_or_default().trim_start();
        self.has_separator && (value.is_empty() || value.starts_with('#'))
    }
}

/// Whether a line has a key and a value, or the header of a table.
fn is_a_line_of_its_own(line: &str) -> bool {
    let line = line.trim();
    let begins = line.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    line.starts_with(['[', '#'])
        || (begins && line.split_once('=').is_some_and(|(_, value)| !value.trim_matches('=').is_empty()))
}

/// The stretch without white space at its ends.
fn trimmed(line: &str, span: Range<usize>) -> Range<usize> {
    let text = line.get(span.clone()).unwrap_or_default();
    let start = span.start + (text.len() - text.trim_start().len());
    start..start + text.trim().len()
}

/// Bytes of the value at the beginning of `text`: a quoted string when something follows that may follow a value, else all.
fn length_of_value(text: &str) -> usize {
    let Some(quote @ ('"' | '\'')) = text.chars().next() else { return text.len() };
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            let rest = text.get(at + 1..).unwrap_or_default().trim_start();
            let ends = rest.is_empty() || rest.starts_with([',', '}', ']', '#']);
            return if ends { at + 1 } else { text.len() };
        }
        escaped = c == '\\' && !escaped && quote == '"';
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line with what is masked in it.
    fn masked(line: &str) -> String {
        masked_below("", line)
    }

    fn masked_below(above: &str, line: &str) -> String {
        let spans = secrets(above, line);
        let mut shown = String::new();
        for (at, c) in line.char_indices() {
            match spans.iter().find(|span| span.contains(&at)) {
                Some(span) if span.start == at => shown.push_str(MASK),
                Some(_) => {}
                None => shown.push(c),
            }
        }
        shown
    }

    #[test]
    fn a_value_behind_a_key_of_a_secret_is_masked() {
        assert_eq!(masked("password = \"hunter2\" # why"), "password = *** # why");
        assert_eq!(masked("{ Password='a', b = 1 }"), "{ Password=***, b = 1 }");
        assert_eq!(masked("pasword = hunter2 hunter3"), "pasword = ***");
        assert_eq!(masked(r#"token = "a\"b", c = 1"#), "token = ***, c = 1");
        assert_eq!(masked("pwd = \"hunter2\""), "pwd = ***");
        assert_eq!(masked("\"password\" = \"hunter2\""), "\"password\" = ***");
        assert_eq!(masked("broker.user.password=\"hunter2\""), "broker.user.password=***");
    }

    #[test]
    fn every_secret_of_a_line_is_masked() {
        let line = "[{ password = \"env:X\" }, { name = \"b\", password = \"hunter2\" }, { pass = \"x\" }]";
        let shown = "[{ password = \"env:X\" }, { name = \"b\", password = *** }, { pass = *** }]";
        assert_eq!(masked(line), shown);
    }

    #[test]
    fn a_secret_without_an_equals_sign_is_masked() {
        assert_eq!(masked("password \"hunter2\""), "password ***");
        assert_eq!(masked("password: hunter2"), "password: ***");
    }

    #[test]
    fn a_secret_with_a_quote_too_many_is_masked_to_the_end() {
        assert_eq!(masked("password = \"hun\"ter2\""), "password = ***");
        assert_eq!(masked("password = \"hunter2"), "password = ***");
    }

    #[test]
    fn a_secret_below_its_key_is_masked() {
        assert_eq!(masked_below("password =", "  \"hunter2\""), "  ***");
        assert_eq!(masked_below("password = # which?", "aHVudGVyMg=="), "***");
        assert_eq!(masked_below("password =", "publish = [\"a\"]"), "publish = [\"a\"]");
        assert_eq!(masked_below("password = \"env:X\"", "  \"a\""), "  \"a\"");
    }

    #[test]
    fn references_to_secrets_and_other_values_are_shown() {
        for line in [
            "password = \"env:SCADA\"",
            "password = 'file:x'",
            "name = \"token\"",
            "{ name = \"token\", address = 5 }",
            "description = \"pass band of the filter\"",
            "password",
            "password = # no",
            "[link.token]",
        ] {
            assert_eq!(masked(line), line);
        }
    }

    #[test]
    fn user_and_password_in_an_address_are_masked() {
        assert_eq!(masked("urll = \"mqtt://line3:hunter2@broker:1883\""), "urll = \"mqtt://***@broker:1883\"");
        assert_eq!(without_logins("\"mqtt://line3:hun@ter2@broker\" has"), "\"mqtt://***@broker\" has");
        assert_eq!(without_logins("\"line3:hunter2@broker\" has no scheme"), "\"***@broker\" has no scheme");
        assert_eq!(without_logins("größe@ 5 @ 10:20"), "größe@ 5 @ 10:20");
    }
}
