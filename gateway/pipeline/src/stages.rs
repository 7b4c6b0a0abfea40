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
        let mut slots = self.read(readings);
        self.calculate(&mut slots, &mut state.numbers);
        let device_time =
            self.device_time.and_then(|(column, unit)| device_time::of_slot(slots.get(column)?, unit, time));
        self.round(&mut slots);
        let worth_a_row = self.report(state, &mut slots, since_start);
        state.polled = true;
        worth_a_row.then(|| Outcome { slots: slots.into(), device_time })
    }

    /// The slots of what the device says, of constants, and unchanged for the rest.
    fn read(&self, readings: &mut [Reading]) -> Vec<Slot> {
        let mut readings = readings.iter_mut();
        let mut slots = Vec::with_capacity(self.sources.len());
        slots.extend(self.sources.iter().map(|source| match source {
            Source::Device => slot_of(readings.next(), Slot::Good),
            Source::Staged(staged) => slot_of(readings.next(), |value| staged.apply(value)),
            Source::Guarded(guarded) => guarded.read(readings.next()),
            Source::Constant(value) => {
                readings.next();
                Slot::Good(value.clone())
            }
            Source::Expression | Source::Nothing => {
                readings.next();
                Slot::Unchanged
            }
        }));
        slots
    }

    fn calculate(&self, slots: &mut [Slot], numbers: &mut Vec<f64>) {
        for Calculated { column, expression, range } in &self.expressions {
            let mut result = expression.calculate(slots, numbers);
            if let (Slot::Good(value), Some(range)) = (&result, range)
                && !range.contains(value)
            {
                result = Slot::Uncertain(value.clone(), Reason::OutOfRange);
            }
            if let Some(slot) = slots.get_mut(*column) {
                *slot = result;
            }
        }
    }

    /// Rounds what is delivered. Expressions and the device's time have seen the exact values.
    fn round(&self, slots: &mut [Slot]) {
        for (column, rounding) in &self.roundings {
            if let Some(slot) = slots.get_mut(*column) {
                rounding.apply(slot);
            }
        }
    }

    /// Makes unchanged what is not worth a report, and notes all slots as the latest. Whether anything is left to report.
    fn report(&self, state: &mut State, slots: &mut [Slot], now: Duration) -> bool {
        if self.deadbands.is_empty() && self.report == ReportWhen::Always {
            state.latest.clone_from_slice(slots);
            return self.is_read().any(|is_read| is_read);
        }
        let mut deadbands = self.deadbands.iter().zip(&mut state.reported).peekable();
        let clock = self.device_time.map(|(column, _)| column);
        let mut worth_a_row = false;
        for (column, (slot, latest)) in slots.iter_mut().zip(&mut state.latest).enumerate() {
            let banded = deadbands.next_if(|((banded, _), _)| *banded == column);
            let worth = match (banded, self.report) {
                _ if matches!(slot, Slot::Unchanged) => continue,
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
fn slot_of(reading: Option<&mut Reading>, good: impl FnOnce(Value) -> Slot) -> Slot {
    match reading.map(mem::take) {
        Some(Reading::Value(value)) => good(value),
        // What the device doubts stays doubtful, for its reason.
        Some(Reading::Doubtful(value, reason)) => match good(value) {
            Slot::Good(value) | Slot::Uncertain(value, _) => Slot::Uncertain(value, reason),
            other => other,
        },
        Some(Reading::Failed(reason)) => Slot::Bad(reason),
        Some(Reading::Missing) | None => Slot::Bad(Reason::NotYetRead),
    }
}

impl Guarded {
    /// Never inlined: the loop over the columns stays as short as it is for tags without such numbers.
    #[inline(never)]
    fn read(&self, reading: Option<&mut Reading>) -> Slot {
        slot_of(reading, |value| match self.invalid.contains(&value) {
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
