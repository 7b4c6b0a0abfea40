//! What a running server is doing.

/// A server at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStatus {
    /// Whether it can be connected to.
    pub running: bool,
    /// Clients that are connected.
    pub sessions: u32,
    /// Subscriptions that have items.
    pub subscriptions: u32,
    /// Items that clients monitor.
    pub monitored_items: u32,
    /// Values sent to clients because they changed, since the start.
    pub values: u64,
    /// Why it does not run.
    pub last_error: Option<String>,
}
