//! When rows have to leave the log, and which: by age, and by size.

use std::time::Duration;

use tidegate_config::WhenFull;

use crate::{GapReason, books::Books, compaction::limits::Largest, database::PAGE};

/// The store drops somewhat more than it has to, this part of `max_size` or `max_age`, so that it need not do it at
/// every commit.
const PART: u64 = 256;
/// Room for the write-ahead log at most, and the part of `max_size` that it is of a small store.
const JOURNAL: (u64, u64) = (12 << 20, 32);

/// What is done about a store that is full, besides dropping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Nothing.
    No,
    /// Old rows that say little are to go.
    Thin,
    /// New rows are to be refused.
    Refuse,
}

/// When something has to be dropped.
#[derive(Debug)]
pub(crate) struct Retention {
    pub(super) max_age: Duration,
    /// Bytes that the database may have in use.
    room: u64,
    when_full: WhenFull,
    largest: Largest,
    /// Bytes in use when they were looked up last.
    in_use: u64,
    /// Bytes written since.
    unmeasured: u64,
    pub(super) due: Option<GapReason>,
    /// What has been said about a full store since the start.
    told: Told,
}

/// What has been said since the start; the rest is counted.
#[derive(Debug, Default)]
struct Told {
    drops: bool,
    thins: bool,
    refuses: bool,
}

impl Retention {
    pub(crate) fn new(options: &tidegate_config::Store) -> Retention {
        let (max_age, max_size) = (options.max_age, options.max_size.0);
        let room = max_size - journal(max_size);
        let largest = Largest::new(max_age, max_size);
        Retention {
            max_age,
            room,
            when_full: options.when_full,
            largest,
            in_use: 0,
            unmeasured: 0,
            due: None,
            told: Told::default(),
        }
    }

    /// How large epochs may become.
    pub(crate) fn largest(&self) -> &Largest {
        &self.largest
    }

    /// So many bytes have been added to the log.
    pub(crate) fn written(&mut self, bytes: u64) {
        self.unmeasured += bytes + PAGE / 2;
    }

    /// Whether the bytes in use are to be looked up.
    pub(crate) fn wants_measure(&self) -> bool {
        self.unmeasured > self.room / PART || self.due == Some(GapReason::StoreFull)
    }

    /// So many bytes are in use.
    pub(crate) fn measured(&mut self, bytes: u64) {
        (self.in_use, self.unmeasured) = (bytes, 0);
        if bytes > self.room && self.when_full != WhenFull::Block {
            self.due = Some(GapReason::StoreFull);
        } else if self.due == Some(GapReason::StoreFull) {
            self.due = None;
        }
    }

    /// What is to be done about the size.
    pub(crate) fn full(&self) -> Full {
        let used = self.in_use + self.unmeasured;
        match self.when_full {
            WhenFull::Thin if used > self.room - self.room / 16 => Full::Thin,
            WhenFull::Block if used > self.room => Full::Refuse,
            _ => Full::No,
        }
    }

    /// Says once that a full store thins its rows or refuses new ones.
    pub(crate) fn tell_full(&mut self) {
        match self.full() {
            Full::Thin if !std::mem::replace(&mut self.told.thins, true) => tracing::warn!(
                bytes = self.in_use,
                "the store is nearly full: of the oldest rows only alarms, extremes and the last of each minute stay \
                 (store.when_full = \"thin\"); targets that had not got the others are told by gap records; this is said once, \
                 `tidegate queue` counts them; raise store.max_size, or see why the targets do not take them"
            ),
            Full::Refuse if !std::mem::replace(&mut self.told.refuses, true) => tracing::warn!(
                bytes = self.in_use,
                "the store is full: new rows are not kept until old ones have reached store.max_age \
                 (store.when_full = \"block\"); targets are told by gap records, the local broker has all rows; this is said \
                 once, `tidegate queue` counts them; raise store.max_size"
            ),
            _ => {}
        }
    }

    /// Says once that so many rows have been dropped for their room and not all targets had got them.
    pub(crate) fn tell_dropped(&mut self, rows: u64) {
        if rows > 0 && !std::mem::replace(&mut self.told.drops, true) {
            tracing::warn!(
                rows,
                bytes = self.in_use,
                "the store is full: the oldest rows are dropped, and a target had not got them; it is told by gap records; \
                 this is said once, `tidegate queue` counts them; raise store.max_size, or see why the target does not take them"
            );
        }
    }

    /// Looks whether the oldest rows are too old.
    pub(crate) fn look(&mut self, books: &Books) {
        let allowed = books.age.oldest_allowed(self.max_age + self.max_age / 256);
        if self.due.is_none() && books.oldest.is_some() && allowed.is_some_and(|allowed| books.oldest_age < allowed) {
            self.due = Some(GapReason::TooOld);
        }
    }

    /// Whether something has to be dropped.
    pub(crate) fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// How many of these, each with an age mark and its bytes, go, from the oldest on.
    pub(super) fn choose(
        &self,
        reason: GapReason,
        books: &Books,
        candidates: impl Iterator<Item = (u64, u64)>,
    ) -> usize {
        let allowed = books.age.oldest_allowed(self.max_age).unwrap_or(0);
        let mut excess = (self.in_use + self.unmeasured + self.room / PART).saturating_sub(self.room);
        let goes = |(age, bytes): &(u64, u64)| match reason {
            GapReason::TooOld => *age < allowed,
            _ => {
                let goes = excess > 0;
                excess = excess.saturating_sub(*bytes);
                goes
            }
        };
        candidates.take_while(goes).count()
    }
}

/// The part of `max_size` that the write-ahead log takes.
pub(crate) fn journal(max_size: u64) -> u64 {
    JOURNAL.0.min(max_size / JOURNAL.1)
}
