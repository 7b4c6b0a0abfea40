//! What can go wrong with a simulated device, and when.

use std::time::Duration;

use tidegate_driver_modbus::{PrimaryTable, RegisterAddress, UnitId};

/// Longest delay of an answer.
pub const LONGEST_DELAY: Duration = Duration::from_secs(600);
/// Shortest time between two frames of a flood.
pub const SHORTEST_FLOOD: Duration = Duration::from_millis(1);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The answer comes later by this much, and so do all answers behind it on the connection: a slow device.
    /// At most [`LONGEST_DELAY`]. Several delays add up.
    Delay {
        /// How much later.
        by: Duration,
    },
    /// No answer.
    Silence,
    /// The answer is this exception (Modbus Application Protocol 1.1b3 §7); the request is not carried out.
    Exception {
        /// The exception code.
        code: u8,
    },
    /// The answer carries the number of another unit.
    WrongUnit,
    /// The answer carries another transaction identifier.
    WrongTransaction,
    /// The answer carries another function code.
    WrongFunction,
    /// The answer is a whole frame, but with two bytes of data less than was asked for.
    WrongLength,
    /// Only the first bytes of the answer come; the connection stays open.
    Cut {
        /// How many bytes of the frame come.
        bytes: u16,
    },
    /// The answer comes this much later, while requests behind it are answered at once: an answer to a question that the client
    /// has given up. At most [`LONGEST_DELAY`]; not more than 64 answers of a connection are held back, further ones never come.
    Late {
        /// How much later.
        by: Duration,
    },
    /// Frames that nobody asked for come on every open connection.
    Flood {
        /// Time between two of them, at least [`SHORTEST_FLOOD`].
        every: Duration,
    },
    /// The port is closed: open connections are dropped, new ones are refused. Concerns whole ports.
    Refuse,
    /// The first bytes of the answer come, then the connection is closed.
    Close {
        /// How many bytes of the frame come; 0 closes without an answer.
        bytes: u16,
    },
    /// Requests that touch these addresses are answered with exception 2, and not carried out.
    IllegalAddress {
        /// The table of the addresses.
        table: PrimaryTable,
        /// The first of them.
        first: RegisterAddress,
        /// How many they are.
        count: u16,
    },
}

/// One thing that goes wrong: what, where and when.
///
/// Of several faults that change the same answer the first one counts; delays add to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Index of the port that it concerns, from 0; all of them when `None`.
    pub port: Option<usize>,
    /// The unit that it concerns; all of them when `None`. [`FaultKind::Flood`] and [`FaultKind::Refuse`] concern whole ports.
    pub unit: Option<UnitId>,
    /// Time from when the fault was given to the simulator until it begins.
    pub after: Duration,
    /// How long it goes on; for ever when `None`.
    pub lasts: Option<Duration>,
    /// Only every so many-th request that it concerns is hit; every one when 1 (0 is taken for 1).
    pub every_nth: u32,
}

impl Fault {
    /// A fault of all units of all ports that begins at once and goes on for ever.
    pub fn new(kind: FaultKind) -> Fault {
        Fault { kind, port: None, unit: None, after: Duration::ZERO, lasts: None, every_nth: 1 }
    }

    /// The fault of this unit alone.
    pub fn of_unit(self, unit: UnitId) -> Fault {
        Fault { unit: Some(unit), ..self }
    }

    /// The fault of this port alone.
    pub fn of_port(self, port: usize) -> Fault {
        Fault { port: Some(port), ..self }
    }

    /// The fault beginning so much later.
    pub fn after(self, after: Duration) -> Fault {
        Fault { after, ..self }
    }

    /// The fault going on for so long.
    pub fn lasting(self, lasts: Duration) -> Fault {
        Fault { lasts: Some(lasts), ..self }
    }

    /// The fault hitting every so many-th request alone.
    pub fn every_nth(self, every_nth: u32) -> Fault {
        Fault { every_nth, ..self }
    }
}
