//! Finds what a broker closes the connection over: a birth, or a row. Pure.
//!
//! What is published over Sparkplug has no acknowledgement of its own; a ping that is answered says that everything before it was read. So all
//! that was handed over after the last such ping may be it. When connection after connection is closed with the same things
//! among that, and none of the rows among them was read meanwhile, they are divided: half of them, by their bytes, go before a ping, and the rest wait for its answer. Everything else goes as
//! ever. What remains in the end has been alone on its way, again and again. Mostly it is too large; then the edge node
//! is told so and leaves out what is: that is taken to be so when it is larger than anything that was ever read. A row that is not gets a gap in
//! its place.
//!
//! Rows that were on their way when the connection was closed are before all live rows in the next one: were one of these just as bad,
//! the two would be found by turns, and none of them often enough.

use std::{collections::HashSet, fmt};

use tidegate_model::StreamId;

use crate::mqtt::suspicion::Span;

/// Closed connections with the same things not read, after which they are divided.
const DIVIDED: u8 = 3;
/// Closed connections before something that has been alone counts as more than one of several.
const ALONE: u8 = 4;
/// Closed connections after which it is not sent as it is any more.
const CHANGED: u8 = 8;
/// After so many a row is replaced, however large it is.
const REPLACED: u8 = 10;
/// After so many it is not the row, as nothing helped: it has its turn again.
const AGAIN: u8 = 12;

/// Something that is published, the same in every connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// The birth or the death with this topic.
    Message(String),
    /// Rows.
    Rows(Span),
    /// What is said of rows that will never come.
    Gap(Span),
}

/// Something that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) subject: Subject,
    /// Bytes of it, about.
    pub(super) bytes: usize,
    /// Bytes of the largest payload among its messages.
    pub(super) largest: usize,
}

/// What is to be done about what a broker closes the connection over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The birth or the death with this topic is to be smaller than so many bytes.
    Smaller(String, usize),
    /// A row with a payload of so many bytes is too large. Whatever is about as large will be too.
    TooLarge {
        /// Its bytes.
        found: usize,
        /// Bytes that are sent from now on, at most.
        most: usize,
    },
    /// A gap takes the place of the row from now on.
    Replaced,
    /// It was not the row, and not its size either.
    NotIt,
}

/// What may be it.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    suspects: Vec<Sent>,
    /// The rows and gaps among them that have not been read since.
    unread: Vec<Subject>,
    /// What of them is no rows, to be found quickly.
    messages: HashSet<Subject>,
    closed: u8,
    /// Suspected rows have been read since, while nothing was divided: it was the link.
    progress: bool,
    replaced: bool,
    /// The largest payload that a broker has ever read.
    proven: usize,
    /// The message that is to be smaller, and how many bytes it had.
    smaller: Option<(String, usize)>,
}

impl Subject {
    /// The rows that are in both.
    fn common(&self, other: &Subject) -> Option<Subject> {
        match (self, other) {
            (Subject::Rows(one), Subject::Rows(other)) => one.common(*other).map(Subject::Rows),
            _ => None,
        }
    }

    fn span(&self) -> Option<Span> {
        match self {
            Subject::Rows(span) | Subject::Gap(span) => Some(*span),
            Subject::Message(_) => None,
        }
    }

    /// Whether the last row of the other one is in it.
    fn has_end_of(&self, other: &Subject) -> bool {
        let (Some(one), Some(other)) = (self.span(), other.span()) else { return false };
        one.common(Span { first: other.last, ..other }).is_some()
    }

    fn is_single(&self) -> bool {
        match self {
            Subject::Rows(span) => span.first == span.last,
            Subject::Message(_) | Subject::Gap(_) => true,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Message(topic) => f.write_str(topic),
            Subject::Rows(span) => write!(f, "rows {} to {} of stream {}", span.first, span.last, span.stream.0),
            Subject::Gap(span) => {
                write!(f, "that rows {} to {} of stream {} will never come", span.first, span.last, span.stream.0)
            }
        }
    }
}

impl Suspicion {
    /// The broker closed the connection when this had been handed over, and no answered ping says that it was read.
    pub(super) fn closed_by_broker(&mut self, unread: &[Sent]) {
        let again = unread.iter().filter_map(|sent| Some(Sent { subject: self.suspected(&sent.subject)?, ..*sent }));
        let again: Vec<Sent> = again.collect();
        if std::mem::take(&mut self.progress) || again.is_empty() {
            (self.closed, self.replaced) = (u8::from(!unread.is_empty()), false);
            return self.suspect(unread.to_vec());
        }
        self.suspect(again);
        let alone = matches!(unread, [sent] if sent.subject.is_single());
        let closed = self.closed.saturating_add(1);
        self.closed = if alone { closed } else { closed.min(ALONE) };
    }

    fn suspect(&mut self, suspects: Vec<Sent>) {
        let messages = suspects.iter().map(|sent| &sent.subject).filter(|subject| !matches!(subject, Subject::Rows(_)));
        self.messages = messages.cloned().collect();
        let rows = suspects.iter().map(|sent| &sent.subject).filter(|subject| subject.span().is_some());
        self.unread = rows.cloned().collect();
        self.suspects = suspects;
    }

    /// What of it is suspected.
    fn suspected(&self, subject: &Subject) -> Option<Subject> {
        match subject {
            Subject::Rows(_) => self.suspects.iter().find_map(|suspect| suspect.subject.common(subject)),
            other => self.messages.get(other).cloned(),
        }
    }

    /// This is known to have been read. Gives how many bytes are to be sent from now on, at most, when that shows that something was too large.
    pub(super) fn read(&mut self, sent: &Sent) -> Option<usize> {
        self.proven = self.proven.max(sent.largest);
        self.unread.retain(|suspect| !sent.subject.has_end_of(suspect));
        let is_row = matches!(sent.subject, Subject::Rows(_));
        self.progress |= is_row && self.closed < DIVIDED && self.suspected(&sent.subject).is_some();
        let is_it =
            |smaller: &mut (String, usize)| matches!(&sent.subject, Subject::Message(topic) if *topic == smaller.0);
        let (_, found) = self.smaller.take_if(is_it)?;
        (sent.largest < found && found > self.proven).then(|| self.most(found))
    }

    /// What of that size was too large. Of the same value the next message may be some bytes smaller.
    fn most(&self, found: usize) -> usize {
        (found - found / 16).saturating_sub(1).max(self.proven)
    }

    /// So many bytes of what is suspected go together; `None` while nothing is divided.
    pub(super) fn group(&self) -> Option<usize> {
        (self.closed >= DIVIDED).then(|| self.suspects.iter().map(|sent| sent.bytes).sum::<usize>() / 2)
    }

    /// Whether several rows are being divided: fewer of them are to share a message.
    pub(super) fn divides_rows(&self) -> bool {
        let several = |sent: &Sent| matches!(sent.subject, Subject::Rows(_)) && !sent.subject.is_single();
        self.closed >= DIVIDED && self.suspects.iter().any(several)
    }

    /// Whether it is among what is divided.
    pub(super) fn is_suspect(&self, subject: &Subject) -> bool {
        self.closed >= DIVIDED && self.suspected(subject).is_some()
    }

    /// Whether anything may be before all live rows ([`Suspicion::is_first`]). Where nothing helps, live rows wait for nothing.
    pub(super) fn has_first(&self) -> bool {
        !self.unread.is_empty() && self.is_stuck().is_none()
    }

    /// Whether these rows or this gap were on their way when the connection was closed, and have not been read since.
    pub(super) fn is_first(&self, subject: &Subject) -> bool {
        self.unread.iter().any(|suspect| suspect == subject || suspect.common(subject).is_some())
    }

    /// Whether a gap takes the place of this row.
    pub(super) fn replaces(&self, stream: StreamId, seq: u64) -> bool {
        self.replaced && self.is_suspect(&Subject::Rows(Span { stream, first: seq, last: seq }))
    }

    /// What is to be done now that the connection was closed.
    pub(super) fn remedy(&mut self) -> Option<Remedy> {
        let [Sent { subject, largest, .. }] = self.suspects.as_slice() else { return None };
        if self.closed < CHANGED {
            return None;
        }
        match subject {
            Subject::Gap(_) => None,
            Subject::Message(topic) => {
                self.smaller = Some((topic.clone(), *largest));
                Some(Remedy::Smaller(topic.clone(), *largest))
            }
            Subject::Rows(_) if self.closed > AGAIN => {
                (self.closed, self.replaced) = (ALONE, false);
                Some(Remedy::NotIt)
            }
            Subject::Rows(_) if self.replaced => None,
            Subject::Rows(_) if *largest > self.proven && self.closed < REPLACED => {
                Some(Remedy::TooLarge { found: *largest, most: self.most(*largest) })
            }
            Subject::Rows(_) => {
                self.replaced = true;
                Some(Remedy::Replaced)
            }
        }
    }

    /// What nothing can be done about, and the broker closes the connection over it.
    pub(super) fn is_stuck(&self) -> Option<&Subject> {
        match self.suspects.as_slice() {
            [Sent { subject: Subject::Rows(_), .. }] if !self.replaced || self.closed <= REPLACED => None,
            [Sent { subject, .. }] if self.closed >= CHANGED => Some(subject),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(first: u64, last: u64, bytes: usize) -> Sent {
        let subject = Subject::Rows(Span { stream: StreamId(1), first, last });
        Sent { subject, bytes, largest: bytes }
    }

    fn birth(device: &str, bytes: usize) -> Sent {
        Sent { subject: Subject::Message(format!("DBIRTH/{device}")), bytes, largest: bytes }
    }

    #[test]
    fn a_link_that_breaks_at_different_things_casts_no_suspicion() {
        let mut suspicion = Suspicion::default();
        for seq in 0..50 {
            suspicion.closed_by_broker(&[rows(seq * 10, seq * 10 + 9, 500)]);
            assert_eq!((suspicion.group(), suspicion.remedy()), (None, None));
        }
        suspicion.closed_by_broker(&[]);
        assert_eq!(suspicion.group(), None);
    }

    #[test]
    fn a_link_that_breaks_while_rows_get_across_casts_no_suspicion() {
        let mut suspicion = Suspicion::default();
        // Each connection brings some of the rows, and breaks with the rest of them on their way.
        for seq in 0..50 {
            suspicion.closed_by_broker(&[birth("a", 500), rows(seq, 1_000, 9_000)]);
            assert_eq!(suspicion.group(), None);
            assert_eq!(suspicion.read(&rows(seq, seq, 10)), None);
        }
    }

    /// Closes over the row 77 until something is done about it; gives the number of connections, and the remedy.
    fn find(suspicion: &mut Suspicion, size: impl Fn(u64) -> usize) -> (usize, Remedy) {
        let bytes = |first, last| (first..=last).map(&size).sum::<usize>();
        let (mut first, mut last) = (1, 300);
        for connections in 1..100 {
            // What goes together is at most as much as may be, and a single row in any case.
            if let Some(group) = suspicion.group() {
                let mut from = first;
                while from <= last {
                    let mut to = from;
                    while to < last && bytes(from, to + 1) <= group {
                        to += 1;
                    }
                    if (from..=to).contains(&77) {
                        (first, last) = (from, to);
                        break;
                    }
                    from = to + 1;
                }
            }
            suspicion.closed_by_broker(&[rows(first, last, bytes(first, last))]);
            if let Some(remedy) = suspicion.remedy() {
                assert_eq!((first, last), (77, 77));
                return (connections, remedy);
            }
        }
        panic!("it was not found")
    }

    #[test]
    fn a_large_row_among_many_small_ones_is_found_at_once_and_is_too_large_after_eight_connections() {
        let mut suspicion = Suspicion::default();
        let found = find(&mut suspicion, |seq| if seq == 77 { 200_000 } else { 100 });
        assert_eq!(found, (8, Remedy::TooLarge { found: 200_000, most: 187_499 }));
    }

    #[test]
    fn a_row_like_all_others_is_found_by_halves_and_replaced() {
        let mut suspicion = Suspicion::default();
        suspicion.read(&birth("meter", 100));
        let (connections, remedy) = find(&mut suspicion, |_| 100);
        assert_eq!(remedy, Remedy::Replaced);
        assert!((8..=20).contains(&connections), "{connections} connections");
        assert!(suspicion.replaces(StreamId(1), 77) && !suspicion.replaces(StreamId(1), 78));
    }

    #[test]
    fn a_row_that_is_no_larger_than_what_was_read_is_replaced_and_has_its_turn_again_when_that_does_not_help() {
        let mut suspicion = Suspicion::default();
        suspicion.read(&rows(1, 9, 5_000));
        (0..7).for_each(|_| suspicion.closed_by_broker(&[rows(10, 10, 4_000)]));
        assert_eq!(suspicion.remedy(), None);
        suspicion.closed_by_broker(&[rows(10, 10, 4_000)]);
        assert_eq!(suspicion.remedy(), Some(Remedy::Replaced));
        (9..=12).for_each(|_| {
            suspicion.closed_by_broker(&[rows(10, 10, 100)]);
            assert_eq!(suspicion.remedy(), None);
        });
        assert!(suspicion.is_stuck().is_some());
        suspicion.closed_by_broker(&[rows(10, 10, 100)]);
        assert_eq!(suspicion.remedy(), Some(Remedy::NotIt));
        assert!(!suspicion.replaces(StreamId(1), 10) && suspicion.is_stuck().is_none());
    }

    #[test]
    fn a_birth_is_made_smaller_with_each_connection_that_is_closed_over_it() {
        let mut suspicion = Suspicion::default();
        let burst = [birth("a", 500), birth("b", 90_000), rows(1, 5, 400)];
        (0..3).for_each(|_| suspicion.closed_by_broker(&burst));
        assert!(suspicion.is_suspect(&burst[0].subject) && suspicion.group() == Some(45_450));
        // Alone on its way, as it is larger than half of all.
        (4..8).for_each(|_| suspicion.closed_by_broker(&burst[1..2]));
        assert!(!suspicion.is_suspect(&burst[0].subject));
        assert_eq!(suspicion.remedy(), None);
        suspicion.closed_by_broker(&burst[1..2]);
        assert_eq!(suspicion.remedy(), Some(Remedy::Smaller("DBIRTH/b".to_owned(), 90_000)));
        suspicion.closed_by_broker(&[birth("b", 40_000)]);
        assert_eq!(suspicion.remedy(), Some(Remedy::Smaller("DBIRTH/b".to_owned(), 40_000)));
        // That it is read then shows that it was too large.
        assert_eq!(suspicion.read(&birth("a", 500)), None);
        assert_eq!(suspicion.read(&birth("b", 20_000)), Some(37_499));
        assert_eq!(suspicion.read(&birth("b", 20_000)), None);
    }

    #[test]
    fn what_was_on_its_way_is_first_until_it_was_read_or_nothing_helps() {
        let mut suspicion = Suspicion::default();
        assert!(!suspicion.has_first());
        suspicion.closed_by_broker(&[birth("a", 500)]);
        assert!(!suspicion.has_first());
        suspicion.closed_by_broker(&[rows(5, 9, 100)]);
        let is_first = |suspicion: &Suspicion, row| suspicion.is_first(&rows(row, row, 1).subject);
        assert!(
            suspicion.has_first() && is_first(&suspicion, 5) && is_first(&suspicion, 9) && !is_first(&suspicion, 10)
        );
        suspicion.read(&rows(5, 8, 100));
        assert!(suspicion.has_first());
        suspicion.read(&rows(9, 12, 100));
        assert!(!suspicion.has_first() && !is_first(&suspicion, 9));
        // A broker that takes neither the row nor the gap in its place.
        suspicion.read(&rows(13, 13, 1_000));
        (0..10).for_each(|_| {
            suspicion.closed_by_broker(&[rows(14, 14, 100)]);
            suspicion.remedy();
            assert!(suspicion.has_first());
        });
        suspicion.closed_by_broker(&[rows(14, 14, 100)]);
        assert!(!suspicion.has_first());
    }

    #[test]
    fn nothing_is_given_up_that_was_never_alone() {
        let mut suspicion = Suspicion::default();
        for _ in 0..50 {
            suspicion.closed_by_broker(&[rows(1, 1, 100), birth("a", 100)]);
            assert_eq!(suspicion.remedy(), None);
        }
    }
}
