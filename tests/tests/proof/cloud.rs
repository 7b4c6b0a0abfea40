//! The cloud of the proof: mosquitto, `tidegate ingest`, PostgreSQL.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::{Context, ensure};
use serde_json::Value as Json;
use tidegate_tests::{Child, Mosquitto, PATIENCE, Peers, Postgres, program, tidegate, wait_until};

/// mosquitto acknowledges a message before it has written it down. It writes every two seconds here, and is killed when it has
/// done so (see [`Cloud::kill_broker`]), so what it forgets then is at most that old, and the gateway, whose target has
/// `settle = "4s"`, still has it.
const BROKER: &str = "allow_anonymous true\nautosave_interval 1\n";

/// The receiving side. Each part can be killed and started while others are.
pub(crate) struct Cloud {
    broker: Mutex<Mosquitto>,
    database: Mutex<Postgres>,
    ingest: Mutex<Option<Child>>,
}

/// A row in the database: its time and its values by tag.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) time: i64,
    pub(crate) cells: BTreeMap<String, Cell>,
}

/// What is known of a tag in a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Good(f64),
    Bad(String),
}

impl Cloud {
    /// Starts broker and database. The ingest is not started.
    pub(crate) fn build(peers: &Peers) -> anyhow::Result<Cloud> {
        let (broker, database) = (Mosquitto::start_with(peers, BROKER)?, Postgres::start(peers)?);
        Ok(Cloud { broker: Mutex::new(broker), database: Mutex::new(database), ingest: Mutex::default() })
    }

    pub(crate) fn broker(&self) -> MutexGuard<'_, Mosquitto> {
        self.broker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn database(&self) -> MutexGuard<'_, Postgres> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ingest(&self) -> MutexGuard<'_, Option<Child>> {
        self.ingest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the ingest, for the first time or after [`Cloud::kill_ingest`].
    pub(crate) fn start_ingest(&self) -> anyhow::Result<()> {
        let (from, to) = (format!("mqtt://{}", self.broker().address()), self.database().url());
        let mut command = Command::new(program("tidegate")?);
        command.args(["ingest", "--from", &from, "--to", &to]);
        *self.ingest() = Some(Child::start("the ingest", &mut command)?);
        Ok(())
    }

    /// Waits until the ingest has subscribed, and the broker has written down that it has.
    pub(crate) fn wait_for_session(&self) -> anyhow::Result<()> {
        let ingest = self.ingest();
        let ingest = ingest.as_ref().context("the ingest does not run")?;
        ingest.wait_for(PATIENCE, "the word that it has subscribed", |lines| {
            lines.iter().any(|line| line.text.contains("subscribed")).then_some(())
        })?;
        // What is complete a second from now was begun after the subscription.
        let subscribed = SystemTime::now() + Duration::from_secs(1);
        let file = self.broker_file();
        wait_until(PATIENCE, "the broker to write down the session", || (written(&file)? > subscribed).then_some(()))
    }

    /// Kills the broker (SIGKILL) when it has written down all but the last two seconds: one that was held up may have acknowledged
    /// more than that without, and what it forgets has to be less than the gateway waits for.
    pub(crate) fn kill_broker(&self) -> anyhow::Result<()> {
        let file = self.broker_file();
        wait_until(PATIENCE, "the broker to write down what it has", || {
            // A moment that is still to come is a clock that was set, and young.
            let age = written(&file)?.elapsed().unwrap_or_default();
            (age < SETTLE / 2).then(|| self.broker().kill())
        })
    }

    /// Where the broker writes down what it has.
    fn broker_file(&self) -> PathBuf {
        self.broker().folder().join("mosquitto.db")
    }

    /// Kills the ingest (SIGKILL).
    pub(crate) fn kill_ingest(&self) {
        *self.ingest() = None;
    }

    /// Ends the ingest in an orderly way.
    pub(crate) fn stop_ingest(&self) -> anyhow::Result<()> {
        let mut ingest = self.ingest().take().context("the ingest does not run")?;
        let status = ingest.terminate(PATIENCE)?;
        if !status.success() {
            return Err(ingest.complaint(&format!("ended with {status}")));
        }
        Ok(())
    }

    /// Rows in the database by its ledger, of all streams.
    pub(crate) fn ledger_rows(&self) -> anyhow::Result<u64> {
        let answer = self.database().sql("select coalesce(sum(rows), 0) from tidegate.stream")?;
        answer.first().and_then(|text| text.parse().ok()).context("the database has no ledger")
    }

    /// What `tidegate ingest --verify` says, for people and for programs.
    pub(crate) fn verify(&self) -> anyhow::Result<(Option<i32>, String, Json)> {
        let url = self.database().url();
        let (code, text) = tidegate(["ingest", "--verify", "--to", &url], &[])?;
        let (_, json) = tidegate(["ingest", "--verify", "--json", "--log", "error", "--to", &url], &[])?;
        let json = serde_json::from_str(&json).with_context(|| format!("--verify --json is no JSON: {json}"))?;
        Ok((code, text, json))
    }

    /// The rows of a device as they are in the tables, by number. A sample that is there twice is an error.
    pub(crate) fn rows(&self, device: &str) -> anyhow::Result<BTreeMap<u64, Row>> {
        let mut rows: BTreeMap<u64, Row> = BTreeMap::new();
        let lines = self.database().sql(&format!(
            "select seq, (extract(epoch from time) * 1000)::bigint, tag, value, reason, quality from tidegate.samples \
             where gateway = 'plant' and device = '{device}'"
        ))?;
        for line in lines {
            let [seq, time, tag, value, reason, quality] = line.split('|').collect::<Vec<&str>>()[..] else {
                anyhow::bail!("not six columns: {line}");
            };
            let (seq, time) = (seq.parse()?, time.parse()?);
            let row = rows.entry(seq).or_insert(Row { time, cells: BTreeMap::new() });
            ensure!(row.time == time, "row {seq} of {device} has two times");
            let cell = if quality == "bad" { Cell::Bad(reason.to_owned()) } else { Cell::Good(value.parse()?) };
            let before = row.cells.insert(tag.to_owned(), cell);
            ensure!(before.is_none(), "{tag} of row {seq} of {device} is there twice");
        }
        Ok(rows)
    }
}

/// When a file was written last.
fn written(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|file| file.modified()).ok()
}

/// Time that the broker may take to write down what it has acknowledged; see [`BROKER`].
pub(crate) const SETTLE: Duration = Duration::from_secs(4);
