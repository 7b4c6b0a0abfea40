//! Links, sessions, and what can be asked of them.

use std::time::Duration;

use async_trait::async_trait;
use tidegate_model::{Timestamp, Value};

use crate::{Browser, ConnectFault, Cx, Lost, Readings, Subscriber};

/// Which group of which device is polled. Indices are those of the configuration: `link.devices[device]`,
/// `device.profile.groups[group]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Poll {
    /// Index of the device in its link.
    pub device: usize,
    /// Index of the group in the device's profile.
    pub group: usize,
}

/// The position inside of a poll. Every poll starts with [`Step::FIRST`]; its meaning is the driver's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step(pub usize);

impl Step {
    /// The first request of a poll.
    pub const FIRST: Step = Step(0);
}

/// What follows a request of a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another request is needed; between the two the runtime may write.
    Request(Step),
    /// The poll is complete.
    Done,
}

/// One connection or bus, compiled and ready. Owned by one task. What a driver learns about its devices (addresses that
/// do not exist) it keeps here, so that it survives a reconnect.
#[async_trait]
pub trait Link: Send {
    /// Opens a session. Repeatable; leaves nothing open when it fails.
    ///
    /// # Errors
    ///
    /// [`ConnectFault`], with what a person should look at.
    async fn connect<'link>(&'link mut self, cx: &Cx) -> Result<Box<dyn Session + 'link>, ConnectFault>;

    /// How long to wait, at most, before the next try to connect, where trying soon can help and the site says nothing else:
    /// for other sides that bear to be asked often. `None` is the longest pause of the site.
    fn longest_pause(&self) -> Option<Duration> {
        None
    }

    /// Whether the link wants to know what had been recorded before it was made, so that it can fill what is missing since.
    fn wants_recorded(&self) -> bool {
        false
    }

    /// What had been recorded before the link was made. Told once, before the first session, to a link that wants to know it; groups
    /// of which nothing was recorded are left out.
    fn recorded(&mut self, _groups: &[Recorded]) {}
}

/// What had been recorded of a group before its link was made, by the times that the device stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The group.
    pub poll: Poll,
    /// By column: the time of the newest row that says something about it. `None` when nothing has been said since
    /// [`Recorded::since`].
    pub newest: Vec<Option<Timestamp>>,
    /// The time of the oldest row that was looked at, seconds before the newest one of the group.
    pub since: Timestamp,
    /// By the gateway's clock: the time of the newest row of the group.
    pub stored: Timestamp,
}

/// One open connection. Dropping it closes it.
#[async_trait]
pub trait Session: Send {
    /// Sends one request of a poll, waits for its answer and notes what it says in `out`.
    ///
    /// A fault that concerns only some tags (an exception, an address that does not exist) is data in `out`.
    /// When the call returns [`Next::Done`], every column that the driver reads is in `out`.
    ///
    /// # Errors
    ///
    /// [`Lost`] when the connection is over; what is already in `out` counts all the same.
    async fn read(&mut self, cx: &Cx, poll: Poll, step: Step, out: &mut Readings) -> Result<Next, Lost>;

    /// The ability to write, if the driver has it.
    fn writer(&mut self) -> Option<&mut dyn Writer> {
        None
    }

    /// The ability to get values without asking, if the session has it.
    fn subscriber(&mut self) -> Option<&mut dyn Subscriber> {
        None
    }

    /// Whether this session brings the values of the group by itself. The runtime does not poll it then, and misses no slot. May
    /// change while the session lives: a group that the device does not let subscribe is polled.
    fn delivers(&self, _poll: Poll) -> bool {
        false
    }

    /// The ability to list what the device offers, if the driver has it.
    fn browser(&mut self) -> Option<&mut dyn Browser> {
        None
    }
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// The device has confirmed it.
    Confirmed,
    /// The device, or the driver before sending anything, refused it; the text says why, for a person.
    Refused(String),
    /// There was an answer, but it leaves open whether the device has got the value (a gateway did not hear from the device);
    /// the text is for a person. The session goes on.
    Unknown(String),
}

/// The ability of a session to write.
#[async_trait]
pub trait Writer: Send {
    /// Writes the device's own number (scale and offset are already undone) to the tag in `column` of the group, at most once.
    ///
    /// # Errors
    ///
    /// [`Lost`] when the connection is over. Whether the device has got the value is then unknown.
    async fn write(&mut self, cx: &Cx, poll: Poll, column: usize, raw: &Value) -> Result<Written, Lost>;
}
