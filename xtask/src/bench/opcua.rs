//! What the values of an OPC UA server cost on their way to a subscriber, beside clients that others wrote.
//!
//! A simulated server of which every value changes each second, and one after the other as its client: the gateway as a user runs
//! it, with a subscriber at QoS 1 on its broker; asyncua; node-opcua. All on loopback of this machine, without security. What is
//! measured is the client's process alone.

use std::{
    fmt::Write,
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::Value;

use super::{
    load::{mebibytes, percentile, ratio, wait_until_running},
    process::{Process, pause},
    site::Ports,
    subscriber::Subscriber,
    table, usage,
};
use crate::{peers, shell, tally::Outcome, workspace::Workspace};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// How long each client is measured.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// How long each client runs before it is measured, once it has all values.
    #[arg(long, default_value_t = 10)]
    warm_up: u64,
    /// Only the loads with these numbers of items.
    #[arg(long, value_delimiter = ',')]
    items: Vec<usize>,
    /// Only the gateway, not the clients that others wrote.
    #[arg(long)]
    alone: bool,
}

/// Items, and the sessions that they are spread over.
const LOADS: [(usize, usize); 3] = [(1_000, 1), (10_000, 1), (100_000, 10)];

/// Longest time until a client has all of its items.
const LONGEST_START: Duration = Duration::from_secs(300);
/// Longest time until a client that is busy answers.
const LONGEST_ANSWER: Duration = Duration::from_secs(120);

/// The clients that others wrote.
const FOREIGN: [&str; 2] = ["asyncua", "node-opcua"];

/// The figures of one client under one load.
#[derive(Debug, Clone, serde::Serialize)]
struct Measured {
    client: String,
    items: usize,
    sessions: usize,
    values_per_second: f64,
    cpu_seconds_per_minute: f64,
    rss_mib: f64,
    /// From the value's time in the server, which is a whole step, to its arrival; milliseconds.
    latency_p50: f64,
    latency_p99: f64,
    /// Processor time of the simulated server meanwhile.
    server_cpu_seconds_per_minute: f64,
}

/// Measures and prints a table; the figures are in `target/bench/opcua.json` too.
///
/// # Errors
///
/// When something cannot be built or started.
pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let workspace = Workspace::find()?;
    peers::install(&workspace)?;
    let mut build = shell::cargo(["build", "--release", "--locked", "-p", "tidegate", "-p", "tidegate-simulators"]);
    shell::must(build.current_dir(&workspace.root))?;
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for (items, sessions) in LOADS {
        if !options.items.is_empty() && !options.items.contains(&items) {
            continue;
        }
        let load = Load::start(&workspace, items, sessions)?;
        println!("\n==> {items} items, the gateway");
        rows.push(load.gateway(options)?);
        for client in FOREIGN.into_iter().filter(|_| !options.alone) {
            println!("==> {items} items, {client}");
            // A client that cannot do it says something about the client; the others are measured all the same.
            match load.foreign(client, options) {
                Ok(row) => rows.push(row),
                Err(error) => {
                    println!("{client} could not be measured: {error:#}");
                    failed.push(format!("{client} with {items} items: {error:#}"));
                }
            }
        }
    }
    println!("\n{}", text(&rows));
    let file = workspace.target.join("bench/opcua.json");
    let all = serde_json::json!({ "machine": table::machine(), "loads": rows, "not_measured": failed });
    fs::write(&file, all.to_string()).with_context(|| format!("failed to write {}", file.display()))?;
    println!("\n{}", file.display());
    Ok(Outcome::Passed)
}

/// A simulated server.
struct Load<'a> {
    workspace: &'a Workspace,
    items: usize,
    sessions: usize,
    folder: PathBuf,
    server: Process,
    url: String,
}

impl Load<'_> {
    fn start(workspace: &Workspace, items: usize, sessions: usize) -> anyhow::Result<Load<'_>> {
        let folder = workspace.target.join("bench/opcua");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("failed to remove {}", folder.display()))?;
        }
        fs::create_dir_all(folder.join("profiles")).with_context(|| format!("failed to make {}", folder.display()))?;
        let simulator = workspace.target.join("release/tidegate-sim");
        let each = (items / sessions).to_string();
        let words = ["profile", "--driver", "opcua", "--type", "f64", "--tags", &each];
        let profile = shell::output(Command::new(&simulator).args(words))?;
        let file = folder.join("profiles/bench.toml");
        fs::write(&file, profile).with_context(|| format!("failed to write {}", file.display()))?;
        let mut command = Command::new(&simulator);
        command.args(["opcua", "--all-change", "--step", "1s", "--profile"]).arg(&file);
        let server = Process::start(&mut command)?;
        let lines = server.wait_for(1, |line| line.starts_with("listening "))?;
        let url =
            lines.first().and_then(|line| line.rsplit(' ').next()).context("the server has no address")?.to_owned();
        Ok(Load { workspace, items, sessions, folder, server, url })
    }

    /// The gateway: one link for each session.
    fn gateway(&self, options: &Options) -> anyhow::Result<Measured> {
        let ports = Ports::find()?;
        let file = self.site(&ports)?;
        let mut command = Command::new(self.workspace.target.join("release/tidegate"));
        let gateway = Process::start(command.args(["--log", "warn", "run", "-c"]).arg(file))?;
        wait_until_running(&ports)?;
        let subscriber = Subscriber::start(ports.mqtt);
        let mut total = 0;
        wait_for_items("the gateway", self.items, || {
            total += subscriber.take().values;
            Ok(total)
        })?;
        pause(Duration::from_secs(options.warm_up));
        subscriber.take();
        let watch = Watch::start(&gateway, &self.server)?;
        pause(Duration::from_secs(options.seconds));
        let mut arrived = subscriber.take();
        let measured = watch.end(&gateway, &self.server)?;
        arrived.source_ages.sort_unstable();
        Ok(Measured {
            latency_p50: percentile(&arrived.source_ages, 0.50),
            latency_p99: percentile(&arrived.source_ages, 0.99),
            ..measured.of("Tidegate", self, arrived.values)
        })
    }

    fn site(&self, ports: &Ports) -> anyhow::Result<PathBuf> {
        let mut text = format!(
            "[gateway]\nid = \"bench\"\ndata_dir = \"data\"\nprofiles = [\"profiles\"]\n\n\
             [broker]\nlisten = \"127.0.0.1:{}\"\n\n[web]\nlisten = \"127.0.0.1:{}\"\n",
            ports.mqtt, ports.web
        );
        for session in 0..self.sessions {
            write!(
                text,
                "\n[[link]]\nname = \"link-{session}\"\ndriver = \"opcua\"\nendpoint = \"{}\"\nsecurity = \"none\"\n\n\
                 [[device]]\nname = \"device-{session}\"\nlink = \"link-{session}\"\nprofile = \"bench\"\n",
                self.url
            )?;
        }
        let file = self.folder.join("tidegate.toml");
        fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
        Ok(file)
    }

    /// A client that others wrote, with our script around it.
    fn foreign(&self, client: &str, options: &Options) -> anyhow::Result<Measured> {
        let (peers, scripts) = (self.workspace.peers(), self.workspace.root.join("tests/peers"));
        let mut command = match client {
            "asyncua" => Command::new(peers.join("venv/bin/python")),
            _ => Command::new(peers.join("bin/node")),
        };
        let script = if client == "asyncua" { "opcua_client.py" } else { "opcua_client.js" };
        command.arg(scripts.join(script)).args(["--url", &self.url, "--folder"]).arg(self.folder.join(client));
        let mut process = Process::start_listening(command.env("NODE_PATH", peers.join("node/node_modules")))?;
        process.wait_for(1, |line| line == "ready")?;
        let each = self.items / self.sessions;
        process.say(&format!("many {each} {} urn:tidegate:bench", self.sessions))?;
        let made = answer(&process, LONGEST_START)?;
        anyhow::ensure!(made.as_u64() == u64::try_from(self.items).ok(), "{client} has {made} of {} items", self.items);
        pause(Duration::from_secs(options.warm_up));
        process.say("total")?;
        answer(&process, LONGEST_ANSWER)?;
        let watch = Watch::start(&process, &self.server)?;
        pause(Duration::from_secs(options.seconds));
        process.say("total")?;
        let total = answer(&process, LONGEST_ANSWER)?;
        let measured = watch.end(&process, &self.server)?;
        let figure = |key: &str| total.get(key).and_then(Value::as_f64).unwrap_or(0.0);
        Ok(Measured {
            latency_p50: figure("p50"),
            latency_p99: figure("p99"),
            ..measured.of(client, self, total.get("total").and_then(Value::as_u64).unwrap_or(0))
        })
    }
}

/// The next answer of a script.
fn answer(process: &Process, within: Duration) -> anyhow::Result<Value> {
    let lines = process.wait_within(within, 1, |line| line.starts_with("ok ") || line.starts_with("error "))?;
    let line = lines.first().map(String::as_str).unwrap_or_default();
    serde_json::from_str(line.strip_prefix("ok ").unwrap_or_default()).with_context(|| format!("it says: {line}"))
}

/// Waits until as many values have come as there are items.
fn wait_for_items(client: &str, items: usize, mut total: impl FnMut() -> anyhow::Result<u64>) -> anyhow::Result<()> {
    let deadline = Instant::now() + LONGEST_START;
    let items = u64::try_from(items)?;
    while total()? < items {
        anyhow::ensure!(Instant::now() < deadline, "{client} has not brought all items within {LONGEST_START:?}");
        pause(Duration::from_millis(200));
    }
    Ok(())
}

/// Processor time of client and server while something is measured.
struct Watch {
    started: Instant,
    client: Duration,
    server: Duration,
}

/// What was used between the start and the end of a [`Watch`].
struct Used {
    seconds: f64,
    client: Duration,
    server: Duration,
    rss_kib: u64,
}

impl Watch {
    fn start(client: &Process, server: &Process) -> anyhow::Result<Watch> {
        let (client, server) = (usage::processor_time(client.id())?, usage::processor_time(server.id())?);
        Ok(Watch { started: Instant::now(), client, server })
    }

    fn end(self, client: &Process, server: &Process) -> anyhow::Result<Used> {
        Ok(Used {
            seconds: self.started.elapsed().as_secs_f64(),
            client: usage::processor_time(client.id())?.saturating_sub(self.client),
            server: usage::processor_time(server.id())?.saturating_sub(self.server),
            rss_kib: usage::memory_kib(client.id(), "VmRSS")?,
        })
    }
}

impl Used {
    fn of(&self, client: &str, load: &Load<'_>, values: u64) -> Measured {
        let minute = |time: Duration| time.as_secs_f64() * 60.0 / self.seconds;
        Measured {
            client: client.to_owned(),
            items: load.items,
            sessions: load.sessions,
            values_per_second: ratio(values, self.seconds),
            cpu_seconds_per_minute: minute(self.client),
            rss_mib: mebibytes(self.rss_kib),
            latency_p50: 0.0,
            latency_p99: 0.0,
            server_cpu_seconds_per_minute: minute(self.server),
        }
    }
}

/// The table in Markdown.
fn text(rows: &[Measured]) -> String {
    let mut text = format!("Measured on {}.\n\n", table::machine());
    text.push_str(
        "| items | sessions | client | values/s | CPU s/min | RSS | latency p50 / p99 | CPU s/min of the server |\n\
         | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for row in rows {
        text.push_str(&format!(
            "| {} | {} | {} | {:.0} | {:.2} | {:.0} MiB | {:.0} / {:.0} ms | {:.1} |\n",
            row.items,
            row.sessions,
            row.client,
            row.values_per_second,
            row.cpu_seconds_per_minute,
            row.rss_mib,
            row.latency_p50,
            row.latency_p99,
            row.server_cpu_seconds_per_minute,
        ));
    }
    text
}
