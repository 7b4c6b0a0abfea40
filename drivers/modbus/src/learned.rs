//! What a device has shown about addresses that do not exist: blocks that were cut, and tags that are parked.
//!
//! A device answers a request with an exception when a single one of its addresses does not exist. The block is cut in two
//! until the guilty tag stands alone; it is parked and its neighbours are read without it. Now and then a parked tag is
//! asked for again; if it answers, the device has changed, and all that was learned of the group is forgotten.
//!
//! What is learned is bounded by the number of tags of the group.

use std::time::{Duration, Instant};

use tidegate_driver_api::{Readings, model::Reason};

use crate::{
    Quirks,
    plan::{Block, Requests},
};

/// Cuts in one poll at most, so that a device without most of its addresses does not hold up the others on the connection.
const CUTS_PER_POLL: u16 = 64;

/// The first time that a parked tag waits is this part of the longest: a device that was only starting up is whole again soon.
const FIRST_WAIT_PART: u32 = 32;

/// What is left to be done about one block.
#[derive(Debug, Clone, Copy)]
struct Piece {
    block: Block,
    /// When the tags of the block are parked: when they are asked for again, and how long they have waited then.
    parked: Option<(Instant, Duration)>,
    /// Whether the block was put together from pieces that were each answered.
    joined: bool,
}

/// What a device has shown about one group.
#[derive(Debug)]
pub(crate) struct Learned {
    pieces: Vec<Piece>,
    /// The parked piece that is asked for in this poll.
    probing: Option<usize>,
    cuts_left: u16,
    /// Whether a block was cut in this poll.
    cut: bool,
    /// Whether pieces are put together again. Not after the device has refused a block of which it had answered every piece:
    /// then it refuses the length, not an address.
    may_join: bool,
    /// Whether a parked tag has answered.
    changed: bool,
}

impl Learned {
    fn new(requests: &Requests) -> Learned {
        let pieces =
            requests.blocks().iter().map(|block| Piece { block: *block, parked: None, joined: false }).collect();
        Learned { pieces, probing: None, cuts_left: CUTS_PER_POLL, cut: false, may_join: true, changed: false }
    }

    fn begin(&mut self, now: Instant) {
        self.cuts_left = CUTS_PER_POLL;
        let due = |(index, piece): (usize, &Piece)| piece.parked.map(|(until, _)| (until, index));
        self.probing = self
            .pieces
            .iter()
            .enumerate()
            .filter_map(due)
            .filter(|(until, _)| *until <= now)
            .min()
            .map(|(_, index)| index);
    }

    /// Puts neighbouring pieces together whose tags have been answered.
    fn join(&mut self, quirks: &Quirks) {
        let mut joined: Vec<Piece> = Vec::with_capacity(self.pieces.len());
        for piece in self.pieces.drain(..) {
            let last = joined.last_mut().filter(|last| last.parked.is_none() && piece.parked.is_none());
            match last.and_then(|last| last.block.joined(&piece.block, quirks).map(|block| (last, block))) {
                Some((last, block)) => *last = Piece { block, parked: None, joined: true },
                None => joined.push(piece),
            }
        }
        self.pieces = joined;
    }
}

/// The requests of a poll as they are for one device.
pub(crate) struct Course<'a> {
    pub(crate) requests: &'a Requests,
    pub(crate) quirks: &'a Quirks,
    /// `None` for a device that has every address, as most have.
    pub(crate) learned: &'a mut Option<Box<Learned>>,
}

impl Course<'_> {
    /// Begins a poll: chooses the parked tag to ask for again, if the time of one has come.
    pub(crate) fn begin(&mut self, now: Instant) {
        if let Some(learned) = self.learned {
            learned.begin(now);
        }
    }

    /// The first block at or behind `step` that has to be asked for. The parked ones before it are noted in `out`.
    pub(crate) fn next(&self, step: usize, out: &mut Readings) -> Option<(usize, Block)> {
        let Some(learned) = self.learned.as_ref() else {
            return self.requests.blocks().get(step).map(|block| (step, *block));
        };
        for (index, piece) in learned.pieces.iter().enumerate().skip(step) {
            if piece.parked.is_none() || learned.probing == Some(index) {
                return Some((index, piece.block));
            }
            self.requests.fail(&piece.block, Reason::BadAddress, out);
        }
        None
    }

    /// Notes that the device has answered the block at `step`.
    pub(crate) fn answered(&mut self, step: usize) {
        if let Some(learned) = self.learned
            && learned.pieces.get(step).is_some_and(|piece| piece.parked.is_some())
        {
            learned.changed = true;
        }
    }

    /// Notes that the device says an address of the block at `step` does not exist; returns the step to go on with.
    pub(crate) fn refused(&mut self, step: usize, now: Instant, out: &mut Readings) -> usize {
        let learned = self.learned.get_or_insert_with(|| Box::new(Learned::new(self.requests)));
        let Some(piece) = learned.pieces.get_mut(step) else { return step + 1 };
        let longest = self.quirks.retry_bad_address;
        if let Some((_, waited)) = piece.parked {
            let wait = (waited * 2).min(longest);
            piece.parked = Some((now + wait, wait));
            self.requests.fail(&piece.block, Reason::BadAddress, out);
            return step + 1;
        }
        let Some((left, right)) = self.requests.halves(&piece.block) else {
            let wait = longest / FIRST_WAIT_PART;
            piece.parked = Some((now + wait, wait));
            self.requests.fail(&piece.block, Reason::BadAddress, out);
            return step + 1;
        };
        if piece.joined {
            learned.may_join = false;
        }
        let whole = piece.block;
        let halves = [left, right].map(|block| Piece { block, parked: None, joined: false });
        learned.pieces.splice(step..=step, halves);
        learned.probing = learned.probing.map(|probing| if probing > step { probing + 1 } else { probing });
        learned.cut = true;
        match learned.cuts_left.checked_sub(1) {
            Some(left) => {
                learned.cuts_left = left;
                step
            }
            None => {
                // The halves are asked for in the next poll.
                self.requests.fail(&whole, Reason::BadAddress, out);
                step + 2
            }
        }
    }

    /// Ends a poll of which every request was answered.
    pub(crate) fn finish(&mut self) {
        let Some(learned) = self.learned else { return };
        if learned.changed {
            *self.learned = None;
        } else if learned.cut && learned.may_join {
            learned.cut = false;
            learned.join(self.quirks);
        }
    }
}
