//! What a slot is without its value, in a byte.

use tidegate_model::{Reason, Slot};

use super::{BlockError, error::malformed};

const UNCERTAIN: u8 = 0x10;
const BAD: u8 = 0x20;
const UNCHANGED: u8 = 0x30;
const STATE: u8 = 0x30;
const REASON: u8 = 0x0f;
/// The value is of another type than its column.
const FOREIGN: u8 = 0x40;

/// The lowest four bits are the code of a reason, the next two the state, and one says that the value is foreign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Mark(u8);

impl Mark {
    /// Good, and of the column's own type.
    pub(super) const GOOD: Mark = Mark(0);

    /// The mark of a slot whose value, if it has one, is of the column's own type.
    #[inline]
    pub(super) fn of(slot: &Slot) -> Mark {
        match slot {
            Slot::Good(_) => Mark::GOOD,
            Slot::Uncertain(_, reason) => Mark(UNCERTAIN | reason.code()),
            Slot::Bad(reason) => Mark(BAD | reason.code()),
            Slot::Unchanged => Mark(UNCHANGED),
        }
    }

    /// The same with a foreign value.
    #[inline]
    pub(super) fn foreign(self) -> Mark {
        Mark(self.0 | FOREIGN)
    }

    #[inline]
    pub(super) fn is_foreign(self) -> bool {
        self.0 & FOREIGN != 0
    }

    #[inline]
    pub(super) fn has_value(self) -> bool {
        self.0 & STATE <= UNCERTAIN
    }

    /// Whether there is a value of the column's own type.
    #[inline]
    pub(super) fn has_own_value(self) -> bool {
        self.has_value() && !self.is_foreign()
    }

    fn reason(self) -> Option<Reason> {
        Reason::from_code(self.0 & REASON)
    }

    /// The code in blocks, 0 to 127.
    pub(super) fn code(self) -> u8 {
        self.0
    }

    /// The mark with that code.
    pub(super) fn from_code(code: u8) -> Result<Mark, BlockError> {
        let mark = Mark(code);
        let reason = code & REASON;
        let known = match code & STATE {
            UNCERTAIN | BAD => mark.reason().is_some(),
            _ => reason == 0,
        };
        let fits = known && code < 0x80 && (mark.has_value() || !mark.is_foreign());
        fits.then_some(mark).ok_or(malformed("the mark of a slot"))
    }

    /// The slot with this mark; `value` is asked for when it has one, and a slot that lacks its value is `None`.
    #[inline]
    pub(super) fn slot(self, value: impl FnOnce() -> Option<tidegate_model::Value>) -> Option<Slot> {
        match self.0 & STATE {
            UNCERTAIN => Some(Slot::Uncertain(value()?, self.reason()?)),
            BAD => self.reason().map(Slot::Bad),
            UNCHANGED => Some(Slot::Unchanged),
            _ => value().map(Slot::Good),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::Value;

    use super::*;

    #[test]
    fn every_slot_comes_back_from_the_code_of_its_mark() {
        let mut slots = vec![Slot::Unchanged, Slot::Good(Value::Int(1))];
        slots.extend(Reason::ALL.map(Slot::Bad));
        slots.extend(Reason::ALL.map(|reason| Slot::Uncertain(Value::Int(1), reason)));
        for slot in slots {
            let mark = Mark::of(&slot);
            assert_eq!(Mark::from_code(mark.code()), Ok(mark));
            assert_eq!(mark.slot(|| Some(Value::Int(1))), Some(slot.clone()));
            assert_eq!(mark.has_value(), slot.value().is_some());
        }
    }

    #[test]
    fn codes_that_are_no_marks_are_refused() {
        let marks = (0..=u8::MAX).filter(|code| Mark::from_code(*code).is_ok()).count();
        // Good and uncertain, own or foreign, bad, unchanged.
        assert_eq!(marks, 2 * (1 + 9) + 9 + 1);
    }
}
