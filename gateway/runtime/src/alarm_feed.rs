//! Alarms for whoever listens inside the gateway, beside their topics.

use std::sync::Arc;

use tidegate_model::{Name, Timestamp};
use tokio::sync::broadcast::{Receiver, Sender, channel, error::TryRecvError};

/// Alarms that wait for a listener, at most; the oldest go.
const WAITING: usize = 4096;

/// What a device says about one of its alarms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmNotice {
    /// The device.
    pub device: Name,
    /// What tells it from the other alarms of the device: the level of its topic.
    pub key: String,
    /// Its name.
    pub name: String,
    /// When the gateway had it; `None` when the alarm is over because nobody speaks of it any more.
    pub time: Option<Timestamp>,
    /// Whether it is active, where the device says so.
    pub active: Option<bool>,
    /// Whether somebody has acknowledged it, where the device says so.
    pub acked: Option<bool>,
    /// 1 to 1000, as the device says.
    pub severity: Option<u16>,
    /// What it says.
    pub message: Option<String>,
    /// What of the device it is about.
    pub source: Option<String>,
    /// The name of its condition.
    pub condition: Option<String>,
    /// Whether it is of interest still.
    pub is_of_interest: bool,
}

impl AlarmNotice {
    /// That an alarm is over.
    pub(crate) fn over(device: &Name, key: &str) -> AlarmNotice {
        AlarmNotice {
            device: device.clone(),
            key: key.to_owned(),
            name: key.to_owned(),
            time: None,
            active: Some(false),
            acked: None,
            severity: None,
            message: None,
            source: None,
            condition: None,
            is_of_interest: false,
        }
    }
}

/// Where links tell of alarms.
#[derive(Debug, Clone)]
pub(crate) struct AlarmSender(Sender<Arc<AlarmNotice>>);

/// The alarms of all devices since this was made.
#[derive(Debug)]
pub struct AlarmFeed(Receiver<Arc<AlarmNotice>>);

impl AlarmSender {
    pub(crate) fn new() -> AlarmSender {
        AlarmSender(channel(WAITING).0)
    }

    /// Tells whoever listens; made only when somebody does.
    pub(crate) fn send(&self, notice: impl FnOnce() -> AlarmNotice) {
        if self.0.receiver_count() > 0 {
            // Whoever has listened may just have gone.
            let _ = self.0.send(Arc::new(notice()));
        }
    }

    pub(crate) fn feed(&self) -> AlarmFeed {
        AlarmFeed(self.0.subscribe())
    }
}

impl AlarmFeed {
    /// What has come since the last time, the oldest first, without waiting; of more than 4,096 the oldest are left out.
    pub fn take(&mut self) -> Vec<Arc<AlarmNotice>> {
        let mut taken = Vec::new();
        loop {
            match self.0.try_recv() {
                Ok(notice) => taken.push(notice),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return taken,
            }
        }
    }
}
