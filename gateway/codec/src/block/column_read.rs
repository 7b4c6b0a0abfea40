//! One column out of a body.

use tidegate_model::{Value, ValueKind, ValueType};

use super::{
    BlockError, MAX_BYTES, MAX_ROWS,
    cells::{Cells, FOREIGN_BYTES, OBJECT_BYTES, Words},
    coder::{Coder, Flag, Number, Set},
    convert::{count, low_half},
    error::{TOO_LARGE, malformed},
    float::{Corrections, Floats, Form, bits_at, single_bits_at},
    input::Input,
    mark::Mark,
    object,
    series::read_series,
};

/// Working memory of a reader.
pub(super) struct ReadWork {
    numbers: Vec<i64>,
    corrections: Vec<i64>,
    expected: Corrections,
    changes: Vec<bool>,
    marks: Vec<Mark>,
    /// Bytes that texts, bytes, arrays and foreign values may still take, as [`super::Batch::heap_bytes`] counts them.
    budget: usize,
}

impl ReadWork {
    pub(super) fn new() -> ReadWork {
        ReadWork {
            numbers: Vec::new(),
            corrections: Vec::new(),
            expected: Corrections::new(),
            changes: Vec::new(),
            marks: Vec::new(),
            budget: 0,
        }
    }

    pub(super) fn begin(&mut self, budget: usize) {
        self.marks.clear();
        // What one block of long arrays has needed is not kept for ever.
        self.numbers.clear();
        self.numbers.shrink_to(MAX_ROWS);
        self.corrections.clear();
        self.corrections.shrink_to(MAX_ROWS);
        self.changes.clear();
        self.changes.shrink_to(MAX_ROWS);
        self.budget = budget;
    }

    /// Begins columns that know nothing of those before them.
    pub(super) fn begin_part(&mut self) {
        self.marks.clear();
    }

    fn take(&mut self, bytes: usize) -> Result<(), BlockError> {
        object::take(&mut self.budget, bytes)
    }

    /// Whether there is room for so much, which is not kept: no encoder writes strings that take more than the values made of
    /// them.
    fn has_room(&self, bytes: usize) -> Result<(), BlockError> {
        if bytes > self.budget { Err(TOO_LARGE) } else { Ok(()) }
    }

    pub(super) fn read_column<C: Coder>(
        &mut self,
        coder: &mut C,
        cells: &mut Cells,
        rows: usize,
    ) -> Result<(), BlockError> {
        if coder.flag(Flag::Marks, false)? {
            if !coder.flag(Flag::SameMarks, false)? {
                self.read_marks(coder, rows)?;
            }
            if self.marks.len() != rows {
                return Err(malformed("marks"));
            }
            cells.marks.clone_from(&self.marks);
            let foreign: Vec<usize> = (0..rows).filter(|row| cells.mark(*row).is_foreign()).collect();
            if !foreign.is_empty() {
                self.take(foreign.len().saturating_mul(FOREIGN_BYTES))?;
                let (strings, places) = self.read_strings(coder, foreign.len(), 0)?;
                let mut values = Vec::with_capacity(foreign.len());
                for place in places {
                    let mut input = Input::new(strings.get(place).ok_or(malformed("foreign"))?);
                    values.push(object::read(&mut input, &mut self.budget)?);
                }
                cells.set_foreign(foreign.into_iter().zip(values).collect());
            }
        }
        let all = cells.marks.is_empty();
        let length = if all { rows } else { cells.marks.iter().filter(|mark| mark.has_own_value()).count() };
        match &mut cells.words {
            Words::Wide(words) => {
                if length > 0 {
                    self.read_wide(coder, cells.value_type.kind, length, words)?;
                }
                spread(words, &cells.marks, rows);
            }
            Words::Narrow(words) if cells.value_type == ValueType::single(ValueKind::F32) => {
                if length > 0 {
                    self.read_narrow(coder, length, words)?;
                }
                spread(words, &cells.marks, rows);
            }
            Words::Flags(words) => {
                self.read_flags(coder, length)?;
                words.extend_from_slice(&self.changes);
                spread(words, &cells.marks, rows);
            }
            Words::Narrow(_) => {
                let mut words = Vec::new();
                if length > 0 {
                    let objects = self.read_objects(coder, cells.value_type, length, &mut words)?;
                    cells.set_objects(objects);
                }
                spread(&mut words, &cells.marks, rows);
                cells.words = Words::Narrow(words);
            }
        }
        Ok(())
    }

    fn read_marks<C: Coder>(&mut self, coder: &mut C, rows: usize) -> Result<(), BlockError> {
        let known = coder.number(Number::Count, 0)?;
        if !(1..=128).contains(&known) {
            return Err(malformed("marks"));
        }
        let mut marks = Vec::new();
        for _ in 0..known {
            let code = u8::try_from(coder.number(Number::Parameter, 0)?).map_err(|_| malformed("marks"))?;
            marks.push(Mark::from_code(code)?);
        }
        coder.residuals(Set::Codes, rows - 1, &mut self.numbers)?;
        let mut place = 0_i64;
        self.marks.clear();
        self.marks.extend(marks.first());
        for step in &self.numbers {
            place = place.wrapping_add(*step);
            let mark = usize::try_from(place).ok().and_then(|place| marks.get(place));
            self.marks.push(*mark.ok_or(malformed("marks"))?);
        }
        Ok(())
    }

    fn read_flags<C: Coder>(&mut self, coder: &mut C, length: usize) -> Result<(), BlockError> {
        coder.changes(length, &mut self.changes)?;
        let mut last = false;
        for change in &mut self.changes {
            last ^= *change;
            *change = last;
        }
        Ok(())
    }

    fn read_wide<C: Coder>(
        &mut self,
        coder: &mut C,
        kind: ValueKind,
        length: usize,
        words: &mut Vec<u64>,
    ) -> Result<(), BlockError> {
        if kind != ValueKind::F64 {
            read_series(coder, Set::Values, length, &mut self.numbers)?;
            words.extend(self.numbers.iter().map(|number| number.cast_unsigned()));
            return Ok(());
        }
        let floats = self.read_floats(coder, length, true)?;
        if floats.single {
            words.extend(self.numbers.iter().map(|place| f64::from(f32::from_bits(single_bits_at(*place))).to_bits()));
        } else {
            words.extend(self.numbers.iter().map(|place| bits_at(*place)));
        }
        Ok(())
    }

    fn read_narrow<C: Coder>(&mut self, coder: &mut C, length: usize, words: &mut Vec<u32>) -> Result<(), BlockError> {
        self.read_floats(coder, length, false)?;
        words.extend(self.numbers.iter().map(|place| single_bits_at(*place)));
        Ok(())
    }

    /// Leaves the places of the floats in `numbers`.
    fn read_floats<C: Coder>(&mut self, coder: &mut C, length: usize, wide: bool) -> Result<Floats, BlockError> {
        let mut floats = Floats::ORDER;
        floats.code(coder, wide)?;
        read_series(coder, Set::Values, length, &mut self.numbers)?;
        if floats.form == Form::Order {
            return Ok(floats);
        }
        if !floats.corrected {
            for number in &mut self.numbers {
                *number = floats.place(*number);
            }
            return Ok(floats);
        }
        coder.residuals(Set::Corrections, length, &mut self.corrections)?;
        self.expected.clear();
        for (number, residual) in self.numbers.iter_mut().zip(&self.corrections) {
            let mut correction = *residual;
            if let Some(expected) = self.expected.of(*number) {
                correction = correction.wrapping_add(*expected);
                *expected = correction;
            }
            *number = floats.place(*number).wrapping_add(correction);
        }
        Ok(floats)
    }

    fn read_places<C: Coder>(&mut self, coder: &mut C, length: usize, known: usize) -> Result<Vec<usize>, BlockError> {
        read_series(coder, Set::Codes, length, &mut self.numbers)?;
        let place = |place: &i64| {
            usize::try_from(*place).ok().filter(|place| *place < known).ok_or(malformed("a place in a table"))
        };
        self.numbers.iter().map(place).collect()
    }

    fn read_count<C: Coder>(&mut self, coder: &mut C, length: usize) -> Result<usize, BlockError> {
        let known = coder.number(Number::Count, 0)?;
        usize::try_from(known)
            .ok()
            .filter(|known| (1..=length).contains(known))
            .ok_or(malformed("the length of a table"))
    }

    fn read_objects<C: Coder>(
        &mut self,
        coder: &mut C,
        value_type: ValueType,
        length: usize,
        words: &mut Vec<u32>,
    ) -> Result<Vec<Value>, BlockError> {
        let known = self.read_count(coder, length)?;
        self.take(known.saturating_mul(OBJECT_BYTES))?;
        let objects = if value_type.items.is_some() {
            self.read_arrays(coder, value_type.kind, known)?
        } else {
            let strings = self.read_bytes(coder, known, object::HEAD_BYTES)?;
            self.take(strings.all.len() + known.saturating_mul(object::HEAD_BYTES))?;
            strings.iter().map(|bytes| value_of(value_type.kind, bytes)).collect::<Result<_, _>>()?
        };
        let places = self.read_places(coder, length, known)?;
        words.extend(places.into_iter().map(|place| low_half(count(place))));
        Ok(objects)
    }

    fn read_arrays<C: Coder>(
        &mut self,
        coder: &mut C,
        kind: ValueKind,
        known: usize,
    ) -> Result<Vec<Value>, BlockError> {
        read_series(coder, Set::Tables, known, &mut self.numbers)?;
        let lengths = lengths(&self.numbers, "arrays")?;
        let total = total(&lengths)?;
        self.take(total.saturating_mul(OBJECT_BYTES).saturating_add(known.saturating_mul(object::HEAD_BYTES)))?;
        match kind {
            ValueKind::Bool => {
                self.read_flags(coder, total)?;
                Ok(arrays(lengths, self.changes.iter().map(|on| Value::Bool(*on))))
            }
            _ if total == 0 => Ok(arrays(lengths, std::iter::empty())),
            ValueKind::Int | ValueKind::Uint | ValueKind::F64 => {
                let mut words = Vec::new();
                self.read_wide(coder, kind, total, &mut words)?;
                let value = |word: u64| match kind {
                    ValueKind::Int => Value::Int(word.cast_signed()),
                    ValueKind::Uint => Value::Uint(word),
                    _ => Value::F64(f64::from_bits(word)),
                };
                Ok(arrays(lengths, words.into_iter().map(value)))
            }
            ValueKind::F32 => {
                let mut words = Vec::new();
                self.read_narrow(coder, total, &mut words)?;
                Ok(arrays(lengths, words.into_iter().map(|word| Value::F32(f32::from_bits(word)))))
            }
            ValueKind::Text | ValueKind::Bytes => {
                let (strings, places) = self.read_strings(coder, total, object::HEAD_BYTES)?;
                let known = strings.iter().map(|bytes| value_of(kind, bytes)).collect::<Result<Vec<Value>, _>>()?;
                drop(strings);
                let item = |place: usize| known.get(place).cloned().unwrap_or(Value::Bool(false));
                for place in &places {
                    self.take(known.get(*place).ok_or(malformed("a place in a table"))?.heap_bytes())?;
                }
                Ok(arrays(lengths, places.into_iter().map(item)))
            }
        }
    }

    /// So many strings, some of which are alike: those that differ, and which is where. Beside what it holds each of those that
    /// differ takes so much.
    fn read_strings<C: Coder>(
        &mut self,
        coder: &mut C,
        length: usize,
        each: usize,
    ) -> Result<(Strings, Vec<usize>), BlockError> {
        let known = self.read_count(coder, length)?;
        let strings = self.read_bytes(coder, known, each)?;
        let places = self.read_places(coder, length, known)?;
        Ok((strings, places))
    }

    /// So many strings, for which there must be room.
    fn read_bytes<C: Coder>(&mut self, coder: &mut C, known: usize, each: usize) -> Result<Strings, BlockError> {
        self.has_room(known.saturating_mul(each))?;
        read_series(coder, Set::Tables, known, &mut self.numbers)?;
        let lengths = lengths(&self.numbers, "strings")?;
        let total = total(&lengths)?;
        self.has_room(known.saturating_mul(each).saturating_add(total))?;
        let mut all = Vec::new();
        coder.bytes(total, &mut all)?;
        Ok(Strings::new(all, lengths))
    }
}

/// Strings, one after the other.
struct Strings {
    all: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Strings {
    fn new(all: Vec<u8>, mut lengths: Vec<usize>) -> Strings {
        let mut end = 0;
        for length in &mut lengths {
            end += *length;
            *length = end;
        }
        Strings { all, ends: lengths }
    }

    fn get(&self, place: usize) -> Option<&[u8]> {
        let end = *self.ends.get(place)?;
        let start = place.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.all.get(start..end)
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).filter_map(|place| self.get(place))
    }
}

/// Arrays of these lengths, of items one after the other.
fn arrays(lengths: Vec<usize>, mut items: impl Iterator<Item = Value>) -> Vec<Value> {
    lengths.into_iter().map(|length| Value::Array(items.by_ref().take(length).collect())).collect()
}

fn lengths(numbers: &[i64], of: &'static str) -> Result<Vec<usize>, BlockError> {
    numbers.iter().map(|length| usize::try_from(*length).map_err(|_| malformed(of))).collect()
}

/// All of them together, which is no more than a block holds.
fn total(lengths: &[usize]) -> Result<usize, BlockError> {
    let total = lengths.iter().try_fold(0_usize, |total, length| total.checked_add(*length));
    total.filter(|total| *total <= MAX_BYTES).ok_or(TOO_LARGE)
}

fn value_of(kind: ValueKind, bytes: &[u8]) -> Result<Value, BlockError> {
    if kind == ValueKind::Text { object::text(bytes) } else { Ok(Value::Bytes(bytes.into())) }
}

/// Moves the words, of the rows that have one, to their rows.
fn spread<T: Copy + Default>(words: &mut Vec<T>, marks: &[Mark], rows: usize) {
    if marks.is_empty() {
        return;
    }
    let mut packed = std::mem::take(words).into_iter();
    words.reserve_exact(rows);
    let word = |mark: &Mark| if mark.has_own_value() { packed.next() } else { None };
    words.extend(marks.iter().map(word).map(Option::unwrap_or_default));
}
