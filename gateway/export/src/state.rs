//! What a file says about a value that is not simply good.

use std::fmt;

use tidegate_model::{Reason, Slot};

/// Of which kind a cell is: the text is what stands in the quality column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// There is a value that can be trusted; the quality column is empty.
    Good,
    /// There is a value that was not recorded, but drawn between two that were.
    Interpolated,
    /// Nothing new since the last value.
    Unchanged,
    /// The group did not have the tag at that time.
    Absent,
    /// There is a value that is not of the column's type, and the format has no place for it.
    OtherType,
    /// There is a value, doubtful for this reason.
    Uncertain(Reason),
    /// There is no value, for this reason.
    Bad(Reason),
}

impl State {
    /// What there is to say about a good slot that may have been drawn.
    pub(crate) fn drawn(self, is_drawn: bool) -> State {
        if is_drawn && self == State::Good { State::Interpolated } else { self }
    }

    /// What there is to say about a slot.
    pub(crate) fn of(slot: &Slot) -> State {
        match slot {
            Slot::Good(_) => State::Good,
            Slot::Unchanged => State::Unchanged,
            Slot::Uncertain(_, reason) => State::Uncertain(*reason),
            Slot::Bad(reason) => State::Bad(*reason),
        }
    }

    /// Every state but good.
    pub(crate) fn all_but_good() -> impl Iterator<Item = State> {
        let uncertain = Reason::ALL.into_iter().map(State::Uncertain);
        let bad = Reason::ALL.into_iter().map(State::Bad);
        let plain = [State::Interpolated, State::Unchanged, State::Absent, State::OtherType];
        plain.into_iter().chain(uncertain).chain(bad)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Good => Ok(()),
            State::Interpolated => f.write_str("interpolated"),
            State::Unchanged => f.write_str("unchanged"),
            State::Absent => f.write_str("absent"),
            State::OtherType => f.write_str("other_type"),
            State::Uncertain(reason) => write!(f, "uncertain:{reason}"),
            State::Bad(reason) => write!(f, "bad:{reason}"),
        }
    }
}

/// The names of the columns that every table has.
pub(crate) const TIME: &str = "time";
pub(crate) const DEVICE_TIME: &str = "device_time";
pub(crate) const SEQ: &str = "seq";

/// The name of a tag's column. A colon stands in no tag's name, so nothing is called the same twice.
pub(crate) fn value_column(tag: &str) -> String {
    if [TIME, DEVICE_TIME, SEQ].contains(&tag) { format!("tag:{tag}") } else { tag.to_owned() }
}

/// The name of the column with a tag's quality.
pub(crate) fn quality_column(tag: &str) -> String {
    format!("{tag}:quality")
}
