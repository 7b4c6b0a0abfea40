//! Why an exchange failed, and what a person is told about it.

use std::{io, time::Duration};

use tidegate_driver_api::{Cause, ConnectFault, Expired, Lost};

use crate::{Endpoint, wire};

/// Why a request got no usable answer. Each of these ends the session: whatever still comes over the connection could be
/// taken for the answer to another question.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// Nothing, or only a part of an answer, within the time allowed.
    #[error("no answer within the time allowed")]
    Silent,
    /// The call is not wanted any more.
    #[error("the call was cancelled")]
    Cancelled,
    /// The other side has closed the connection.
    #[error("the other side closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// Something had come that was not asked for.
    #[error("bytes came that nobody had asked for")]
    Unasked,
    /// The answer is not one to the request.
    #[error(transparent)]
    Wrong(#[from] wire::Fault),
    /// A call before this one was dropped before its answer came.
    #[error("a call before this one was dropped before its answer came")]
    Abandoned,
    /// The request is longer than the protocol allows. Plans keep to the limits, so that this is a mistake of the driver.
    #[error("the request is longer than a message may be")]
    TooLong,
}

impl From<Expired> for Fault {
    fn from(expired: Expired) -> Fault {
        match expired {
            Expired::Deadline => Fault::Silent,
            Expired::Cancelled => Fault::Cancelled,
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Fault::Closed,
            _ => Fault::Broken(error),
        }
    }
}

impl Fault {
    fn cause(&self) -> Cause {
        match self {
            Fault::Silent => Cause::Timeout,
            Fault::Cancelled => Cause::Cancelled,
            Fault::Closed | Fault::Broken(_) => Cause::Closed,
            Fault::Wrong(fault) if fault.is_malformed() => Cause::Malformed,
            Fault::TooLong => Cause::Malformed,
            Fault::Unasked | Fault::Wrong(_) | Fault::Abandoned => Cause::Mismatch,
        }
    }

    /// The end of the session, in words. `who` is the device ("meter-1 (unit 7)"), `what` the request ("a read of …").
    pub(crate) fn lost(self, who: &str, what: &str, timeout: Duration) -> Lost {
        let detail = match &self {
            Fault::Silent => format!("{who} did not answer {what} within {} ms", timeout.as_millis()),
            Fault::Cancelled => format!("{what} to {who} was cancelled"),
            Fault::Closed => format!("the connection was closed during {what} to {who}"),
            Fault::Broken(error) => format!("the connection broke during {what} to {who}: {error}"),
            Fault::Unasked => format!("before {what} to {who}, bytes came that nobody had asked for"),
            Fault::Wrong(fault) => format!("what came after {what} to {who} is not its answer: {fault}"),
            Fault::Abandoned => format!("{what} to {who} was not sent: a call before it was dropped half-way"),
            Fault::TooLong => format!("{what} to {who} was not sent: {self}"),
        };
        Lost::new(self.cause(), detail)
    }
}

/// What a person is told when the name of the endpoint has no address.
pub(crate) fn unresolved(endpoint: &Endpoint, error: &io::Error) -> ConnectFault {
    let detail = format!(
        "the name {} has no address ({error}): check its spelling in `address` and the name service of this machine",
        endpoint.host()
    );
    ConnectFault { cause: Cause::Closed, detail, retry_soon: true }
}

/// What a person is told when no connection was made in time.
pub(crate) fn not_in_time(endpoint: &Endpoint, timeout: Duration, expired: Expired) -> ConnectFault {
    match expired {
        Expired::Deadline => ConnectFault {
            cause: Cause::Timeout,
            detail: format!(
                "{endpoint} did not answer within {} ms: check power, cable, address, and firewalls between",
                timeout.as_millis()
            ),
            retry_soon: true,
        },
        Expired::Cancelled => ConnectFault {
            cause: Cause::Cancelled,
            detail: format!("connecting to {endpoint} was cancelled"),
            retry_soon: true,
        },
    }
}

/// What a person is told when the connection was not made.
pub(crate) fn not_connected(endpoint: &Endpoint, error: &io::Error) -> ConnectFault {
    let (cause, detail) = match error.kind() {
        io::ErrorKind::ConnectionRefused => (
            Cause::Closed,
            format!(
                "{endpoint} refused the connection: check the port, that Modbus TCP is switched on in the device, and that \
                 no other client uses up its connections"
            ),
        ),
        io::ErrorKind::TimedOut => {
            (Cause::Timeout, format!("{endpoint} did not answer: check power, cable, address, and firewalls between"))
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => (
            Cause::Closed,
            format!(
                "there is no route to {endpoint}: check the network settings of this machine and the device's address"
            ),
        ),
        _ => (Cause::Closed, format!("no connection to {endpoint}: {error}")),
    };
    ConnectFault { cause, detail, retry_soon: true }
}
