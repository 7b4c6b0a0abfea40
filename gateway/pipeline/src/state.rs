//! What the stages remember of one group of one device from poll to poll.

use tidegate_model::{Reason, Slot};

use crate::{Stages, deadband::Reported};

/// What the stages remember of one group of one device: 32 bytes a tag, and 48 more for a tag with a deadband.
#[derive(Debug)]
pub struct State {
    pub(crate) latest: Box<[Slot]>,
    /// One for each tag with a deadband, in the order of the columns.
    pub(crate) reported: Box<[Reported]>,
    /// Whether there was a poll before: the first one is reported whatever it says.
    pub(crate) polled: bool,
    /// What rounded columns were before, by rounding; empty where nobody needs it.
    pub(crate) exact: Box<[Slot]>,
    /// Numbers of an expression while it is calculated.
    pub(crate) numbers: Vec<f64>,
}

impl State {
    /// Before the first poll: every tag that is read is bad with `not_yet_read`.
    pub fn new(stages: &Stages) -> State {
        let slot = |is_read| if is_read { Slot::Bad(Reason::NotYetRead) } else { Slot::Unchanged };
        State {
            latest: stages.is_read().map(slot).collect(),
            reported: (0..stages.deadbands()).map(|_| Reported::never()).collect(),
            polled: false,
            exact: Box::default(),
            numbers: Vec::new(),
        }
    }

    /// The same, for a group whose tags come when they have changed: expressions are calculated from what came last.
    pub fn of_arrivals(stages: &Stages) -> State {
        let needed = !stages.expressions.is_empty();
        let rounded = if needed { stages.roundings.len() } else { 0 };
        State { exact: vec![Slot::Bad(Reason::NotYetRead); rounded].into(), ..State::new(stages) }
    }

    /// The same, for a group of events: what the first one does not say is not missing.
    pub fn of_events(stages: &Stages) -> State {
        State { polled: true, ..State::of_arrivals(stages) }
    }

    /// What the last poll said about each tag, by column, whether it was reported or not; unchanged where a tag is only written.
    pub fn latest(&self) -> &[Slot] {
        &self.latest
    }
}
