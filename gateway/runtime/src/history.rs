//! The history of a tag, out of the store.

use std::{sync::Arc, time::Duration};

use tidegate_store::{History, HistoryQuery, Reader, Store};
use tokio::sync::Semaphore;

use crate::handle::Handle;

/// Histories that are read at the same time: each keeps a core busy for a moment.
const AT_ONCE: usize = 2;
/// How long a history may take, the wait for its turn included.
const LONGEST: Duration = Duration::from_secs(20);

/// Why there is no history to show.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// There is no such device, and none has been recorded.
    #[error("there is no device \"{0}\", and nothing of one is in the store")]
    UnknownDevice(String),
    /// The device has no such tag, and none has been recorded.
    #[error("\"{device}\" has no tag \"{tag}\", and nothing of one is in the store")]
    UnknownTag {
        /// The device.
        device: String,
        /// What it has not.
        tag: String,
    },
    /// It took too long.
    #[error("the history was not there within {} s; ask for a shorter time, or again later", LONGEST.as_secs())]
    TooSlow,
    /// The store could not be read.
    #[error("the history could not be read: {0}")]
    Store(String),
}

/// Where histories come from.
#[derive(Clone)]
pub(crate) struct Archive {
    reader: Reader,
    turns: Arc<Semaphore>,
}

impl Archive {
    pub(crate) fn new(store: &Store) -> Archive {
        Archive { reader: store.reader(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    async fn read(&self, query: &HistoryQuery) -> Result<Option<History>, HistoryError> {
        let _turn = self.turns.acquire().await;
        self.reader.history(query).await.map_err(|error| HistoryError::Store(error.to_string()))
    }
}

impl Handle {
    /// The samples of a tag, thinned as the store describes it; also of devices and tags that are not configured any more.
    ///
    /// # Errors
    ///
    /// [`HistoryError`].
    pub async fn history(&self, query: &HistoryQuery) -> Result<History, HistoryError> {
        let deadline = self.clock().now() + LONGEST;
        let read = self.clock().until(deadline, self.archive().read(query)).await;
        match read.ok_or(HistoryError::TooSlow)?? {
            Some(history) => Ok(history),
            None => self.without_rows(query).await,
        }
    }

    /// The history of a tag that is configured and has not been recorded yet.
    async fn without_rows(&self, query: &HistoryQuery) -> Result<History, HistoryError> {
        let device = query.device.to_string();
        let Ok(latest) = self.latest(&device).await else { return Err(HistoryError::UnknownDevice(device)) };
        let Some(tag) = latest.into_iter().find(|latest| latest.tag == query.tag) else {
            return Err(HistoryError::UnknownTag { device, tag: query.tag.to_string() });
        };
        Ok(History { unit: tag.unit, samples: Vec::new(), thinned: false, total: 0, missing: Vec::new() })
    }
}
