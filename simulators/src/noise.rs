//! Numbers that look random and are a pure function of a seed and a time, so that nothing has to be remembered between two reads.

/// Mixes a seed and a number into 64 bits that look random (the finaliser of SplitMix64).
pub(crate) fn mix(seed: u64, number: u64) -> u64 {
    let mut bits = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The bits as a number from 0 up to but not including 1.
pub(crate) fn unit_interval(bits: u64) -> f64 {
    // The upper 52 bits become the fraction of a number in 1..2.
    f64::from_bits((bits >> 12) | 0x3ff0_0000_0000_0000) - 1.0
}

/// A smooth curve through random heights, one per `period` milliseconds, from -1 to 1.
///
/// It wanders like a random walk and always comes back, because the heights are drawn anew instead of added up.
pub(crate) fn wander(seed: u64, millis: u64, period: u32) -> f64 {
    let period = u64::from(period.max(1));
    let index = millis / period;
    let height = |index| unit_interval(mix(seed, index)) * 2.0 - 1.0;
    let (from, to) = (height(index), height(index.wrapping_add(1)));
    let way = seconds(millis % period) / seconds(period);
    // The cubic that is level at both ends: no kink where two stretches meet.
    from + (to - from) * way * way * (3.0 - 2.0 * way)
}

/// Milliseconds as seconds, exact up to 49 days.
pub(crate) fn seconds(millis: u64) -> f64 {
    std::time::Duration::from_millis(millis).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_time_give_the_same_number() {
        assert_eq!(wander(7, 123_456, 1_000).to_bits(), wander(7, 123_456, 1_000).to_bits());
        assert_ne!(wander(7, 123_456, 1_000).to_bits(), wander(8, 123_456, 1_000).to_bits());
    }

    #[test]
    fn the_curve_stays_between_its_bounds_and_visits_both_sides() {
        let values: Vec<f64> = (0..100_000).step_by(10).map(|millis| wander(1, millis, 500)).collect();
        assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)));
        assert!(values.iter().any(|value| *value < -0.5) && values.iter().any(|value| *value > 0.5));
    }

    #[test]
    fn the_curve_has_no_jumps() {
        for millis in 0..10_000 {
            let step = wander(3, millis + 1, 1_000) - wander(3, millis, 1_000);
            assert!(step.abs() < 0.005, "{step} at {millis}");
        }
    }
}
