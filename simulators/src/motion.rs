//! How a simulated quantity moves. Every motion is a function of a seed and a time: two simulators with the same seed agree,
//! and a value that nobody reads costs nothing.

use crate::noise::{mix, seconds, unit_interval, wander};

/// How long a wandering value takes from one height to the next, slow and fast part.
const SLOW: u32 = 60_000;
const FAST: u32 = 5_000;
/// Shares of a wandering value: slow part, fast part, noise of the measurement. They add up to 1.
const SHARES: [f64; 3] = [0.7, 0.25, 0.05];
/// A counter runs faster and slower within this many seconds.
const COUNTER_PERIOD: f64 = 600.0;

/// When a value is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Milliseconds since the simulator started, a whole number of steps.
    pub(crate) millis: u64,
    /// Number of the step; values do not move within one.
    pub(crate) step: u32,
    /// Milliseconds since 1970.
    pub(crate) unix_millis: u64,
}

/// How a quantity moves, in the unit of the delivered value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Motion {
    /// Stays where it is until it is written.
    Constant(f64),
    /// Wanders within `spread` around `centre` and always comes back.
    Walk {
        /// The value it comes back to.
        centre: f64,
        /// How far it goes.
        spread: f64,
    },
    /// Swings slowly within `spread` around `centre`, with a little noise.
    Sine {
        /// The value in the middle.
        centre: f64,
        /// How far it goes.
        spread: f64,
        /// Seconds of one swing.
        period: f64,
    },
    /// Only grows.
    Counter {
        /// About where it begins.
        start: f64,
        /// Mean growth in an hour.
        per_hour: f64,
    },
    /// One of these numbers, the first one most of the time; looks for another every `dwell` milliseconds.
    State {
        /// The numbers.
        states: Box<[f64]>,
        /// Milliseconds between two possible changes.
        dwell: u32,
    },
    /// The time of the device, in units of this many milliseconds since 1970.
    Clock {
        /// 1000 for a clock of seconds.
        millis: u32,
    },
}

impl Motion {
    /// The value at `moment` of the quantity with this seed.
    pub(crate) fn at(&self, seed: u64, moment: Moment) -> f64 {
        // Each quantity has its own phase, so that they do not turn all at once.
        let millis = moment.millis + (seed & 0xffff);
        match self {
            Motion::Constant(value) => *value,
            Motion::Walk { centre, spread } => centre + spread * walk(seed, millis),
            Motion::Sine { centre, spread, period } => {
                let swing = (turns(millis, *period) + turn(seed)).sin();
                centre + spread * (0.9 * swing + 0.1 * wander(seed, millis, FAST))
            }
            Motion::Counter { start, per_hour } => {
                // The slope of the sine is at most half of that of the line below it: the sum never falls.
                let swing = (turns(moment.millis, COUNTER_PERIOD) + turn(seed)).sin();
                let swing = 0.5 * COUNTER_PERIOD / std::f64::consts::TAU * (swing - turn(seed).sin());
                let hours = (seconds(moment.millis) + swing) / 3_600.0;
                start * (0.5 + unit_interval(mix(seed, 2))) + per_hour * hours
            }
            Motion::State { states, dwell } => state(states, mix(seed, millis / u64::from((*dwell).max(1)))),
            Motion::Clock { millis } => {
                let units = moment.unix_millis / u64::from((*millis).max(1));
                // A million units are not more than 12 days: both parts are exact, and so is their sum below 2^53.
                seconds(units) * 1_000.0
            }
        }
    }

    /// How far the value goes from its middle; 0 when it does not swing.
    pub(crate) fn spread(&self) -> f64 {
        match self {
            Motion::Walk { spread, .. } | Motion::Sine { spread, .. } => *spread,
            _ => 0.0,
        }
    }
}

/// From -1 to 1.
fn walk(seed: u64, millis: u64) -> f64 {
    let [slow, fast, noise] = SHARES;
    let measured = unit_interval(mix(seed ^ 0x5bd1, millis)) * 2.0 - 1.0;
    slow * wander(seed, millis, SLOW) + fast * wander(seed ^ 0xfa57, millis, FAST) + noise * measured
}

/// The angle after `millis` of a swing of `period` seconds.
fn turns(millis: u64, period: f64) -> f64 {
    std::f64::consts::TAU * seconds(millis) / period.max(1.0)
}

/// An angle of its own for each seed.
fn turn(seed: u64) -> f64 {
    std::f64::consts::TAU * unit_interval(mix(seed, 1))
}

/// The first state in three of four cases, else any.
fn state(states: &[f64], bits: u64) -> f64 {
    let count = u64::try_from(states.len()).unwrap_or(u64::MAX).max(1);
    let index = if bits & 3 == 0 { (bits >> 2) % count } else { 0 };
    usize::try_from(index).ok().and_then(|index| states.get(index)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(motion: &Motion, seed: u64, millis: u64) -> f64 {
        motion.at(seed, Moment { millis, step: 0, unix_millis: 1_764_000_000_123 })
    }

    #[test]
    fn a_walk_stays_within_its_spread_and_does_not_stand_still() {
        let voltage = Motion::Walk { centre: 230.0, spread: 5.0 };
        let values: Vec<f64> = (0..600).map(|second| at(&voltage, 1, second * 1_000)).collect();
        assert!(values.iter().all(|value| (225.0..=235.0).contains(value)));
        assert!(values.windows(2).all(|pair| pair[0].to_bits() != pair[1].to_bits()));
        let lowest = values.iter().copied().fold(f64::MAX, f64::min);
        let highest = values.iter().copied().fold(f64::MIN, f64::max);
        assert!(highest - lowest > 3.0, "{lowest} to {highest}");
    }

    #[test]
    fn a_sine_swings_within_its_spread() {
        let temperature = Motion::Sine { centre: 45.0, spread: 15.0, period: 900.0 };
        let values: Vec<f64> = (0..900).map(|second| at(&temperature, 4, second * 1_000)).collect();
        assert!(values.iter().all(|value| (30.0..=60.0).contains(value)));
        assert!(values.iter().any(|value| *value < 34.0) && values.iter().any(|value| *value > 56.0));
    }

    #[test]
    fn a_counter_never_falls_and_keeps_its_mean() {
        let energy = Motion::Counter { start: 10_000.0, per_hour: 5.0 };
        for seed in 0..20 {
            let values: Vec<f64> = (0..7_200).map(|second| at(&energy, seed, second * 1_000)).collect();
            assert!(values.windows(2).all(|pair| pair[0] <= pair[1]));
            assert!((values[7_199] - values[0] - 10.0).abs() < 0.2);
        }
    }

    #[test]
    fn a_state_switches_rarely_and_only_among_its_numbers() {
        let mode = Motion::State { states: [0.0, 2.0, 5.0].into(), dwell: 30_000 };
        let values: Vec<f64> = (0..36_000).map(|second| at(&mode, 9, second * 1_000)).collect();
        assert!(values.iter().all(|value| [0.0, 2.0, 5.0].contains(value)));
        let switches = values.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((20..1_200).contains(&switches), "{switches} in ten hours");
    }

    #[test]
    fn a_clock_shows_the_time() {
        assert_eq!(at(&Motion::Clock { millis: 1_000 }, 1, 0), 1_764_000_000.0);
        assert_eq!(at(&Motion::Clock { millis: 1 }, 1, 0), 1_764_000_000_123.0);
    }

    #[test]
    fn another_seed_gives_another_course() {
        let voltage = Motion::Walk { centre: 230.0, spread: 5.0 };
        assert_ne!(at(&voltage, 1, 5_000).to_bits(), at(&voltage, 2, 5_000).to_bits());
        assert_eq!(at(&voltage, 1, 5_000).to_bits(), at(&voltage, 1, 5_000).to_bits());
    }
}
