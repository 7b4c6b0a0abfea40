//! The device's own time, when it can be believed.

use tidegate_config::DeviceTimeUnit;
use tidegate_model::{Slot, Timestamp, Value};

use crate::number::{Number, float_to_integer};

/// 2000-01-01T00:00:00Z: a clock that was never set begins before it (1970, 1980, 1984).
const EARLIEST: Timestamp = Timestamp::from_millis(946_684_800_000);
/// A day: a device in local time is at most 14 hours ahead, anything more is nonsense.
const AHEAD_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// The device's time, if it is plausible: not before the year 2000 and not more than a day after `now`.
///
/// There is no other end: a device may hand over what it has recorded long ago.
pub fn plausible_device_time(device: Timestamp, now: Timestamp) -> Option<Timestamp> {
    (device >= EARLIEST && device.millis_since(now) <= AHEAD_MILLIS).then_some(device)
}

/// The time in a slot that counts `unit` since 1970, if it is trusted and plausible.
pub(crate) fn of_slot(slot: &Slot, unit: DeviceTimeUnit, now: Timestamp) -> Option<Timestamp> {
    let Slot::Good(value) = slot else { return None };
    plausible_device_time(Timestamp::from_millis(millis(value, unit)?), now)
}

fn millis(value: &Value, unit: DeviceTimeUnit) -> Option<i64> {
    let factor = match unit {
        DeviceTimeUnit::Seconds => 1000,
        DeviceTimeUnit::Millis => 1,
    };
    let millis = match Number::of(value)? {
        Number::Integer(number) => number.checked_mul(factor)?,
        Number::Float(number) if number.is_finite() => match unit {
            DeviceTimeUnit::Seconds => float_to_integer((number * 1000.0).round()),
            DeviceTimeUnit::Millis => float_to_integer(number.round()),
        },
        Number::Float(_) => return None,
    };
    i64::try_from(millis).ok()
}

#[cfg(test)]
mod tests {
    use tidegate_model::Reason;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn seconds(value: Value) -> Option<i64> {
        of_slot(&Slot::Good(value), DeviceTimeUnit::Seconds, NOW).map(Timestamp::as_millis)
    }

    #[test]
    fn seconds_and_milliseconds_become_milliseconds() {
        assert_eq!(seconds(Value::Uint(1_699_999_990)), Some(1_699_999_990_000));
        assert_eq!(seconds(Value::F64(1_699_999_990.25)), Some(1_699_999_990_250));
        let millis = of_slot(&Slot::Good(Value::Int(1_699_999_990_123)), DeviceTimeUnit::Millis, NOW);
        assert_eq!(millis, Some(Timestamp::from_millis(1_699_999_990_123)));
    }

    #[test]
    fn a_clock_that_was_never_set_or_is_far_ahead_is_not_believed() {
        assert_eq!(seconds(Value::Int(946_684_799)), None);
        assert_eq!(seconds(Value::Int(946_684_800)), Some(946_684_800_000));
        assert_eq!(seconds(Value::Int(1_700_086_400)), Some(1_700_086_400_000));
        assert_eq!(seconds(Value::Int(1_700_086_401)), None);
        for value in [Value::Int(i64::MAX), Value::Int(i64::MIN), Value::Uint(u64::MAX), Value::F64(f64::NAN)] {
            assert_eq!(seconds(value), None);
        }
        assert_eq!(seconds(Value::F64(f64::INFINITY)), None);
        assert_eq!(seconds(Value::F64(1e300)), None);
    }

    #[test]
    fn a_doubtful_or_missing_time_is_not_used() {
        let uncertain = Slot::Uncertain(Value::Int(1_699_999_990), Reason::OutOfRange);
        assert_eq!(of_slot(&uncertain, DeviceTimeUnit::Seconds, NOW), None);
        assert_eq!(of_slot(&Slot::Bad(Reason::Timeout), DeviceTimeUnit::Seconds, NOW), None);
    }
}
