//! All stages of one group, and one poll through them.

use std::{mem, time::Duration};

use tidegate_config::{DeviceTimeUnit, ReportWhen};
use tidegate_model::{Column, Reading, Reason, Slot, Timestamp, Value};

use crate::{
    State, deadband::Deadband, device_time, expression::Expression, invalid::Invalid, on_change::has_changed,
    range::Range, rounding::Rounding, scale::Scale, swinging_door::Door, texts::Texts, write::Target,
};

/// All stages of one group of a profile, compiled; shared by the devices of the profile.
#[derive(Debug)]
pub struct Stages {
    pub(crate) columns: Box<[Column]>,
    /// By column.
    pub(crate) sources: Box<[Source]>,
    /// By column; what may be written and how.
    pub(crate) targets: Box<[Option<Target>]>,
    /// Columns with an expression, each after those it needs.
    pub(crate) expressions: Box<[Calculated]>,
    /// Columns that are rounded.
    pub(crate) roundings: Box<[(usize, Rounding)]>,
    /// Columns with a swinging door; see [`Thinning`](crate::Thinning).
    pub(crate) doors: Box<[(usize, Door)]>,
    /// Columns with a deadband, in their order.
    pub(crate) deadbands: Box<[(usize, Deadband)]>,
    pub(crate) device_time: Option<(usize, DeviceTimeUnit)>,
    pub(crate) report: ReportWhen,
    /// Columns that are written with a list of arguments.
    pub(crate) arguments: Box<[usize]>,
}

/// What the readings that go through the stages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// Everything that there is to read.
    Complete,
    /// What has changed; the rest is as it was.
    Partial,
}

/// Where the slot of a column comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// What the device says is what is delivered.
    Device,
    /// The device, through stages.
    Staged(Box<Staged>),
    /// The same, when some of the device's numbers are no value. A source of its own, so that tags without such numbers do not
    /// look for them.
    Guarded(Box<Guarded>),
    Constant(Value),
    /// From other slots, later.
    Expression,
    /// The tag is only written.
    Nothing,
}

/// The stages of a tag that is read from the device.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) convert: Convert,
    pub(crate) range: Option<Range>,
}

/// The stages of a tag that is read from the device, and the numbers that never reach them.
#[derive(Debug)]
pub(crate) struct Guarded {
    pub(crate) invalid: Invalid,
    pub(crate) staged: Staged,
}

/// From the device's value to the delivered one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Convert {
    Nothing,
    Scale(Scale),
    Texts(Texts),
}

/// A column with an expression.
#[derive(Debug)]
pub(crate) struct Calculated {
    pub(crate) column: usize,
    pub(crate) expression: Expression,
    pub(crate) range: Option<Range>,
}

/// What one poll gives for a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// One slot per column of [`Stages::columns`].
    pub slots: Box<[Slot]>,
    /// The device's own time, if the group has a tag for it and it is plausible.
    pub device_time: Option<Timestamp>,
}

impl Stages {
    /// The columns of the group's stream: every tag, with the type of its delivered values.
    pub fn columns(&self) -> Vec<Column> {
        self.columns.to_vec()
    }

    /// By column: whether the tag has a value at all.
    pub(crate) fn is_read(&self) -> impl Iterator<Item = bool> {
        self.sources.iter().map(|source| !matches!(source, Source::Nothing))
    }

    /// By column: whether the tag is read from the device.
    pub fn comes_from_device(&self) -> impl Iterator<Item = bool> {
        self.sources.iter().map(|source| matches!(source, Source::Device | Source::Staged(_) | Source::Guarded(_)))
    }

    pub(crate) fn deadbands(&self) -> usize {
        self.deadbands.len()
    }

    /// Takes what one poll has brought through all stages.
    ///
    /// - `readings`: by column; values are taken out. A tag that should have been read and is missing is bad with `not_yet_read`.
    /// - `since_start`: time since any fixed moment, never going back; for the longest silence of deadbands.
    /// - `time`: wall clock of the poll; for the plausibility of the device's own time.
    ///
    /// The answer is `None` when nothing is worth a report, so that there is no row:
    ///
    /// - A tag with a deadband is reported when it has moved far enough from what was last reported, when its quality or reason
    ///   has changed, and after its longest silence.
    /// - Any other tag of an on-change group is reported when anything has changed since the poll before. The device's clock alone
    ///   makes no row.
    /// - Any other tag is reported at every poll.
    pub fn run(
        &self,
        state: &mut State,
        readings: &mut [Reading],
        since_start: Duration,
        time: Timestamp,
    ) -> Option<Outcome> {
        let mut slots = self.read(readings, Coverage::Complete);
        self.calculate(&mut slots, &mut state.numbers);
        let device_time = self.own_time(&slots, time);
        self.round(&mut slots, &mut state.exact);
        let worth_a_row = self.report(state, &mut slots, since_start, Coverage::Complete);
        state.polled = true;
        worth_a_row.then(|| Outcome { slots: slots.into(), device_time })
    }

    /// The device's own time, where a tag has it.
    pub(crate) fn own_time(&self, slots: &[Slot], now: Timestamp) -> Option<Timestamp> {
        let (column, unit) = self.device_time?;
        device_time::of_slot(slots.get(column)?, unit, now)
    }

    /// The slots of what the device says, of constants, and unchanged for the rest.
    pub(crate) fn read(&self, readings: &mut [Reading], coverage: Coverage) -> Vec<Slot> {
        let missing = || match coverage {
            Coverage::Complete => Slot::Bad(Reason::NotYetRead),
            Coverage::Partial => Slot::Unchanged,
        };
        let mut readings = readings.iter_mut();
        let mut slots = Vec::with_capacity(self.sources.len());
        slots.extend(self.sources.iter().map(|source| match source {
            Source::Device => slot_of(readings.next(), missing, Slot::Good),
            Source::Staged(staged) => slot_of(readings.next(), missing, |value| staged.apply(value)),
            Source::Guarded(guarded) => guarded.read(readings.next(), missing),
            Source::Constant(value) => {
                readings.next();
                match coverage {
                    Coverage::Complete => Slot::Good(value.clone()),
                    Coverage::Partial => Slot::Unchanged,
                }
            }
            Source::Expression | Source::Nothing => {
                readings.next();
                Slot::Unchanged
            }
        }));
        slots
    }

    fn calculate(&self, slots: &mut [Slot], numbers: &mut Vec<f64>) {
        for calculated in &self.expressions {
            let result = calculated.result(|column| slots.get(column), numbers);
            if let Some(slot) = slots.get_mut(calculated.column) {
                *slot = result;
            }
        }
    }

    /// Rounds what is delivered. Expressions and the device's time have seen the exact values; where later rows need them, `exact`
    /// keeps them.
    pub(crate) fn round(&self, slots: &mut [Slot], exact: &mut [Slot]) {
        let mut exact = exact.iter_mut();
        for (column, rounding) in &self.roundings {
            let exact = exact.next();
            let Some(slot) = slots.get_mut(*column).filter(|slot| !matches!(slot, Slot::Unchanged)) else { continue };
            if let Some(exact) = exact {
                exact.clone_from(slot);
            }
            rounding.apply(slot);
        }
    }

    /// Makes unchanged what is not worth a report, and notes all slots as the latest. Whether anything is left to report.
    pub(crate) fn report(&self, state: &mut State, slots: &mut [Slot], now: Duration, coverage: Coverage) -> bool {
        if self.deadbands.is_empty() && self.report == ReportWhen::Always && coverage == Coverage::Complete {
            state.latest.clone_from_slice(slots);
            return self.is_read().any(|is_read| is_read);
        }
        let mut deadbands = self.deadbands.iter().zip(&mut state.reported).peekable();
        let clock = self.device_time.map(|(column, _)| column);
        let mut worth_a_row = false;
        for (column, (slot, latest)) in slots.iter_mut().zip(&mut state.latest).enumerate() {
            let banded = deadbands.next_if(|((banded, _), _)| *banded == column);
            if matches!(slot, Slot::Unchanged) {
                // A tag that says nothing new may have been silent for too long.
                let overdue =
                    banded.is_some_and(|((_, deadband), reported)| deadband.is_overdue(latest, now, reported));
                if overdue {
                    slot.clone_from(latest);
                    worth_a_row = true;
                }
                continue;
            }
            let worth = match (banded, self.report) {
                (Some(((_, deadband), reported)), _) => deadband.report(slot, now, reported),
                (None, ReportWhen::Always) => true,
                (None, ReportWhen::OnChange) => !state.polled || has_changed(slot, latest),
            };
            worth_a_row |= worth && (clock != Some(column) || self.report == ReportWhen::Always);
            if worth {
                latest.clone_from(slot);
            } else {
                *latest = mem::replace(slot, Slot::Unchanged);
            }
        }
        worth_a_row
    }
}

/// The slot of what the device said, with `good` for a value.
#[inline]
fn slot_of(reading: Option<&mut Reading>, missing: impl Fn() -> Slot, good: impl FnOnce(Value) -> Slot) -> Slot {
    match reading.map(mem::take) {
        Some(Reading::Value(value)) => good(value),
        // What the device doubts stays doubtful, for its reason.
        Some(Reading::Doubtful(value, reason)) => match good(value) {
            Slot::Good(value) | Slot::Uncertain(value, _) => Slot::Uncertain(value, reason),
            other => other,
        },
        Some(Reading::Failed(reason)) => Slot::Bad(reason),
        Some(Reading::Missing) | None => missing(),
    }
}

impl Calculated {
    /// The result over these slots.
    pub(crate) fn result<'a>(&self, slots: impl Fn(usize) -> Option<&'a Slot>, numbers: &mut Vec<f64>) -> Slot {
        match (self.expression.calculate(slots, numbers), &self.range) {
            (Slot::Good(value), Some(range)) if !range.contains(&value) => Slot::Uncertain(value, Reason::OutOfRange),
            (result, _) => result,
        }
    }
}

impl Guarded {
    /// Never inlined: the loop over the columns stays as short as it is for tags without such numbers.
    #[inline(never)]
    fn read(&self, reading: Option<&mut Reading>, missing: impl Fn() -> Slot) -> Slot {
        slot_of(reading, missing, |value| match self.invalid.contains(&value) {
            true => Slot::Bad(Reason::InvalidValue),
            false => self.staged.apply(value),
        })
    }
}

impl Staged {
    #[inline]
    fn apply(&self, value: Value) -> Slot {
        let value = match &self.convert {
            Convert::Nothing => value,
            Convert::Scale(scale) => match scale.apply(&value) {
                Some(value) => value,
                None => return Slot::Bad(Reason::InvalidValue),
            },
            Convert::Texts(texts) => return texts.apply(&value),
        };
        match &self.range {
            Some(range) if !range.contains(&value) => Slot::Uncertain(value, Reason::OutOfRange),
            _ => Slot::Good(value),
        }
    }
}
