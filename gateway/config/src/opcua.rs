//! What a site says about the gateway as an OPC UA server.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use crate::{ByteSize, Secret};

/// `kind = "opcua-server"`: the gateway as an OPC UA server.
#[derive(Debug, Clone, PartialEq)]
pub struct OpcUaServer {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The name or address by which clients reach it; found out from `listen` when there is none.
    pub host: Option<String>,
    /// The security policies that are offered, each once.
    pub security: Vec<SecurityPolicy>,
    /// Whether connections may be signed without being encrypted.
    pub sign_only: bool,
    /// Whether clients may look without a name and a password.
    pub anonymous: bool,
    /// Who may log in.
    pub users: Vec<OpcUaUser>,
    /// Clients at the same time, at most.
    pub max_sessions: u32,
    /// Subscriptions of one client, at most.
    pub max_subscriptions: u32,
    /// Monitored items of one subscription, at most.
    pub max_monitored_items: u32,
    /// Bytes of one message, at most.
    pub max_message_size: ByteSize,
}

/// `[[target.user]]`: who may log in to the OPC UA server.
#[derive(Debug, Clone, PartialEq)]
pub struct OpcUaUser {
    /// The user name.
    pub name: String,
    /// The password; a user without one has a certificate.
    pub password: Option<Secret>,
    /// The file of the certificate by which the user may log in, PEM or DER.
    pub certificate: Option<PathBuf>,
    /// What the user may do.
    pub role: OpcUaRole,
}

/// `role`: what a user of the OPC UA server may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpcUaRole {
    /// Read.
    Viewer,
    /// Read and write.
    Operator,
}

/// A security policy of OPC UA that is not known to be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityPolicy {
    /// Neither signed nor encrypted.
    None,
    /// `Basic256Sha256`, which nearly every product has.
    Basic256Sha256,
    /// `Aes128_Sha256_RsaOaep`.
    Aes128Sha256RsaOaep,
    /// `Aes256_Sha256_RsaPss`, the strongest.
    Aes256Sha256RsaPss,
}

impl SecurityPolicy {
    /// Every policy, the weakest first.
    pub const ALL: [SecurityPolicy; 4] = [
        SecurityPolicy::None,
        SecurityPolicy::Basic256Sha256,
        SecurityPolicy::Aes128Sha256RsaOaep,
        SecurityPolicy::Aes256Sha256RsaPss,
    ];

    /// The word in the file: `none`, `basic256sha256`, `aes128_sha256_rsaoaep` or `aes256_sha256_rsapss`.
    pub fn as_str(self) -> &'static str {
        match self {
            SecurityPolicy::None => "none",
            SecurityPolicy::Basic256Sha256 => "basic256sha256",
            SecurityPolicy::Aes128Sha256RsaOaep => "aes128_sha256_rsaoaep",
            SecurityPolicy::Aes256Sha256RsaPss => "aes256_sha256_rsapss",
        }
    }
}

impl OpcUaServer {
    /// The server on this machine alone, for whoever may run programs on it: every policy, anonymous, no users.
    pub fn on_loopback(port: u16) -> OpcUaServer {
        OpcUaServer {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            host: None,
            security: SecurityPolicy::ALL.to_vec(),
            sign_only: false,
            anonymous: true,
            users: Vec::new(),
            max_sessions: 20,
            max_subscriptions: 20,
            max_monitored_items: 100_000,
            max_message_size: ByteSize(16 << 20),
        }
    }
}
