//! What is told about the disk.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

/// What a broker keeps on its disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiskStatus {
    /// Retained messages on disk.
    pub retained: u64,
    /// Sessions on disk.
    pub sessions: u64,
    /// Messages on disk that wait for a client.
    pub messages: u64,
    /// Wills on disk of clients that are connected, or lost and may come back in time.
    pub wills: u64,
    /// Bytes of all messages on disk, retained ones too; compared with `max_size`.
    pub bytes: u64,
    /// The most that `bytes` has been.
    pub bytes_high: u64,
    /// Transactions written.
    pub commits: u64,
    /// Messages that found no room within `max_size`: they are in memory only and do not survive a restart.
    pub left_out: u64,
    /// Why nothing can be written now, or read that an earlier process left, for a person.
    pub failing: Option<String>,
    /// A database that was damaged and was set aside.
    pub set_aside: Option<PathBuf>,
}

/// The status that the writer keeps up to date.
#[derive(Debug, Clone, Default)]
pub(crate) struct DiskCounters(Arc<Mutex<DiskStatus>>);

impl DiskCounters {
    /// The status now.
    pub(crate) fn get(&self) -> DiskStatus {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the status.
    pub(crate) fn change(&self, change: impl FnOnce(&mut DiskStatus)) {
        let mut status = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut status);
        status.bytes_high = status.bytes_high.max(status.bytes);
    }
}
