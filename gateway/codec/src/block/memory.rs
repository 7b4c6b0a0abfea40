//! What an encoder remembers of the columns it has seen, so that it need not search anew in every block.

use std::collections::HashMap;

use super::{SchemaId, float::Floats, lattice::Lattice};

/// Columns remembered at most; beyond them everything is forgotten and found again.
const COLUMNS: usize = 1 << 16;
/// After so many blocks what was found is looked for again.
const RENEW: u8 = 16;

/// What was found for one column. A wrong memory costs bytes, never values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    /// Blocks since all cycles were tried.
    age: u8,
    /// The cycle that was of use.
    pub(super) lag: Option<u32>,
    /// The even scale behind the numbers.
    pub(super) lattice: Option<Lattice>,
    /// Whether the numbers repeat, or are on such a scale.
    pub(super) repeats: bool,
    /// The form of floats that are no short decimals, and what it cost.
    floats: Option<Remembered>,
}

#[derive(Debug, Clone, Copy)]
struct Remembered {
    floats: Floats,
    /// In 256ths of an eighth of a bit a float.
    cost: u64,
    age: u8,
}

impl Memory {
    /// Whether all cycles are to be tried in this block.
    pub(super) fn begin_block(&mut self) -> bool {
        let thorough = self.age == 0;
        self.age = (self.age + 1) % RENEW;
        thorough
    }

    /// The form that was found last, unless it is time to look again.
    pub(super) fn floats(&mut self, single: bool) -> Option<Floats> {
        let known = self.floats.as_mut().filter(|known| known.floats.single == single)?;
        known.age += 1;
        (known.age < RENEW).then_some(known.floats)
    }

    /// Whether so much for so many floats is about what the form cost when it was found.
    pub(super) fn is_as_cheap(&self, cost: u64, floats: u64) -> bool {
        self.floats.is_some_and(|known| per_float(cost, floats) <= known.cost + known.cost / 32)
    }

    /// Remembers a form and what it costs for so many floats.
    pub(super) fn remember(&mut self, floats: Floats, cost: u64, count: u64) {
        self.floats = Some(Remembered { floats, cost: per_float(cost, count), age: 0 });
    }
}

fn per_float(cost: u64, floats: u64) -> u64 {
    cost.saturating_mul(256) / floats.max(1)
}

/// The memories of all streams.
#[derive(Debug, Default)]
pub(super) struct Memories {
    of: HashMap<SchemaId, Vec<Memory>>,
    columns: usize,
}

impl Memories {
    /// Those of a stream with so many columns.
    pub(super) fn of(&mut self, schema: SchemaId, columns: usize) -> &mut [Memory] {
        if !self.of.contains_key(&schema) {
            if self.columns.saturating_add(columns) > COLUMNS {
                self.of.clear();
                self.columns = 0;
            }
            self.columns += columns;
        }
        let memories = self.of.entry(schema).or_default();
        if memories.len() != columns {
            memories.resize(columns, Memory::default());
        }
        memories
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_cycles_are_tried_in_the_first_block_and_every_sixteenth() {
        let mut memory = Memory::default();
        let thorough: Vec<usize> = (0..40).filter(|_| memory.begin_block()).collect();
        assert_eq!(thorough, [0, 16, 32]);
    }

    #[test]
    fn a_form_is_looked_for_again_when_it_costs_more_or_has_been_used_for_long() {
        let mut memory = Memory::default();
        assert_eq!(memory.floats(false), None);
        memory.remember(Floats::ORDER, 6_400, 100);
        assert_eq!(memory.floats(true), None);
        assert_eq!((0..RENEW).filter(|_| memory.floats(false).is_some()).count(), 15);
        assert!(memory.is_as_cheap(3_300, 50) && !memory.is_as_cheap(3_400, 50));
    }

    #[test]
    fn no_more_columns_are_remembered_than_there_is_room_for() {
        let mut memories = Memories::default();
        for schema in 0..100 {
            memories.of(SchemaId(schema), 1_000);
        }
        assert!(memories.of.values().map(Vec::len).sum::<usize>() <= COLUMNS);
        assert_eq!(memories.of(SchemaId(99), 1_000).len(), 1_000);
    }
}
