//! How far a scan is.

/// How far a scan is, for a bar on a terminal. What is left is an estimate: it counts rows of other devices, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Rows handed out.
    pub rows: u64,
    /// How much of the log has been passed, in rows of all devices; never more than `total`.
    pub passed: u64,
    /// How much of it has to be passed.
    pub total: u64,
}

impl Progress {
    /// From 0 to 1.
    #[expect(clippy::as_conversions, reason = "no `From` exists; a bar needs no more than a float's 52 bits")]
    pub fn fraction(&self) -> f64 {
        if self.total == 0 { 1.0 } else { self.passed.min(self.total) as f64 / self.total as f64 }
    }
}
