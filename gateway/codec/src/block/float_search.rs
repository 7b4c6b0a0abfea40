//! Which integers floats came from.

use super::{
    convert::{count, integer},
    float::{Corrections, Floats, Form, MOST_PLACES, place_of, place_of_single, power},
    memory::Memory,
    predict::cost,
};

/// Adding and subtracting this rounds a float below 2^51 to an integer.
const ROUND: f64 = 6_755_399_441_055_744.0;
const MOST: f64 = 2_251_799_813_685_248.0;
/// Floats that forms are compared on.
const SAMPLE: usize = 384;

/// What comes of the floats of a column.
#[derive(Debug, Default)]
pub(super) struct Integers {
    pub(super) integers: Vec<i64>,
    /// Empty, or one a float.
    pub(super) corrections: Vec<i64>,
}

/// The integer nearest to what a float stands for.
#[inline(always)]
fn nearest(form: Form, number: f64) -> Option<i64> {
    let at = match form {
        Form::Quotient(places) | Form::Product(places) => number * power(places),
        Form::Scale { step, offset } => (number - offset) / step,
        Form::Order => return None,
    };
    (at.abs() < MOST).then(|| integer(at + ROUND - ROUND))
}

/// The floats of a column, one after the other.
#[derive(Debug, Default)]
pub(super) struct Source {
    numbers: Vec<f64>,
    /// Their places in the order that is counted in.
    places: Vec<i64>,
    /// How many are 32-bit floats.
    singles: usize,
}

impl Source {
    /// 64-bit floats with these bits.
    pub(super) fn wide(&mut self, words: impl Iterator<Item = u64> + Clone) {
        self.numbers.clear();
        self.numbers.extend(words.clone().map(f64::from_bits));
        self.singles = self.numbers.iter().filter(|number| is_single(**number)).count();
        self.places.clear();
        if self.singles == self.numbers.len() {
            let single = |number: &f64| place_of_single(super::convert::single(*number).to_bits());
            self.places.extend(self.numbers.iter().map(single));
        } else {
            self.places.extend(words.map(place_of));
        }
    }

    /// 32-bit floats with these bits.
    pub(super) fn narrow(&mut self, words: impl Iterator<Item = u32> + Clone) {
        self.numbers.clear();
        self.numbers.extend(words.clone().map(|word| f64::from(f32::from_bits(word))));
        self.places.clear();
        self.places.extend(words.map(place_of_single));
        self.singles = self.numbers.len();
    }

    fn is_single(&self) -> bool {
        self.singles == self.numbers.len()
    }

    fn pairs(&self, most: usize) -> impl Iterator<Item = (f64, i64)> + '_ {
        self.numbers.iter().copied().zip(self.places.iter().copied()).take(most)
    }
}

/// The integers and corrections of the first floats in that form.
pub(super) fn apply(floats: &mut Floats, source: &Source, most: usize, out: &mut Integers) {
    out.integers.clear();
    out.corrections.clear();
    floats.corrected = false;
    if floats.form == Form::Order {
        out.integers.extend(source.places.iter().take(most));
        return;
    }
    let mut last = 0;
    for (at, (number, place)) in source.pairs(most).enumerate() {
        last = nearest(floats.form, number).unwrap_or(last);
        let correction = place.wrapping_sub(floats.place(last));
        if correction != 0 && !floats.corrected {
            floats.corrected = true;
            out.corrections.resize(at, 0);
        }
        out.integers.push(last);
        if floats.corrected {
            out.corrections.push(correction);
        }
    }
}

/// The corrections less what is expected of them.
pub(super) fn unexpected(expected: &mut Corrections, integers: &[i64], corrections: &[i64], out: &mut Vec<i64>) {
    expected.clear();
    out.clear();
    out.extend(integers.iter().zip(corrections).map(|(integer, correction)| {
        expected.of(*integer).map_or(*correction, |expected| {
            let residual = correction.wrapping_sub(*expected);
            *expected = *correction;
            residual
        })
    }));
}

/// Whether a 64-bit float is a 32-bit float, to the last bit.
#[inline(always)]
fn is_single(number: f64) -> bool {
    f64::from(super::convert::single(number)).to_bits() == number.to_bits()
}

/// The places that all floats have, or most of them: how many do not.
fn places(source: &Source, floats: Floats, product: bool, from: u8) -> Option<(u8, usize)> {
    let most = if floats.single || floats.rounded { 10 } else { MOST_PLACES };
    let (mut places, mut bad) = (from, 0);
    let form = |places| if product { Form::Product(places) } else { Form::Quotient(places) };
    for (at, (number, place)) in source.pairs(usize::MAX).enumerate() {
        let found = (places..=most).find(|places| {
            let form = form(*places);
            nearest(form, number).is_some_and(|integer| Floats { form, ..floats }.place(integer) == place)
        });
        match found {
            Some(found) => places = found,
            None => bad += 1,
        }
        if bad > 4 + at / 8 {
            return None;
        }
    }
    Some((places, bad))
}

pub(super) struct FloatSearch {
    sample: Integers,
    unexpected: Vec<i64>,
    expected: Corrections,
}

impl FloatSearch {
    pub(super) fn new() -> FloatSearch {
        FloatSearch { sample: Integers::default(), unexpected: Vec::new(), expected: Corrections::new() }
    }

    /// The form of floats.
    pub(super) fn find(&mut self, source: &Source, memory: &mut Memory) -> Floats {
        let floats = Floats { single: source.is_single(), ..Floats::ORDER };
        let found = places(source, floats, false, 0);
        let few = if floats.single { 3 } else { 8 };
        if let Some((places, 0)) = found
            && places <= few
        {
            return Floats { form: Form::Quotient(places), ..floats };
        }
        let sampled = count(source.numbers.len().min(SAMPLE));
        if let Some(known) = memory.floats(floats.single) {
            let cost = self.cost(known, source);
            if memory.is_as_cheap(cost, sampled) {
                return known;
            }
        }
        let (found, cost) = self.search(source, floats, found);
        memory.remember(found, cost, sampled);
        found
    }

    /// The cheapest of all forms that may do, and its cost for the sample; `found` are the decimal places that most have.
    fn search(&mut self, source: &Source, floats: Floats, found: Option<(u8, usize)>) -> (Floats, u64) {
        let mut candidates: Vec<Floats> = Vec::new();
        if let Some((places, _)) = found {
            candidates.push(Floats { form: Form::Quotient(places), ..floats });
        }
        let exact = matches!(found, Some((_, 0)));
        if !floats.single && !exact {
            match places(source, floats, true, 0) {
                Some((places, 0)) if places <= 8 => {
                    let exact = Floats { form: Form::Product(places), ..floats };
                    return (exact, self.cost(exact, source));
                }
                Some((places, _)) => candidates.push(Floats { form: Form::Product(places), ..floats }),
                None => {}
            }
            if source.singles * 8 > source.numbers.len() {
                candidates.extend((1..=5).map(|places| Floats {
                    form: Form::Quotient(places),
                    rounded: true,
                    ..floats
                }));
            }
        }
        if !exact || floats.single {
            candidates.extend(
                (1..=if floats.single { 6 } else { 9 }).map(|places| Floats { form: Form::Quotient(places), ..floats }),
            );
            if !exact {
                candidates.extend((1..6).map(|places| Floats { form: Form::Product(places), ..floats }));
            }
        }
        if let Some(step) = scale(&source.numbers) {
            candidates.push(Floats { form: Form::Scale { step, offset: 0.0 }, ..floats });
            if let Some(first) = source.numbers.first().filter(|first| first.is_finite()) {
                candidates.push(Floats { form: Form::Scale { step, offset: *first }, ..floats });
            }
        }
        let mut best = (floats, self.cost(floats, source));
        for candidate in candidates {
            let cost = self.cost(candidate, source);
            if cost * 200 < best.1 * 199 {
                best = (candidate, cost);
            }
        }
        best
    }

    fn cost(&mut self, mut floats: Floats, source: &Source) -> u64 {
        apply(&mut floats, source, SAMPLE, &mut self.sample);
        let mut total = super::search::quick_cost(&self.sample.integers);
        if floats.corrected {
            unexpected(&mut self.expected, &self.sample.integers, &self.sample.corrections, &mut self.unexpected);
            total += cost(self.unexpected.iter().copied());
        }
        total
            + match floats.form {
                Form::Scale { .. } => 128 * 8,
                _ => 8 * 8,
            }
    }
}

/// The distance of the scale that floats may be on, as far as rounding to 32 bits lets it be seen.
fn scale(numbers: &[f64]) -> Option<f64> {
    let mut numbers: Vec<f64> = numbers.iter().copied().filter(|number| number.is_finite()).take(512).collect();
    numbers.sort_by(f64::total_cmp);
    numbers.dedup();
    let (first, last) = (*numbers.first()?, *numbers.last()?);
    let noise = first.abs().max(last.abs()) * 2.4e-7;
    if numbers.len() < 4 || noise == 0.0 {
        return None;
    }
    let mut step = 0.0_f64;
    for (number, next) in numbers.iter().zip(numbers.iter().skip(1)) {
        let distance = next - number;
        if distance <= noise * 4.0 {
            continue;
        }
        let (mut a, mut b) = if step > distance { (step, distance) } else { (distance, step) };
        while b > noise * 6.0 {
            (a, b) = (b, (a - (a / b).round() * b).abs());
        }
        step = a;
    }
    if step <= noise * 12.0 {
        return None;
    }
    // Ever longer distances give the step ever more exactly.
    let (mut products, mut squares) = (0.0, 0.0);
    for number in &numbers {
        let distance = number - first;
        if distance <= noise * 4.0 {
            continue;
        }
        let places = (distance / step).round();
        if !(1.0..=1e8).contains(&places) {
            return None;
        }
        products += places * distance;
        squares += places * places;
        step = products / squares;
    }
    // On a scale that begins at 0 the numbers themselves are the longest distances.
    let places = (first / step).round();
    if places.abs() >= 1.0 && (places * step - first).abs() < step * 0.05 {
        let places = || numbers.iter().map(|number| ((number / step).round(), number));
        let squares: f64 = places().map(|(places, _)| places * places).sum();
        if squares > 0.0 {
            step = places().map(|(places, number)| places * number).sum::<f64>() / squares;
        }
    }
    Some(step)
}
