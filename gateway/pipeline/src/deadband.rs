//! Small changes are not worth a report.
//!
//! A value is compared with the last one that was reported, never with the one before: a slow drift is reported as soon as it
//! has gone far enough.

use std::time::Duration;

use tidegate_config::{self as config, Threshold};
use tidegate_model::{Slot, Value};

use crate::number::float_to_integer;

/// How far a value has to move to be reported, and for how long it may be silent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Deadband {
    threshold: f64,
    /// The threshold for integers: they are compared as integers, or counters beyond 2^53 would stand still.
    whole: u64,
    max_silence: Option<Duration>,
}

/// What was last reported of one tag of one device, and when.
#[derive(Debug, Clone)]
pub(crate) struct Reported {
    /// Unchanged before the first report.
    slot: Slot,
    at: Duration,
}

impl Reported {
    pub(crate) fn never() -> Reported {
        Reported { slot: Slot::Unchanged, at: Duration::ZERO }
    }
}

impl Deadband {
    /// `span`: `high - low` of the tag's range, which a threshold in percent needs; the error is for a person.
    pub(crate) fn new(deadband: config::Deadband, span: Option<f64>) -> Result<Deadband, String> {
        let threshold = match (deadband.threshold, span) {
            (Threshold::Absolute(threshold), _) => threshold,
            (Threshold::PercentOfSpan(percent), Some(span)) => span * percent / 100.0,
            (Threshold::PercentOfSpan(_), None) => {
                return Err("a deadband in percent is of the range, but the tag has none".to_owned());
            }
        };
        if !threshold.is_finite() || threshold < 0.0 {
            return Err("a deadband has to be a number from 0 up".to_owned());
        }
        let whole = u64::try_from(float_to_integer(threshold.ceil())).unwrap_or(u64::MAX).max(1);
        Ok(Deadband { threshold, whole, max_silence: deadband.max_silence })
    }

    /// Whether the slot is worth a report now, which is then noted as the last one. `now`: time since any fixed moment.
    pub(crate) fn report(&self, slot: &Slot, now: Duration, reported: &mut Reported) -> bool {
        let silent_for = now.saturating_sub(reported.at);
        let worth = slot.quality() != reported.slot.quality()
            || self.has_moved(slot.value(), reported.slot.value())
            || self.max_silence.is_some_and(|longest| silent_for >= longest);
        if worth {
            *reported = Reported { slot: slot.clone(), at: now };
        }
        worth
    }

    /// Whether a tag that says nothing new has been silent for too long: what is known of it, `latest`, is then worth a report,
    /// which is noted as the last one.
    pub(crate) fn is_overdue(&self, latest: &Slot, now: Duration, reported: &mut Reported) -> bool {
        let Some(longest) = self.max_silence else { return false };
        let overdue = now.saturating_sub(reported.at) >= longest && *latest != Slot::Unchanged;
        if overdue {
            *reported = Reported { slot: latest.clone(), at: now };
        }
        overdue
    }

    /// Whether a tag may not be silent for ever.
    pub(crate) fn has_longest_silence(&self) -> bool {
        self.max_silence.is_some()
    }

    fn has_moved(&self, now: Option<&Value>, reported: Option<&Value>) -> bool {
        match (now, reported) {
            (Some(now), Some(reported)) => self.is_far(now, reported),
            (now, reported) => now.is_some() != reported.is_some(),
        }
    }

    fn is_far(&self, a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::F32(a), Value::F32(b)) => self.is_far_float(f64::from(*a), f64::from(*b), f64::from(f32::EPSILON)),
            (Value::F64(a), Value::F64(b)) => self.is_far_float(*a, *b, 2.0 * f64::EPSILON),
            (Value::Int(a), Value::Int(b)) => a.abs_diff(*b) >= self.whole,
            (Value::Uint(a), Value::Uint(b)) => a.abs_diff(*b) >= self.whole,
            (Value::Array(a), Value::Array(b)) => {
                a.len() != b.len() || a.iter().zip(b.iter()).any(|(a, b)| self.is_far(a, b))
            }
            (a, b) => !a.same_as(b),
        }
    }

    /// `precision`: relative rounding error of the two. 229.9 - 229.8 is a little less than 0.1 in floats, and yet a move by 0.1.
    fn is_far_float(&self, a: f64, b: f64, precision: f64) -> bool {
        if a.is_nan() || b.is_nan() {
            return a.is_nan() != b.is_nan();
        }
        // Infinities have no difference, so equality is looked at first.
        if a == b {
            return false;
        }
        (a - b).abs() >= self.threshold - precision * a.abs().max(b.abs())
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::Reason;

    use super::*;

    fn deadband(threshold: f64, max_silence: Option<u64>) -> Deadband {
        let max_silence = max_silence.map(Duration::from_secs);
        Deadband::new(config::Deadband { threshold: Threshold::Absolute(threshold), max_silence }, None).unwrap()
    }

    /// Which of the slots, one a second, are reported.
    fn reports(deadband: &Deadband, slots: &[Slot]) -> Vec<bool> {
        let mut reported = Reported::never();
        let slots = slots.iter().zip(0..);
        slots.map(|(slot, second)| deadband.report(slot, Duration::from_secs(second), &mut reported)).collect()
    }

    fn f64s(numbers: &[f64]) -> Vec<Slot> {
        numbers.iter().map(|number| Slot::Good(Value::F64(*number))).collect()
    }

    #[test]
    fn a_value_is_compared_with_the_last_one_reported() {
        let slots = f64s(&[10.0, 10.4, 10.8, 11.0, 11.9, 10.0]);
        assert_eq!(reports(&deadband(1.0, None), &slots), [true, false, false, true, false, true]);
    }

    #[test]
    fn a_move_by_the_threshold_counts_as_it_is_written_in_decimals() {
        assert_eq!(
            reports(&deadband(0.1, None), &f64s(&[229.8, 229.9, 230.0, 230.05, 230.1])),
            [true, true, true, false, true]
        );
        let f32s: Vec<Slot> = [229.8, 229.9, 230.0, 230.05].map(|number| Slot::Good(Value::F32(number))).into();
        assert_eq!(reports(&deadband(0.1, None), &f32s), [true, true, true, false]);
    }

    #[test]
    fn a_threshold_of_zero_reports_every_change_and_nothing_else() {
        assert_eq!(
            reports(&deadband(0.0, None), &f64s(&[1.0, 1.0, 1.0 + f64::EPSILON, 1.0])),
            [true, false, true, true]
        );
        let ints = [7, 7, 8].map(|number| Slot::Good(Value::Int(number)));
        assert_eq!(reports(&deadband(0.0, None), &ints), [true, false, true]);
    }

    #[test]
    fn large_counters_do_not_stand_still() {
        let counts = [u64::MAX - 3, u64::MAX - 2, u64::MAX - 1].map(|count| Slot::Good(Value::Uint(count)));
        assert_eq!(reports(&deadband(1.0, None), &counts), [true, true, true]);
        assert_eq!(reports(&deadband(1.5, None), &counts), [true, false, true]);
        let ends = [i64::MIN, i64::MAX, i64::MAX - 1].map(|count| Slot::Good(Value::Int(count)));
        assert_eq!(reports(&deadband(2.0, None), &ends), [true, true, false]);
        assert_eq!(reports(&deadband(1e300, None), &ends), [true, true, false]);
    }

    #[test]
    fn another_quality_or_reason_is_always_reported() {
        let uncertain = |number, reason| Slot::Uncertain(Value::F64(number), reason);
        let slots = [
            Slot::Good(Value::F64(1.0)),
            uncertain(1.0, Reason::OutOfRange),
            uncertain(1.0, Reason::OutOfRange),
            uncertain(1.0, Reason::Stale),
            Slot::Bad(Reason::Timeout),
            Slot::Bad(Reason::Timeout),
            Slot::Bad(Reason::Disconnected),
            Slot::Good(Value::F64(1.0)),
        ];
        assert_eq!(reports(&deadband(5.0, None), &slots), [true, true, false, true, true, false, true, true]);
    }

    #[test]
    fn even_an_unmoved_value_is_reported_after_the_longest_silence() {
        let slots = f64s(&[1.0; 7]);
        assert_eq!(reports(&deadband(5.0, Some(3)), &slots), [true, false, false, true, false, false, true]);
        let slots = vec![Slot::Bad(Reason::Timeout); 4];
        assert_eq!(reports(&deadband(5.0, Some(3)), &slots), [true, false, false, true]);
    }

    #[test]
    fn nan_is_a_change_once_and_infinity_too() {
        let slots = f64s(&[1.0, f64::NAN, -f64::NAN, 1.0, f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY]);
        assert_eq!(reports(&deadband(5.0, None), &slots), [true, true, false, true, true, false, true]);
    }

    #[test]
    fn texts_bools_and_items_of_arrays_are_compared_too() {
        let texts = ["a", "a", "b"].map(|text| Slot::Good(Value::Text(text.into())));
        assert_eq!(reports(&deadband(5.0, None), &texts), [true, false, true]);
        let bools = [false, false, true].map(|on| Slot::Good(Value::Bool(on)));
        assert_eq!(reports(&deadband(5.0, None), &bools), [true, false, true]);
        let arrays = [[0, 0], [4, 4], [4, 5]].map(|items| Slot::Good(Value::Array(items.map(Value::Int).into())));
        assert_eq!(reports(&deadband(5.0, None), &arrays), [true, false, true]);
    }

    #[test]
    fn a_deadband_in_percent_is_of_the_range() {
        let percent = config::Deadband { threshold: Threshold::PercentOfSpan(1.0), max_silence: None };
        let deadband = Deadband::new(percent, Some(500.0)).unwrap();
        assert_eq!(reports(&deadband, &f64s(&[0.0, 4.9, 5.0])), [true, false, true]);
        assert!(Deadband::new(percent, None).unwrap_err().contains("has none"));
        let negative = config::Deadband { threshold: Threshold::Absolute(-1.0), max_silence: None };
        assert!(Deadband::new(negative, None).is_err());
    }
}
