//! The handle through which everything else uses the store.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use tidegate_config::StartAt;
use tidegate_model::{Column, Name, Row, Stream};

use crate::{Cursor, StoreError, StoreStatus};

/// An open store. Clones are handles of the same store.
#[derive(Debug, Clone)]
pub struct Store {}

/// What [`Store::open`] gives.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// The database that was found damaged and replaced by a new one.
    pub set_aside: Option<SetAside>,
}

/// A damaged database that has been renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now.
    pub path: PathBuf,
    /// What was wrong with it.
    pub why: String,
}

impl Store {
    /// Opens the store in `dir`, the gateway's data directory; makes both when they are not there yet.
    ///
    /// Must be called on a tokio runtime, on which the writer task then runs until [`Store::close`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Directory`], [`StoreError::InUse`], [`StoreError::NewerFormat`] or [`StoreError::Database`].
    pub async fn open(_dir: &Path, _options: &tidegate_config::Store) -> Result<Opened, StoreError> {
        Err(StoreError::Closed)
    }

    /// The stream of a group with these columns, and the `seq` of its last row (0 when there was none).
    ///
    /// The same columns give the same stream again, other columns a new one; the numbering goes on in both cases.
    ///
    /// # Errors
    ///
    /// [`StoreError::Columns`], [`StoreError::Database`] or [`StoreError::Closed`].
    pub async fn stream(
        &self,
        _device: &Name,
        _group: &Name,
        _columns: impl Into<Arc<[Column]>>,
    ) -> Result<(Arc<Stream>, u64), StoreError> {
        Err(StoreError::Closed)
    }

    /// Takes a row of a stream that [`Store::stream`] gave, with the payload that the local broker got for it.
    ///
    /// Never blocks. While nothing can be written, rows wait in memory; when that is full the row is dropped, counted, and becomes
    /// a gap for every target.
    pub fn append(&self, _row: Arc<Row>, _payload: Bytes) {}

    /// The cursor of `target`, where it was; `start` is for a target without one.
    ///
    /// # Errors
    ///
    /// [`StoreError::CursorTaken`], [`StoreError::Database`] or [`StoreError::Closed`].
    pub async fn cursor(&self, _target: &Name, _start: StartAt) -> Result<Cursor, StoreError> {
        Err(StoreError::Closed)
    }

    /// How the store does; cheap, does not touch the disk.
    pub fn status(&self) -> StoreStatus {
        StoreStatus {
            boot: 0,
            rows: 0,
            bytes: 0,
            file_bytes: 0,
            oldest: None,
            rows_committed: 0,
            bytes_committed: 0,
            commits: 0,
            fsyncs: 0,
            commit_times: crate::CommitTimes::default(),
            pending_rows: 0,
            pending_bytes: 0,
            pending_bytes_high: 0,
            tail_bytes: 0,
            dropped: crate::Dropped::default(),
            failing: None,
            targets: Vec::new(),
        }
    }

    /// Commits what is pending and closes the database. Rows appended afterwards through another handle are dropped.
    pub async fn close(self) {}
}
