//! Commands to devices: from the names and values that a person or a program sends to a checked order for a link task.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value as Json;
use tidegate_model::{Name, TagName, Value};
use tidegate_pipeline::Stages;
use tokio::sync::{mpsc, oneshot};

use crate::{
    clock::Clock,
    view::{GroupView, Latest},
    write::{TOO_LATE, not_sent},
};

/// How long a command may wait for the device when it does not say itself.
pub const DEFAULT_TTL: Duration = Duration::from_secs(10);
/// The longest time a command may ask for.
pub(crate) const LONGEST_TTL: Duration = Duration::from_secs(3600);

/// Commands waiting for one link, at most.
pub(crate) const QUEUE: usize = 64;
/// Commands over MQTT that have not been looked at yet, at most: several times a link's queue, so that who sends too many
/// hears that the queue is full instead of nothing.
pub(crate) const INBOX: usize = 4 * QUEUE;

/// An order for a link task: tags to write, in this order, checked against the profile.
#[derive(Debug)]
pub(crate) struct WriteOrder {
    pub(crate) device: usize,
    pub(crate) items: Vec<WriteItem>,
    /// After this moment the order is not carried out any more.
    pub(crate) expires: Instant,
    pub(crate) claim: Claim,
    pub(crate) reply: oneshot::Sender<Vec<(TagName, WriteError)>>,
}

/// Who decides about an order: the link task that carries it out, or the sender that gives it up because its time is over.
/// Whoever takes it first; so nothing is sent that has been called not sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claim(Arc<AtomicBool>);

impl Claim {
    /// True for the first who takes it.
    pub(crate) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// One tag to write: where it is, and the device's own number.
#[derive(Debug)]
pub(crate) struct WriteItem {
    pub(crate) tag: TagName,
    pub(crate) group: usize,
    pub(crate) column: usize,
    pub(crate) raw: Value,
}

/// Why a tag was not written, or is not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The device has no such tag.
    #[error("unknown tag")]
    UnknownTag,
    /// The value may not be written; the text says why.
    #[error("{0}")]
    NotAllowed(String),
    /// The device said no; the text says why.
    #[error("refused by the device: {0}")]
    RefusedByDevice(String),
    /// The device cannot be reached; nothing was sent.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It was sent, but no answer came: the device may have the value or not.
    #[error("unknown: {0}; the device may have taken the value or not")]
    Unknown(String),
}

/// Why a whole command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no such device.
    #[error("there is no device \"{0}\"")]
    UnknownDevice(String),
    /// Too many commands wait for the device's link.
    #[error("too many commands are waiting for the link of \"{0}\"; send it again later")]
    Busy(String),
    /// The link task did not answer in time.
    #[error("no answer from the link of \"{0}\" in time; whether the device has got the values is unknown")]
    NoAnswer(String),
    /// The gateway is stopping or reloading.
    #[error("the link of \"{0}\" is being stopped")]
    Stopping(String),
}

/// Where the tags of the devices are and who takes orders for them.
#[derive(Default)]
pub(crate) struct Directory {
    devices: HashMap<Name, Arc<Entry>>,
}

/// One device in the directory.
pub(crate) struct Entry {
    pub(crate) index: usize,
    /// By group of the profile.
    pub(crate) groups: Vec<Arc<Stages>>,
    /// Where each tag is; shared by the devices of one profile.
    pub(crate) tags: Arc<HashMap<TagName, (usize, usize)>>,
    pub(crate) orders: mpsc::Sender<WriteOrder>,
    /// Where the latest samples are, by group.
    pub(crate) views: Vec<GroupView>,
}

impl Directory {
    pub(crate) fn add(&mut self, device: Name, entry: Entry) {
        self.devices.insert(device, Arc::new(entry));
    }

    pub(crate) fn entry(&self, device: &str) -> Result<Arc<Entry>, CommandError> {
        self.devices.get(device).cloned().ok_or_else(|| CommandError::UnknownDevice(device.to_owned()))
    }
}

impl Entry {
    /// Checks one value against the profile.
    fn check(&self, tag: &str, value: &Json) -> Result<WriteItem, WriteError> {
        let name: TagName = tag.parse().map_err(|_| WriteError::UnknownTag)?;
        let (group, column) = *self.tags.get(&name).ok_or(WriteError::UnknownTag)?;
        let stages = self.groups.get(group).ok_or(WriteError::UnknownTag)?;
        let value = from_json(value).map_err(|text| WriteError::NotAllowed(text.to_owned()))?;
        let raw = stages.to_raw(column, &value).map_err(|refusal| WriteError::NotAllowed(refusal.to_string()))?;
        Ok(WriteItem { tag: name, group, column, raw })
    }

    /// The latest sample of every tag.
    pub(crate) fn latest(&self) -> Vec<Latest> {
        let mut samples = Vec::new();
        for view in &self.views {
            view.latest(&mut samples);
        }
        samples
    }
}

/// A command that is on its way, or has turned out not to be needed.
#[derive(Debug)]
pub(crate) struct Begun {
    /// What is wrong with the values; empty when they are on their way.
    refused: Vec<(String, WriteError)>,
    sent: Option<Sent>,
}

#[derive(Debug)]
struct Sent {
    device: String,
    tags: Vec<TagName>,
    expires: Instant,
    claim: Claim,
    answer: oneshot::Receiver<Vec<(TagName, WriteError)>>,
}

/// Checks a command and hands it to the link's task. Commands reach the device in the order in which this is called.
///
/// When one value of a command may not be written, none is.
///
/// # Errors
///
/// [`CommandError`] when the command as a whole could not be carried out.
pub(crate) fn begin(
    entry: &Entry,
    device: &str,
    values: &serde_json::Map<String, Json>,
    ttl: Duration,
    clock: &Clock,
) -> Result<Begun, CommandError> {
    let mut items = Vec::with_capacity(values.len());
    let mut refused = Vec::new();
    for (tag, value) in values {
        match entry.check(tag, value) {
            Ok(item) => items.push(item),
            Err(error) => refused.push((tag.clone(), error)),
        }
    }
    if !refused.is_empty() || items.is_empty() {
        return Ok(Begun { refused, sent: None });
    }
    let (reply, answer) = oneshot::channel();
    let (expires, claim) = (clock.now() + ttl.min(LONGEST_TTL), Claim::default());
    let tags = items.iter().map(|item| item.tag.clone()).collect();
    let order = WriteOrder { device: entry.index, items, expires, claim: claim.clone(), reply };
    entry.orders.try_send(order).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => CommandError::Busy(device.to_owned()),
        mpsc::error::TrySendError::Closed(_) => CommandError::Stopping(device.to_owned()),
    })?;
    Ok(Begun { refused, sent: Some(Sent { device: device.to_owned(), tags, expires, claim, answer }) })
}

impl Begun {
    /// Waits until the device has answered, or the command's time is over. The answer lists what went wrong; empty is success.
    ///
    /// # Errors
    ///
    /// [`CommandError`] when the command as a whole could not be carried out.
    pub(crate) async fn answer(self, clock: &Clock) -> Result<Vec<(String, WriteError)>, CommandError> {
        let Some(mut sent) = self.sent else { return Ok(self.refused) };
        let answer = match clock.until(sent.expires, &mut sent.answer).await {
            Some(answer) => answer,
            None if sent.claim.take() => Ok(not_sent(sent.tags.into_iter(), TOO_LATE)),
            // It is being sent; what was begun in time still gets its answer.
            None => match clock.until(sent.expires + DEFAULT_TTL, sent.answer).await {
                Some(answer) => answer,
                None => return Err(CommandError::NoAnswer(sent.device)),
            },
        };
        match answer {
            Ok(errors) => Ok(errors.into_iter().map(|(tag, error)| (tag.to_string(), error)).collect()),
            // The task has ended. Without a claim it has not sent anything.
            Err(_) if sent.claim.take() => Err(CommandError::Stopping(sent.device)),
            Err(_) => Err(CommandError::NoAnswer(sent.device)),
        }
    }
}

/// Arrays in a command have at most this many items.
const LONGEST_ARRAY: usize = 4096;

/// The value that a JSON value stands for.
fn from_json(json: &Json) -> Result<Value, &'static str> {
    match json {
        Json::Bool(on) => Ok(Value::Bool(*on)),
        Json::Number(number) => {
            let signed = number.as_i64().map(Value::Int);
            let unsigned = || number.as_u64().map(Value::Uint);
            let float = || number.as_f64().map(Value::F64);
            signed.or_else(unsigned).or_else(float).ok_or("a number that no tag can hold")
        }
        // Also "NaN": only the tag knows whether that is a number or a text.
        Json::String(text) => Ok(Value::Text(text.as_str().into())),
        Json::Array(items) if items.len() > LONGEST_ARRAY => Err("an array with too many items"),
        Json::Array(items) => Ok(Value::Array(items.iter().map(from_json).collect::<Result<_, _>>()?)),
        Json::Null => Err("null is not a value"),
        Json::Object(_) => Err("an object is not a value"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_numbers_keep_every_bit_of_64() {
        let json: Json = serde_json::from_str("[18446744073709551615, -9223372036854775808, 1.5]").unwrap();
        let expected: Arc<[Value]> = [Value::Uint(u64::MAX), Value::Int(i64::MIN), Value::F64(1.5)].into();
        assert_eq!(from_json(&json), Ok(Value::Array(expected)));
    }

    #[test]
    fn a_string_is_a_text_whatever_word_it_is() {
        for word in ["pump", "NaN", "Infinity", "-Infinity", "1"] {
            assert_eq!(from_json(&Json::from(word)), Ok(Value::Text(word.into())));
        }
    }

    #[test]
    fn an_order_is_either_carried_out_or_given_up() {
        let task = Claim::default();
        let sender = task.clone();
        assert_eq!((task.take(), sender.take(), task.take()), (true, false, false));
    }

    #[test]
    fn null_and_objects_are_no_values() {
        assert!(from_json(&Json::Null).is_err());
        assert!(from_json(&serde_json::json!({ "a": 1 })).is_err());
    }
}
