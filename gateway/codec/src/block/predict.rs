//! What the next number of a series should be, from the ones before.

use std::sync::LazyLock;

/// A way to predict. The first number of a series is known; all others are predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predictor {
    /// Always this number.
    Level(i64),
    /// The last one.
    Last,
    /// The last one, and once more what came to it.
    Line,
    /// Half-way between the last two.
    Pair,
    /// A mean that moves half of the way to each number.
    Quick,
    /// A mean that moves an eighth of the way to each number.
    Slow,
    /// The one so many before, or the last one while there is none.
    Back(u32),
    /// The last one, and what came to the one so many before.
    Cycle(u32),
}

impl Predictor {
    /// Its code in a block, 0 to 7.
    pub(super) fn code(self) -> u8 {
        match self {
            Predictor::Level(_) => 0,
            Predictor::Last => 1,
            Predictor::Line => 2,
            Predictor::Pair => 3,
            Predictor::Quick => 4,
            Predictor::Slow => 5,
            Predictor::Back(_) => 6,
            Predictor::Cycle(_) => 7,
        }
    }

    /// Calls `each` with every number but the first and what it was predicted to be.
    #[inline(always)]
    fn watch(self, numbers: &[i64], mut each: impl FnMut(i64, i64)) {
        let Some((first, rest)) = numbers.split_first() else { return };
        let mut last = *first;
        match self {
            Predictor::Level(level) => {
                for number in rest {
                    each(*number, level);
                }
            }
            Predictor::Last => {
                for number in rest {
                    each(*number, last);
                    last = *number;
                }
            }
            Predictor::Line | Predictor::Pair => {
                let mut before = last;
                for number in rest {
                    each(*number, of_two(self, last, before));
                    (before, last) = (last, *number);
                }
            }
            Predictor::Quick | Predictor::Slow => {
                let mut mean = Mean::new(self, last);
                for number in rest {
                    each(*number, mean.get());
                    mean.push(*number);
                }
            }
            Predictor::Back(lag) | Predictor::Cycle(lag) => {
                for (place, number) in rest.iter().enumerate() {
                    each(*number, at_lag(self, lag, numbers, place + 1));
                }
            }
        }
    }

    /// How far off it is, for all numbers but the first.
    pub(super) fn residuals(self, numbers: &[i64], residuals: &mut Vec<i64>) {
        residuals.clear();
        residuals.reserve(numbers.len());
        self.watch(numbers, |number, predicted| {
            residuals.push(number.wrapping_sub(predicted));
        });
    }

    /// About how much the residuals cost, in eighths of a bit.
    pub(super) fn cost(self, numbers: &[i64]) -> u64 {
        let mut costs = Costs::new();
        self.watch(numbers, |number, predicted| costs.add(number.wrapping_sub(predicted)));
        costs.total()
    }

    /// The numbers again: the residuals in `numbers` after the first, which is the number itself, become numbers.
    pub(super) fn restore(self, numbers: &mut [i64]) {
        let Some((first, rest)) = numbers.split_first_mut() else { return };
        let mut last = *first;
        match self {
            Predictor::Level(level) => {
                for number in rest {
                    *number = number.wrapping_add(level);
                }
            }
            Predictor::Last => {
                for number in rest {
                    last = number.wrapping_add(last);
                    *number = last;
                }
            }
            Predictor::Line | Predictor::Pair => {
                let mut before = last;
                for number in rest {
                    *number = number.wrapping_add(of_two(self, last, before));
                    (before, last) = (last, *number);
                }
            }
            Predictor::Quick | Predictor::Slow => {
                let mut mean = Mean::new(self, last);
                for number in rest {
                    *number = number.wrapping_add(mean.get());
                    mean.push(*number);
                }
            }
            Predictor::Back(lag) | Predictor::Cycle(lag) => {
                for place in 1..numbers.len() {
                    let predicted = at_lag(self, lag, numbers, place);
                    if let Some(number) = numbers.get_mut(place) {
                        *number = number.wrapping_add(predicted);
                    }
                }
            }
        }
    }
}

/// How many residuals there are of each number of bits, from which follows about how much they cost.
struct Costs {
    /// By number of bits; the longest two are one.
    classes: [u32; CLASSES],
    /// Which of these there are.
    seen: u64,
    all: u32,
}

const CLASSES: usize = 64;

/// Of small numbers: times their logarithm to base 2, in 256ths.
static LOGARITHMS: LazyLock<[u32; 513]> = LazyLock::new(|| {
    let mut number = 0;
    [(); 513].map(|()| {
        let logarithm = f64::from(number) * f64::from(number.max(1)).log2();
        number += 1;
        u32::try_from(super::convert::integer(256.0 * logarithm)).unwrap_or(0)
    })
});

impl Costs {
    /// Of no residuals.
    fn new() -> Costs {
        Costs { classes: [0; CLASSES], seen: 0, all: 0 }
    }

    /// One more residual.
    #[inline(always)]
    fn add(&mut self, residual: i64) {
        let class = (64 - residual.unsigned_abs().leading_zeros()).min(63);
        if let Some(count) = self.classes.get_mut(super::convert::index(class)) {
            *count += 1;
        }
        self.seen |= 1 << class;
        self.all += 1;
    }

    /// About how much they cost, in eighths of a bit: the numbers of bits by how often they occur, a sign, and the bits below
    /// the highest.
    fn total(&self) -> u64 {
        let (mut logarithms, mut bits, mut seen) = (0, 0, self.seen);
        while seen != 0 {
            let class = seen.trailing_zeros();
            let count = self.classes.get(super::convert::index(class)).copied().unwrap_or(0);
            logarithms += times_logarithm(count);
            bits += u64::from(count * class) * 8 + 16;
            seen &= seen - 1;
        }
        times_logarithm(self.all).saturating_sub(logarithms) / 32 + bits
    }
}

/// A number times its logarithm to base 2, in 256ths.
#[inline(always)]
fn times_logarithm(number: u32) -> u64 {
    match LOGARITHMS.get(super::convert::index(number)) {
        Some(known) => u64::from(*known),
        None => super::convert::integer(256.0 * f64::from(number) * f64::from(number).log2()).unsigned_abs(),
    }
}

/// About how much residuals cost, in eighths of a bit.
pub(super) fn cost(residuals: impl Iterator<Item = i64>) -> u64 {
    let mut costs = Costs::new();
    residuals.for_each(|residual| costs.add(residual));
    costs.total()
}

#[inline(always)]
fn of_two(predictor: Predictor, last: i64, before: i64) -> i64 {
    if predictor == Predictor::Line {
        last.wrapping_mul(2).wrapping_sub(before)
    } else {
        before.wrapping_add(last.wrapping_sub(before) >> 1)
    }
}

#[inline(always)]
fn at_lag(predictor: Predictor, lag: u32, numbers: &[i64], place: usize) -> i64 {
    let at = |back: usize| place.checked_sub(back).and_then(|place| numbers.get(place)).copied();
    let lag = usize::try_from(lag).unwrap_or(usize::MAX);
    let last = at(1).unwrap_or(0);
    match (predictor, at(lag)) {
        (Predictor::Back(_), Some(then)) => then,
        (_, Some(then)) => match at(lag.saturating_add(1)) {
            Some(before) => last.wrapping_add(then.wrapping_sub(before)),
            None => last,
        },
        (_, None) => last,
    }
}

/// A mean that moves, kept finer than the numbers.
struct Mean {
    mean: i64,
    fine: u32,
    rate: u32,
}

impl Mean {
    #[inline(always)]
    fn new(predictor: Predictor, first: i64) -> Mean {
        let (fine, rate) = if predictor == Predictor::Quick { (4, 1) } else { (6, 3) };
        Mean { mean: first << fine, fine, rate }
    }

    #[inline(always)]
    fn get(&self) -> i64 {
        self.mean >> self.fine
    }

    #[inline(always)]
    fn push(&mut self, number: i64) {
        self.mean = self.mean.wrapping_add((number << self.fine).wrapping_sub(self.mean) >> self.rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_from_their_residuals() {
        let mut numbers: Vec<i64> = (0..300).map(|at| (at * at * 37) % 1009 - 500).collect();
        numbers.extend([i64::MAX, i64::MIN, 0, i64::MIN, -1, i64::MAX]);
        let predictors = [
            Predictor::Level(17),
            Predictor::Level(i64::MIN),
            Predictor::Last,
            Predictor::Line,
            Predictor::Pair,
            Predictor::Quick,
            Predictor::Slow,
            Predictor::Back(1),
            Predictor::Back(60),
            Predictor::Cycle(60),
            Predictor::Cycle(u32::MAX),
        ];
        for predictor in predictors {
            let mut residuals = Vec::new();
            predictor.residuals(&numbers, &mut residuals);
            residuals.insert(0, numbers[0]);
            predictor.restore(&mut residuals);
            assert_eq!(residuals, numbers, "{predictor:?}");
        }
    }

    #[test]
    fn a_cycle_is_predicted() {
        let numbers: Vec<i64> = (0..100).map(|at| [5, 9, -3, 7][at % 4] + i64::try_from(at / 4).unwrap()).collect();
        let mut residuals = Vec::new();
        Predictor::Cycle(4).residuals(&numbers, &mut residuals);
        assert!(residuals[5..].iter().all(|residual| [0, 1].contains(residual)));
        assert!(Predictor::Cycle(4).cost(&numbers) < Predictor::Last.cost(&numbers));
    }
}
