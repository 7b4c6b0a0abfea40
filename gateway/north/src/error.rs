//! What keeps a target from being built.

use tidegate_mqtt::TlsError;

/// What keeps a target from being built. Each completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The certificates or the key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An id cannot stand in a topic.
    #[error("use `{key}` in topics: {why}")]
    Id {
        /// The key that it is from.
        key: &'static str,
        /// What is wrong with it.
        why: String,
    },
}
