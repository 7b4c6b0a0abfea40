//! Which rows a target has not got, told by stream, for the gaps that it is given instead.

use std::collections::BTreeMap;

use tidegate_model::StreamId;

use crate::summary::Span;

/// Rows by stream, as spans in the order in which they were added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    by_stream: BTreeMap<StreamId, Vec<Span>>,
}

impl Missing {
    /// Adds rows; what follows the rows added before becomes one span with them.
    pub(crate) fn add(&mut self, stream: StreamId, span: Span) {
        let spans = self.by_stream.entry(stream).or_default();
        match spans.last_mut() {
            Some(last) if span.first >= last.first && span.first <= last.last.saturating_add(1) => {
                last.last = last.last.max(span.last);
            }
            _ => spans.push(span),
        }
    }

    /// All spans.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (StreamId, Span)> {
        self.by_stream.iter().flat_map(|(stream, spans)| spans.iter().map(|span| (*stream, *span)))
    }

    /// How many rows.
    pub(crate) fn rows(&self) -> u64 {
        self.iter().map(|(_, span)| span.rows()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_follow_each_other_become_one_span() {
        let mut missing = Missing::default();
        for (first, last) in [(1, 3), (4, 4), (4, 6), (9, 9), (10, 12)] {
            missing.add(StreamId(1), Span { first, last });
        }
        missing.add(StreamId(2), Span { first: 7, last: 7 });
        let spans: Vec<(u32, u64, u64)> = missing.iter().map(|(id, span)| (id.0, span.first, span.last)).collect();
        assert_eq!(spans, [(1, 1, 6), (1, 9, 12), (2, 7, 7)]);
        assert_eq!(missing.rows(), 11);
    }
}
