//! What is left out of the rows of a group on their way to the store, because tags have a swinging door.

use std::time::Duration;

use tidegate_model::{Slot, Timestamp};

use crate::{
    Stages,
    swinging_door::{Door, Swing},
};

/// What is known of the tags with a swinging door of one group of one device: about 120 bytes each. Groups without such tags have
/// none.
#[derive(Debug)]
pub struct Thinning {
    /// By column.
    tags: Box<[(usize, Door, Swing)]>,
    longest_wait: Duration,
}

/// What [`Thinning::next`] says about two rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thinned {
    /// Whether something was left out of the row before.
    pub before: bool,
    /// Whether something may still be left out of this row, so that it has to wait for the next.
    pub waits: bool,
}

impl Stages {
    /// What has to be known of one device's rows; `None` when no tag of the group has a swinging door.
    pub fn thinning(&self) -> Option<Thinning> {
        let longest_wait = self.doors.iter().map(|(_, door)| door.max_silence()).min()?;
        let tags = self.doors.iter().map(|(column, door)| (*column, *door, Swing::Apart)).collect();
        Some(Thinning { tags, longest_wait })
    }
}

impl Thinning {
    /// The longest time that a row may wait for the next one: the shortest `max_silence` of the tags. Afterwards everything of the
    /// row is kept anyway.
    pub fn longest_wait(&self) -> Duration {
        self.longest_wait
    }

    /// Takes the next row of the group, with its time and slots. What lies on a line is made unchanged in `before`, the slots of
    /// the row before it, if that has waited.
    pub fn next(&mut self, before: Option<&mut [Slot]>, time: Timestamp, slots: &[Slot]) -> Thinned {
        let mut before = before;
        let mut thinned = Thinned { before: false, waits: false };
        for (column, door, swing) in &mut self.tags {
            // A row has a slot for each column.
            let slot = slots.get(*column).unwrap_or(&Slot::Unchanged);
            if door.next(swing, time, slot)
                && let Some(before) = before.as_mut().and_then(|before| before.get_mut(*column))
            {
                *before = Slot::Unchanged;
                thinned.before = true;
            }
            thinned.waits |= swing.is_open();
        }
        thinned
    }

    /// The last row goes to the store as it is, without waiting for another.
    pub fn rest(&mut self) {
        for (_, _, swing) in &mut self.tags {
            swing.rest();
        }
    }
}
