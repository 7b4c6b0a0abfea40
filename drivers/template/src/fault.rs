//! Why an exchange failed, and what a person is told about it.

use std::io;

use tidegate_driver_api::{Cause, ConnectFault, Expired, Lost};

use crate::wire;

/// Why a request got no usable answer. Each of these ends the session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// No answer in time, or the call is not wanted any more.
    #[error(transparent)]
    Expired(#[from] Expired),
    /// The other side has closed the connection.
    #[error("the other side closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// What came is not the answer.
    #[error("what came is not the answer: {0}")]
    Wrong(#[from] wire::Fault),
}

impl Fault {
    fn cause(&self) -> Cause {
        match self {
            Fault::Expired(Expired::Deadline) => Cause::Timeout,
            Fault::Expired(Expired::Cancelled) => Cause::Cancelled,
            Fault::Closed | Fault::Broken(_) => Cause::Closed,
            Fault::Wrong(wire::Fault::Foreign) => Cause::Mismatch,
            Fault::Wrong(wire::Fault::Garbage) => Cause::Malformed,
        }
    }

    /// The end of the session, in words.
    pub(crate) fn lost(&self, device: &str, request: &str) -> Lost {
        Lost::new(self.cause(), format!("`{}` to {device}: {self}", request.trim_end()))
    }

    /// What a person is told when no connection was made.
    pub(crate) fn not_connected(&self, address: &str) -> ConnectFault {
        let detail = format!("no connection to {address}: {self}; check power, cable, address and port");
        ConnectFault { cause: self.cause(), detail, retry_soon: true }
    }
}
