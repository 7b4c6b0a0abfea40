//! Messages that the gateway itself wants to have.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::message::Published;

/// A message that a client published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
    /// Where the client wants the answer (MQTT 5). Absent also when the client has no right to have it written there.
    pub response_topic: Option<String>,
    /// What the client wants back with the answer (MQTT 5).
    pub correlation: Option<Bytes>,
}

/// The messages of one filter, in the order in which they came.
pub struct Inbox {
    receiver: mpsc::Receiver<Message>,
}

impl Inbox {
    /// The next message; `None` when the broker has stopped.
    pub async fn recv(&mut self) -> Option<Message> {
        self.receiver.recv().await
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("waiting", &self.receiver.len()).finish()
    }
}

/// The broker's side of an [`Inbox`].
#[derive(Debug)]
pub(crate) struct Letterbox {
    pub(crate) filter: String,
    sender: mpsc::Sender<Message>,
    /// Whether the last message found no room, so that this is logged once and not for each message.
    full: AtomicBool,
}

impl Letterbox {
    /// An inbox for `capacity` messages and the broker's side of it.
    pub(crate) fn new(filter: &str, capacity: usize) -> (Letterbox, Inbox) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        (Letterbox { filter: filter.to_owned(), sender, full: AtomicBool::new(false) }, Inbox { receiver })
    }

    /// Whether nobody has the inbox any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }

    /// Puts a message in; `false` when there is no room for it.
    pub(crate) fn put(&self, published: &Published) -> bool {
        let properties = &published.properties;
        let response_topic = properties.response_topic().filter(|_| published.may_be_answered);
        let message = Message {
            topic: String::from_utf8_lossy(&published.topic).into_owned(),
            payload: published.payload.clone(),
            response_topic: response_topic.map(str::to_owned),
            correlation: properties.correlation(),
        };
        match self.sender.try_send(message) {
            Ok(()) => {
                self.full.store(false, Ordering::Relaxed);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => true,
            Err(mpsc::error::TrySendError::Full(message)) => {
                if !self.full.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        topic = message.topic,
                        filter = self.filter,
                        "commands arrive faster than the gateway works on them; those that find no room are dropped"
                    );
                }
                false
            }
        }
    }
}
