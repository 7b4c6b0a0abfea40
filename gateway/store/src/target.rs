//! One target, shared between its cursor and the writer.

use std::sync::{Mutex, MutexGuard};

use tidegate_model::Name;
use tokio::sync::Notify;

use crate::{CursorStatus, numbers::count, place::Place, ranges::Acknowledged, shared::lock, tail::Tail};

/// One target, shared between its cursor and the writer.
#[derive(Debug)]
pub(crate) struct Target {
    /// The target.
    pub(crate) name: Name,
    /// Tells the live lane that there is something new.
    pub(crate) live_news: Notify,
    /// Tells the other lane, or the only one.
    pub(crate) news: Notify,
    place: Mutex<Place>,
}

impl Target {
    /// A target that has acknowledged this, and whether the disk knows it.
    pub(crate) fn new(name: Name, done: Acknowledged, saved: bool) -> Target {
        let place = Mutex::new(Place::new(done, saved));
        Target { name, live_news: Notify::new(), news: Notify::new(), place }
    }

    /// The same place under another name.
    pub(crate) fn renamed(&self, name: Name) -> Target {
        let place = self.place();
        let renamed = Target::new(name, place.done.clone(), false);
        {
            let mut renamed = renamed.place();
            renamed.gaps_done.clone_from(&place.gaps_done);
            renamed.take_over(&place);
        }
        renamed
    }

    /// How far it is. Never held across an await.
    pub(crate) fn place(&self) -> MutexGuard<'_, Place> {
        lock(&self.place)
    }

    /// The first position that it has not acknowledged.
    pub(crate) fn base(&self) -> u64 {
        self.place().base()
    }

    /// Tells the lanes that there is something new.
    pub(crate) fn tell(&self) {
        self.live_news.notify_one();
        self.news.notify_one();
    }

    /// For people; `tail` has the newest rows of the log.
    pub(crate) fn status(&self, tail: &Mutex<Tail>) -> CursorStatus {
        let end = lock(tail).end();
        let place = self.place();
        let live = place.oldest_live(end);
        let waiting_rows = end.saturating_sub(place.base()).saturating_sub(place.done.ahead().positions());
        let mut status = CursorStatus {
            target: self.name.clone(),
            open: place.open,
            waiting_rows,
            waiting_since: place.since.filter(|_| waiting_rows > 0),
            live_since: None,
            backlog_since: place.since.filter(|_| place.has_backlog(end)),
            gaps: place.gaps.saturating_sub(count(place.gaps_done.len())),
            ranges: count(place.done.ahead().count()),
            acknowledged: place.acknowledged,
            last_acknowledged: place.last_acknowledged,
        };
        drop(place);
        status.live_since = live.and_then(|(first, time)| time.or_else(|| lock(tail).time_at(first)));
        status
    }
}
