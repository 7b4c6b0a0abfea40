//! What is not sent because it is too large, and how large a message may be.

use std::time::{Duration, Instant};

use prost::Message as _;
use tidegate_model::{Name, TagName};

use super::{EdgeNode, Message, Now};
use crate::{Verb, wire::Metric};

/// Of so many it is told one by one, until they are fetched.
const MOST: usize = 1_024;
/// A message with several metrics is full at about this size, at first and at least.
const FULL: usize = 48 * 1024;
const LEAST_FULL: usize = 1024;
/// What was found to be too large is tried again after this time, and when it is found again after twice the time, up to the longest.
const FIRST_TRY: Duration = Duration::from_secs(3600);
const LONGEST_TRY: Duration = Duration::from_secs(24 * 3600);
/// Tags that are named, at most.
const MOST_TAGS: usize = 8;

/// Something that was not sent, or not as it is, because its message is larger than [`EdgeOptions::largest`](super::EdgeOptions::largest)
/// or what was found to be too large ([`EdgeNode::limit`], [`EdgeNode::limit_birth`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The device.
    pub device: Name,
    /// What of it.
    pub what: What,
    /// Bytes of the payload.
    pub bytes: usize,
}

/// What was left out of what is said of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Values in its birth: it is born without them.
    ValuesOfBirth {
        /// The tags, the first 8 of them.
        tags: Vec<TagName>,
        /// How many tags.
        count: usize,
    },
    /// Its birth, and so all of it, until its metrics change or it is tried again. Gaps take the place of its rows.
    Birth,
    /// A row, or one value of it. A gap says so.
    Row {
        /// Number of the row.
        seq: u64,
        /// The tag whose value it is; `None`: the whole row.
        tag: Option<TagName>,
    },
}

/// How large messages may be.
#[derive(Debug)]
pub(super) struct Limits {
    /// Bytes of a payload, at most, whatever is found.
    largest: usize,
    /// What was found.
    found: Ceiling,
    /// When the first of what was found is to be tried again, of births too.
    tried_at: Option<Instant>,
    /// A message with several metrics is full at about this size.
    pub(super) full: usize,
}

/// A size that was found to be too large, for a time: what a broker bears may change, and it may have closed the connection over something else.
#[derive(Debug)]
pub(super) struct Ceiling {
    bytes: usize,
    until: Option<Instant>,
    pause: Duration,
}

/// A message that cannot be sent.
pub(super) struct TooLarge {
    pub(super) bytes: usize,
    pub(super) metrics: Vec<Metric>,
}

impl Limits {
    pub(super) fn new(largest: usize) -> Limits {
        Limits { largest, found: Ceiling::new(), tried_at: None, full: FULL }
    }

    /// Bytes of a payload, at most.
    pub(super) fn largest(&self) -> usize {
        self.largest.min(self.found.bytes)
    }

    fn try_at(&mut self, at: Option<Instant>) {
        self.tried_at = [self.tried_at, at].into_iter().flatten().min();
    }
}

impl Ceiling {
    /// Nothing has been found.
    pub(super) fn new() -> Ceiling {
        Ceiling { bytes: usize::MAX, until: None, pause: FIRST_TRY }
    }

    /// Bytes, at most.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn lower(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        self.bytes = self.bytes.min(bytes);
        self.until = Some(now + self.pause);
        self.until
    }

    /// Takes it back when its time has come; whether it was.
    fn ends(&mut self, now: Instant) -> bool {
        let ends = self.until.is_some_and(|until| until <= now);
        if ends {
            self.lift();
            self.pause = (self.pause * 2).min(LONGEST_TRY);
        }
        ends
    }

    fn lift(&mut self) {
        (self.bytes, self.until) = (usize::MAX, None);
    }
}

impl EdgeNode {
    /// Gives what was left out since the last call, the oldest 1,024 of it.
    pub fn left_out(&mut self) -> Vec<LeftOut> {
        std::mem::take(&mut self.left_out)
    }

    /// From now on payloads of more than so many bytes are not sent: births lose values, rows that do not fit become gaps. After an hour
    /// they are tried again; when this is said again then, after two, and so on up to a day.
    pub fn limit(&mut self, bytes: usize, now: Now) {
        let at = self.limits.found.lower(bytes, now.at);
        self.limits.try_at(at);
    }

    /// Takes back what [`EdgeNode::limit`] and [`EdgeNode::limit_birth`] said: it was not the size.
    pub fn unlimited(&mut self) {
        self.limits.found.lift();
        self.limits.tried_at = None;
        for entry in self.entries.values_mut() {
            entry.largest_birth.lift();
            entry.can_be_born();
        }
    }

    /// Tries again what was found to be too large some time ago.
    pub(super) fn try_limits(&mut self, now: Now) {
        if self.limits.tried_at.is_none_or(|at| at > now.at) {
            return;
        }
        self.limits.tried_at = None;
        let all = self.limits.found.ends(now.at);
        let mut next = self.limits.found.until;
        for entry in self.entries.values_mut() {
            if entry.largest_birth.ends(now.at) || all {
                entry.can_be_born();
            }
            next = [next, entry.largest_birth.until].into_iter().flatten().min();
        }
        self.limits.try_at(next);
    }

    /// From now on fewer rows share a message: of half as many bytes as before, but no less than 1 KiB.
    pub fn pack_less(&mut self) {
        self.limits.full = (self.limits.full / 2).max(LEAST_FULL);
    }

    /// From now on the birth of this device has a payload of at most so many bytes: without its largest values; where that is not enough,
    /// without any; where that is not enough, the device dies, and gaps take the place of its rows. Until its metrics change, or for as long as
    /// [`EdgeNode::limit`].
    pub fn limit_birth(&mut self, device: &str, bytes: usize, now: Now) {
        if let Some(entry) = self.entries.get_mut(device) {
            let at = entry.largest_birth.lower(bytes, now.at);
            self.limits.try_at(at);
        }
    }

    pub(super) fn leave_out(&mut self, device: &Name, what: What, bytes: usize) {
        if self.left_out.len() < MOST {
            self.left_out.push(LeftOut { device: device.clone(), what, bytes });
        }
    }

    /// A message of a device that can be sent. Only such a one takes a number: hosts miss none.
    pub(super) fn fitting(
        &mut self,
        verb: Verb,
        device: &Name,
        metrics: Vec<Metric>,
        now: Now,
    ) -> Result<Message, TooLarge> {
        let most = match (verb, self.entries.get(device)) {
            (Verb::Birth, Some(entry)) => self.limits.largest().min(entry.largest_birth.bytes()),
            _ => self.limits.largest(),
        };
        let payload = self.payload(metrics, now);
        match payload.encoded_len() {
            bytes if bytes > most => Err(TooLarge { bytes, metrics: payload.metrics }),
            _ => Ok(self.numbered(verb, Some(device), &payload)),
        }
    }
}

impl What {
    /// Values of these tags.
    pub(super) fn values_of_birth(tags: impl ExactSizeIterator<Item = TagName>) -> What {
        let count = tags.len();
        What::ValuesOfBirth { tags: tags.take(MOST_TAGS).collect(), count }
    }
}
