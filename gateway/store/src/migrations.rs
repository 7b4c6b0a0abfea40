//! The versions of the tables, and how a database gets from one to the next.

use sqlx::raw_sql;

use crate::{
    StoreError,
    database::{Database, Unusable},
    numbers::{count, length},
};

/// One step each; the version of a database (`PRAGMA user_version`) is the number of steps it has taken.
const STEPS: [&str; 4] = [
    include_str!("../migrations/0001_begin.sql"),
    include_str!("../migrations/0002_blocks.sql"),
    include_str!("../migrations/0003_starts.sql"),
    include_str!("../migrations/0004_parts.sql"),
];

/// From this version on there are blocks.
pub(crate) const BLOCKS: u64 = 2;

/// From this version on it is known where the rows of each start begin.
pub(crate) const STARTS: u64 = 3;

/// The newest version.
pub(crate) fn known() -> u64 {
    count(STEPS.len())
}

/// Brings the database to the newest version.
///
/// # Errors
///
/// [`StoreError::NewerFormat`] when it is of a later version; damage when it is the database of something else.
pub(crate) async fn run(database: &mut Database) -> Result<(), Unusable> {
    let known = known();
    let found = database.number("PRAGMA user_version").await?;
    if found > known {
        return Err(StoreError::NewerFormat { path: database.path.clone(), found, known }.into());
    }
    if found == 0 && database.number("SELECT count(*) FROM sqlite_schema").await? > 0 {
        return Err(Unusable::Damaged("it is the database of another program".to_owned()));
    }
    for (step, version) in STEPS.into_iter().zip(1..).skip(length(found)) {
        let script = format!("BEGIN IMMEDIATE;\n{step}\nPRAGMA user_version = {version};\nCOMMIT;");
        // Made of constants only.
        raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut database.connection).await?;
    }
    Ok(())
}
