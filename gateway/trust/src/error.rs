//! What can go wrong with certificates and their folder.

use std::{io, path::PathBuf};

/// A failure to read, judge, move or make a certificate.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file or folder could not be read or written.
    #[error("{what} {}: {source}", path.display())]
    File {
        /// What was tried, as a verb: `read`, `write`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are no X.509 certificate with an RSA key, or more than one would have.
    #[error("read a certificate: {0}")]
    NotACertificate(&'static str),
    /// The key and the certificate of this gateway do not belong together.
    #[error(
        "use {}: it does not belong to the key beside it; put the right pair there or run `tidegate trust renew`",
        path.display()
    )]
    Mismatch {
        /// The certificate.
        path: PathBuf,
    },
    /// No key or certificate could be made.
    #[error("make a certificate: {0}")]
    Make(String),
    /// No certificate has a fingerprint that begins so.
    #[error("find a certificate whose fingerprint begins with {0:?}; `tidegate trust list` shows them")]
    Unknown(String),
    /// Several certificates have a fingerprint that begins so.
    #[error("choose between {count} certificates whose fingerprints begin with {prefix:?}; write more of it")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// How many begin so.
        count: usize,
    },
    /// Too little of a fingerprint, or something else.
    #[error("read {0:?} as a fingerprint: it takes at least 4 of its hexadecimal digits")]
    NoFingerprint(String),
}
