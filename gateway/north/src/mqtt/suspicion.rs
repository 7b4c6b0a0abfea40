//! Finds the message that a broker closes the connection over. Pure.
//!
//! MQTT 3.1.1 has no word for "this message is too large" or "you may not publish there": the broker closes the
//! connection, and a client that begins again with the same message does so for ever, with everything else waiting
//! behind it. So: when connections are closed again and again with the same rows first in line, these rows travel alone:
//! first each of their blocks, then each row. When a connection is closed over a single row even then, a gap record
//! takes the row's place, so that the other side knows what it did not get; the row stays in the store.

use tidegate_model::StreamId;

/// Closed connections with the same rows first in line, after which their blocks travel alone.
const ALONE: u8 = 2;
/// Closed connections after which the rows of a block travel alone.
const ROWS: u8 = 4;
/// Closed connections after which a gap record takes the row's place.
const REPLACED: u8 = 8;
/// Closed connections after which, as the broker does not even take the gap record, the row has its turn again:
/// then it is not the row, and what it is (a right to publish) may have been put right meanwhile.
const AGAIN: u8 = 10;

/// Rows of one stream without a hole, or a gap; the same in every connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    /// The stream.
    pub(crate) stream: StreamId,
    /// Number of the first row.
    pub(crate) first: u64,
    /// Number of the last row, not below the first.
    pub(crate) last: u64,
}

impl Span {
    /// The rows that are in both.
    pub(crate) fn common(self, other: Span) -> Option<Span> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (self.stream == other.stream && first <= last).then_some(Span { stream: self.stream, first, last })
    }
}

/// What was first in line when a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The rows of the message.
    pub(crate) spans: Vec<Span>,
    /// Whether the message could have been divided into smaller ones.
    pub(crate) divisible: bool,
    /// Bytes of its payload.
    pub(crate) bytes: usize,
}

/// How rows are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// Like all others.
    Usual,
    /// Their message has no other rows in it that could travel without them, and nothing else is on its way beside it.
    Alone,
    /// The same for each row.
    RowsAlone,
    /// A gap record takes the place of the row.
    Replaced,
}

/// Which rows may be those that the broker does not bear.
#[derive(Debug, Default)]
pub(crate) struct Suspicion {
    suspects: Vec<Span>,
    closed: u8,
}

impl Suspicion {
    /// The broker closed the connection while `first` was the oldest message without an acknowledgement.
    pub(crate) fn closed_by_broker(&mut self, first: Option<&Subject>) {
        let spans = first.map_or(&[][..], |subject| &subject.spans);
        let again: Vec<Span> =
            spans.iter().flat_map(|span| self.suspects.iter().filter_map(|suspect| suspect.common(*span))).collect();
        if again.is_empty() {
            self.suspects = spans.to_vec();
            self.closed = u8::from(!spans.is_empty());
            return;
        }
        self.suspects = again;
        self.closed = match self.closed.saturating_add(1) {
            // Nothing is given up that has not travelled alone.
            closed if first.is_some_and(|subject| subject.divisible) => closed.min(ROWS),
            closed if closed > AGAIN => ALONE,
            closed => closed,
        };
    }

    /// Whether blocks have to be divided into their rows.
    pub(crate) fn divides(&self) -> bool {
        !self.suspects.is_empty() && self.closed >= ROWS
    }

    /// Whether the next connection has to begin with one message alone.
    pub(crate) fn one_at_a_time(&self) -> bool {
        !self.suspects.is_empty() && self.closed >= ALONE
    }

    /// How these rows are treated.
    pub(crate) fn treatment(&self, span: Span) -> Treatment {
        if self.closed < ALONE || !self.suspects.iter().any(|suspect| suspect.common(span).is_some()) {
            return Treatment::Usual;
        }
        match self.closed {
            ..ROWS => Treatment::Alone,
            REPLACED.. if span.first == span.last => Treatment::Replaced,
            _ => Treatment::RowsAlone,
        }
    }

    /// Whether the broker did not even take the gap record.
    pub(crate) fn gap_refused(&self) -> bool {
        self.closed > REPLACED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u64, last: u64) -> Span {
        Span { stream: StreamId(1), first, last }
    }

    fn row(seq: u64) -> Subject {
        Subject { spans: vec![span(seq, seq)], divisible: false, bytes: 100 }
    }

    fn blocks(spans: &[(u64, u64)]) -> Subject {
        Subject {
            spans: spans.iter().map(|(first, last)| span(*first, *last)).collect(),
            divisible: true,
            bytes: 9_000,
        }
    }

    #[test]
    fn a_message_that_ends_connection_after_connection_is_replaced() {
        let mut suspicion = Suspicion::default();
        suspicion.closed_by_broker(Some(&row(7)));
        assert!(!suspicion.one_at_a_time());
        for _ in 1..REPLACED {
            assert_ne!(suspicion.treatment(span(7, 7)), Treatment::Replaced);
            suspicion.closed_by_broker(Some(&row(7)));
            assert!(suspicion.one_at_a_time());
        }
        assert_eq!(suspicion.treatment(span(7, 7)), Treatment::Replaced);
        assert_eq!(suspicion.treatment(span(8, 8)), Treatment::Usual);
    }

    #[test]
    fn a_message_of_many_blocks_is_divided_until_the_row_is_found() {
        let mut suspicion = Suspicion::default();
        let message = blocks(&[(1, 60), (101, 160)]);
        suspicion.closed_by_broker(Some(&message));
        assert_eq!(suspicion.treatment(span(1, 60)), Treatment::Usual);
        suspicion.closed_by_broker(Some(&message));
        assert_eq!(suspicion.treatment(span(1, 60)), Treatment::Alone);
        assert_eq!(suspicion.treatment(span(101, 160)), Treatment::Alone);
        assert_eq!(suspicion.treatment(span(61, 100)), Treatment::Usual);
        // Its first block arrives, its second does not.
        (0..2).for_each(|_| suspicion.closed_by_broker(Some(&blocks(&[(101, 160)]))));
        assert_eq!(suspicion.treatment(span(1, 60)), Treatment::Usual);
        assert_eq!(suspicion.treatment(span(101, 160)), Treatment::RowsAlone);
        // One row of it does not arrive, however often it is tried.
        suspicion.closed_by_broker(Some(&row(130)));
        for _ in 0..3 {
            assert_eq!(suspicion.treatment(span(130, 130)), Treatment::RowsAlone);
            suspicion.closed_by_broker(Some(&row(130)));
        }
        assert_eq!(suspicion.treatment(span(130, 130)), Treatment::Replaced);
        assert_eq!(suspicion.treatment(span(129, 129)), Treatment::Usual);
        assert_eq!(suspicion.treatment(span(120, 160)), Treatment::RowsAlone, "a block with the row in it is divided");
    }

    #[test]
    fn no_block_is_given_up_as_a_whole() {
        let mut suspicion = Suspicion::default();
        (0..50).for_each(|_| suspicion.closed_by_broker(Some(&blocks(&[(1, 60)]))));
        assert_eq!(suspicion.treatment(span(1, 60)), Treatment::RowsAlone);
        assert_eq!(suspicion.treatment(span(5, 5)), Treatment::RowsAlone);
    }

    #[test]
    fn a_link_that_breaks_at_different_messages_casts_no_suspicion() {
        let mut suspicion = Suspicion::default();
        for seq in 0..50 {
            suspicion.closed_by_broker(Some(&row(seq)));
            assert!(!suspicion.one_at_a_time());
        }
    }

    #[test]
    fn a_connection_closed_with_nothing_on_its_way_clears_the_suspicion() {
        let mut suspicion = Suspicion::default();
        (0..REPLACED).for_each(|_| suspicion.closed_by_broker(Some(&row(7))));
        suspicion.closed_by_broker(None);
        assert!(!suspicion.one_at_a_time());
        assert_eq!(suspicion.treatment(span(7, 7)), Treatment::Usual);
    }

    #[test]
    fn when_even_the_gap_record_is_refused_the_row_has_its_turn_again() {
        let mut suspicion = Suspicion::default();
        (0..REPLACED).for_each(|_| suspicion.closed_by_broker(Some(&row(7))));
        assert!(!suspicion.gap_refused());
        (REPLACED..AGAIN).for_each(|_| suspicion.closed_by_broker(Some(&row(7))));
        assert!(suspicion.gap_refused());
        suspicion.closed_by_broker(Some(&row(7)));
        assert_ne!(suspicion.treatment(span(7, 7)), Treatment::Replaced);
        assert!(suspicion.one_at_a_time());
    }
}
