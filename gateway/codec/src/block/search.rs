//! Which description of a series is the shortest.

use super::{
    convert::count,
    lattice::Lattice,
    lattice_search,
    predict::{Predictor, cost},
    series::{Series, Transform, place_by_digits, ten},
};

/// Numbers of a series that predictors are compared on.
const SAMPLE: usize = 512;
/// The same where not all cycles are tried.
const SHORT_SAMPLE: usize = 320;

/// Working memory, and what the last search has left: the numbers as the transform has them.
#[derive(Debug, Default)]
pub(super) struct Search {
    mapped: Vec<i64>,
    candidate: Vec<i64>,
    sorted: Vec<i64>,
    pub(super) residuals: Vec<i64>,
    pub(super) cycles: Cycles,
    /// The cycle that the last series was found to have.
    pub(super) used: Option<u32>,
    /// The lattice that the last series was found to have when all cycles were tried. Where they are not, no other is looked for.
    pub(super) lattice: Option<Lattice>,
    /// Whether its numbers repeated or were on a lattice. Where they did not, nobody looks again before all cycles are tried.
    pub(super) repeats: bool,
}

/// Which cycles are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Cycles {
    /// None.
    #[default]
    No,
    /// This one, if any.
    Only(Option<u32>),
    /// All of them, which takes long.
    All,
}

struct Best {
    series: Series,
    cost: u64,
}

impl Search {
    /// The description of a series of at least one number, and its residuals.
    pub(super) fn series(&mut self, numbers: &[i64]) -> Series {
        let base = numbers.first().copied().unwrap_or(0);
        let step = common_step(numbers);
        if step == 0 {
            self.residuals.clear();
            if self.cycles == Cycles::All {
                (self.lattice, self.repeats) = (None, true);
            }
            return Series { base, ..Series::CONSTANT };
        }
        self.mapped.clear();
        if step == 1 {
            self.mapped.extend(numbers.iter().map(|number| number.wrapping_sub(base)));
        } else {
            self.mapped.extend(numbers.iter().map(|number| number.wrapping_sub(base) / step));
        }
        let (predictor, cost) = best_predictor(&self.mapped, self.cycles);
        let mut best = Best { series: Series { transform: Transform::Step(step), base, predictor }, cost };
        self.try_digits(numbers, &mut best);
        if numbers.len() >= 12 && (self.repeats || self.cycles == Cycles::All) {
            self.sorted.clear();
            self.sorted.extend_from_slice(numbers);
            self.sorted.sort_unstable();
            self.sorted.dedup();
            self.try_lattice(numbers, &mut best);
            self.try_table(numbers, &mut best);
        }
        self.used = match best.series.predictor {
            Predictor::Back(lag) | Predictor::Cycle(lag) => Some(lag),
            _ => None,
        };
        if self.cycles == Cycles::All {
            let few = self.sorted.len() * 2 <= numbers.len() || numbers.len() < 12;
            (self.lattice, self.repeats) = match best.series.transform {
                Transform::Lattice(lattice) => (Some(lattice), true),
                _ => (None, few),
            };
        }
        best.series.predictor.residuals(&self.mapped, &mut self.residuals);
        best.series
    }

    fn take_if_better(&mut self, transform: Transform, base: i64, extra: u64, best: &mut Best) {
        let (predictor, cost) = best_predictor(&self.candidate, self.cycles);
        let cost = cost + extra;
        if cost * 100 < best.cost * 99 {
            *best = Best { series: Series { transform, base, predictor }, cost };
            std::mem::swap(&mut self.mapped, &mut self.candidate);
        }
    }

    fn try_digits(&mut self, numbers: &[i64], best: &mut Best) {
        let mut digits = 1;
        let (mut least, mut most) = (i64::MAX, 0);
        for number in numbers {
            let Some(size) = number.checked_abs() else { return };
            least = least.min(size);
            most = most.max(size);
            while place_by_digits(*number, digits).is_none() {
                digits += 1;
                if digits > 15 {
                    return;
                }
            }
        }
        // Between two powers of ten the places are but the numbers divided by one.
        if most.checked_ilog10() == least.checked_ilog10() || most < ten(digits) {
            return;
        }
        self.candidate.clear();
        self.candidate.extend(numbers.iter().filter_map(|number| place_by_digits(*number, digits)));
        if self.candidate.len() == numbers.len() {
            let base = self.candidate.first().copied().unwrap_or(0);
            self.take_if_better(Transform::Digits(digits), base, 4 * 8, best);
        }
    }

    fn try_table(&mut self, numbers: &[i64], best: &mut Best) {
        let entries = self.sorted.len();
        if entries * 3 > numbers.len() || entries > 1024 {
            return;
        }
        let steps = self.sorted.iter().zip(self.sorted.iter().skip(1));
        let table_cost = 20 * 8 + cost(steps.map(|(entry, next)| next.wrapping_sub(*entry)));
        if table_cost >= best.cost {
            return;
        }
        self.candidate.clear();
        let places = numbers.iter().filter_map(|number| self.sorted.binary_search(number).ok());
        self.candidate.extend(places.map(|place| count(place).cast_signed()));
        let base = self.candidate.first().copied().unwrap_or(0);
        let table = self.sorted.clone();
        self.take_if_better(Transform::Table(table), base, table_cost, best);
    }

    fn try_lattice(&mut self, numbers: &[i64], best: &mut Best) {
        let Some(base) = numbers.first().copied() else { return };
        let found = match (self.cycles, self.lattice) {
            (Cycles::All, _) => lattice_search::find(&self.sorted, base),
            (_, Some(known)) => lattice_search::find_like(known, &self.sorted, base),
            (_, None) => None,
        };
        let Some(lattice) = found else { return };
        self.candidate.clear();
        for number in numbers {
            let Some(place) = lattice_search::place(lattice, number.wrapping_sub(base)) else { return };
            self.candidate.push(place);
        }
        let extra = 8 * (2 * u64::from(lattice.bits) + 16);
        self.take_if_better(Transform::Lattice(lattice), base, extra, best);
    }
}

/// The largest number that divides all differences; 0 when all numbers are the same, 1 when differences are too large.
fn common_step(numbers: &[i64]) -> i64 {
    let (Some(least), Some(most)) = (numbers.iter().min(), numbers.iter().max()) else { return 0 };
    if most.checked_sub(*least).is_none() {
        return 1;
    }
    let mut step = 0_u64;
    for (number, next) in numbers.iter().zip(numbers.iter().skip(1)) {
        let mut rest = next.wrapping_sub(*number).unsigned_abs();
        if rest == 0 || rest == step {
            continue;
        }
        while rest != 0 {
            (step, rest) = (rest, step % rest);
        }
        if step == 1 {
            break;
        }
    }
    step.cast_signed()
}

/// The best predictor of numbers that begin with 0 or a place, and about what it costs, in eighths of a bit.
fn best_predictor(numbers: &[i64], cycles: Cycles) -> (Predictor, u64) {
    let most = if cycles == Cycles::All { SAMPLE } else { SHORT_SAMPLE };
    let sample = numbers.get(..most.min(numbers.len())).unwrap_or_default();
    let sum: i128 = numbers.iter().map(|number| i128::from(*number)).sum();
    let mean = sum / i128::from(count(numbers.len().max(1)));
    let level = i64::try_from(mean).unwrap_or(0);
    let mut best = (Predictor::Last, Predictor::Last.cost(sample));
    for predictor in [Predictor::Level(level), Predictor::Line, Predictor::Pair, Predictor::Quick, Predictor::Slow] {
        let extra = if matches!(predictor, Predictor::Level(_)) { 12 * 8 } else { 0 };
        let cost = predictor.cost(sample).saturating_add(extra);
        if cost < best.1 {
            best = (predictor, cost);
        }
    }
    if sample.len() >= 24 && best.1 > count(sample.len()) * 8 {
        let most = place_of_lag(sample.len() / 2).min(128);
        let tried = |lag: &u32| match cycles {
            Cycles::No => false,
            Cycles::Only(known) => known == Some(*lag),
            Cycles::All => true,
        };
        for lag in (2..=most).filter(tried) {
            for predictor in [Predictor::Back(lag), Predictor::Cycle(lag)] {
                let cost = predictor.cost(sample).saturating_add(10 * 8);
                if cost < best.1 {
                    best = (predictor, cost);
                }
            }
        }
    }
    let (sampled, all) = (count(sample.len().max(1)), count(numbers.len()));
    (best.0, best.1.saturating_mul(all) / sampled)
}

fn place_of_lag(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}

/// About what a series costs that is only predicted, in eighths of a bit.
pub(super) fn quick_cost(numbers: &[i64]) -> u64 {
    let step = common_step(numbers);
    if step == 0 {
        return 64 * 8;
    }
    let base = numbers.first().copied().unwrap_or(0);
    let mapped: Vec<i64> = numbers.iter().map(|number| number.wrapping_sub(base) / step).collect();
    best_predictor(&mapped, Cycles::No).1
}
