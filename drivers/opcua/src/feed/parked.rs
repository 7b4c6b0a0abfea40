//! What the server does not have, or does not do, now: asked for again slowly.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// The first time that something waits is this part of the longest: a server that was only starting up is whole again soon.
const FIRST_WAIT_PART: u32 = 32;
/// Things that are asked for again at once, at most.
const AT_ONCE: usize = 100;

/// What may be parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    /// An item, by its number.
    Item(usize),
    /// The events of a slot, over a subscription.
    Events(usize, usize),
    /// A whole subscription.
    Subscription(usize),
}

#[derive(Debug, Clone)]
struct Wait {
    due: Instant,
    waited: Duration,
}

/// What waits to be asked for again.
#[derive(Debug, Clone)]
pub(crate) struct Parked {
    waiting: BTreeMap<Thing, Wait>,
    longest: Duration,
}

impl Parked {
    /// Nothing yet; what comes waits at most so long from one try to the next.
    pub(crate) fn new(longest: Duration) -> Parked {
        Parked { waiting: BTreeMap::new(), longest }
    }

    /// Whether nothing is.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Parks something; what is parked already keeps its time.
    pub(crate) fn add(&mut self, thing: Thing, now: Instant) {
        let first = (self.longest / FIRST_WAIT_PART).max(Duration::from_secs(1)).min(self.longest);
        self.waiting.entry(thing).or_insert(Wait { due: now + first, waited: first });
    }

    /// The server has it now.
    pub(crate) fn remove(&mut self, thing: Thing) {
        self.waiting.remove(&thing);
    }

    /// A subscription begins anew, and its events with it.
    pub(crate) fn forget(&mut self, subscription: usize) {
        let is_of = |thing: &Thing| match thing {
            Thing::Item(_) => false,
            Thing::Events(of, _) | Thing::Subscription(of) => *of == subscription,
        };
        self.waiting.retain(|thing, _| !is_of(thing));
    }

    /// What is to be asked for again now. It waits twice as long the next time.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Thing> {
        let mut due = Vec::new();
        for (thing, wait) in self.waiting.iter_mut().filter(|(_, wait)| wait.due <= now).take(AT_ONCE) {
            wait.waited = wait.waited.saturating_mul(2).min(self.longest);
            wait.due = now + wait.waited;
            due.push(*thing);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parked_is_asked_for_more_and_more_slowly_until_it_is_there() {
        let begin = Instant::now();
        let mut parked = Parked::new(Duration::from_secs(64));
        parked.add(Thing::Item(7), begin);
        let mut pauses = Vec::new();
        let (mut now, mut last) = (begin, begin);
        while pauses.len() < 7 {
            now += Duration::from_secs(1);
            if parked.due(now) == [Thing::Item(7)] {
                pauses.push((now - last).as_secs());
                last = now;
            }
            // One that is refused again keeps its time.
            parked.add(Thing::Item(7), now);
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 64]);
        parked.remove(Thing::Item(7));
        assert_eq!(parked.due(now + Duration::from_secs(1000)), []);
    }

    #[test]
    fn a_subscription_takes_its_events_with_it() {
        let now = Instant::now();
        let mut parked = Parked::new(Duration::from_secs(1));
        for thing in [Thing::Item(0), Thing::Events(0, 3), Thing::Events(1, 4), Thing::Subscription(0)] {
            parked.add(thing, now);
        }
        parked.forget(0);
        assert_eq!(parked.due(now + Duration::from_secs(1)), [Thing::Item(0), Thing::Events(1, 4)]);
    }
}
