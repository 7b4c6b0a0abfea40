//! What keeps a target from being built.

use tidegate_mqtt::TlsError;

/// What keeps a target from being built. Each completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The certificates or the key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}
