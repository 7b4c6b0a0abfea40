//! Why there is no connection, or it is over, and what a person is told about it.

use tidegate_driver_api::{Cause, ConnectFault, Expired, Lost};
use tidegate_mqtt::{Failure, FailureKind};

/// Why a connection was not made, or is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// No answer in time, or the call is not wanted any more.
    #[error(transparent)]
    Expired(#[from] Expired),
    /// The connection failed.
    #[error("{0}")]
    Failed(Failure),
    /// The broker does not let the node be heard.
    #[error("the broker refuses the subscription to {topic}: {why}")]
    Subscription {
        /// What was asked for.
        topic: String,
        /// What the broker said.
        why: String,
    },
    /// The certificates cannot be used.
    #[error("failed to {0}")]
    Certificate(String),
    /// More has come than is taken.
    #[error(
        "more has come than could be taken over: the gateway cannot keep up with the edge node; it begins anew with its births"
    )]
    TooMuch,
    /// Another connection with the same `host_id` is over that began later than this one.
    #[error("another connection with the same `host_id` has ended; edge nodes mind this one again once it begins anew")]
    Superseded,
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Fault {
        Fault::Failed(failure)
    }
}

impl Fault {
    fn cause(&self) -> Cause {
        match self {
            Fault::Expired(Expired::Deadline) => Cause::Timeout,
            Fault::Expired(Expired::Cancelled) => Cause::Cancelled,
            Fault::Failed(failure) => match failure.kind {
                FailureKind::Silent | FailureKind::Unacknowledged => Cause::Timeout,
                FailureKind::Protocol => Cause::Malformed,
                _ => Cause::Closed,
            },
            Fault::Subscription { .. } | Fault::Certificate(_) | Fault::TooMuch | Fault::Superseded => Cause::Closed,
        }
    }

    /// The end of the session, in words.
    pub(crate) fn lost(&self, address: &str) -> Lost {
        Lost::new(self.cause(), format!("broker {address}: {self}"))
    }

    /// What a person is told when no connection was made.
    pub(crate) fn not_connected(&self, address: &str) -> ConnectFault {
        let retry_soon = match self {
            Fault::Failed(failure) => !failure.kind.needs_a_person(),
            Fault::Subscription { .. } | Fault::Certificate(_) => false,
            Fault::Expired(_) | Fault::TooMuch | Fault::Superseded => true,
        };
        let detail = format!("no session with the broker {address}: {self}");
        ConnectFault { cause: self.cause(), detail, retry_soon }
    }
}
