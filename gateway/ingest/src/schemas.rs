//! The schemas that are known, those that are waited for, and those for the lack of which blocks were put aside. Pure.
//!
//! **Invariant:** whatever comes, all of it is bounded, and a schema that is waited for is not waited for anew because of others.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tidegate_codec::block::SchemaId;
use tidegate_model::Name;
use tokio::time::Instant;

use crate::piece::Known;

/// Schemas that are kept, and the bytes of their documents; beyond, all are forgotten and come again from the broker as they are
/// needed.
const MOST: usize = 100_000;
const MOST_BYTES: usize = 128 << 20;
/// Schemas that are waited for at the same time; blocks that need yet another are put aside at once.
const MOST_MISSING: usize = 10_000;
/// Schemas that are remembered because blocks were put aside: as many as a quarantine has blocks.
const MOST_WANTED: usize = 10_000;

type Place = (Name, SchemaId);

#[derive(Debug)]
struct Missing {
    since: Instant,
    /// It was waited for long enough: blocks that need it are put aside at once.
    given_up: bool,
    /// Whether the broker was asked for it.
    asked: bool,
}

/// What is known of schemas.
#[derive(Debug, Default)]
pub(crate) struct Schemas {
    known: HashMap<Place, Arc<Known>>,
    bytes: usize,
    missing: HashMap<Place, Missing>,
    /// When those that were waited for were looked through.
    swept: Option<Instant>,
    wanted: HashSet<(String, SchemaId)>,
    /// Whether blocks may have been put aside for the lack of schemas that are not among the wanted.
    more_wanted: bool,
    arrived: Vec<Arc<Known>>,
}

impl Schemas {
    /// No schema is known. `wanted`: those for the lack of which blocks had been put aside before.
    pub(crate) fn new(wanted: HashSet<(String, SchemaId)>) -> Schemas {
        Schemas { wanted, ..Schemas::default() }
    }

    /// The schema of a gateway with this identity.
    pub(crate) fn get(&self, place: &Place) -> Option<&Arc<Known>> {
        self.known.get(place)
    }

    /// Takes a schema; another one in its place gives way.
    pub(crate) fn know(&mut self, known: Arc<Known>) {
        let place = (known.key.gateway.clone(), known.id);
        self.bytes = self.bytes.saturating_add(known.document.len());
        if self.known.len() >= MOST || self.bytes > MOST_BYTES {
            self.known.clear();
            self.bytes = known.document.len();
        }
        self.missing.remove(&place);
        let is_wanted = self.wanted.remove(&(place.0.to_string(), place.1)) || self.more_wanted;
        if is_wanted && self.arrived.len() < MOST_WANTED {
            self.arrived.push(Arc::clone(&known));
        }
        if let Some(before) = self.known.insert(place, known) {
            self.bytes = self.bytes.saturating_sub(before.document.len());
        }
    }

    /// Whether a block has to wait for this schema. When it has not, it is put aside. `patience`: how long a schema is waited for.
    pub(crate) fn is_waited_for(&mut self, place: &Place, now: Instant, patience: Duration) -> bool {
        if !self.missing.contains_key(place) && self.missing.len() >= MOST_MISSING {
            self.sweep(now, patience);
        }
        let has_room = self.missing.len() < MOST_MISSING;
        let missing = match self.missing.get_mut(place) {
            Some(missing) => Some(missing),
            None if has_room => {
                let missing = Missing { since: now, given_up: false, asked: false };
                Some(self.missing.entry(place.clone()).or_insert(missing))
            }
            None => None,
        };
        if let Some(missing) = missing {
            missing.given_up |= now.saturating_duration_since(missing.since) >= patience;
            if !missing.given_up {
                return true;
            }
        }
        self.want(place);
        false
    }

    /// Blocks are put aside for the lack of it.
    pub(crate) fn want(&mut self, place: &Place) {
        let (gateway, id) = (place.0.to_string(), place.1);
        if self.wanted.len() < MOST_WANTED {
            self.wanted.insert((gateway, id));
        } else if !self.wanted.contains(&(gateway, id)) {
            self.more_wanted = true;
        }
    }

    /// Forgets those that were waited for long enough; once for a time, however many ask for room.
    fn sweep(&mut self, now: Instant, patience: Duration) {
        if self.swept != Some(now) {
            self.swept = Some(now);
            self.missing
                .retain(|_, missing| !missing.given_up && now.saturating_duration_since(missing.since) < patience);
        }
    }

    /// Schemas to ask for, at most so many: each once before one is asked for again.
    pub(crate) fn asks_for(&mut self, most: usize) -> Vec<Place> {
        let waits = |missing: &Missing| !missing.given_up && !missing.asked;
        if !self.missing.values().any(waits) {
            self.missing.values_mut().for_each(|missing| missing.asked = false);
        }
        let waiting = self.missing.iter_mut().filter(|(_, missing)| waits(missing)).take(most);
        waiting
            .map(|(place, missing)| {
                missing.asked = true;
                place.clone()
            })
            .collect()
    }

    /// The schemas that have come since the last time and that blocks were put aside for.
    pub(crate) fn take_arrived(&mut self) -> Vec<Arc<Known>> {
        std::mem::take(&mut self.arrived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{self, name};

    const PATIENCE: Duration = Duration::from_secs(10);

    fn place(id: u32) -> Place {
        (name("line3"), SchemaId(id))
    }

    #[test]
    fn no_number_of_forged_schemas_lets_an_honest_one_wait_anew_or_fills_the_memory() {
        let (mut schemas, start) = (Schemas::default(), Instant::now());
        let honest = scene::known(&scene::schema("meter", 1));
        let wanted = (honest.key.gateway.clone(), honest.id);
        assert!(schemas.is_waited_for(&wanted, start, PATIENCE));
        for id in 0..30_000 {
            let at = start + PATIENCE / 2;
            assert_eq!(schemas.is_waited_for(&place(id), at, PATIENCE), id < 9_999, "{id}");
        }
        assert!(!schemas.is_waited_for(&wanted, start + PATIENCE, PATIENCE), "its own time counts");
        assert!(schemas.is_waited_for(&place(70_000), start + 2 * PATIENCE, PATIENCE), "there is room again");
        assert!(schemas.missing.len() <= MOST_MISSING && schemas.wanted.len() <= MOST_WANTED);
        // It had no room among the wanted, and its blocks leave the quarantine all the same.
        schemas.know(Arc::clone(&honest));
        assert_eq!(schemas.take_arrived().len(), 1);
        assert!(schemas.take_arrived().is_empty());
    }

    #[test]
    fn each_schema_is_asked_for_before_one_is_asked_for_again() {
        let (mut schemas, now) = (Schemas::default(), Instant::now());
        (0..5).for_each(|id| assert!(schemas.is_waited_for(&place(id), now, PATIENCE)));
        let mut asked: HashSet<Place> = HashSet::new();
        for (round, expected) in [2, 4, 5].into_iter().enumerate() {
            asked.extend(schemas.asks_for(2));
            assert_eq!(asked.len(), expected, "{round}");
        }
        assert_eq!(schemas.asks_for(9).len(), 5);
    }
}
