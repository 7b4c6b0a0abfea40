//! Why a connection could not be made, or is over.

use std::fmt;

/// What happened to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The device did not answer in time.
    Timeout,
    /// The other side closed the connection or it broke.
    Closed,
    /// An answer arrived that is not the answer to the question.
    Mismatch,
    /// What arrived is no message of the protocol.
    Malformed,
    /// The gateway is stopping.
    Cancelled,
}

impl Cause {
    /// The word used in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Timeout => "timeout",
            Cause::Closed => "closed",
            Cause::Mismatch => "mismatch",
            Cause::Malformed => "malformed",
            Cause::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The session is over. It must be dropped; the runtime connects anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}: {detail}")]
pub struct Lost {
    /// What happened.
    pub cause: Cause,
    /// What exactly, for a person ("unit 7 did not answer a read of 60 input registers from 0 within 500 ms").
    pub detail: String,
}

impl Lost {
    /// A lost session with what happened and what exactly.
    pub fn new(cause: Cause, detail: impl Into<String>) -> Lost {
        Lost { cause, detail: detail.into() }
    }
}

/// No session could be opened. The runtime tries again, for ever, with back-off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}: {detail}")]
pub struct ConnectFault {
    /// What happened.
    pub cause: Cause,
    /// What exactly, and what to look at, for a person ("192.168.1.10:502 refused the connection").
    pub detail: String,
    /// Whether trying again soon can help. A wrong password does not get better by trying: the longest back-off is used.
    pub retry_soon: bool,
}
