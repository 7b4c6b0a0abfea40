//! What a device has shown about addresses that do not exist: blocks that were cut, and tags that are parked.
//!
//! A device answers a request with an exception when a single one of its addresses does not exist. The block is cut in two
//! until the guilty tag stands alone; it is parked and its neighbours are read without it. Now and then a parked tag is
//! asked for again; if it answers, the device has changed, and all that was learned of the group is forgotten.
//!
//! What is learned is bounded by the number of tags of the group.

use std::time::{Duration, Instant};

use tidegate_driver_api::{
    Readings,
    model::{Name, Reason},
};

use crate::{
    Quirks,
    plan::{Block, Requests},
};

/// Cuts in one poll whose halves are asked for at once; the halves of further ones wait for the next poll, so that a device
/// without most of its addresses does not hold up the others on the connection.
const CUTS_PER_POLL: u16 = 64;

/// The first time that a parked tag waits is this part of the longest: a device that was only starting up is whole again soon.
const FIRST_WAIT_PART: u32 = 32;

/// What is known about a block.
#[derive(Debug, Clone, Copy)]
enum State {
    /// The device has not answered it yet.
    Open,
    /// The device has answered it.
    Answered,
    /// It was put together from pieces that were each answered.
    Joined,
    /// It is a single tag that the device does not have.
    Parked {
        /// When it is asked for again.
        until: Instant,
        /// How long it will have waited then.
        waited: Duration,
    },
}

/// A block and what is known about it.
#[derive(Debug, Clone, Copy)]
struct Piece {
    block: Block,
    state: State,
}

impl Piece {
    fn open(block: Block) -> Piece {
        Piece { block, state: State::Open }
    }

    fn is_parked(&self) -> bool {
        matches!(self.state, State::Parked { .. })
    }

    fn is_answered(&self) -> bool {
        matches!(self.state, State::Answered | State::Joined)
    }
}

/// What a device has shown about one group.
#[derive(Debug)]
pub(crate) struct Learned {
    pieces: Vec<Piece>,
    /// The parked piece that is asked for in this poll.
    probing: Option<usize>,
    cuts_left: u16,
    /// Whether a piece was answered for the first time in this poll.
    settled: bool,
    /// Whether pieces are put together again. Not after the device has refused a block of which it had answered every piece:
    /// then it refuses the length, not an address.
    may_join: bool,
    /// Whether a parked tag has answered.
    changed: bool,
}

impl Learned {
    fn new(requests: &Requests) -> Learned {
        let pieces = requests.blocks().iter().copied().map(Piece::open).collect();
        Learned { pieces, probing: None, cuts_left: CUTS_PER_POLL, settled: false, may_join: true, changed: false }
    }

    fn begin(&mut self, now: Instant) {
        self.cuts_left = CUTS_PER_POLL;
        let due = |(index, piece): (usize, &Piece)| match piece.state {
            State::Parked { until, .. } if until <= now => Some((until, index)),
            _ => None,
        };
        self.probing = self.pieces.iter().enumerate().filter_map(due).min().map(|(_, index)| index);
    }

    /// Puts neighbouring pieces together whose tags have been answered.
    fn join(&mut self, quirks: &Quirks) {
        let mut joined: Vec<Piece> = Vec::with_capacity(self.pieces.len());
        for piece in self.pieces.drain(..) {
            let last = joined.last_mut().filter(|last| last.is_answered() && piece.is_answered());
            match last.and_then(|last| last.block.joined(&piece.block, quirks).map(|block| (last, block))) {
                Some((last, block)) => *last = Piece { block, state: State::Joined },
                None => joined.push(piece),
            }
        }
        self.pieces = joined;
    }
}

/// The requests of a poll as they are for one device.
pub(crate) struct Course<'a> {
    pub(crate) device: &'a Name,
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
            if !piece.is_parked() || learned.probing == Some(index) {
                return Some((index, piece.block));
            }
            self.requests.fail(&piece.block, Reason::BadAddress, out);
        }
        None
    }

    /// Notes that the device has answered the block at `step`.
    pub(crate) fn answered(&mut self, step: usize) {
        let Some(learned) = self.learned else { return };
        let Some(piece) = learned.pieces.get_mut(step) else { return };
        match piece.state {
            State::Open => {
                piece.state = State::Answered;
                learned.settled = true;
            }
            State::Parked { .. } => learned.changed = true,
            State::Answered | State::Joined => {}
        }
    }

    /// Notes that the device says an address of the block at `step` does not exist; returns the step to go on with.
    pub(crate) fn refused(&mut self, step: usize, now: Instant, out: &mut Readings) -> usize {
        let learned = self.learned.get_or_insert_with(|| Box::new(Learned::new(self.requests)));
        let Some(piece) = learned.pieces.get_mut(step) else { return step + 1 };
        let longest = self.quirks.retry_bad_address;
        let park = |waited: Duration| State::Parked { until: now + waited, waited };
        if let State::Parked { waited, .. } = piece.state {
            piece.state = park((waited * 2).min(longest));
            self.requests.fail(&piece.block, Reason::BadAddress, out);
            return step + 1;
        }
        let Some((left, right)) = self.requests.halves(&piece.block) else {
            piece.state = park(longest / FIRST_WAIT_PART);
            self.requests.fail(&piece.block, Reason::BadAddress, out);
            return step + 1;
        };
        if matches!(piece.state, State::Joined) {
            learned.may_join = false;
        }
        let whole = piece.block;
        learned.pieces.splice(step..=step, [left, right].map(Piece::open));
        learned.probing = learned.probing.map(|probing| if probing > step { probing + 1 } else { probing });
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
        } else if learned.settled && learned.may_join {
            learned.settled = false;
            learned.join(self.quirks);
        }
    }
}
