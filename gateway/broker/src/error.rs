//! Why a broker does not start.

use std::{io, net::SocketAddr};

/// Why a broker does not start. Each text completes "failed to …" and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Another program listens there.
    #[error(
        "listen for MQTT clients on {0}: the port is in use; stop the other MQTT broker or gateway (`ss -ltnp` names it), \
         or give `listen` in [broker] another port"
    )]
    InUse(SocketAddr),
    /// The system does not let this user listen there.
    #[error(
        "listen for MQTT clients on {0}: the system does not permit it; ports below 1024 need the right to bind them, \
         so give `listen` in [broker] a higher port"
    )]
    NotPermitted(SocketAddr),
    /// No network interface of this machine has the address.
    #[error(
        "listen for MQTT clients on {0}: this machine has no such address; give `listen` in [broker] one that it has, \
         or 0.0.0.0 for all"
    )]
    NotHere(SocketAddr),
    /// The system refused for another reason.
    #[error("listen for MQTT clients on {address}: {source}")]
    Listen {
        /// Where the broker was to listen.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl BrokerError {
    pub(crate) fn listen(address: SocketAddr, source: io::Error) -> BrokerError {
        match source.kind() {
            io::ErrorKind::AddrInUse => BrokerError::InUse(address),
            io::ErrorKind::PermissionDenied => BrokerError::NotPermitted(address),
            io::ErrorKind::AddrNotAvailable => BrokerError::NotHere(address),
            _ => BrokerError::Listen { address, source },
        }
    }
}
