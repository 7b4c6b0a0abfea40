//! One column out of a body.

use tidegate_model::{Value, ValueKind, ValueType};

use super::{
    BlockError, MAX_BYTES,
    cells::{Cells, Words},
    coder::{Coder, Flag, Number, Set},
    convert::{count, low_half},
    error::malformed,
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
    /// Bytes that texts, bytes and arrays may still take.
    budget: usize,
}

const TOO_LARGE: BlockError = BlockError::TooLarge { what: "the memory of the rows", limit: MAX_BYTES };

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
        self.budget = budget;
    }

    fn take(&mut self, bytes: usize) -> Result<(), BlockError> {
        self.budget = self.budget.checked_sub(bytes).ok_or(TOO_LARGE)?;
        Ok(())
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
                self.take(foreign.len().saturating_mul(size_of::<(usize, Value)>()))?;
                let (strings, places) = self.read_strings(coder, foreign.len())?;
                let mut values = Vec::new();
                for place in places {
                    let bytes = strings.get(place).ok_or(malformed("foreign"))?;
                    let mut input = Input::new(bytes);
                    self.take(bytes.len().saturating_mul(16))?;
                    values.push(object::read(&mut input)?);
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
        self.take(known.saturating_mul(48))?;
        let objects = if value_type.items.is_some() {
            self.read_arrays(coder, value_type.kind, known)?
        } else {
            let strings = self.read_bytes(coder, known)?;
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
        let lengths = self
            .numbers
            .iter()
            .map(|length| usize::try_from(*length).map_err(|_| malformed("arrays")))
            .collect::<Result<Vec<usize>, _>>()?;
        let total = lengths.iter().try_fold(0_usize, |total, length| total.checked_add(*length)).ok_or(TOO_LARGE)?;
        self.take(total.saturating_mul(size_of::<Value>()))?;
        let items: Vec<Value> = match kind {
            ValueKind::Bool => {
                self.read_flags(coder, total)?;
                self.changes.iter().map(|on| Value::Bool(*on)).collect()
            }
            _ if total == 0 => Vec::new(),
            ValueKind::Int | ValueKind::Uint | ValueKind::F64 => {
                let mut words = Vec::new();
                self.read_wide(coder, kind, total, &mut words)?;
                words
                    .into_iter()
                    .map(|word| match kind {
                        ValueKind::Int => Value::Int(word.cast_signed()),
                        ValueKind::Uint => Value::Uint(word),
                        _ => Value::F64(f64::from_bits(word)),
                    })
                    .collect()
            }
            ValueKind::F32 => {
                let mut words = Vec::new();
                self.read_narrow(coder, total, &mut words)?;
                words.into_iter().map(|word| Value::F32(f32::from_bits(word))).collect()
            }
            ValueKind::Text | ValueKind::Bytes => {
                let (strings, places) = self.read_strings(coder, total)?;
                let known = strings.iter().map(|bytes| value_of(kind, bytes)).collect::<Result<Vec<Value>, _>>()?;
                places.into_iter().filter_map(|place| known.get(place).cloned()).collect()
            }
        };
        let mut items = items.into_iter();
        Ok(lengths.into_iter().map(|length| Value::Array(items.by_ref().take(length).collect())).collect())
    }

    fn read_strings<C: Coder>(
        &mut self,
        coder: &mut C,
        length: usize,
    ) -> Result<(Vec<Vec<u8>>, Vec<usize>), BlockError> {
        let known = self.read_count(coder, length)?;
        self.take(known.saturating_mul(48))?;
        let strings = self.read_bytes(coder, known)?;
        let places = self.read_places(coder, length, known)?;
        Ok((strings, places))
    }

    fn read_bytes<C: Coder>(&mut self, coder: &mut C, known: usize) -> Result<Vec<Vec<u8>>, BlockError> {
        read_series(coder, Set::Tables, known, &mut self.numbers)?;
        let lengths = self
            .numbers
            .iter()
            .map(|length| usize::try_from(*length).map_err(|_| malformed("strings")))
            .collect::<Result<Vec<usize>, _>>()?;
        let total = lengths.iter().try_fold(0_usize, |total, length| total.checked_add(*length)).ok_or(TOO_LARGE)?;
        self.take(total.saturating_mul(2))?;
        let mut all = Vec::new();
        coder.bytes(total, &mut all)?;
        let mut input = Input::new(&all);
        lengths.into_iter().map(|length| input.take(length, "strings").map(<[u8]>::to_vec)).collect()
    }
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
