//! The SQLite file: how it is opened, and what its errors mean.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, Row, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{StoreError, migrations, numbers::unsigned};

/// Name of the file in the data directory.
pub(crate) const FILE: &str = "store.db";
/// Bytes of a page of a new database; FORMAT.md says why.
pub(crate) const PAGE: u64 = 4_096;

/// Kilobytes of pages that one connection keeps; records are read and written once, in order, so a cache helps little.
const CACHE: &str = "-512";
/// The write-ahead log keeps at most this much of the disk once its contents are in the database.
const JOURNAL_LIMIT: &str = "8388608";
const BUSY: Duration = Duration::from_secs(2);
/// Cursors that read the disk at the same time.
const READERS: u32 = 2;
const IDLE: Duration = Duration::from_secs(10);

/// The one connection that writes.
#[derive(Debug)]
pub(crate) struct Database {
    /// The file.
    pub(crate) path: PathBuf,
    /// The connection.
    pub(crate) connection: SqliteConnection,
}

/// Why a database cannot be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// What is wrong with it. It is to be set aside, and a new one begun.
    Damaged(String),
    /// It is to be left as it is.
    Other(StoreError),
}

/// What an error means for the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The file is no database or its contents contradict each other.
    Damaged,
    /// The disk is full.
    Full,
    /// Anything else, which may pass.
    Other,
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .page_size(u32::try_from(PAGE).unwrap_or(4096))
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .foreign_keys(false)
        .pragma("cache_size", CACHE)
        .pragma("mmap_size", "0")
        .pragma("temp_store", "MEMORY")
        .pragma("cell_size_check", "ON")
        .statement_cache_capacity(32)
        .disable_statement_logging()
}

impl Database {
    /// Opens the database, or makes it when it is not there, and brings it to the newest format.
    pub(crate) async fn open(path: PathBuf) -> Result<Database, Unusable> {
        let mut database = Database::connect(path, true).await?;
        migrations::run(&mut database).await?;
        Ok(database)
    }

    /// Opens the database again after an error.
    pub(crate) async fn reopen(path: PathBuf) -> Result<Database, sqlx::Error> {
        Database::connect(path, false).await
    }

    async fn connect(path: PathBuf, create: bool) -> Result<Database, sqlx::Error> {
        let options = options(&path)
            .create_if_missing(create)
            // The writer moves the log into the database itself, after the rows have been handed on.
            .pragma("wal_autocheckpoint", "0")
            .pragma("journal_size_limit", JOURNAL_LIMIT)
            .thread_name(|_| "store-writer".to_owned());
        Ok(Database { connection: options.connect().await?, path })
    }

    /// Opens a database that is not to be changed.
    pub(crate) async fn read_only(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
        SqliteConnectOptions::new().filename(path).read_only(true).disable_statement_logging().connect().await
    }

    /// One number.
    pub(crate) async fn number(&mut self, sql: &'static str) -> Result<u64, sqlx::Error> {
        sqlx::query(sql).fetch_one(&mut self.connection).await?.try_get::<i64, _>(0).map(unsigned)
    }

    /// Ends the connection; the last one moves the write-ahead log into the database.
    pub(crate) async fn close(self) -> Result<(), sqlx::Error> {
        self.connection.close().await
    }
}

/// Connections for reading, made when they are needed and ended when they are not.
pub(crate) fn readers(path: &Path) -> SqlitePool {
    let options = options(path).pragma("query_only", "ON").thread_name(|number| format!("store-reader-{number}"));
    SqlitePoolOptions::new()
        .min_connections(0)
        .max_connections(READERS)
        .idle_timeout(IDLE)
        .test_before_acquire(false)
        .connect_lazy_with(options)
}

impl From<StoreError> for Unusable {
    fn from(error: StoreError) -> Unusable {
        Unusable::Other(error)
    }
}

impl From<sqlx::Error> for Unusable {
    fn from(error: sqlx::Error) -> Unusable {
        match trouble(&error) {
            Trouble::Damaged => Unusable::Damaged(error.to_string()),
            Trouble::Full | Trouble::Other => Unusable::Other(failed("be opened")(error)),
        }
    }
}

/// The error of the store for an error of SQLite.
pub(crate) fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| StoreError::Database { doing, source }
}

fn code(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// What the error means. The numbers are those of <https://www.sqlite.org/rescode.html>; the low byte is the kind.
pub(crate) fn trouble(error: &sqlx::Error) -> Trouble {
    match code(error).map(|code| code & 0xff) {
        Some(11 | 26) => Trouble::Damaged,
        Some(13) => Trouble::Full,
        _ if matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::RowNotFound) => Trouble::Damaged,
        _ => Trouble::Other,
    }
}

/// What the error means, for a person.
pub(crate) fn explain(error: &sqlx::Error) -> String {
    let code = code(error);
    let text = match code.map(|code| code & 0xff) {
        // No room for the shared-memory file beside the database.
        _ if code == Some(4874) => "the disk is full",
        Some(5 | 6) => "another program holds the database locked",
        Some(8) => "the disk or the file is write-protected",
        Some(10) => "the disk reports an I/O error",
        Some(11 | 26) => "the database is damaged",
        Some(13) => "the disk is full",
        Some(14) => "the database file cannot be opened",
        _ => return error.to_string(),
    };
    format!("{text} ({error})")
}
