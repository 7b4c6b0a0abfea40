//! Why a broker does not start.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::tls::TlsError;

/// Why a broker does not start. Each text completes "failed to …" and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Another program listens there.
    #[error(
        "listen for MQTT clients on {address}: the port is in use; stop the other MQTT broker or gateway (`ss -ltnp` names it), \
         or give `listen` in [{section}] another port"
    )]
    InUse {
        /// The section of the site that says so.
        section: &'static str,
        /// Where the broker was to listen.
        address: SocketAddr,
    },
    /// The system does not let this user listen there.
    #[error(
        "listen for MQTT clients on {address}: the system does not permit it; ports below 1024 need the right to bind them, \
         so give `listen` in [{section}] a higher port"
    )]
    NotPermitted {
        /// The section of the site that says so.
        section: &'static str,
        /// Where the broker was to listen.
        address: SocketAddr,
    },
    /// No network interface of this machine has the address.
    #[error(
        "listen for MQTT clients on {address}: this machine has no such address; give `listen` in [{section}] one that it has, \
         or 0.0.0.0 for all"
    )]
    NotHere {
        /// The section of the site that says so.
        section: &'static str,
        /// Where the broker was to listen.
        address: SocketAddr,
    },
    /// The system refused for another reason.
    #[error("listen for MQTT clients on {address}, as [{section}] says: {source}")]
    Listen {
        /// The section of the site that says so.
        section: &'static str,
        /// Where the broker was to listen.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("begin the thread of the MQTT broker: {0}; look at the limits on threads and open files of this service")]
    Thread(io::Error),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The database was written by a newer version. It is left as it is.
    #[error(
        "open {path}: it has format {found}, this version knows formats up to {known}; run the version that wrote it or a newer \
         one, or move the file away to begin without the sessions and retained messages in it",
        path = path.display()
    )]
    NewerFormat {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this version reads.
        known: i64,
    },
}

impl BrokerError {
    pub(crate) fn listen(section: &'static str, address: SocketAddr, source: io::Error) -> BrokerError {
        match source.kind() {
            io::ErrorKind::AddrInUse => BrokerError::InUse { section, address },
            io::ErrorKind::PermissionDenied => BrokerError::NotPermitted { section, address },
            io::ErrorKind::AddrNotAvailable => BrokerError::NotHere { section, address },
            _ => BrokerError::Listen { section, address, source },
        }
    }
}
