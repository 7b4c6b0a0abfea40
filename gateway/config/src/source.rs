//! The text of one file, and places in it.

use std::{fmt, ops::Range, sync::Arc};

/// A file's path as the user knows it, and its text.
#[derive(PartialEq, Eq)]
pub struct Source {
    path: String,
    text: String,
}

impl Source {
    /// A source named `path` in messages.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Arc<Source> {
        Arc::new(Source { path: path.into(), text: text.into() })
    }

    /// The path as it is shown in messages.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

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

    /// Line and column of the first character, both from 1; columns count characters.
    pub fn line_and_column(&self) -> (usize, usize) {
        let before = self.source.text.get(..self.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        (line, column)
    }

    /// The text of the line with the first character, without its line end.
    pub fn line(&self) -> &str {
        let text = &self.source.text;
        let start = text.get(..self.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let line = text.get(start..).unwrap_or_default();
        line.split('\n').next().unwrap_or_default().trim_end_matches('\r')
    }

    /// How many characters of the first line the place covers, at least 1.
    pub fn width(&self) -> usize {
        let text = self.source.text.get(self.start..self.end).unwrap_or_default();
        text.chars().take_while(|c| *c != '\n' && *c != '\r').count().max(1)
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
