//! How far one target is: what it has been given, what it has acknowledged, which gaps it has to be told of.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard},
};

use tidegate_model::{Name, Timestamp};
use tokio::sync::Notify;

use crate::{
    CursorStatus,
    delivery::{Ticket, TicketOf},
    numbers::count,
    shared::lock,
};

/// Deliveries that one target may leave unacknowledged; more are not handed out.
pub(crate) const MOST_IN_FLIGHT: usize = 65_536;

/// One target, shared between its cursor and the writer.
#[derive(Debug)]
pub(crate) struct Target {
    /// The target.
    pub(crate) name: Name,
    /// Tells the cursor that there is something new.
    pub(crate) news: Notify,
    place: Mutex<Place>,
}

/// Where the gap stands in the order of delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GapKey {
    /// It is delivered before the row at this position.
    pub(crate) position: u64,
    /// Its number in the database.
    pub(crate) id: u64,
}

/// How far a target is. Positions below [`Place::base`] are acknowledged, those from `read` on have not been given to
/// it.
#[derive(Debug)]
pub(crate) struct Place {
    /// Whether a cursor is open.
    pub(crate) open: bool,
    /// The position that is given next.
    pub(crate) read: u64,
    /// The base that is on the disk; `None` when the target is new there.
    pub(crate) saved: Option<u64>,
    /// The position of the next gap that has not been given.
    pub(crate) next_gap: Option<u64>,
    /// The last gap that has been given.
    pub(crate) last_gap: Option<GapKey>,
    /// Gaps in the database.
    pub(crate) gaps: u64,
    /// Gaps that are acknowledged and still in the database.
    pub(crate) gaps_done: BTreeSet<u64>,
    /// Where something cannot be read, and where it goes on behind; the target has been told of the gap.
    pub(crate) damaged: BTreeMap<u64, u64>,
    /// Number of the commit after which the cursor has read last.
    pub(crate) read_at_commit: u64,
    /// Time of the first row that waits, as far as it is known.
    pub(crate) since: Option<Timestamp>,
    gaps_in_flight: BTreeSet<u64>,
    in_flight: VecDeque<InFlight>,
    /// Acknowledged positions from `read` on: what was acknowledged out of order before a rewind.
    done_ahead: BTreeSet<u64>,
    done_in_flight: u64,
    rewinds: u64,
    acknowledged: u64,
    last_acknowledged: Option<Timestamp>,
}

#[derive(Debug)]
struct InFlight {
    position: u64,
    time: Timestamp,
    done: bool,
}

impl Target {
    /// A target that has acknowledged everything before `base`.
    pub(crate) fn new(name: Name, base: u64, saved: Option<u64>) -> Target {
        Target { name, news: Notify::new(), place: Mutex::new(Place::new(base, saved)) }
    }

    /// How far it is. Never held across an await.
    pub(crate) fn place(&self) -> MutexGuard<'_, Place> {
        lock(&self.place)
    }

    /// The first position that it has not acknowledged.
    pub(crate) fn base(&self) -> u64 {
        self.place().base()
    }

    /// For people, when the log ends at `end`.
    pub(crate) fn status(&self, end: u64) -> CursorStatus {
        let place = self.place();
        let done = place.done_in_flight + count(place.done_ahead.len());
        let waiting_rows = end.saturating_sub(place.base()).saturating_sub(done);
        CursorStatus {
            target: self.name.clone(),
            open: place.open,
            waiting_rows,
            waiting_since: place.since.filter(|_| waiting_rows > 0),
            gaps: place.gaps.saturating_sub(count(place.gaps_done.len())),
            acknowledged: place.acknowledged,
            last_acknowledged: place.last_acknowledged,
        }
    }
}

impl Place {
    fn new(base: u64, saved: Option<u64>) -> Place {
        Place {
            open: false,
            read: base,
            saved,
            next_gap: None,
            last_gap: None,
            gaps: 0,
            gaps_done: BTreeSet::new(),
            damaged: BTreeMap::new(),
            read_at_commit: 0,
            since: None,
            gaps_in_flight: BTreeSet::new(),
            in_flight: VecDeque::new(),
            done_ahead: BTreeSet::new(),
            done_in_flight: 0,
            rewinds: 0,
            acknowledged: 0,
            last_acknowledged: None,
        }
    }

    /// The first position that is not acknowledged.
    pub(crate) fn base(&self) -> u64 {
        self.in_flight.front().map_or(self.read, |first| first.position)
    }

    /// Whether the database has to be told something.
    pub(crate) fn is_unsaved(&self) -> bool {
        self.saved != Some(self.base()) || !self.gaps_done.is_empty()
    }

    /// Whether no more may be given before something is acknowledged.
    pub(crate) fn is_full(&self) -> bool {
        self.in_flight.len() + self.gaps_in_flight.len() >= MOST_IN_FLIGHT
    }

    /// Gives out the row at `position`, which is not before `read`. `None` when it is acknowledged already.
    pub(crate) fn give_row(&mut self, position: u64, time: Timestamp) -> Option<Ticket> {
        self.read = position + 1;
        if self.done_ahead.remove(&position) {
            return None;
        }
        if self.in_flight.is_empty() {
            self.since = Some(time);
        }
        self.in_flight.push_back(InFlight { position, time, done: false });
        Some(Ticket(TicketOf::Row(position)))
    }

    /// Gives out a gap.
    pub(crate) fn give_gap(&mut self, key: GapKey) -> Ticket {
        self.last_gap = Some(key);
        self.gaps_in_flight.insert(key.id);
        Ticket(TicketOf::Gap { id: key.id, rewinds: self.rewinds })
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
            TicketOf::Row(position) => self.acknowledge_row(position),
            TicketOf::Gap { id, rewinds } => {
                rewinds == self.rewinds && self.gaps_in_flight.remove(&id) && self.gaps_done.insert(id)
            }
        }
    }

    fn acknowledge_row(&mut self, position: u64) -> bool {
        if position >= self.read {
            // Given before a rewind and not again yet.
            if self.done_ahead.insert(position) {
                self.acknowledged += 1;
            }
            return false;
        }
        let Ok(at) = self.in_flight.binary_search_by_key(&position, |row| row.position) else { return false };
        let Some(row) = self.in_flight.get_mut(at).filter(|row| !row.done) else { return false };
        row.done = true;
        self.last_acknowledged = Some(row.time);
        self.acknowledged += 1;
        self.done_in_flight += 1;
        let base = self.base();
        while let Some(done) = self.in_flight.pop_front_if(|row| row.done) {
            self.done_in_flight -= 1;
            self.since = Some(done.time);
        }
        if let Some(first) = self.in_flight.front() {
            self.since = Some(first.time);
        }
        self.base() != base
    }

    /// Goes back to the first row that is not acknowledged, and to the first such gap.
    pub(crate) fn rewind(&mut self) {
        let base = self.base();
        for row in self.in_flight.drain(..) {
            if row.done {
                self.done_ahead.insert(row.position);
            }
        }
        self.done_in_flight = 0;
        self.read = base;
        self.rewinds += 1;
        self.gaps_in_flight.clear();
        self.take_back_gaps();
    }

    /// Passes over damage that the target has been told of. True when there was some.
    pub(crate) fn pass_damage(&mut self) -> bool {
        let behind = self.damaged.get(&self.read).copied().filter(|behind| *behind > self.read);
        self.read = behind.unwrap_or(self.read);
        behind.is_some()
    }

    /// Passes over everything before `position`: it is not in the log any more.
    pub(crate) fn skip_to(&mut self, position: u64) {
        while let Some(row) = self.in_flight.pop_front_if(|row| row.position < position) {
            self.done_in_flight -= u64::from(row.done);
        }
        self.done_ahead = self.done_ahead.split_off(&position);
        self.damaged = self.damaged.split_off(&position);
        self.read = self.read.max(position);
    }

    /// Begins again at `position`, in a log that has replaced the one the tickets are of.
    pub(crate) fn restart(&mut self, position: u64) {
        self.rewind();
        self.done_ahead.clear();
        self.damaged.clear();
        self.read = position;
        self.saved = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place::new(10, Some(10))
    }

    fn give(place: &mut Place, position: u64) -> Option<Ticket> {
        place.give_row(position, Timestamp::from_millis(0))
    }

    #[test]
    fn the_base_is_the_first_that_is_not_acknowledged_in_any_order() {
        let mut place = place();
        let tickets: Vec<Ticket> = (10..14).filter_map(|position| give(&mut place, position)).collect();
        assert!(!place.acknowledge(tickets[1]));
        assert!(!place.acknowledge(tickets[3]));
        assert_eq!(place.base(), 10);
        assert!(place.acknowledge(tickets[0]));
        assert_eq!(place.base(), 12);
        assert!(place.acknowledge(tickets[2]));
        assert_eq!(place.base(), 14);
        assert!(!place.acknowledge(tickets[2]), "a second time is nothing new");
        assert_eq!(place.acknowledged, 4);
    }

    #[test]
    fn after_a_rewind_only_what_is_not_acknowledged_is_given_again() {
        let mut place = place();
        let tickets: Vec<Ticket> = (10..14).filter_map(|position| give(&mut place, position)).collect();
        place.acknowledge(tickets[0]);
        place.acknowledge(tickets[2]);
        place.rewind();
        assert_eq!((place.base(), place.read), (11, 11));
        // A late answer from before still counts.
        place.acknowledge(tickets[3]);
        let given: Vec<u64> = (11..15).filter(|position| give(&mut place, *position).is_some()).collect();
        assert_eq!(given, [11, 14]);
    }

    #[test]
    fn a_gap_from_before_a_rewind_has_to_be_acknowledged_again() {
        let mut place = place();
        place.gaps = 1;
        let key = GapKey { position: 10, id: 1 };
        let before = place.give_gap(key);
        place.rewind();
        assert_eq!(place.next_gap, Some(0));
        let after = place.give_gap(key);
        assert!(!place.acknowledge(before));
        assert!(place.acknowledge(after));
        assert!(place.is_unsaved());
    }

    #[test]
    fn what_has_left_the_log_is_passed_over() {
        let mut place = place();
        let tickets: Vec<Ticket> = (10..14).filter_map(|position| give(&mut place, position)).collect();
        place.acknowledge(tickets[1]);
        place.skip_to(12);
        assert_eq!((place.base(), place.read), (12, 14));
        assert!(!place.acknowledge(tickets[0]));
        place.skip_to(20);
        assert_eq!((place.base(), place.read), (20, 20));
    }
}
