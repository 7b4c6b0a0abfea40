//! How a reader reaches the database: through the connections of the gateway, or through one of its own.

use std::{path::Path, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions, Row, Sqlite, SqliteConnection, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tidegate_codec::block::StoreId;
use tokio::sync::Semaphore;

use crate::{
    StoreError,
    books::Meta,
    database::{FILE, Trouble, failed, trouble},
    migrations,
    numbers::unsigned,
    ranges::Range,
    shared::Shared,
    starts::Starts,
};

/// Kilobytes of pages that are kept: a reader goes through the database once.
const CACHE: &str = "-512";
const BUSY: Duration = Duration::from_secs(5);
/// Transactions of readers at the same time: the targets share the connections, and go first.
const AT_ONCE: usize = 1;

/// How a reader reaches the database.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    through: Through,
    turns: Arc<Semaphore>,
}

#[derive(Debug, Clone)]
enum Through {
    Gateway(Arc<Shared>),
    Own { pool: SqlitePool, version: u64 },
}

/// The database as it is at one moment. Held for milliseconds.
#[derive(Debug)]
pub(crate) struct Snapshot {
    transaction: Transaction<'static, Sqlite>,
    /// The version of the database.
    version: u64,
    _turn: tokio::sync::OwnedSemaphorePermit,
}

impl Access {
    /// Through the connections of a gateway in this process.
    pub(crate) fn shared(shared: Arc<Shared>) -> Access {
        Access { through: Through::Gateway(shared), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Through a connection of its own.
    pub(crate) async fn open(dir: &Path) -> Result<Access, StoreError> {
        let path = dir.join(FILE);
        if !path.exists() {
            return Err(StoreError::NoStore { path });
        }
        let pool = match Access::connect(&path, false).await {
            // Nobody writes, and the files that would say so if somebody did cannot be made: the folder is write-protected.
            Err(error) if is_protected(&error) && !dir.join(format!("{FILE}-wal")).exists() => {
                Access::connect(&path, true).await
            }
            pool => pool,
        };
        let pool = pool.map_err(failed("be opened"))?;
        let row = sqlx::query("PRAGMA user_version").fetch_one(&pool).await.map_err(failed("be read"))?;
        let (found, known) = (unsigned(row.try_get(0).map_err(failed("be read"))?), migrations::known());
        if found > known {
            return Err(StoreError::NewerFormat { path, found, known });
        }
        let through = Through::Own { pool, version: found };
        Ok(Access { through, turns: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    async fn connect(path: &Path, immutable: bool) -> Result<SqlitePool, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .immutable(immutable)
            .busy_timeout(BUSY)
            .pragma("query_only", "ON")
            .pragma("cache_size", CACHE)
            .pragma("mmap_size", "0")
            .pragma("temp_store", "MEMORY")
            .pragma("cell_size_check", "ON")
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new().max_connections(1).test_before_acquire(false).connect_with(options).await?;
        // Opening reads nothing; this does.
        sqlx::query("SELECT count(*) FROM sqlite_schema").fetch_one(&pool).await?;
        Ok(pool)
    }

    /// Begins to read.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`], [`StoreError::Closed`].
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (pool, version) = match &self.through {
            Through::Gateway(shared) => (shared.readers(), migrations::known()),
            Through::Own { pool, version } => (pool.clone(), *version),
        };
        let transaction = pool.begin().await.map_err(|error| self.error(error))?;
        Ok(Snapshot { transaction, version, _turn: turn })
    }

    /// The identity of the store, where it is known without asking the database.
    pub(crate) fn store(&self) -> Option<StoreId> {
        match &self.through {
            Through::Gateway(shared) => Some(shared.wire.store()),
            Through::Own { .. } => None,
        }
    }

    /// What an error of SQLite means for who reads.
    pub(crate) fn error(&self, error: sqlx::Error) -> StoreError {
        match &self.through {
            Through::Gateway(shared) if shared.is_closed() => StoreError::Closed,
            _ => failed("be read")(error),
        }
    }
}

impl Snapshot {
    /// The connection to ask.
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    /// Whether the database has blocks.
    pub(crate) fn has_blocks(&self) -> bool {
        self.version >= migrations::BLOCKS
    }

    /// In which start the rows at these positions were numbered. Where that cannot be read, of none it is known.
    pub(crate) async fn starts(&mut self, range: Range) -> Result<Starts, sqlx::Error> {
        if self.version < migrations::STARTS {
            // As far as is known then: in the last.
            let meta = damage(Meta::load(&mut self.transaction).await)?;
            return Ok(meta.map_or_else(|_| Starts::default(), |meta| Starts::new(0, meta.boot)));
        }
        Ok(damage(Starts::load_within(&mut self.transaction, range).await)?.unwrap_or_default())
    }

    /// Lets go of what was seen. Dropping does the same a little later.
    pub(crate) async fn end(self) {
        // Nothing has been written, so nothing can be lost.
        let _ = self.transaction.rollback().await;
    }
}

/// Why a part of the database cannot be read; `Err` when that is no matter of this part.
pub(crate) fn damage<T>(result: Result<T, sqlx::Error>) -> Result<Result<T, String>, sqlx::Error> {
    match result {
        Ok(found) => Ok(Ok(found)),
        Err(error) if trouble(&error) == Trouble::Damaged || is_unreadable(&error) => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Whether SQLite could not make a file (`SQLITE_READONLY`, `SQLITE_CANTOPEN`).
fn is_protected(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 8 | 14))
}

/// Whether the disk could not give the bytes: an I/O error of a read (`SQLITE_IOERR_READ`, `SQLITE_IOERR_SHORT_READ`).
fn is_unreadable(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| matches!(code.as_ref(), "266" | "522"))
}
