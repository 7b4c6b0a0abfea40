//! One column into a body.

use tidegate_model::{Value, ValueKind, ValueType};

use super::{
    BlockError,
    cells::{Cells, Words},
    coder::{Coder, Flag, Number, Set},
    convert::{count, index},
    float::Corrections,
    float_search::{FloatSearch, Integers, Source, apply, unexpected},
    mark::Mark,
    memory::Memory,
    object,
    search::{Cycles, Search},
    series::write_series,
};

/// Working memory of a writer.
pub(super) struct Work {
    pub(super) search: Search,
    floats: FloatSearch,
    source: Source,
    integers: Integers,
    expected: Corrections,
    residuals: Vec<i64>,
    changes: Vec<bool>,
    marks: Vec<Mark>,
    /// Of the column that is being written.
    memory: Memory,
}

impl Work {
    pub(super) fn new() -> Work {
        Work {
            search: Search::default(),
            floats: FloatSearch::new(),
            source: Source::default(),
            integers: Integers::default(),
            expected: Corrections::new(),
            residuals: Vec::new(),
            changes: Vec::new(),
            marks: Vec::new(),
            memory: Memory::default(),
        }
    }

    pub(super) fn begin(&mut self) {
        self.marks.clear();
        // The times of the rows come first, and polls have no cycles.
        self.search.cycles = Cycles::No;
        self.search.lattice = None;
        self.search.repeats = true;
    }

    /// Begins columns that are read without those before them.
    pub(super) fn begin_part(&mut self) {
        self.marks.clear();
    }

    pub(super) fn write_column<C: Coder>(
        &mut self,
        coder: &mut C,
        cells: &Cells,
        rows: usize,
        memory: &mut Memory,
    ) -> Result<(), BlockError> {
        self.search.cycles = if memory.begin_block() { Cycles::All } else { Cycles::Only(memory.lag) };
        self.search.used = None;
        self.search.lattice = memory.lattice;
        self.search.repeats = memory.repeats;
        self.memory = *memory;
        self.write_cells(coder, cells, rows)?;
        *memory = self.memory;
        // Arrays and texts are several series; the last is the one that says which of them stands where.
        if self.search.cycles == Cycles::All {
            memory.lag = self.search.used;
            memory.lattice = self.search.lattice;
            memory.repeats = self.search.repeats;
        }
        Ok(())
    }

    fn write_cells<C: Coder>(&mut self, coder: &mut C, cells: &Cells, rows: usize) -> Result<(), BlockError> {
        if coder.flag(Flag::Marks, !cells.marks.is_empty())?
            && !coder.flag(Flag::SameMarks, self.marks == cells.marks)?
        {
            write_marks(coder, &cells.marks)?;
            self.marks.clone_from(&cells.marks);
        }
        if !cells.foreign.is_empty() {
            let foreign: Vec<Vec<u8>> = cells
                .foreign
                .iter()
                .map(|(_, value)| {
                    let mut bytes = Vec::new();
                    object::write(value, &mut bytes);
                    bytes
                })
                .collect();
            let foreign: Vec<&[u8]> = foreign.iter().map(Vec::as_slice).collect();
            self.write_strings(coder, &foreign)?;
        }
        let own = |row: &usize| cells.mark(*row).has_own_value();
        let all = cells.marks.is_empty();
        match &cells.words {
            Words::Wide(words) => {
                let words: Vec<u64> = if all {
                    words.clone()
                } else {
                    words.iter().enumerate().filter(|(row, _)| own(row)).map(|(_, word)| *word).collect()
                };
                self.write_wide(coder, cells.value_type.kind, &words)
            }
            Words::Narrow(words) => {
                let words: Vec<u32> = if all {
                    words.clone()
                } else {
                    words.iter().enumerate().filter(|(row, _)| own(row)).map(|(_, word)| *word).collect()
                };
                if cells.value_type == ValueType::single(ValueKind::F32) {
                    self.write_narrow(coder, &words)
                } else {
                    self.write_objects(coder, cells, &words)
                }
            }
            Words::Flags(words) => {
                let words: Vec<bool> = (0..rows).filter(own).filter_map(|row| words.get(row)).copied().collect();
                self.write_flags(coder, words.into_iter())
            }
        }
    }

    fn write_flags<C: Coder>(&mut self, coder: &mut C, flags: impl Iterator<Item = bool>) -> Result<(), BlockError> {
        let mut last = false;
        self.changes.clear();
        self.changes.extend(flags.map(|flag| std::mem::replace(&mut last, flag) != flag));
        coder.changes(self.changes.len(), &mut self.changes)
    }

    fn write_wide<C: Coder>(&mut self, coder: &mut C, kind: ValueKind, words: &[u64]) -> Result<(), BlockError> {
        if words.is_empty() {
            return Ok(());
        }
        if kind == ValueKind::F64 {
            self.source.wide(words.iter().copied());
            return self.write_floats(coder, true);
        }
        let numbers: Vec<i64> = words.iter().map(|word| word.cast_signed()).collect();
        write_series(coder, Set::Values, &numbers, &mut self.search)
    }

    fn write_narrow<C: Coder>(&mut self, coder: &mut C, words: &[u32]) -> Result<(), BlockError> {
        if words.is_empty() {
            return Ok(());
        }
        self.source.narrow(words.iter().copied());
        self.write_floats(coder, false)
    }

    fn write_floats<C: Coder>(&mut self, coder: &mut C, wide: bool) -> Result<(), BlockError> {
        let mut floats = self.floats.find(&self.source, &mut self.memory);
        apply(&mut floats, &self.source, usize::MAX, &mut self.integers);
        floats.code(coder, wide)?;
        write_series(coder, Set::Values, &self.integers.integers, &mut self.search)?;
        if floats.corrected {
            unexpected(&mut self.expected, &self.integers.integers, &self.integers.corrections, &mut self.residuals);
            coder.residuals(Set::Corrections, self.residuals.len(), &mut self.residuals)?;
        }
        Ok(())
    }

    /// Texts, bytes or arrays: those that occur, in the order in which they do, and which is where.
    fn write_objects<C: Coder>(&mut self, coder: &mut C, cells: &Cells, words: &[u32]) -> Result<(), BlockError> {
        if words.is_empty() {
            return Ok(());
        }
        let mut order: Vec<Option<i64>> = vec![None; cells.objects.len()];
        let mut objects: Vec<&Value> = Vec::new();
        let mut places: Vec<i64> = Vec::with_capacity(words.len());
        for word in words {
            let Some(known) = order.get_mut(index(*word)) else { continue };
            let Some(object) = cells.objects.get(index(*word)) else { continue };
            places.push(*known.get_or_insert_with(|| {
                objects.push(object);
                count(objects.len() - 1).cast_signed()
            }));
        }
        coder.number(Number::Count, count(objects.len()).cast_signed())?;
        if cells.value_type.items.is_none() {
            let strings: Vec<&[u8]> = objects.iter().map(|object| bytes_of(object)).collect();
            self.write_bytes(coder, &strings)?;
        } else {
            let arrays: Vec<&[Value]> =
                objects.iter().map(|object| if let Value::Array(items) = object { &items[..] } else { &[] }).collect();
            self.write_arrays(coder, cells.value_type.kind, &arrays)?;
        }
        write_series(coder, Set::Codes, &places, &mut self.search)
    }

    fn write_arrays<C: Coder>(
        &mut self,
        coder: &mut C,
        kind: ValueKind,
        arrays: &[&[Value]],
    ) -> Result<(), BlockError> {
        let lengths: Vec<i64> = arrays.iter().map(|items| count(items.len()).cast_signed()).collect();
        write_series(coder, Set::Tables, &lengths, &mut self.search)?;
        let items = || arrays.iter().flat_map(|items| items.iter());
        match kind {
            ValueKind::Bool => self.write_flags(coder, items().map(|item| matches!(item, Value::Bool(true)))),
            ValueKind::Int | ValueKind::Uint | ValueKind::F64 => {
                let words: Vec<u64> = items()
                    .map(|item| match item {
                        Value::Int(number) => number.cast_unsigned(),
                        Value::Uint(number) => *number,
                        Value::F64(number) => number.to_bits(),
                        _ => 0,
                    })
                    .collect();
                self.write_wide(coder, kind, &words)
            }
            ValueKind::F32 => {
                let words: Vec<u32> =
                    items().map(|item| if let Value::F32(number) = item { number.to_bits() } else { 0 }).collect();
                self.write_narrow(coder, &words)
            }
            ValueKind::Text | ValueKind::Bytes => {
                let strings: Vec<&[u8]> = items().map(bytes_of).collect();
                self.write_strings(coder, &strings)
            }
        }
    }

    /// Any number of strings, which may repeat.
    fn write_strings<C: Coder>(&mut self, coder: &mut C, strings: &[&[u8]]) -> Result<(), BlockError> {
        if strings.is_empty() {
            return Ok(());
        }
        let mut known = std::collections::BTreeMap::new();
        let mut different: Vec<&[u8]> = Vec::new();
        let places: Vec<i64> = strings
            .iter()
            .map(|string| {
                *known.entry(*string).or_insert_with(|| {
                    different.push(string);
                    count(different.len() - 1).cast_signed()
                })
            })
            .collect();
        coder.number(Number::Count, count(different.len()).cast_signed())?;
        self.write_bytes(coder, &different)?;
        write_series(coder, Set::Codes, &places, &mut self.search)
    }

    fn write_bytes<C: Coder>(&mut self, coder: &mut C, strings: &[&[u8]]) -> Result<(), BlockError> {
        let lengths: Vec<i64> = strings.iter().map(|string| count(string.len()).cast_signed()).collect();
        write_series(coder, Set::Tables, &lengths, &mut self.search)?;
        let mut all = strings.concat();
        coder.bytes(all.len(), &mut all)
    }
}

fn bytes_of(value: &Value) -> &[u8] {
    match value {
        Value::Text(text) => text.as_bytes(),
        Value::Bytes(bytes) => bytes,
        _ => &[],
    }
}

fn write_marks<C: Coder>(coder: &mut C, marks: &[Mark]) -> Result<(), BlockError> {
    let mut known: Vec<Mark> = Vec::new();
    let places: Vec<i64> = marks
        .iter()
        .map(|mark| {
            let place = known.iter().position(|known| known == mark).unwrap_or_else(|| {
                known.push(*mark);
                known.len() - 1
            });
            count(place).cast_signed()
        })
        .collect();
    coder.number(Number::Count, count(known.len()).cast_signed())?;
    for mark in &known {
        coder.number(Number::Parameter, i64::from(mark.code()))?;
    }
    let mut steps: Vec<i64> = places.iter().zip(places.iter().skip(1)).map(|(place, next)| next - place).collect();
    coder.residuals(Set::Codes, steps.len(), &mut steps)
}
