//! Why the server does not start.

use std::{io, net::SocketAddr};

use tidegate_trust::TrustError;

/// The server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error(
        "listen on {address} for OPC UA: {source}; is another program using the port? change `listen` of the target \"{target}\""
    )]
    Listen {
        /// The target.
        target: String,
        /// `listen`.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate of the gateway cannot be read or made.
    #[error("prepare the certificate of the OPC UA server: failed to {0}")]
    Trust(#[from] TrustError),
    /// The library refuses the settings.
    #[error("start the OPC UA server: {0}")]
    Library(String),
}
