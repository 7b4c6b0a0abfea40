//! What the next number of a series should be, from the ones before.

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

    /// Calls `each` with every number but the first and what it was predicted to be, until it says that it is enough.
    #[inline(always)]
    fn watch(self, numbers: &[i64], mut each: impl FnMut(i64, i64) -> bool) {
        let Some((first, rest)) = numbers.split_first() else { return };
        let mut last = *first;
        match self {
            Predictor::Level(level) => {
                for number in rest {
                    if each(*number, level) {
                        return;
                    }
                }
            }
            Predictor::Last => {
                for number in rest {
                    if each(*number, last) {
                        return;
                    }
                    last = *number;
                }
            }
            Predictor::Line | Predictor::Pair => {
                let mut before = last;
                for number in rest {
                    if each(*number, of_two(self, last, before)) {
                        return;
                    }
                    (before, last) = (last, *number);
                }
            }
            Predictor::Quick | Predictor::Slow => {
                let mut mean = Mean::new(self, last);
                for number in rest {
                    if each(*number, mean.get()) {
                        return;
                    }
                    mean.push(*number);
                }
            }
            Predictor::Back(lag) | Predictor::Cycle(lag) => {
                for (place, number) in rest.iter().enumerate() {
                    if each(*number, at_lag(self, lag, numbers, place + 1)) {
                        return;
                    }
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
            false
        });
    }

    /// About how much the residuals cost, in eighths of a bit; no more is added once it is beyond `limit`.
    pub(super) fn cost(self, numbers: &[i64], limit: u64) -> u64 {
        let mut total = 0;
        self.watch(numbers, |number, predicted| {
            total += cost(number.wrapping_sub(predicted));
            total > limit
        });
        total
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

/// About how much a residual costs, in eighths of a bit.
#[inline(always)]
pub(super) fn cost(residual: i64) -> u64 {
    let size = residual.unsigned_abs();
    if size == 0 {
        return 3;
    }
    let zeros = size.leading_zeros();
    let below = (size << zeros) << 1;
    u64::from(63 - zeros) * 8 + 16 + (below >> 61)
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
        assert!(Predictor::Cycle(4).cost(&numbers, u64::MAX) < Predictor::Last.cost(&numbers, u64::MAX));
    }
}
