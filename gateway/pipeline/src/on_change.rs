//! In a group that reports on change, what is as before is not worth a report.

use tidegate_model::Slot;

/// Whether the slot says something else than the one before: another quality or reason, or a value that differs in any bit.
#[inline]
pub(crate) fn has_changed(now: &Slot, before: &Slot) -> bool {
    match (now.value(), before.value()) {
        (Some(now_value), Some(before_value)) => !now_value.same_as(before_value) || now.quality() != before.quality(),
        _ => now != before,
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::{Reason, Value};

    use super::*;

    #[test]
    fn only_the_same_bits_of_the_same_quality_are_no_change() {
        let good = |number| Slot::Good(Value::F64(number));
        let uncertain = |number, reason| Slot::Uncertain(Value::F64(number), reason);
        assert!(!has_changed(&good(1.0), &good(1.0)));
        assert!(!has_changed(&good(f64::NAN), &good(f64::NAN)));
        assert!(has_changed(&good(0.0), &good(-0.0)));
        assert!(has_changed(&good(1.0), &uncertain(1.0, Reason::OutOfRange)));
        assert!(has_changed(&uncertain(1.0, Reason::Stale), &uncertain(1.0, Reason::OutOfRange)));
        assert!(!has_changed(&Slot::Bad(Reason::Timeout), &Slot::Bad(Reason::Timeout)));
        assert!(has_changed(&Slot::Bad(Reason::Timeout), &Slot::Bad(Reason::Stale)));
        assert!(has_changed(&Slot::Bad(Reason::Timeout), &good(1.0)));
    }
}
