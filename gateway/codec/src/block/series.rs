//! A series of integers as a description and residuals.

use super::{
    BlockError,
    coder::{Choice, Coder, Number, Set},
    convert::{count, place},
    error::malformed,
    lattice::Lattice,
    predict::Predictor,
    search::Search,
};

/// How the numbers of a series were made smaller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Transform {
    /// All numbers are the first one.
    Constant,
    /// The differences to the first number are so many times this.
    Step(i64),
    /// Their places among the numbers of so many significant digits.
    Digits(u8),
    /// Their places in a table, ascending.
    Table(Vec<i64>),
    /// Their places on an even scale that was rounded.
    Lattice(Lattice),
}

/// How a series is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Series {
    pub(super) transform: Transform,
    /// The first number, as the transform has it.
    pub(super) base: i64,
    pub(super) predictor: Predictor,
}

const STEP_ONE: u8 = 1;

impl Series {
    pub(super) const CONSTANT: Series = Series { transform: Transform::Constant, base: 0, predictor: Predictor::Last };

    /// Writes or reads the description of a series of so many numbers.
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, numbers: usize) -> Result<(), BlockError> {
        let code = match &self.transform {
            Transform::Constant => 0,
            Transform::Step(1) => STEP_ONE,
            Transform::Step(_) => 2,
            Transform::Digits(_) => 3,
            Transform::Table(_) => 4,
            Transform::Lattice(_) => 5,
        };
        let code = coder.choice(Choice::Transform, code)?;
        self.code_transform(coder, code, numbers)?;
        self.base = coder.number(Number::Base, self.base)?;
        if code != 0 {
            self.code_predictor(coder)?;
        }
        Ok(())
    }

    fn code_transform<C: Coder>(&mut self, coder: &mut C, code: u8, numbers: usize) -> Result<(), BlockError> {
        match code {
            0 => self.transform = Transform::Constant,
            STEP_ONE => self.transform = Transform::Step(1),
            2 => {
                let step = if let Transform::Step(step) = self.transform { step } else { 0 };
                self.transform = Transform::Step(coder.number(Number::Parameter, step)?);
            }
            3 => {
                let digits = if let Transform::Digits(digits) = self.transform { digits } else { 0 };
                let digits = coder.choice(Choice::Places, digits)?;
                if digits == 0 {
                    return Err(malformed("the number of significant digits"));
                }
                self.transform = Transform::Digits(digits);
            }
            4 => {
                let table =
                    if let Transform::Table(table) = &mut self.transform { std::mem::take(table) } else { Vec::new() };
                self.transform = Transform::Table(code_table(coder, table, numbers)?);
            }
            5 => {
                let lattice =
                    if let Transform::Lattice(lattice) = self.transform { lattice } else { Lattice::default() };
                self.transform = Transform::Lattice(lattice.code(coder)?);
            }
            _ => return Err(malformed("the transform of a series")),
        }
        Ok(())
    }

    fn code_predictor<C: Coder>(&mut self, coder: &mut C) -> Result<(), BlockError> {
        self.predictor = match coder.choice(Choice::Predictor, self.predictor.code())? {
            0 => {
                let level = if let Predictor::Level(level) = self.predictor { level } else { 0 };
                Predictor::Level(coder.number(Number::Level, level)?)
            }
            1 => Predictor::Last,
            2 => Predictor::Line,
            3 => Predictor::Pair,
            4 => Predictor::Quick,
            5 => Predictor::Slow,
            code @ (6 | 7) => {
                let lag = if let Predictor::Back(lag) | Predictor::Cycle(lag) = self.predictor { lag } else { 0 };
                let lag = coder.number(Number::Parameter, i64::from(lag))?;
                let lag = u32::try_from(lag).ok().filter(|lag| *lag > 0).ok_or(malformed("a cycle"))?;
                if code == 6 { Predictor::Back(lag) } else { Predictor::Cycle(lag) }
            }
            _ => return Err(malformed("the predictor of a series")),
        };
        Ok(())
    }

    /// The numbers of the series: `numbers` are the residuals after a place for the first.
    pub(super) fn restore(&self, numbers: &mut [i64]) -> Result<(), BlockError> {
        if self.transform == Transform::Constant {
            numbers.fill(self.base);
            return Ok(());
        }
        // Steps and lattices count from the first number.
        if let Some(first) = numbers.first_mut() {
            *first = if matches!(self.transform, Transform::Step(_) | Transform::Lattice(_)) { 0 } else { self.base };
        }
        self.predictor.restore(numbers);
        match &self.transform {
            Transform::Constant => {}
            Transform::Step(step) => {
                for number in numbers {
                    *number = self.base.wrapping_add(number.wrapping_mul(*step));
                }
            }
            Transform::Digits(digits) => {
                for number in numbers {
                    *number = number_of_digits(*number, *digits);
                }
            }
            Transform::Table(table) => {
                for number in numbers {
                    let entry = usize::try_from(*number).ok().and_then(|place| table.get(place));
                    *number = *entry.ok_or(malformed("a place in a table"))?;
                }
            }
            Transform::Lattice(lattice) => {
                for number in numbers {
                    *number = self.base.wrapping_add(lattice.at(*number));
                }
            }
        }
        Ok(())
    }
}

fn code_table<C: Coder>(coder: &mut C, mut table: Vec<i64>, numbers: usize) -> Result<Vec<i64>, BlockError> {
    let length = coder.number(Number::Count, count(table.len()).cast_signed())?;
    let length = usize::try_from(length).ok().filter(|length| (1..=numbers).contains(length));
    let length = length.ok_or(malformed("the length of a table"))?;
    let first = coder.number(Number::Base, table.first().copied().unwrap_or(0))?;
    let mut steps: Vec<i64> =
        table.iter().zip(table.iter().skip(1)).map(|(entry, next)| next.wrapping_sub(*entry)).collect();
    coder.residuals(Set::Tables, length - 1, &mut steps)?;
    table.clear();
    table.push(first);
    let mut last = first;
    table.extend(steps.iter().map(|step| {
        last = last.wrapping_add(*step);
        last
    }));
    Ok(table)
}

/// Ten to the power of 0 to 18.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
pub(super) const TENS: [i64; 19] = {
    let mut tens = [1; 19];
    let mut place = 1;
    while place < 19 {
        tens[place] = tens[place - 1] * 10;
        place += 1;
    }
    tens
};

/// Ten to that power, at most the 18th.
#[inline]
pub(super) fn ten(power: u8) -> i64 {
    TENS.get(usize::from(power)).copied().unwrap_or(1)
}

/// The place of a number among all numbers of `digits` significant digits; `None` when it has more.
#[inline]
pub(super) fn place_by_digits(number: i64, digits: u8) -> Option<i64> {
    let size = number.checked_abs()?;
    if size < ten(digits) {
        return Some(number);
    }
    let (mut scale, mut zeros) = (1, 0);
    while size / scale >= ten(digits) {
        scale *= 10;
        zeros += 1;
    }
    if size % scale != 0 {
        return None;
    }
    let place = zeros * 9 * ten(digits - 1) + size / scale;
    Some(if number < 0 { -place } else { place })
}

/// The inverse of [`place_by_digits`]; wraps where no number has that place.
#[inline]
fn number_of_digits(at: i64, digits: u8) -> i64 {
    let size = at.unsigned_abs();
    let (all, first) = (ten(digits).unsigned_abs(), ten(digits - 1).unsigned_abs());
    let size = if size < all {
        size
    } else {
        let zeros = ((size - first) / (9 * first)).min(18);
        let scale = TENS.get(place(zeros)).copied().unwrap_or(1).unsigned_abs();
        (size - zeros * 9 * first).wrapping_mul(scale)
    };
    if at < 0 { size.wrapping_neg().cast_signed() } else { size.cast_signed() }
}

/// Writes a series of at least one number.
pub(super) fn write_series<C: Coder>(
    coder: &mut C,
    set: Set,
    numbers: &[i64],
    search: &mut Search,
) -> Result<(), BlockError> {
    let mut series = search.series(numbers);
    series.code(coder, numbers.len())?;
    if series.transform != Transform::Constant {
        coder.residuals(set, numbers.len() - 1, &mut search.residuals)?;
    }
    Ok(())
}

/// Reads a series of so many numbers, at least one.
pub(super) fn read_series<C: Coder>(
    coder: &mut C,
    set: Set,
    length: usize,
    numbers: &mut Vec<i64>,
) -> Result<(), BlockError> {
    let mut series = Series::CONSTANT;
    series.code(coder, length)?;
    numbers.clear();
    // All at once, so that it does not grow by halves.
    numbers.reserve_exact(length);
    if series.transform != Transform::Constant {
        coder.residuals(set, length - 1, numbers)?;
        numbers.insert(0, 0);
    } else {
        numbers.resize(length, 0);
    }
    series.restore(numbers)
}
