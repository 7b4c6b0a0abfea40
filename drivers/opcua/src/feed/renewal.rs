//! Subscriptions that are made anew, and what is missing because of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{Feed, Job, Thing};
use crate::{
    history::{Asked, Hole},
    rows::Items,
    subscription::State,
    told::Told,
};

/// A subscription that has to be made anew within this time of the last time waits.
const SHORT: Duration = Duration::from_secs(60);

/// What may be missing although the session goes on, and only the server's history can tell.
#[derive(Default)]
pub(super) struct Missing {
    /// Slots of which something is.
    slots: BTreeSet<usize>,
    /// Subscriptions of which messages are asked for again, since the last time somebody looked.
    gaps: BTreeSet<usize>,
    /// By subscription: what would have to be asked for if the server did not have those messages; `None` once it is.
    suspected: BTreeMap<usize, Option<Vec<Asked>>>,
}

impl Missing {
    /// What may be missing, for the next connection to ask for.
    pub(super) fn leave(&mut self) -> impl Iterator<Item = Vec<Asked>> {
        std::mem::take(&mut self.suspected).into_values().flatten()
    }

    /// Whether it is not known yet that nothing is missing.
    pub(super) fn is_suspected(&self) -> bool {
        !self.suspected.is_empty()
    }
}

impl Feed {
    fn is_live(&self, index: usize) -> bool {
        self.subscriptions.get(index).is_some_and(|subscription| subscription.state == State::Live)
    }

    /// Asks again for what was parked.
    pub(super) fn ask_again(&mut self, now: Instant) {
        let mut numbers = Vec::new();
        for thing in self.parked.due(now) {
            match thing {
                Thing::Item(number) => numbers.push(number),
                Thing::Events(of, slot) => self.jobs.push_back(Job::Events(of, slot)),
                Thing::Subscription(of) if self.is_live(of) => self.make_anew(of),
                Thing::Subscription(of) => self.jobs.push_back(Job::Make(of)),
            }
        }
        if !numbers.is_empty() {
            self.jobs.push_back(Job::Retry(numbers));
        }
    }

    /// Gives a subscription up that the server has and makes it again; later, if that has helped for a short time only.
    pub(super) fn make_anew_slowly(&mut self, index: usize, now: Instant) {
        if !self.is_live(index) {
            return;
        }
        match self.made_anew.get(&index) {
            Some(before) if now.saturating_duration_since(*before) < SHORT => {
                self.parked.add(Thing::Subscription(index), now);
            }
            _ => {
                self.made_anew.insert(index, now);
                self.make_anew(index);
            }
        }
    }

    /// Gives a subscription up and makes it again.
    pub(super) fn make_anew(&mut self, index: usize) {
        let Some(subscription) = self.subscriptions.get_mut(index) else { return };
        if let Some(id) = subscription.id {
            self.jobs.push_back(Job::Drop(id));
        }
        subscription.begin_anew();
        self.has_missed(index);
        // Its messages are not asked for any more.
        self.missing.gaps.remove(&index);
        if let Some(Some(begins)) = self.missing.suspected.remove(&index) {
            self.fill(begins);
        }
        self.parked.forget(index);
        self.jobs.retain(|job| !job.is_of(index));
        self.jobs.push_back(Job::Make(index));
    }

    /// Asks the server's history for what is missing of these items up to now, behind everything else.
    pub(crate) fn fill(&mut self, missing: Vec<Asked>) {
        if !missing.is_empty() && self.may_ask_for_history() {
            self.later(Job::Past(Hole::new(missing).not_before(self.server_time)));
        }
    }

    /// Looks what is missing, and asks for it, before anything that has come is told: what was told last says where it begins.
    pub(crate) fn look_for_missing(&mut self, items: &Items<'_>, told: &mut Told) {
        let slots = std::mem::take(&mut self.missing.slots);
        if !slots.is_empty() {
            let missing = told.hole(|number| items.slot(number).is_some_and(|(slot, _)| slots.contains(&slot)));
            self.fill(missing);
        }
        for of in std::mem::take(&mut self.missing.gaps) {
            let Some(known) = self.subscriptions.get(of) else { continue };
            let is_of = |number| items.slot(number).is_some_and(|(slot, _)| known.slots.contains(&slot));
            if let None | Some(None) = self.missing.suspected.get(&of) {
                let begins = told.hole(is_of);
                if !begins.is_empty() {
                    self.missing.suspected.insert(of, Some(begins));
                }
            }
        }
    }

    /// Something of what a subscription is about is missing.
    pub(super) fn has_missed(&mut self, of: usize) {
        let slots = self.subscriptions.get(of).into_iter().flat_map(|known| known.slots.iter().copied());
        self.missing.slots.extend(slots);
    }

    /// Messages of a subscription are asked for again; until they have come, something may be missing.
    pub(super) fn may_have_missed(&mut self, of: usize) {
        self.missing.gaps.insert(of);
    }

    /// The server does not have a message of a subscription any more.
    pub(super) fn has_lost(&mut self, of: usize) {
        match self.missing.suspected.get_mut(&of) {
            Some(begins) => {
                let begins = begins.take().unwrap_or_default();
                self.fill(begins);
            }
            None => self.has_missed(of),
        }
    }

    /// No message of a subscription is asked for any more.
    pub(super) fn has_all(&mut self, of: usize) {
        self.missing.gaps.remove(&of);
        self.missing.suspected.remove(&of);
    }
}
