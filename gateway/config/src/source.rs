//! The text of one file, and places in it.

use std::{
    fmt,
    hash::{Hash, Hasher},
    ops::Range,
    sync::{Arc, OnceLock},
};

/// A file's path as the user knows it, and its text.
pub struct Source {
    path: String,
    text: String,
    /// Byte offset at which each line begins; found out when first asked for.
    lines: OnceLock<Vec<usize>>,
}

impl Source {
    /// A source named `path` in messages.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Arc<Source> {
        Arc::new(Source { path: path.into(), text: text.into(), lines: OnceLock::new() })
    }

    /// The path as it is shown in messages.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Number of the line with this byte, from 0, and the byte it begins with.
    fn line_of(&self, at: usize) -> (usize, usize) {
        let lines = self.lines.get_or_init(|| {
            let ends = self.text.match_indices('\n').map(|(end, _)| end + 1);
            std::iter::once(0).chain(ends).collect()
        });
        let line = lines.partition_point(|start| *start <= at).saturating_sub(1);
        (line, lines.get(line).copied().unwrap_or(0))
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Source) -> bool {
        std::ptr::eq(self, other) || (self.path == other.path && self.text == other.text)
    }
}

impl Eq for Source {}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.path)
    }
}

/// A stretch of a source's text, as byte offsets.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    source: Arc<Source>,
    start: usize,
    end: usize,
}

impl Place {
    /// The bytes `span` of `source`; what lies outside of the text is cut off.
    pub fn new(source: &Arc<Source>, span: Range<usize>) -> Place {
        let start = floor_boundary(&source.text, span.start);
        let end = floor_boundary(&source.text, span.end).max(start);
        Place { source: Arc::clone(source), start, end }
    }

    /// The source this place is in.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Byte offset of the first character.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Byte offset behind the last character.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Line and column of the first character, both from 1; columns count characters.
    pub fn line_and_column(&self) -> (usize, usize) {
        let (line, _) = self.source.line_of(self.start);
        (line + 1, self.column() + 1)
    }

    /// The text of the line with the first character, without its line end.
    pub fn line(&self) -> &str {
        let line = self.source.text.get(self.line_start()..).unwrap_or_default();
        let line = line.split('\n').next().unwrap_or_default();
        line.strip_suffix('\r').unwrap_or(line)
    }

    /// The last line above that is not blank, without its line end; empty when there is none.
    pub(crate) fn line_above(&self) -> &str {
        let above = self.source.text.get(..self.line_start()).unwrap_or_default();
        above.trim_end().rsplit('\n').next().unwrap_or_default()
    }

    /// How many characters of the first line the place covers, at least 1.
    pub fn width(&self) -> usize {
        let text = self.source.text.get(self.start..self.end_in_line()).unwrap_or_default();
        text.chars().count().max(1)
    }

    /// Whether there is nothing to see at the place.
    pub(crate) fn is_blank(&self) -> bool {
        self.source.text.get(self.start..self.end).unwrap_or_default().trim().is_empty()
    }

    /// Characters of the line before the first one of the place.
    pub(crate) fn column(&self) -> usize {
        self.source.text.get(self.line_start()..self.start).unwrap_or_default().chars().count()
    }

    /// Byte offset at which the line with the first character begins.
    pub(crate) fn line_start(&self) -> usize {
        self.source.line_of(self.start).1
    }

    /// Byte offset behind the last character of the place that is still in its first line.
    pub(crate) fn end_in_line(&self) -> usize {
        self.end.min(self.line_start() + self.line().len()).max(self.start)
    }
}

impl Hash for Place {
    /// By path, not by text: places in two sources of the same path are rare.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.source.path, self.start, self.end).hash(state);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_and_column();
        write!(f, "{}:{line}:{column}", self.source.path)
    }
}

/// The last character boundary at or before `at`.
fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, what: &str) -> Place {
        let start = text.find(what).unwrap();
        Place::new(&Source::new("site.toml", text), start..start + what.len())
    }

    #[test]
    fn columns_count_characters_not_bytes() {
        let found = place("größe = \"é\" # ü\nübel = 1\n", "1");
        assert_eq!(found.line_and_column(), (2, 8));
        assert_eq!(found.line(), "übel = 1");
    }

    #[test]
    fn a_tab_is_one_column() {
        assert_eq!(place("a = 1\n\t\tb = 2\n", "b").line_and_column(), (2, 3));
    }

    #[test]
    fn windows_line_ends_are_not_part_of_a_line() {
        let found = place("a = 1\r\nb = 2\r\n", "2");
        assert_eq!(found.line_and_column(), (2, 5));
        assert_eq!(found.line(), "b = 2");
    }

    #[test]
    fn a_place_over_several_lines_is_as_wide_as_its_part_of_the_first() {
        let found = place("a = [\n  1,\n]\n", "[\n  1,\n]");
        assert_eq!(found.width(), 1);
        assert_eq!(found.line(), "a = [");
    }

    #[test]
    fn a_place_behind_the_end_is_the_end() {
        let source = Source::new("site.toml", "é");
        let found = Place::new(&source, 1..99);
        assert_eq!((found.start(), found.end()), (0, 2));
        let found = Place::new(&source, 99..100);
        assert_eq!(found.line_and_column(), (1, 2));
        assert_eq!(found.width(), 1);
    }

    #[test]
    fn an_empty_file_has_one_place() {
        let found = Place::new(&Source::new("site.toml", ""), 0..0);
        assert_eq!((found.line_and_column(), found.line(), found.width()), ((1, 1), "", 1));
    }
}
