//! `tidegate ingest`: the cloud side of blocks, rows as JSON and Sparkplug B.

use std::{
    io::IsTerminal,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tidegate_config::parse_duration;
use tidegate_ingest::{
    Address, Broker, Counters, Destination, Format, Options, Rotation, Secret, Snapshot, check_share, check_topic_root,
    sparkplug_id,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::run::with_runtime;
use crate::console::{draw, print, say};

/// How often progress is told.
const TOLD: Duration = Duration::from_secs(1);
/// The longest pause between two tries to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What `tidegate ingest` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The broker: mqtt://USER@HOST:1883, or mqtts:// with TLS. Not needed with --verify.
    #[arg(long, value_name = "URL", required_unless_present = "verify")]
    from: Option<Address>,
    /// Where rows go: postgres://USER@HOST/DATABASE, parquet:DIR or jsonl:- for standard output. env:NAME and file:PATH
    /// say where that stands when it holds a password.
    #[arg(long, value_name = "WHERE")]
    to: String,
    /// Read the ledger of --to and print per stream what has arrived and what is missing. Exit code 1 when there is a hole.
    #[arg(long)]
    verify: bool,
    /// With --verify: print JSON.
    #[arg(long, requires = "verify")]
    json: bool,
    /// The first levels of the topics.
    #[arg(long, value_name = "TOPIC", default_value = "tidegate")]
    topic_root: String,
    /// What to take: the blocks of targets with format = "block", the rows of those with format = "json", or what edge nodes
    /// of Sparkplug B publish, whoever made them.
    #[arg(long, value_name = "block|json|sparkplug_b", default_value = "block")]
    format: Format,
    /// With sparkplug_b: the group of edge nodes to take; all unless given.
    #[arg(long, value_name = "ID")]
    group: Option<String>,
    /// With sparkplug_b: say under this id whether the ingest is online (STATE), for edge nodes that have it as their primary
    /// host. Without it, it only listens.
    #[arg(long, value_name = "ID")]
    host_id: Option<String>,
    /// Share the work with other ingests of this group (a shared subscription of MQTT 5).
    #[arg(long, value_name = "NAME")]
    share: Option<String>,
    /// The name under which the broker keeps what has not been acknowledged; tidegate-ingest-HOSTNAME unless given. Each
    /// ingest needs one of its own, the same at every start.
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Where the password for the broker stands.
    #[arg(long, value_name = "env:NAME|file:PATH")]
    password: Option<String>,
    /// The authorities that the broker's certificate may be from; the system's unless given.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A client certificate.
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The key of the client certificate.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// How long the broker keeps messages while the ingest is away.
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = parse_duration)]
    session_expiry: Duration,
    /// Messages that may be here without an acknowledgement.
    #[arg(long, value_name = "COUNT", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: u16,
    /// How long a block waits for its schema before it is put aside.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    schema_wait: Duration,
    /// With parquet: complete files at least this often.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    rotate: Duration,
    /// With jsonl: remember in this file what has been delivered.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// End once nothing has come for this long and everything is written; for scripts.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    until_idle: Option<Duration>,
}

pub(crate) fn ingest(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let destination = destination(&arguments)?;
    if arguments.verify {
        return verify(destination, arguments.json);
    }
    let options = options(arguments, destination)?;
    with_runtime(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (counters, cancel) = (Arc::new(Counters::default()), CancellationToken::new());
        let mut work = tokio::spawn(tidegate_ingest::run(options, Arc::clone(&counters), cancel.clone()));
        let mut progress = Progress::new();
        let mut ticks = tokio::time::interval(TOLD);
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                _ = ticks.tick() => progress.tell(&counters.snapshot()),
                _ = terminate.recv() => if !told_to_stop(&cancel) { return Ok(ExitCode::FAILURE) },
                _ = interrupt.recv() => if !told_to_stop(&cancel) { return Ok(ExitCode::FAILURE) },
            }
        };
        progress.end();
        tell(&counters.snapshot());
        result?.map_err(|error| anyhow::anyhow!("failed to {error}"))?;
        Ok(ExitCode::SUCCESS)
    })
}

/// False when it was told before: then it ends at once, and what was not acknowledged comes again.
fn told_to_stop(cancel: &CancellationToken) -> bool {
    let first = !cancel.is_cancelled();
    cancel.cancel();
    first
}

/// Reads the ledger and prints what it says.
fn verify(destination: Destination, json: bool) -> anyhow::Result<ExitCode> {
    with_runtime(async move {
        let report =
            tidegate_ingest::verify(&destination).await.map_err(|error| anyhow::anyhow!("failed to {error}"))?;
        match json {
            true => say(report.json()),
            false => print(&report.text()),
        }
        Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

fn destination(arguments: &Arguments) -> anyhow::Result<Destination> {
    let to = match arguments.to.split_once(':') {
        Some(("env" | "file", _)) => {
            let secret = Secret::referred_to("--to", &arguments.to);
            secret.map_err(|error| anyhow::anyhow!("failed to {error}"))?.reveal().to_owned()
        }
        _ => arguments.to.clone(),
    };
    let destination = to.parse().map_err(|error| anyhow::anyhow!("failed to {error}"))?;
    match (destination, &arguments.ledger) {
        (Destination::JsonLines { .. }, ledger) => Ok(Destination::JsonLines { ledger: ledger.clone() }),
        (_, Some(_)) => bail!("--ledger is for jsonl:- only; the others keep their ledger with the rows"),
        (destination, None) => Ok(destination),
    }
}

fn options(arguments: Arguments, destination: Destination) -> anyhow::Result<Options> {
    let explain = |error| anyhow::anyhow!("failed to {error}");
    check_topic_root(&arguments.topic_root).map_err(explain)?;
    arguments.share.as_deref().map_or(Ok(()), check_share).map_err(explain)?;
    let id = |option, text: &Option<String>| text.as_deref().map(|text| sparkplug_id(option, text)).transpose();
    let group = id("--group", &arguments.group).map_err(explain)?;
    let host_id = id("--host-id", &arguments.host_id).map_err(explain)?;
    match arguments.format {
        Format::SparkplugB if arguments.share.is_some() => {
            bail!(
                "--share is not for sparkplug_b: the order of an edge node's messages is known to who gets all of them; give each ingest a --group"
            )
        }
        Format::Block | Format::Json if group.is_some() || host_id.is_some() => {
            bail!("--group and --host-id are for --format sparkplug_b only")
        }
        _ => {}
    }
    let password = arguments.password.as_deref().map(|reference| Secret::referred_to("--password", reference));
    let client_id = match arguments.client_id {
        Some(client_id) => client_id,
        None => format!("tidegate-ingest-{}", hostname()?),
    };
    let broker = Broker {
        address: arguments.from.context("--from is missing")?,
        password: password.transpose().map_err(explain)?,
        ca: arguments.ca,
        certificate: arguments.certificate.zip(arguments.key),
        client_id,
        topic_root: arguments.topic_root,
        format: arguments.format,
        group,
        host_id,
        share: arguments.share,
        session_expiry: arguments.session_expiry,
        in_flight: arguments.in_flight,
        longest_pause: LONGEST_PAUSE,
    };
    Ok(Options {
        broker,
        destination,
        schema_wait: arguments.schema_wait,
        until_idle: arguments.until_idle,
        rotation: Rotation { age: arguments.rotate, ..Rotation::default() },
    })
}

fn hostname() -> anyhow::Result<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let name = name.context("the name of this machine cannot be read; give a --client-id")?;
    Ok(name.trim().to_owned())
}

/// A line on a terminal that is written over and over.
struct Progress {
    terminal: bool,
    last: Option<(Instant, Snapshot)>,
}

impl Progress {
    fn new() -> Progress {
        Progress { terminal: std::io::stderr().is_terminal(), last: None }
    }

    fn tell(&mut self, now: &Snapshot) {
        if !self.terminal {
            return;
        }
        let (at, before) = self.last.replace((Instant::now(), *now)).unwrap_or((Instant::now(), *now));
        let millis = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = now.values.saturating_sub(before.values).saturating_mul(1000) / millis;
        let state = match (now.connected, now.sink_down) {
            (_, true) => "the sink is down",
            (false, _) => "connecting",
            (true, false) => "connected",
        };
        draw(&format!(
            "\r\x1b[K{state}: {} rows, {} values ({rate}/s), {} duplicates, {} gaps, {} refused, {} waiting",
            now.rows, now.values, now.duplicates, now.gaps, now.refused, now.waiting
        ));
    }

    fn end(&self) {
        if self.terminal {
            draw("\n");
        }
    }
}

/// The last word.
fn tell(now: &Snapshot) {
    tracing::info!(
        rows = now.rows,
        values = now.values,
        duplicates = now.duplicates,
        numbered_again = now.numbered_again,
        gaps = now.gaps,
        messages = now.messages,
        acknowledged = now.acknowledged,
        refused = now.refused,
        quarantined = now.quarantined,
        lost = now.lost,
        dropped_at_qos_0 = now.dropped,
        released = now.released,
        connections = now.connections,
        conflicts = now.conflicts,
        missing_over_sparkplug = now.missing,
        "ingest has ended"
    );
}
