//! Why an ingest could not begin, or a ledger could not be read.

use std::{io, path::PathBuf};

/// Why an ingest could not begin, or a ledger could not be read. The text completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// `--from` is no address of a broker.
    #[error("understand --from: {why}")]
    From {
        /// What is wrong, and what to write.
        why: String,
    },
    /// `--to` is nothing that rows can be written to.
    #[error("understand --to: {why}")]
    To {
        /// What is wrong, and what to write.
        why: String,
    },
    /// Another option has a value that it cannot have.
    #[error("understand {option}: {why}")]
    Option {
        /// The option.
        option: &'static str,
        /// What is wrong, and what to write.
        why: String,
    },
    /// The certificates or the key cannot be used.
    #[error(transparent)]
    Tls(#[from] tidegate_mqtt::TlsError),
    /// A file or folder cannot be used.
    #[error("{doing} {path}: {source}", path = path.display())]
    File {
        /// What was to be done with it.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file of an ingest says something that no ingest has written.
    #[error("read {path}: {why}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another ingest works with the same folder.
    #[error("use {path}: another ingest does; give each a folder of its own", path = path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The database has tables of a later version.
    #[error(
        "use the database: its tables have version {found}, this version knows up to {known}; run the version that made them, or a newer one"
    )]
    NewerTables {
        /// The version of the tables.
        found: i64,
        /// The latest version known.
        known: i64,
    },
    /// The database cannot hold every text.
    #[error(
        "use the database: its encoding is {found}, and texts of gateways are UTF-8; make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding {
        /// The encoding that it has.
        found: String,
    },
    /// There is no ledger to look into.
    #[error("find a ledger in {place}: nothing has been ingested into it")]
    NoLedger {
        /// Where it was looked for.
        place: String,
    },
    /// Nobody takes what is written any more.
    #[error("go on: nothing can be written any more; what was not written stays with the broker")]
    SinkGone,
    /// PostgreSQL does not answer or refuses something.
    #[error("{doing}: {}", crate::sink::postgres::explain(source))]
    Postgres {
        /// What was to be done.
        doing: &'static str,
        /// What PostgreSQL or the connection says.
        source: Box<sqlx::Error>,
    },
}

/// The error of a file for what the operating system says.
pub(crate) fn file(doing: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> IngestError {
    let path = path.to_owned();
    move |source| IngestError::File { doing, path, source }
}
