//! What a simulator can fail at.

use std::{io, net::SocketAddr};

use tidegate_driver_modbus::Refusal;

/// Why a simulator did not start, or did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The profile has mistakes; the text names all of them, each with file, line and column.
    #[error("read the profile:\n{0}")]
    Profile(String),
    /// The profile is for another protocol.
    #[error("serve a profile of the protocol \"{0}\" over this one")]
    OtherProtocol(String),
    /// The script or a fault on the command line has mistakes; the text names all of them.
    #[error("read the faults:\n{0}")]
    Faults(String),
    /// No port is asked for, or more than there are behind the first one.
    #[error("find {0} ports from {1} on")]
    Ports(u16, SocketAddr),
    /// A port cannot be listened on.
    #[error("listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The library refuses the server that it is to be.
    #[error("make a server: {0}")]
    Server(String),
    /// The machine gives no thread or no timer.
    #[error("start a worker: {0}")]
    Worker(io::Error),
    /// The profile has no such tag, or it is none that a device holds.
    #[error("find a tag \"{0}\" in the device")]
    NoSuchTag(String),
    /// The registers of the tag hold bytes that are no value of its type.
    #[error("read \"{0}\": its registers hold no value of its type")]
    NoValue(String),
    /// The value does not fit the tag.
    #[error("set \"{tag}\": {why}")]
    Refused {
        /// The tag.
        tag: String,
        /// Why.
        why: Refusal,
    },
}
