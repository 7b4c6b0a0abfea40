//! What an ingest is told on its command line.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use tidegate_sparkplug::Id;

use crate::{IngestError, address};

/// A word that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret from wherever it was.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The secret that a reference of the command line means: `env:NAME` or `file:PATH`, without the end of its line.
    ///
    /// # Errors
    ///
    /// [`IngestError::Option`] when it is no reference, or there is nothing behind it.
    pub fn referred_to(option: &'static str, reference: &str) -> Result<Secret, IngestError> {
        let refused = |why: String| IngestError::Option { option, why };
        let text = match reference.split_once(':') {
            Some(("env", name)) => {
                std::env::var(name).map_err(|error| refused(format!("variable {name} of the environment: {error}")))?
            }
            Some(("file", path)) => {
                std::fs::read_to_string(path).map_err(|error| refused(format!("file {path}: {error}")))?
            }
            // It may be the secret itself: it is not repeated.
            _ => {
                return Err(refused(
                    "write env:NAME or file:PATH; a secret does not stand on the command line".to_owned(),
                ));
            }
        };
        Ok(Secret(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// The word itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The broker's place in the network: `mqtt://user@host:1883` or, encrypted, `mqtts://user@host:8883`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or number of the host; an IPv6 address without its brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Who logs in.
    pub user: Option<String>,
}

impl FromStr for Address {
    type Err = IngestError;

    fn from_str(text: &str) -> Result<Address, IngestError> {
        address::parse(text)
    }
}

/// What is taken from the broker: as the `format` of the gateways' targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Blocks and their schemas.
    Block,
    /// Rows and gap records, a message each.
    Json,
    /// What edge nodes of Sparkplug B publish.
    SparkplugB,
}

impl FromStr for Format {
    type Err = IngestError;

    fn from_str(text: &str) -> Result<Format, IngestError> {
        match text {
            "block" => Ok(Format::Block),
            "json" => Ok(Format::Json),
            "sparkplug_b" => Ok(Format::SparkplugB),
            _ => {
                let why = format!("{text} is none; write block, json or sparkplug_b");
                Err(IngestError::Option { option: "--format", why })
            }
        }
    }
}

/// How the broker is reached, and what is subscribed to.
#[derive(Debug, Clone)]
pub struct Broker {
    /// Where it is.
    pub address: Address,
    /// The password of the user.
    pub password: Option<Secret>,
    /// The authorities that the broker's certificate may be from; those of the system unless given.
    pub ca: Option<PathBuf>,
    /// The client's own certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The same at every start: the broker keeps what has not been acknowledged for the client of this name.
    pub client_id: String,
    /// The first levels of the topics.
    pub topic_root: String,
    /// What is subscribed to.
    pub format: Format,
    /// Of Sparkplug B, the group of edge nodes that is taken; all of them unless given.
    pub group: Option<Id>,
    /// Of Sparkplug B, the id under which the host says whether it is online; without one it only listens.
    pub host_id: Option<Id>,
    /// The group of ingests that share the work.
    pub share: Option<String>,
    /// How long the broker keeps the session while the ingest is away.
    pub session_expiry: Duration,
    /// Messages that may wait here without an acknowledgement, at most.
    pub in_flight: u16,
    /// The longest pause between two tries to connect.
    pub longest_pause: Duration,
}

/// Where rows are written to.
#[derive(Debug, Clone)]
pub enum Destination {
    /// A PostgreSQL database, `postgres://user@host/database`. The address may hold a password.
    Postgres(Secret),
    /// A folder of Parquet files.
    Parquet(PathBuf),
    /// JSON Lines on standard output.
    JsonLines {
        /// The file that remembers what has been delivered.
        ledger: Option<PathBuf>,
    },
}

impl FromStr for Destination {
    type Err = IngestError;

    fn from_str(text: &str) -> Result<Destination, IngestError> {
        let refused = |why: String| Err(IngestError::To { why });
        match text.split_once(':') {
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                Ok(Destination::Postgres(Secret::new(text.to_owned())))
            }
            Some(("parquet", "")) => refused("no folder is given; write parquet:DIR".to_owned()),
            Some(("parquet", folder)) => Ok(Destination::Parquet(folder.into())),
            Some(("jsonl", "-")) => Ok(Destination::JsonLines { ledger: None }),
            Some(("jsonl", _)) => refused("JSON Lines go to standard output; write jsonl:- and > FILE".to_owned()),
            // The text may hold a password: it is not repeated.
            _ => refused("write postgres://USER@HOST/DATABASE, parquet:DIR or jsonl:-".to_owned()),
        }
    }
}

/// When Parquet files are completed.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// No row waits longer than this for its file.
    pub age: Duration,
    /// Bytes of blocks that wait for their files, at most.
    pub bytes: u64,
}

impl Default for Rotation {
    fn default() -> Rotation {
        Rotation { age: Duration::from_secs(300), bytes: 64 * 1024 * 1024 }
    }
}

/// Everything that an ingest is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where blocks come from.
    pub broker: Broker,
    /// Where rows go.
    pub destination: Destination,
    /// How long a block waits for its schema before it is put aside.
    pub schema_wait: Duration,
    /// Ends the ingest once nothing has come for this long and everything is written.
    pub until_idle: Option<Duration>,
    /// When Parquet files are completed.
    pub rotation: Rotation,
}

/// Checks the first levels of the topics.
///
/// # Errors
///
/// [`IngestError::Option`] when they cannot stand in a topic.
pub fn check_topic_root(root: &str) -> Result<(), IngestError> {
    let refused = |why: &str| Err(IngestError::Option { option: "--topic-root", why: why.to_owned() });
    if root.is_empty() || root.split('/').any(str::is_empty) {
        return refused("it has an empty level; write it like tidegate or plant/tidegate");
    }
    if root.starts_with('$') || root.contains(['+', '#', '\0']) {
        return refused("it may not begin with $ nor hold +, # or NUL");
    }
    Ok(())
}

/// Reads the id of a group or host of Sparkplug B.
///
/// # Errors
///
/// [`IngestError::Option`] when it cannot be one.
pub fn sparkplug_id(option: &'static str, text: &str) -> Result<Id, IngestError> {
    text.parse().map_err(|error: tidegate_sparkplug::IdError| IngestError::Option { option, why: error.to_string() })
}

/// Checks the name of a group of ingests.
///
/// # Errors
///
/// [`IngestError::Option`] when it cannot be one (MQTT 5.0 §4.8.2).
pub fn check_share(name: &str) -> Result<(), IngestError> {
    if name.is_empty() || name.contains(['/', '+', '#', '\0']) {
        let why = "a name of at least one character, without /, +, # and NUL, is wanted".to_owned();
        return Err(IngestError::Option { option: "--share", why });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destinations_are_told_apart_by_their_scheme() {
        let parse = |text: &str| text.parse::<Destination>();
        assert!(matches!(parse("postgres://tide@db/plant"), Ok(Destination::Postgres(_))));
        assert!(matches!(parse("parquet:lake/rows"), Ok(Destination::Parquet(folder)) if folder == *"lake/rows"));
        assert!(matches!(parse("jsonl:-"), Ok(Destination::JsonLines { ledger: None })));
        for text in ["", "plant", "mysql://db", "parquet:", "jsonl:rows.jsonl", "postgres:db"] {
            assert!(matches!(parse(text), Err(IngestError::To { .. })), "{text}");
        }
    }

    #[test]
    fn a_password_is_neither_shown_nor_repeated() {
        let shown = format!("{:?}", "postgres://tide:low@db/plant".parse::<Destination>());
        assert!(!shown.contains("low"), "{shown}");
        let error = "postgre://tide:low@db".parse::<Destination>().unwrap_err().to_string();
        assert!(!error.contains("low"), "{error}");
    }

    #[test]
    fn wildcards_stand_neither_in_the_root_nor_in_the_group() {
        for root in ["tidegate", "plant/tidegate"] {
            assert!(check_topic_root(root).is_ok(), "{root}");
        }
        for root in ["", "/tidegate", "tidegate/", "a//b", "+/b", "a/#", "$share/a"] {
            assert!(check_topic_root(root).is_err(), "{root}");
        }
        assert!(check_share("writers").is_ok());
        assert!(check_share("a/b").is_err() && check_share("").is_err());
    }
}
