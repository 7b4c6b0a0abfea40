//! What can go wrong with a request, and how a person is told.

use opcua::types::{Error, StatusCode};
use tidegate_driver_api::{Cause, ConnectFault, Expired, Lost};

/// Why a request has no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Nothing came in time.
    #[error("no answer in time")]
    Silent,
    /// The connection is over.
    #[error("{0}")]
    Closed(String),
    /// What came is no message of the protocol, or is larger than the gateway takes.
    #[error("{0}")]
    Malformed(String),
    /// The server does not do it; the session goes on.
    #[error("the server says {0}")]
    Refused(StatusCode),
    /// The gateway is stopping.
    #[error("it is not wanted any more")]
    Cancelled,
}

impl Fault {
    /// What an error of the library means that was no answer of the server.
    pub(crate) fn of(error: &Error) -> Fault {
        match error.status() {
            StatusCode::BadTimeout => Fault::Silent,
            StatusCode::BadDecodingError
            | StatusCode::BadEncodingLimitsExceeded
            | StatusCode::BadTcpMessageTooLarge
            | StatusCode::BadResponseTooLarge
            | StatusCode::BadUnknownResponse => Fault::Malformed(error.to_string()),
            _ => Fault::Closed(error.to_string()),
        }
    }

    /// What a bad result of a whole request means. A session that the server does not know any more is as good as closed.
    pub(crate) fn refused(status: StatusCode) -> Fault {
        match status {
            StatusCode::BadSessionIdInvalid
            | StatusCode::BadSessionClosed
            | StatusCode::BadSessionNotActivated
            | StatusCode::BadSecureChannelIdInvalid
            | StatusCode::BadSecureChannelClosed
            | StatusCode::BadServerHalted
            | StatusCode::BadShutdown => Fault::Closed(format!("the server has ended the session ({status})")),
            status => Fault::Refused(status),
        }
    }

    /// The end of the session, in words. `what` is the request ("a read of 12 nodes").
    pub(crate) fn lost(self, server: &str, what: &str) -> Lost {
        let (cause, detail) = match self {
            Fault::Silent => (Cause::Timeout, format!("{server} did not answer {what} in time")),
            Fault::Closed(detail) => {
                (Cause::Closed, format!("the connection to {server} ended during {what}: {detail}"))
            }
            Fault::Malformed(detail) => {
                (Cause::Malformed, format!("what {server} sent during {what} cannot be read: {detail}"))
            }
            Fault::Refused(status) => (Cause::Mismatch, format!("{server} refused {what} ({status})")),
            Fault::Cancelled => (Cause::Cancelled, format!("{what} to {server} was cancelled")),
        };
        Lost::new(cause, detail)
    }

    /// Why there is no session, in words. `what` is what was asked when it went wrong ("opening a session").
    pub(crate) fn not_connected(self, server: &str, what: &str) -> ConnectFault {
        if let Fault::Refused(status) = &self
            && let Some(advice) = advice(*status)
        {
            return hopeless(format!("{server} refused {what} ({status}): {advice}"));
        }
        let Lost { cause, detail } = self.lost(server, what);
        ConnectFault { cause, detail, retry_soon: true }
    }
}

impl From<Expired> for Fault {
    fn from(expired: Expired) -> Fault {
        match expired {
            Expired::Deadline => Fault::Silent,
            Expired::Cancelled => Fault::Cancelled,
        }
    }
}

/// What does not get better by trying again soon.
pub(crate) fn hopeless(detail: String) -> ConnectFault {
    ConnectFault { cause: Cause::Closed, detail, retry_soon: false }
}

/// What to do about a refusal that only a person can end; `None` for any other.
fn advice(status: StatusCode) -> Option<&'static str> {
    Some(match status {
        StatusCode::BadUserAccessDenied | StatusCode::BadIdentityTokenRejected => {
            "check `username` and `password`, or the user's certificate, and that the user may log in there"
        }
        StatusCode::BadIdentityTokenInvalid | StatusCode::BadIdentityChangeNotSupported => {
            "the server does not take this kind of login: check `username` or `user_certificate`"
        }
        StatusCode::BadSecurityChecksFailed
        | StatusCode::BadCertificateUntrusted
        | StatusCode::BadCertificateInvalid
        | StatusCode::BadCertificateChainIncomplete
        | StatusCode::BadCertificateUriInvalid
        | StatusCode::BadCertificateUseNotAllowed
        | StatusCode::BadCertificateHostNameInvalid
        | StatusCode::BadCertificateTimeInvalid
        | StatusCode::BadCertificateRevoked => {
            "the server does not trust the gateway: accept the gateway's certificate in the server's settings \
             (`tidegate trust list` shows its fingerprint)"
        }
        StatusCode::BadSecurityPolicyRejected | StatusCode::BadSecurityModeRejected => {
            "the server does not take this protection: check `security` and `mode`"
        }
        StatusCode::BadLicenseExpired | StatusCode::BadLicenseNotAvailable | StatusCode::BadLicenseLimitsExceeded => {
            "the server has no licence for one more client"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_password_is_not_tried_again_soon() {
        let fault = Fault::refused(StatusCode::BadUserAccessDenied).not_connected("plc", "the login");
        assert!(!fault.retry_soon && fault.detail.contains("password"), "{fault}");
        let fault = Fault::refused(StatusCode::BadTooManySessions).not_connected("plc", "opening a session");
        assert!(fault.retry_soon, "a session may become free");
    }

    #[test]
    fn a_session_that_the_server_forgot_is_a_closed_one() {
        assert!(matches!(Fault::refused(StatusCode::BadSessionIdInvalid), Fault::Closed(_)));
        assert_eq!(Fault::Silent.lost("plc", "a read").cause, Cause::Timeout);
    }
}
