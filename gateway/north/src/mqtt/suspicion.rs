//! Finds the message that a broker closes the connection over. Pure.
//!
//! MQTT 3.1.1 has no word for "this message is too large" or "you may not publish there": the broker closes the
//! connection, and a client that begins again with the same message does so for ever, with everything else waiting
//! behind it. So: when connections are closed with the same message first in line, that message travels alone, after the
//! broker has shown with an acknowledgement that it works. When it is closed again and again even then, a gap record
//! takes the row's place, so that the other side knows what it did not get; the row stays in the store.

use tidegate_model::StreamId;

/// Closed connections with the same message first in line, after which the message travels alone.
const ALONE: u8 = 2;
/// Closed connections after which a gap record takes the message's place.
const REPLACED: u8 = 8;
/// Closed connections after which, as the broker does not even take the gap record, the row has its turn again:
/// then it is not the row, and what it is (a right to publish) may have been put right meanwhile.
const AGAIN: u8 = 10;

/// What a message is about, the same in every connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The stream.
    pub(crate) stream: StreamId,
    /// The row's number, or the first of a gap.
    pub(crate) seq: u64,
}

/// How a message is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// Like all others.
    Usual,
    /// A gap record takes its place.
    Replaced,
}

/// Which message may be the one that the broker does not bear.
#[derive(Debug, Default)]
pub(crate) struct Suspicion {
    suspect: Option<Subject>,
    closed: u8,
}

impl Suspicion {
    /// The broker closed the connection while `first` was the oldest message without an acknowledgement.
    pub(crate) fn closed_by_broker(&mut self, first: Option<Subject>) {
        if first.is_none() || first != self.suspect {
            self.suspect = first;
            self.closed = 0;
        }
        self.closed = if self.closed >= AGAIN { ALONE } else { self.closed.saturating_add(1) };
    }

    /// Whether the next connection has to begin with one message alone.
    pub(crate) fn one_at_a_time(&self) -> bool {
        self.suspect.is_some() && self.closed >= ALONE
    }

    /// How the message about `subject` is treated.
    pub(crate) fn treatment(&self, subject: Subject) -> Treatment {
        let replaced = self.suspect == Some(subject) && self.closed >= REPLACED;
        if replaced { Treatment::Replaced } else { Treatment::Usual }
    }

    /// Whether the broker did not even take the gap record.
    pub(crate) fn gap_refused(&self) -> bool {
        self.suspect.is_some() && self.closed > REPLACED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(seq: u64) -> Subject {
        Subject { stream: StreamId(1), seq }
    }

    #[test]
    fn a_message_that_ends_connection_after_connection_is_replaced() {
        let mut suspicion = Suspicion::default();
        suspicion.closed_by_broker(Some(subject(7)));
        assert!(!suspicion.one_at_a_time());
        for _ in 1..REPLACED {
            assert_eq!(suspicion.treatment(subject(7)), Treatment::Usual);
            suspicion.closed_by_broker(Some(subject(7)));
            assert!(suspicion.one_at_a_time());
        }
        assert_eq!(suspicion.treatment(subject(7)), Treatment::Replaced);
        assert_eq!(suspicion.treatment(subject(8)), Treatment::Usual);
    }

    #[test]
    fn a_link_that_breaks_at_different_messages_casts_no_suspicion() {
        let mut suspicion = Suspicion::default();
        for seq in 0..50 {
            suspicion.closed_by_broker(Some(subject(seq)));
            assert!(!suspicion.one_at_a_time());
        }
    }

    #[test]
    fn a_connection_closed_with_nothing_on_its_way_clears_the_suspicion() {
        let mut suspicion = Suspicion::default();
        (0..REPLACED).for_each(|_| suspicion.closed_by_broker(Some(subject(7))));
        suspicion.closed_by_broker(None);
        assert!(!suspicion.one_at_a_time());
        assert_eq!(suspicion.treatment(subject(7)), Treatment::Usual);
    }

    #[test]
    fn when_even_the_gap_record_is_refused_the_row_has_its_turn_again() {
        let mut suspicion = Suspicion::default();
        (0..REPLACED).for_each(|_| suspicion.closed_by_broker(Some(subject(7))));
        assert!(!suspicion.gap_refused());
        (REPLACED..AGAIN).for_each(|_| suspicion.closed_by_broker(Some(subject(7))));
        assert!(suspicion.gap_refused());
        suspicion.closed_by_broker(Some(subject(7)));
        assert_eq!(suspicion.treatment(subject(7)), Treatment::Usual);
        assert!(suspicion.one_at_a_time());
    }
}
