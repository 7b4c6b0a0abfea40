//! What the world knows about links and devices: written by a link's task, read by whoever asks for the status.

use std::sync::{Mutex, PoisonError};

use tidegate_model::{Reason, Timestamp};

use crate::status::{DeviceState, LinkState};

/// What the world knows about a link.
#[derive(Debug, Clone)]
pub(crate) struct LinkHealth {
    pub(crate) state: LinkState,
    pub(crate) since: Timestamp,
    pub(crate) next_try: Option<Timestamp>,
    pub(crate) last_error: Option<String>,
}

impl LinkHealth {
    /// A link that has not been used since then.
    pub(crate) fn idle(since: Timestamp) -> LinkHealth {
        LinkHealth { state: LinkState::Idle, since, next_try: None, last_error: None }
    }
}

/// What the world knows about a device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeviceHealth {
    /// `None` until the first poll has ended.
    pub(crate) state: Option<DeviceState>,
    pub(crate) reason: Option<Reason>,
    pub(crate) since: Timestamp,
    pub(crate) next_try: Option<Timestamp>,
}

impl DeviceHealth {
    /// A device that has not been asked since then.
    pub(crate) fn unknown(since: Timestamp) -> DeviceHealth {
        DeviceHealth { state: None, reason: None, since, next_try: None }
    }
}

/// Something that one task writes and others read. A task that panics while it has it leaves it usable: every change here is
/// complete at every step.
#[derive(Debug)]
pub(crate) struct Shared<T>(Mutex<T>);

impl<T> Shared<T> {
    pub(crate) fn new(value: T) -> Shared<T> {
        Shared(Mutex::new(value))
    }

    /// Does something with it. Nobody else can meanwhile, so it has to be short.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T: Clone> Shared<T> {
    pub(crate) fn get(&self) -> T {
        self.with(|value| value.clone())
    }
}
