//! Who wants to be told all alarms that stand, and how far that is.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What was asked for, by subscription. It has no more entries than there are subscriptions: each is asked for by its owner.
#[derive(Debug, Default)]
pub(crate) struct Refreshes(Mutex<HashMap<u32, Stage>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// By this item of it, or all.
    Asked(Option<u32>),
    Telling,
}

impl Refreshes {
    fn stages(&self) -> MutexGuard<'_, HashMap<u32, Stage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A subscription is to be told all alarms, or one item of it is. False while it is being told.
    pub(crate) fn ask(&self, subscription: u32, item: Option<u32>) -> bool {
        let mut stages = self.stages();
        let is_new = !stages.contains_key(&subscription);
        if is_new {
            stages.insert(subscription, Stage::Asked(item));
        }
        is_new
    }

    /// The subscriptions that have not begun to be told, each with its item if it is about one; now they have begun.
    pub(crate) fn begin(&self) -> HashMap<u32, Option<u32>> {
        let mut begun = HashMap::new();
        for (subscription, stage) in self.stages().iter_mut() {
            if let Stage::Asked(item) = *stage {
                begun.insert(*subscription, item);
                *stage = Stage::Telling;
            }
        }
        begun
    }

    /// A subscription has been told everything.
    pub(crate) fn is_told(&self, subscription: u32) {
        let mut stages = self.stages();
        if stages.get(&subscription) == Some(&Stage::Telling) {
            stages.remove(&subscription);
        }
    }

    /// The others are gone; those that were asked for meanwhile are still to begin.
    pub(crate) fn go_on(&self, telling: &HashSet<u32>) {
        self.stages().retain(|subscription, stage| *stage != Stage::Telling || telling.contains(subscription));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_told_once_at_a_time() {
        let refreshes = Refreshes::default();
        assert!(refreshes.ask(1, None) && refreshes.ask(2, Some(7)));
        assert!(!refreshes.ask(1, None), "it has been asked for");
        assert_eq!(refreshes.begin(), HashMap::from([(1, None), (2, Some(7))]));
        assert!(refreshes.begin().is_empty());
        refreshes.go_on(&HashSet::from([1]));
        assert!(!refreshes.ask(1, None), "it is being told");
        assert!(refreshes.ask(2, None));
        refreshes.is_told(2);
        refreshes.go_on(&HashSet::new());
        assert_eq!(refreshes.begin(), HashMap::from([(2, None)]));
        assert!(refreshes.ask(1, None));
    }
}
