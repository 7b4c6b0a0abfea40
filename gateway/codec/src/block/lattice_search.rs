//! Finding the even scale behind rounded numbers.

use super::{
    convert::{float, integer},
    lattice::Lattice,
};

/// A scale finer than this saves too little.
const FINEST: f64 = 1.5;

/// Bounds of the step that are looked at side by side at most.
const INTERVALS: usize = 96;

/// The lattice that all numbers are on; they are ascending and all different, and `base` is one of them.
pub(super) fn find(numbers: &[i64], base: i64) -> Option<Lattice> {
    let first = *numbers.first()?;
    let span = numbers.last()?.checked_sub(first)?;
    if numbers.len() < 6 || span > 1 << 40 {
        return None;
    }
    let intervals = intervals(numbers)?;
    intervals.iter().rev().find_map(|(low, high)| fit(numbers, base, (low + high) / 2.0))
}

/// The lattice with about the step of another one that all numbers are on.
pub(super) fn find_like(known: Lattice, numbers: &[i64], base: i64) -> Option<Lattice> {
    let span = numbers.last()?.checked_sub(*numbers.first()?)?;
    if numbers.len() < 3 || span > 1 << 40 {
        return None;
    }
    fit(numbers, base, float(known.step) / float(1 << known.bits))
}

/// Within which bounds the step can be, from all differences to one of the numbers, the smallest differences first.
fn intervals(numbers: &[i64]) -> Option<Vec<(f64, f64)>> {
    let pairs = || numbers.iter().zip(numbers.iter().skip(1));
    let least = pairs().map(|(number, next)| next - number).min()?;
    if least < 2 {
        return None;
    }
    let mut intervals = vec![((float(least) / 2.0 - 1.0).max(FINEST), float(least) + 1.0)];
    let mut next = Vec::new();
    let middle = numbers.len() / 2;
    let reference = *numbers.get(middle)?;
    for away in 1..=middle.max(numbers.len() - middle) {
        for place in [middle.checked_sub(away), middle.checked_add(away)].into_iter().flatten() {
            let Some(number) = numbers.get(place) else { continue };
            let distance = float((number - reference).abs());
            next.clear();
            for (low, high) in &intervals {
                narrow(distance, *low, *high, &mut next);
            }
            std::mem::swap(&mut intervals, &mut next);
            if intervals.is_empty() || intervals.len() > INTERVALS {
                return None;
            }
        }
    }
    Some(intervals)
}

/// The parts of the bounds of the step in which there can be a distance like this.
fn narrow(distance: f64, low: f64, high: f64, out: &mut Vec<(f64, f64)>) {
    let most = integer(((distance + 1.0) / low).floor());
    let least = integer(((distance - 1.0) / high).ceil()).max(1);
    // The largest number of places belongs to the smallest step.
    for places in (least..=most.min(least + 64)).rev() {
        let places = float(places);
        let (low, high) = (low.max((distance - 1.0) / places), high.min((distance + 1.0) / places));
        if low < high {
            match out.last_mut() {
                Some(last) if last.1 >= low => last.1 = last.1.max(high),
                _ => out.push((low, high)),
            }
        }
    }
}

/// The lattice with about that step that has all numbers, with as few bits as possible.
fn fit(numbers: &[i64], base: i64, estimate: f64) -> Option<Lattice> {
    let step = slope(numbers, base, estimate);
    let span = float(numbers.last()?.checked_sub(*numbers.first()?)?);
    let least = bits_of(span / step).saturating_sub(4).min(40);
    (0..least.min(8)).chain(least..least + 10).find_map(|bits| {
        let whole = float(1 << bits);
        let fixed = integer((step * whole).round());
        let phase = phase(numbers, base, fixed, bits)?;
        Some(Lattice { step: fixed, phase, bits })
    })
}

fn bits_of(number: f64) -> u8 {
    u8::try_from(64 - integer(number).max(1).leading_zeros()).unwrap_or(64)
}

/// The slope of the straight line through all numbers over their places.
fn slope(numbers: &[i64], base: i64, estimate: f64) -> f64 {
    let (mut places, mut distances, mut squares, mut products, mut all) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for number in numbers {
        let distance = float(number - base);
        let place = (distance / estimate).round();
        places += place;
        distances += distance;
        squares += place * place;
        products += place * distance;
        all += 1.0;
    }
    let below = all * squares - places * places;
    if below > 0.0 { (all * products - places * distances) / below } else { estimate }
}

/// The phase with which the lattice has all numbers, if there is one.
fn phase(numbers: &[i64], base: i64, step: i64, bits: u8) -> Option<i64> {
    let whole = 1_i64 << bits;
    let (mut low, mut high) = (0, whole - 1);
    for number in numbers {
        let distance = (number - base).checked_mul(whole)?;
        let place = (distance + step / 2).div_euclid(step);
        let at = place.checked_mul(step)?;
        // Number and place fit if `distance <= at + phase < distance + whole`.
        let (lowest, highest) = (distance - at, distance - at + whole - 1);
        (low, high) = (low.max(lowest), high.min(highest));
        if low > high {
            return None;
        }
    }
    // The roundest of them, which is the same for all blocks of the column.
    (0..=bits).rev().find_map(|zeros| {
        let unit = 1_i64 << zeros;
        let phase = (low + unit - 1).div_euclid(unit) * unit;
        (phase <= high).then_some(phase)
    })
}

/// The place of a number less the base; `None` when it is not on the lattice.
#[inline]
pub(super) fn place(lattice: Lattice, distance: i64) -> Option<i64> {
    let fixed = distance.checked_mul(1 << lattice.bits)?;
    let place = (fixed - lattice.phase).div_euclid(lattice.step);
    [place, place + 1].into_iter().find(|place| lattice.at(*place) == distance)
}
