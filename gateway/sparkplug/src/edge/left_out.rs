//! What is not sent because it is too large.

use tidegate_model::Name;

use super::{EdgeNode, Message, Now};
use crate::{Verb, wire::Metric};

/// Of so many it is told one by one, until they are fetched.
const MOST: usize = 1_024;

/// Something that was not sent, or not as it is, because its message is larger than [`EdgeOptions::largest`](super::EdgeOptions::largest).
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The values in its birth: it is born without them.
    ValuesOfBirth,
    /// Its birth, and so all of it, until its metrics change. Gaps take the place of its rows.
    Birth,
    /// The row with this number, or the largest value of it. A gap says so.
    Row(u64),
}

impl EdgeNode {
    /// Gives what was left out since the last call, the oldest 1,024 of it.
    pub fn left_out(&mut self) -> Vec<LeftOut> {
        std::mem::take(&mut self.left_out)
    }

    pub(super) fn leave_out(&mut self, device: &Name, what: What, bytes: usize) {
        if self.left_out.len() < MOST {
            self.left_out.push(LeftOut { device: device.clone(), what, bytes });
        }
    }

    /// A message that can be sent, or its size. Only the first takes a number: hosts miss none.
    pub(super) fn fitting(
        &mut self,
        verb: Verb,
        device: &Name,
        metrics: Vec<Metric>,
        now: Now,
    ) -> Result<Message, usize> {
        let seq = self.seq;
        let message = self.message(verb, Some(device), metrics, now);
        match message.payload.len() {
            bytes if bytes > self.options.largest => {
                self.seq = seq;
                Err(bytes)
            }
            _ => Ok(message),
        }
    }
}
