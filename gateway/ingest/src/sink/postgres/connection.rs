//! How the database is reached, and what its errors mean.

use std::{str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Executor, PgConnection, Row,
    postgres::{PgConnectOptions, PgDatabaseError},
};

use super::super::{SinkError, Trouble};
use crate::{IngestError, Secret};

/// Name look-up, TCP, TLS and login have to be done within this time.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// A lock of an ingest whose machine is gone is given back by the server after these times, at the latest.
const SETTINGS: &str = "SET lock_timeout = '60s'; SET idle_in_transaction_session_timeout = '60s'; \
                        SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
                        SET synchronous_commit = on";

/// How connections to one database are made.
pub(crate) struct Connector {
    options: PgConnectOptions,
}

impl Connector {
    pub(crate) fn new(url: &Secret) -> Result<Connector, IngestError> {
        // The library's text may hold the address, and with it the password.
        let options = PgConnectOptions::from_str(url.reveal()).map_err(|_| IngestError::To {
            why: "it is no address of a database; write postgres://USER@HOST:5432/DATABASE".to_owned(),
        })?;
        let options = options.application_name("tidegate ingest").disable_statement_logging();
        Ok(Connector { options })
    }

    pub(crate) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let connect = async {
            let mut connection = self.options.connect().await?;
            connection.execute(SETTINGS).await?;
            Ok(connection)
        };
        let silent = || std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 20 s");
        tokio::time::timeout(CONNECT_WITHIN, connect).await.unwrap_or_else(|_| Err(silent().into()))
    }
}

/// The encoding of the database's texts: `UTF8` can hold every text of a gateway.
pub(crate) async fn encoding(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::query("SHOW server_encoding").fetch_one(connection).await?.try_get(0)
}

/// The SQLSTATE of an error, five characters: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn code(error: &sqlx::Error) -> Option<&str> {
    let error = error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?;
    Some(error.code())
}

/// What an error means for the writer.
pub(crate) fn trouble(error: &sqlx::Error) -> Trouble {
    match code(error) {
        // Serialisation, deadlock, lock timeout; a unique index that another ingest was faster at.
        Some("40001" | "40P01" | "55P03" | "23505") => Trouble::Conflict,
        // Data exceptions, broken constraints, what is larger than the database's limits: the same values would be refused again.
        Some(code) if ["22", "23", "54"].into_iter().any(|class| code.starts_with(class)) => Trouble::Values,
        // Shutting down, starting up, crashed, too many connections, cancelled.
        Some(code) if code.starts_with("57") || code.starts_with("08") || code == "53300" => Trouble::Away,
        Some("25P03") => Trouble::Away,
        Some(_) => Trouble::Person,
        None if matches!(error, sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_)) => Trouble::Away,
        // A row that must be there is not: identities were remembered that the database has lost.
        None if matches!(error, sqlx::Error::RowNotFound) => Trouble::Conflict,
        None => Trouble::Person,
    }
}

/// The error of the sink for an error of the database.
pub(crate) fn failed(error: &sqlx::Error) -> SinkError {
    SinkError { trouble: trouble(error), text: explain(error) }
}

/// What an error means, for a person.
pub(crate) fn explain(error: &sqlx::Error) -> String {
    let told = match code(error) {
        Some("28P01" | "28000") => "the database refuses the login; check user, password and pg_hba.conf",
        Some("3D000") => "there is no such database; create it first",
        Some("42501") => {
            "the user of the database lacks a right; it has to own the schema tidegate, or have CREATE on the database at the first start"
        }
        Some("42P01" | "3F000" | "42703") => "a table of the ingest has gone or was changed",
        Some("53100") => "the disk of the database is full",
        Some("25006") => "the database is read-only; is it a standby?",
        _ => match error {
            sqlx::Error::Io(error) => return format!("the database cannot be reached: {error}"),
            sqlx::Error::Tls(error) => return format!("no encrypted connection to the database: {error}"),
            other => return other.to_string(),
        },
    };
    format!("{told} ({error})")
}
