//! How far one target is: what it has been given, what it has acknowledged, which gaps it has to be told of.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_model::Timestamp;

use crate::{
    delivery::{Ticket, TicketOf},
    numbers::count,
    ranges::{Acknowledged, Range},
};

/// Deliveries that one target may leave unacknowledged; more are not handed out.
pub(crate) const MOST_IN_FLIGHT: usize = 65_536;
/// Ranges of acknowledged rows with holes between them, beyond which the live lane waits until some are filled.
const MOST_RANGES: usize = 16_384;

/// Where the gap stands in the order of delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GapKey {
    /// It is delivered before the row at this position, when rows are delivered in one lane.
    pub(crate) position: u64,
    /// Its number in the database.
    pub(crate) id: u64,
}

/// Where the live lane is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Live {
    /// What is committed from here on is its; everything before is the other lane's.
    pub(crate) from: u64,
    /// The position that it gives next.
    pub(crate) next: u64,
}

/// How far a target is. A position is acknowledged, or in flight, or waiting.
#[derive(Debug)]
pub(crate) struct Place {
    /// Whether a cursor is open.
    pub(crate) open: bool,
    /// What it has acknowledged; what it will never get counts, too.
    pub(crate) done: Acknowledged,
    /// Nothing that waits is before this position, but for what the live lane has left out.
    read: u64,
    /// The live lane, when there are two.
    pub(crate) live: Option<Live>,
    /// What of `done` is on the disk; `None` when the target is new there, or that is not known.
    pub(crate) saved: Option<Acknowledged>,
    /// Whether `done` may be more than `saved`.
    unsaved: bool,
    /// Positions whose rows are about to get others; none of them is given.
    pub(crate) held: Option<Range>,
    /// How often rows have got other positions; what was read before is not given afterwards.
    pub(crate) generation: u64,
    /// Rows before this position may have got others since a ticket was given.
    permuted_before: u64,
    /// The position of the next gap that has not been given.
    pub(crate) next_gap: Option<u64>,
    /// The last gap that has been given.
    pub(crate) last_gap: Option<GapKey>,
    /// Gaps in the database.
    pub(crate) gaps: u64,
    /// Gaps that are acknowledged and still in the database.
    pub(crate) gaps_done: BTreeSet<u64>,
    /// Number of the commit after which the newest rows were looked for last.
    pub(crate) read_at_commit: u64,
    /// Time of the first row that waits, as far as it is known.
    pub(crate) since: Option<Timestamp>,
    gaps_in_flight: BTreeSet<u64>,
    in_flight: BTreeMap<u64, InFlight>,
    rewinds: u64,
    pub(crate) acknowledged: u64,
    pub(crate) last_acknowledged: Option<Timestamp>,
}

#[derive(Debug)]
struct InFlight {
    end: u64,
    time: Timestamp,
}

impl Place {
    pub(crate) fn new(done: Acknowledged, saved: bool) -> Place {
        Place {
            open: false,
            read: done.floor(),
            live: None,
            saved: saved.then(|| done.clone()),
            done,
            unsaved: !saved,
            held: None,
            generation: 0,
            permuted_before: 0,
            next_gap: None,
            last_gap: None,
            gaps: 0,
            gaps_done: BTreeSet::new(),
            read_at_commit: 0,
            since: None,
            gaps_in_flight: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            rewinds: 0,
            acknowledged: 0,
            last_acknowledged: None,
        }
    }

    /// The first position that is not acknowledged.
    pub(crate) fn base(&self) -> u64 {
        self.done.floor()
    }

    /// Whether the database has to be told something.
    pub(crate) fn is_unsaved(&self) -> bool {
        self.unsaved || !self.gaps_done.is_empty()
    }

    /// `saved` is on the disk now.
    pub(crate) fn has_saved(&mut self, saved: Acknowledged) {
        self.unsaved = self.done != saved;
        self.saved = Some(saved);
    }

    /// What of it is on the disk is not known: all of it is to be written.
    pub(crate) fn may_not_be_saved(&mut self) {
        (self.saved, self.unsaved) = (None, true);
    }

    /// Is on the disk as another place is.
    pub(crate) fn take_over(&mut self, other: &Place) {
        (self.saved, self.unsaved) = (other.saved.clone(), other.unsaved);
        (self.since, self.permuted_before) = (other.since, other.permuted_before);
    }

    /// Whether no more may be given before something is acknowledged.
    pub(crate) fn is_full(&self) -> bool {
        self.in_flight.len() + self.gaps_in_flight.len() >= MOST_IN_FLIGHT
    }

    /// Whether the live lane has to wait until holes between acknowledged rows are filled.
    pub(crate) fn is_scattered(&self) -> bool {
        self.done.ahead().count() >= MOST_RANGES
    }

    /// Whether a gap is due before the row that is next.
    pub(crate) fn gap_is_due(&mut self) -> bool {
        let next = self.next();
        // With two lanes a gap is as good as the oldest row.
        self.next_gap.is_some_and(|gap| self.live.is_some() || gap <= next)
    }

    /// The position that is given next from the oldest on: neither acknowledged nor in flight.
    pub(crate) fn next(&mut self) -> u64 {
        loop {
            let missing = self.done.next_missing(self.read);
            let given = self.in_flight.range(..=missing).next_back().map(|(_, given)| given.end);
            self.read = given.filter(|end| *end > missing).unwrap_or(missing);
            if self.read == missing {
                return missing;
            }
        }
    }

    /// Whether nothing of the range is acknowledged, in flight or about to get another position.
    pub(crate) fn is_untouched(&self, range: Range) -> bool {
        self.done.has_none(range) && !self.flies_in(range) && !self.is_held(range)
    }

    /// Whether something of the range is in flight.
    pub(crate) fn flies_in(&self, range: Range) -> bool {
        self.in_flight.range(..range.end).next_back().is_some_and(|(_, given)| given.end > range.first)
    }

    /// The first position of the range that is in flight.
    pub(crate) fn first_in_flight(&self, range: Range) -> Option<u64> {
        let before = self.in_flight.range(..range.first).next_back().filter(|(_, given)| given.end > range.first);
        let within = || self.in_flight.range(range.first..range.end.max(range.first)).next().map(|(first, _)| *first);
        before.map(|_| range.first).or_else(within)
    }

    /// Whether something of the range is about to get another position.
    pub(crate) fn is_held(&self, range: Range) -> bool {
        self.held.is_some_and(|held| held.within(range).len() > 0)
    }

    /// The first position of the live lane that is not acknowledged, and the time of its row when that is in flight; `None`
    /// when there is none before `end`.
    pub(crate) fn oldest_live(&self, end: u64) -> Option<(u64, Option<Timestamp>)> {
        let first = self.done.next_missing(self.live?.from);
        let given = self.in_flight.range(..=first).next_back().map(|(_, given)| given);
        let time = given.filter(|given| given.end > first).map(|given| given.time);
        (first < end).then_some((first, time))
    }

    /// Whether something that is not the live lane's waits, in a log that ends at `end`.
    pub(crate) fn has_backlog(&self, end: u64) -> bool {
        self.base() < self.live.map_or(end, |live| live.from).min(end)
    }

    /// Gives out rows that wait.
    pub(crate) fn give(&mut self, range: Range, time: Timestamp) -> Ticket {
        if range.first == self.base() {
            self.since = Some(time);
        }
        self.in_flight.insert(range.first, InFlight { end: range.end, time });
        Ticket(TicketOf::Rows { first: range.first, end: range.end, rewinds: self.rewinds })
    }

    /// Gives out a gap.
    pub(crate) fn give_gap(&mut self, key: GapKey) -> Ticket {
        self.last_gap = Some(key);
        self.gaps_in_flight.insert(key.id);
        Ticket(TicketOf::Gap { id: key.id, rewinds: self.rewinds })
    }

    /// Whether the target has been told of the gap, so that it has to stay as it is.
    pub(crate) fn is_given(&self, gap: GapKey) -> bool {
        let behind = |given: GapKey| if self.live.is_some() { given.id >= gap.id } else { given >= gap };
        self.last_gap.is_some_and(behind) || self.gaps_done.contains(&gap.id)
    }

    /// Has the gaps that are not acknowledged given again: nobody has received them.
    pub(crate) fn take_back_gaps(&mut self) {
        self.last_gap = None;
        // The first that has not been acknowledged is looked up when it is asked for.
        self.next_gap = (self.gaps > count(self.gaps_done.len())).then_some(0);
    }

    /// Notes that the other side has it. True when the writer has something to save.
    pub(crate) fn acknowledge(&mut self, ticket: Ticket) -> bool {
        match ticket.0 {
            TicketOf::Rows { first, end, rewinds } => self.acknowledge_rows(Range::new(first, end), rewinds),
            TicketOf::Gap { id, rewinds } => {
                rewinds == self.rewinds && self.gaps_in_flight.remove(&id) && self.gaps_done.insert(id)
            }
        }
    }

    fn acknowledge_rows(&mut self, range: Range, rewinds: u64) -> bool {
        if rewinds != self.rewinds && range.first < self.permuted_before {
            // Other rows may be there by now.
            return false;
        }
        let given = self.in_flight.remove(&range.first);
        let base = self.base();
        let new = self.done.insert(range);
        self.acknowledged += new;
        if let Some(given) = given {
            self.last_acknowledged = Some(given.time);
            if self.base() != base {
                let first = self.in_flight.first_key_value().filter(|(first, _)| **first == self.base());
                self.since = Some(first.map_or(given.time, |(_, first)| first.time));
            }
        }
        self.unsaved |= new > 0;
        new > 0
    }

    /// Notes that the target will never get these rows: it is told of a gap instead.
    pub(crate) fn pass(&mut self, range: Range) {
        self.unsaved |= self.done.insert(range) > 0;
    }

    /// Goes back to the first row that is not acknowledged, and to the first such gap; one lane from now on.
    pub(crate) fn rewind(&mut self) {
        self.in_flight.clear();
        self.read = self.base();
        self.live = None;
        self.rewinds += 1;
        self.gaps_in_flight.clear();
        self.take_back_gaps();
    }

    /// Two lanes from now on: what is committed after `end` is live.
    pub(crate) fn split(&mut self, end: u64) {
        self.rewind();
        self.live = Some(Live { from: end, next: end });
    }

    /// Passes over everything before `position`: it is not in the log any more.
    pub(crate) fn skip_to(&mut self, position: u64) {
        self.in_flight = self.in_flight.split_off(&position);
        self.done.raise(position);
        self.read = self.read.max(position);
        if let Some(live) = &mut self.live {
            (live.from, live.next) = (live.from.max(position), live.next.max(position));
        }
    }

    /// Begins again at `position`, in a log that has replaced the one the tickets are of.
    pub(crate) fn restart(&mut self, position: u64) {
        let lanes = self.live.is_some();
        self.rewind();
        self.done = Acknowledged::before(position);
        (self.read, self.saved, self.unsaved, self.permuted_before) = (position, None, true, position);
        self.generation += 1;
        self.held = None;
        if lanes {
            self.live = Some(Live { from: position, next: position });
        }
    }

    /// Gives nothing of a range until [`Place::permuted`] or [`Place::let_go`]. False when something of it is in flight.
    pub(crate) fn hold(&mut self, range: Range) -> bool {
        if self.flies_in(range) {
            return false;
        }
        self.held = Some(range);
        self.permuted_before = self.permuted_before.max(range.end);
        true
    }

    /// What was held has stayed as it is.
    pub(crate) fn let_go(&mut self) {
        self.held = None;
    }

    /// Rows of `range` have got other positions within it: the acknowledged ones are in `parts` now.
    pub(crate) fn permuted(&mut self, range: Range, parts: &[Range]) {
        self.done.replace(range, parts);
        self.read = self.read.min(range.first.max(self.base()));
        if let Some(live) = self.live.as_mut().filter(|live| live.from < range.end) {
            // What still waits may be anywhere in there now, and only the other lane looks for it.
            (live.from, live.next) = (range.end, live.next.max(range.end));
        }
        self.permuted_before = self.permuted_before.max(range.end);
        self.generation += 1;
        self.held = None;
    }

    /// The first position that has to stay in memory for it, in a log that ends at `end` and of which the rows from
    /// `reached` on are there.
    pub(crate) fn wants(&self, end: u64, reached: u64, keeps_up: bool) -> Option<u64> {
        let next = self.live.map_or(self.done.next_missing(self.read), |live| live.next);
        if self.open && (keeps_up || next >= end) {
            // Who reads the disk has to find the newest rows here once it is through.
            return Some(if next >= reached { next } else { end });
        }
        // A live lane that has fallen behind goes on with the newest commit.
        (self.open && self.live.is_some()).then_some(end)
    }
}

#[cfg(test)]
mod tests;
