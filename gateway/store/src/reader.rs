//! Reading the store for people and programs: what has been recorded, and the rows of a device for an export.
//!
//! A reader works beside the gateway or without it. It never locks anything that the writer needs, and reads in many short
//! transactions: so the write-ahead log can be moved into the database between any two of them, however long an export takes.
//! Rows may get other positions between two transactions; a reader goes by the numbers of rows, and so gets each of them once.

mod access;
mod catalog;
mod damaged;
mod decode;
mod locate;
mod progress;
mod scan;
mod walk;

use std::{path::Path, sync::Arc};

use tidegate_model::{Name, TagName, Timestamp};

pub(crate) use access::{Access, damage};
pub(crate) use catalog::matching;
pub(crate) use walk::{Found, Span, Unit, Walk, Window};

pub use catalog::{Recorded, Version};
pub use progress::Progress;
pub use scan::{Missing, Part, Scan, Why};

use crate::{Store, StoreError};

/// The read side of a store. Clones read the same store.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(crate) access: Access,
}

/// Which rows to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Of this device.
    pub device: Name,
    /// Of this group of it; of all when there is none.
    pub group: Option<Name>,
    /// Only groups that have had one of these tags; all when there is none. The rows have all their columns in any case.
    pub tags: Vec<TagName>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before this, so that the next query can begin here.
    pub to: Option<Timestamp>,
    /// Whether rows outside of these times come, too, where the lines of swinging doors may begin or end at them or go on over them.
    /// Only of streams that have a tag with a swinging door.
    pub lines: bool,
}

impl Query {
    /// Everything of a device.
    pub fn of(device: Name) -> Query {
        Query { device, group: None, tags: Vec::new(), from: None, to: None, lines: false }
    }
}

impl Store {
    /// Reads this store. Rows that are not committed yet are not seen.
    pub fn reader(&self) -> Reader {
        Reader { access: Access::shared(Arc::clone(&self.shared)) }
    }
}

impl Reader {
    /// Reads the store in `dir`, the data directory of a gateway that runs or does not; changes nothing in it. Where SQLite has
    /// to, it makes the two files beside the database that belong to it, if it may.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoStore`], [`StoreError::NewerFormat`] or [`StoreError::Database`].
    pub async fn open(dir: &Path) -> Result<Reader, StoreError> {
        Ok(Reader { access: Access::open(dir).await? })
    }

    /// What has been recorded: every group of every device, by name, with the columns it has had.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`], [`StoreError::Closed`].
    pub async fn streams(&self) -> Result<Vec<Recorded>, StoreError> {
        catalog::recorded(&self.access).await
    }

    /// Begins to read rows. What is committed later is not waited for; some of it may come at the end all the same, when it has
    /// got into the same block as earlier rows, and then without a hole.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`], [`StoreError::Closed`].
    pub async fn scan(&self, query: &Query) -> Result<Scan, StoreError> {
        Scan::begin(self.access.clone(), query).await
    }
}
