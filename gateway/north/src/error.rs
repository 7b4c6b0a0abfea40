//! What keeps a target from being built.

use std::path::PathBuf;

/// What keeps a target from being built. Each completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// A certificate or key file cannot be read, or is no PEM file.
    #[error("read {}: {why}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file was read and has no certificate in it.
    #[error("find a certificate in {}: it has none between BEGIN CERTIFICATE and END CERTIFICATE", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The system has no list of authorities.
    #[error(
        "find the system's certificate authorities ({why}); install the package ca-certificates, or name a file with `ca`"
    )]
    NoAuthorities {
        /// What the search met.
        why: String,
    },
    /// The certificates are readable and do not work together.
    #[error("use the client certificate {} with the key {}: {source}", certificate.display(), key.display())]
    ClientCertificate {
        /// The file of the certificate chain.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// rustls does not accept its own defaults.
    #[error("set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}
