//! What is not sent because it is too large, and how large a message may be.

use prost::Message as _;
use tidegate_model::{Name, TagName};

use super::{EdgeNode, Message, Now};
use crate::{Verb, wire::Metric};

/// Of so many it is told one by one, until they are fetched.
const MOST: usize = 1_024;
/// A message with several metrics is full at about this size, at first and at least.
const FULL: usize = 48 * 1024;
const LEAST_FULL: usize = 1024;
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
    /// Its birth, and so all of it, until its metrics change. Gaps take the place of its rows.
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
    /// Bytes of a payload, at most.
    pub(super) largest: usize,
    /// A message with several metrics is full at about this size.
    pub(super) full: usize,
}

/// A message that cannot be sent.
pub(super) struct TooLarge {
    pub(super) bytes: usize,
    pub(super) metrics: Vec<Metric>,
}

impl Limits {
    pub(super) fn new(largest: usize) -> Limits {
        Limits { largest, full: FULL }
    }
}

impl EdgeNode {
    /// Gives what was left out since the last call, the oldest 1,024 of it.
    pub fn left_out(&mut self) -> Vec<LeftOut> {
        std::mem::take(&mut self.left_out)
    }

    /// From now on payloads of more than so many bytes are not sent: births lose values, rows that do not fit become gaps.
    pub fn limit(&mut self, bytes: usize) {
        self.limits.largest = self.limits.largest.min(bytes);
    }

    /// Takes back what [`EdgeNode::limit`] said: it was not the size.
    pub fn unlimited(&mut self) {
        self.limits.largest = self.options.largest;
    }

    /// From now on fewer rows share a message: of half as many bytes as before, but no less than 1 KiB.
    pub fn pack_less(&mut self) {
        self.limits.full = (self.limits.full / 2).max(LEAST_FULL);
    }

    /// From now on the birth of this device has a payload of at most so many bytes: without its largest values; where that is not enough,
    /// without any; where that is not enough, the device dies, and gaps take the place of its rows. Until its metrics change.
    pub fn limit_birth(&mut self, device: &str, bytes: usize) {
        if let Some(entry) = self.entries.get_mut(device) {
            entry.largest_birth = entry.largest_birth.min(bytes);
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
            (Verb::Birth, Some(entry)) => self.limits.largest.min(entry.largest_birth),
            _ => self.limits.largest,
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
