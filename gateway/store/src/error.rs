//! Why the store could not do what it was asked to.

use std::{io, path::PathBuf};

use tidegate_codec::CodecError;
use tidegate_model::Name;

/// Why the store could not do what it was asked to. The texts are for a person: what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data directory cannot be made or written to. Trying again helps when a person has changed something.
    #[error(
        "the data directory {path} cannot be used: {source}; check that it exists, that the disk is mounted writable \
         and that the user of the gateway may write there",
        path = path.display()
    )]
    Directory {
        /// The data directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another gateway works on the same data directory.
    #[error(
        "the data directory {path} is in use by another gateway; stop that one or give this one a `data_dir` of its own",
        path = path.display()
    )]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// There is nothing to read.
    #[error(
        "there is no {path}; check that this is the `data_dir` of the gateway, and that the gateway has run once",
        path = path.display()
    )]
    NoStore {
        /// The database that is not there.
        path: PathBuf,
    },
    /// The database was written by a newer version. It is left as it is.
    #[error(
        "the database {path} has format {found}, this version knows formats up to {known}; run the version that wrote \
         it or a newer one, or move the file away to begin without what waits in it",
        path = path.display()
    )]
    NewerFormat {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format that this version reads.
        known: u64,
    },
    /// SQLite has failed. Trying again may help (a full disk that is cleared, a lock that is released).
    #[error("the database could not {doing}: {}", crate::database::explain(source))]
    Database {
        /// What it was to do, completing "could not …".
        doing: &'static str,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// The columns of a stream cannot be turned into bytes or back.
    #[error(transparent)]
    Columns(#[from] CodecError),
    /// The target has a cursor already; only one at a time may move its position.
    #[error("target {target} has an open cursor already")]
    CursorTaken {
        /// The target.
        target: Name,
    },
    /// The store has been closed.
    #[error("the store has been closed")]
    Closed,
}
