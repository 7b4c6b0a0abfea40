//! What a connection that is over leaves to the next one.

use std::collections::BTreeSet;

use super::{Feed, Job, Parked};
use crate::{
    history::Hole,
    rows::Rows,
    subscription::{State, Subscription},
};

/// So many connections in a row may end over a question for history; then there is one on which none is asked.
const MOST_ENDS: u8 = 8;

/// What a feed leaves behind for the next connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    pub(crate) subscriptions: Vec<Subscription>,
    pub(super) parked: Option<Parked>,
    pub(super) ids: Vec<u32>,
}

/// What a feed leaves behind whatever the next connection finds.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// What had come and was no row yet.
    rows: Rows,
    /// What was still to be asked for of the past.
    holes: Vec<Hole>,
    /// The same of items that the server did not have.
    unplaced: Vec<Hole>,
    history: Deadly,
}

impl Left {
    /// What the server's history was still to be asked for, of items that it has: their numbers, and since when something is
    /// missing, as OPC UA counts it.
    pub(crate) fn unfilled(&self) -> Option<(BTreeSet<usize>, i64)> {
        let since = self.holes.iter().filter_map(Hole::since).min()?;
        Some((self.holes.iter().flat_map(Hole::numbers).collect(), since))
    }
}

/// How history goes with a server whose answers, or questions, may be what ends the connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Deadly {
    /// Connections in a row that ended over it.
    ends: u8,
    /// Whether this one does.
    is_end: bool,
    /// Items that are asked for at once after that.
    at_once: usize,
}

impl Deadly {
    /// The server has told of the past.
    pub(super) fn is_answered(&mut self) {
        *self = Deadly::default();
    }
}

impl Feed {
    /// The connection has ended over this job, or while it was being done.
    pub(super) fn put_back(&mut self, job: Job) {
        let Job::Past(hole) = job else { return self.jobs.push_front(job) };
        let limit = &self.server.limits.history;
        limit.lower(hole.most_asked(limit.get()));
        self.deadly.is_end = true;
        match hole.not_answered() {
            Some(hole) => self.jobs.push_front(Job::Past(hole)),
            None => tracing::warn!(
                "the connection ends whenever the server's history is read; what was while it was away stays missing in part"
            ),
        }
    }

    /// Whether history may be asked for over this connection.
    pub(crate) fn may_ask_for_history(&self) -> bool {
        self.deadly.ends < MOST_ENDS
    }

    /// What is left to be said of a connection that is over.
    pub(crate) fn leave(&mut self) -> Left {
        if self.job.take().is_some()
            && let Some(job) = self.doing.take()
        {
            self.put_back(job);
        }
        let hole = |job| if let Job::Past(hole) = job { Some(hole) } else { None };
        let now = self.server_time;
        let suspected = self.missing.leave().map(|missing| Hole::new(missing).not_before(now));
        let holes = self.jobs.drain(..).filter_map(hole).chain(suspected);
        let mut holes: Vec<Hole> = holes.map(Hole::over_another_session).collect();
        let mut unplaced: Vec<Hole> = self.unplaced.drain(..).map(Hole::over_another_session).collect();
        let mut history = Deadly::default();
        if self.deadly.is_end {
            history.ends = self.deadly.ends.saturating_add(1);
            history.at_once = self.server.limits.history.get();
        }
        if history.ends == MOST_ENDS {
            tracing::warn!(
                connections = history.ends,
                "the connection ends whenever the server's history is read; it is not read until the next outage, and what was while \
                 the server was away stays missing: set `backfill` to false if it stays so"
            );
            holes.clear();
            unplaced.clear();
        }
        Left { rows: std::mem::take(&mut self.rows).into_past(), holes, unplaced, history }
    }

    /// Goes on with what a connection before has left.
    pub(crate) fn take_up(&mut self, left: Left) {
        self.rows = left.rows;
        self.jobs.extend(left.holes.into_iter().chain(left.unplaced).map(Job::Past));
        self.deadly = Deadly { is_end: false, ..left.history };
        if self.deadly.ends > 0 {
            self.server.limits.history.at_most(self.deadly.at_once);
        }
    }

    /// What another connection can go on with: subscriptions that are complete, and what is parked. The others are nobody's
    /// any more and end by themselves.
    pub(crate) fn keep(&self) -> Kept {
        let doing = self.doing.iter().filter(|_| self.job.is_some());
        let open: Vec<&Job> = self.jobs.iter().chain(doing).filter(|job| job.makes()).collect();
        let is_filling = |index: usize| open.iter().any(|job| job.is_of(index));
        let keep = |(index, subscription): (usize, &Subscription)| {
            let mut kept = subscription.clone();
            if kept.state != State::Live || is_filling(index) {
                kept.begin_anew();
            }
            kept
        };
        let subscriptions: Vec<Subscription> = self.subscriptions.iter().enumerate().map(keep).collect();
        let mut parked = self.parked.clone();
        let made_anew = subscriptions.iter().enumerate().filter(|(_, kept)| kept.state != State::Live);
        made_anew.for_each(|(index, _)| parked.forget(index));
        Kept { subscriptions, parked: Some(parked), ids: self.ids.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{history::Asked, told::Last};

    #[test]
    fn what_is_unfilled_is_said_with_its_beginning() {
        let hole = |items: &[(usize, i64)]| {
            Hole::new(items.iter().map(|(number, told)| Asked::new(*number, Last::until(*told))).collect())
        };
        let unplaced = vec![hole(&[(9, 1)])];
        let mut left = Left { unplaced, ..Left::default() };
        assert_eq!(left.unfilled(), None, "what the server does not have is not waited for");
        left.holes = vec![hole(&[(4, 70), (3, 50)]), hole(&[(3, 60)])];
        assert_eq!(left.unfilled(), Some((BTreeSet::from([3, 4]), 50)));
    }
}
