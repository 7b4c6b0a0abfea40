//! The SQLite file: how it is opened, what its errors mean, and what becomes of one that is damaged.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sqlx::{
    ConnectOptions, Connection, Row, SqliteConnection, raw_sql,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::error::BrokerError;

/// Name of the file in the data directory.
const FILE: &str = "broker.db";
/// Kilobytes of pages that the connection keeps: rows are written and read once.
const CACHE: &str = "-512";
const JOURNAL_LIMIT: &str = "4194304";
const BUSY: Duration = Duration::from_secs(2);
/// One step each; the version of a database (`PRAGMA user_version`) is the number of steps it has taken.
const STEPS: [&str; 2] =
    [include_str!("../../migrations/0001_begin.sql"), include_str!("../../migrations/0002_wills.sql")];

/// The one connection to the database.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    pub(crate) connection: SqliteConnection,
}

/// Why a database cannot be used.
#[derive(Debug)]
enum Unusable {
    /// It is damaged. It is to be set aside, and a new one begun.
    Damaged(String),
    /// It is of a later version.
    Newer(i64),
    /// Something that may pass.
    Other(sqlx::Error),
}

impl From<sqlx::Error> for Unusable {
    fn from(error: sqlx::Error) -> Unusable {
        if is_damage(&error) { Unusable::Damaged(error.to_string()) } else { Unusable::Other(error) }
    }
}

/// What opening gave.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The database, or why the disk does not give it now, for a person.
    pub(crate) database: Result<Database, String>,
    /// A damaged one that has been renamed.
    pub(crate) set_aside: Option<PathBuf>,
}

impl Database {
    /// Opens the database in `folder`, or makes it. A damaged one is set aside; where the disk gives none now, the broker can go on
    /// without and ask again later: one that is locked, or that a full disk or missing rights keep from being opened, stays as it is.
    ///
    /// # Errors
    ///
    /// [`BrokerError::NewerFormat`], so that an older version does not begin without what a newer one has written.
    pub(crate) async fn open(folder: &Path) -> Result<Opened, BrokerError> {
        let path = folder.join(FILE);
        let (why, aside) = match Database::at(&path).await {
            Ok(database) => return Ok(Opened { database: Ok(database), set_aside: None }),
            Err(Unusable::Newer(found)) => return Err(BrokerError::NewerFormat { path, found, known: known() }),
            Err(Unusable::Other(error)) => return Ok(Opened { database: Err(explain(&error)), set_aside: None }),
            Err(Unusable::Damaged(why)) => {
                let aside = set_aside(&path);
                (why, aside)
            }
        };
        let aside = match aside {
            Ok(aside) => aside,
            Err(error) => {
                let why = format!("the database is damaged ({why}) and cannot be renamed: {error}");
                return Ok(Opened { database: Err(why), set_aside: None });
            }
        };
        tracing::error!(
            path = %path.display(), now = %aside.display(), why,
            "the database of the MQTT broker is damaged; it was set aside and a new one begun, without what only the old one had"
        );
        let database = Database::at(&path).await.map_err(|refused| match refused {
            Unusable::Other(error) => explain(&error),
            Unusable::Damaged(why) => format!("a new database is damaged at once ({why})"),
            Unusable::Newer(found) => format!("the database has format {found}, which is a newer one"),
        });
        Ok(Opened { database, set_aside: Some(aside) })
    }

    async fn at(path: &Path) -> Result<Database, Unusable> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .foreign_keys(false)
            .pragma("cache_size", CACHE)
            .pragma("mmap_size", "0")
            .pragma("temp_store", "MEMORY")
            .pragma("cell_size_check", "ON")
            .pragma("journal_size_limit", JOURNAL_LIMIT)
            .statement_cache_capacity(32)
            .thread_name(|_| "broker-writer".to_owned())
            .disable_statement_logging();
        let mut database = Database { connection: options.connect().await?, path: path.to_owned() };
        database.migrate().await?;
        Ok(database)
    }

    async fn migrate(&mut self) -> Result<(), Unusable> {
        let found = self.number("PRAGMA user_version").await?;
        if found > known() {
            return Err(Unusable::Newer(found));
        }
        if found == 0 && self.number("SELECT count(*) FROM sqlite_schema").await? > 0 {
            return Err(Unusable::Damaged("it is the database of another program".to_owned()));
        }
        for (step, version) in STEPS.into_iter().zip(1..).skip(usize::try_from(found).unwrap_or(0)) {
            let script = format!("BEGIN IMMEDIATE;\n{step}\nPRAGMA user_version = {version};\nCOMMIT;");
            // Made of constants only.
            raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut self.connection).await?;
        }
        Ok(())
    }

    async fn number(&mut self, sql: &'static str) -> Result<i64, sqlx::Error> {
        sqlx::query(sql).fetch_one(&mut self.connection).await?.try_get(0)
    }

    /// Sets the database aside: what is in it contradicts itself. Returns its new name.
    pub(crate) async fn give_up(self) -> io::Result<PathBuf> {
        let path = self.path.clone();
        let _ = self.connection.close().await;
        set_aside(&path)
    }

    /// Ends the connection; the write-ahead log is moved into the database.
    pub(crate) async fn close(self) -> Result<(), sqlx::Error> {
        self.connection.close().await
    }
}

/// The newest version.
fn known() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Renames a database and what belongs to it.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".damaged-{}", since.as_millis()));
    fs::rename(path, &aside)?;
    for suffix in ["-wal", "-shm"] {
        let with = |base: &std::ffi::OsStr| {
            let mut name = base.to_owned();
            name.push(suffix);
            name
        };
        match fs::rename(with(path.as_os_str()), with(&aside)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside.into())
}

/// Whether the file is no database, or its contents contradict each other. The numbers are those of
/// <https://www.sqlite.org/rescode.html>; the low byte is the kind.
pub(crate) fn is_damage(error: &sqlx::Error) -> bool {
    matches!(code(error).map(|code| code & 0xff), Some(11 | 26))
        || matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::RowNotFound)
}

fn code(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error()?.code()?.parse().ok()
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
