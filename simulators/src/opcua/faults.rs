//! What can go wrong with a simulated OPC UA server, and when.

use std::time::Duration;

use opcua::types::StatusCode;

/// Longest delay of an answer.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(600);

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// Whatever the server sends comes later by this much: a slow line. At most 10 minutes.
    Delay {
        /// How much later.
        by: Duration,
    },
    /// Connections stay open and nothing comes on them; it comes when the fault is over: a server that hangs.
    Silence,
    /// The port is closed: open connections are dropped, new ones are refused.
    Refuse,
    /// The connection is closed instead of the next thing that the server sends on it.
    Close,
    /// Values have this status code instead of a number.
    Status {
        /// The status code.
        code: StatusCode,
        /// The tag that has it; every one when `None`.
        tag: Option<String>,
    },
    /// New monitored items are refused with "too many monitored items".
    NoItems,
}

/// One thing that goes wrong: what and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Time from when the fault was given to the simulator until it begins.
    pub after: Duration,
    /// How long it goes on; for ever when `None`.
    pub lasts: Option<Duration>,
    /// Only every so many-th thing that the server sends is hit, for [`FaultKind::Delay`] and [`FaultKind::Close`]; every one when 1.
    pub every_nth: u32,
}

impl Fault {
    /// A fault that begins at once and goes on for ever.
    pub fn new(kind: FaultKind) -> Fault {
        Fault { kind, after: Duration::ZERO, lasts: None, every_nth: 1 }
    }

    /// The fault beginning so much later.
    pub fn after(self, after: Duration) -> Fault {
        Fault { after, ..self }
    }

    /// The fault going on for so long.
    pub fn lasting(self, lasts: Duration) -> Fault {
        Fault { lasts: Some(lasts), ..self }
    }

    /// The fault hitting every so many-th thing alone.
    pub fn every_nth(self, every_nth: u32) -> Fault {
        Fault { every_nth, ..self }
    }
}
