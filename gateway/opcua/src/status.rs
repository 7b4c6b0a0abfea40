//! What a running server is doing.

/// A server at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStatus {
    /// Whether it can be connected to.
    pub running: bool,
    /// Clients that are connected and logged in.
    pub sessions: u32,
    /// Subscriptions that have items.
    pub subscriptions: u32,
    /// Items that clients monitor.
    pub monitored_items: u32,
    /// Values sent to clients because they changed, since the start.
    pub values: u64,
    /// Open connections, also those over which nobody has logged in.
    pub connections: u32,
    /// Connections and logins that were turned away because there were too many.
    pub refused: u64,
    /// Most connections at the same time.
    pub connections_high: u32,
    /// Most sessions at the same time.
    pub sessions_high: u32,
    /// Most subscriptions at the same time.
    pub subscriptions_high: u32,
    /// Most monitored items at the same time.
    pub monitored_items_high: u32,
    /// Values that took the place of one that its client had not fetched, since the start.
    pub overflows: u64,
    /// Why it does not run.
    pub last_error: Option<String>,
}
