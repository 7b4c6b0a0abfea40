//! The whole road under load, with parts that nobody here wrote around it.
//!
//! A simulated plant, the gateway as a user runs it, mosquitto as the cloud, and one subscriber at QoS 1 on the local
//! broker, all on loopback of this machine. What is measured is the gateway's process alone: processor time from the
//! scheduler's accounting, the peak of its resident memory, its own counters, and what arrives at the subscriber.

use std::time::Duration;

use anyhow::Context;

use super::{
    load::{self, LOADS, Load, Measured},
    table,
};
use crate::{peers, shell, tally::Outcome, workspace::Workspace};

/// What to measure.
#[derive(Debug, clap::Args)]
#[group(id = "road")]
pub(super) struct Options {
    /// How long each load is measured.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How long each load runs before it is measured.
    #[arg(long, default_value_t = 15)]
    warm_up: u64,
    /// Only the loads with these numbers of devices.
    #[arg(long, value_delimiter = ',')]
    devices: Vec<usize>,
    /// How often each load is run; the median run (by processor time) is shown.
    #[arg(long, default_value_t = 1)]
    runs: usize,
}

/// Measures and prints a table; the figures are in `target/bench/bench.json` too.
///
/// # Errors
///
/// When something cannot be built or started.
pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let workspace = Workspace::find()?;
    peers::install(&workspace)?;
    let mut build = shell::cargo(["build", "--release", "--locked", "-p", "tidegate", "-p", "tidegate-simulators"]);
    shell::must(build.current_dir(&workspace.root))?;
    let folder = workspace.target.join("bench");
    std::fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let idle = load::idle(&workspace, &folder)?;
    let mut rows = Vec::new();
    for load in LOADS.iter().filter(|load| options.devices.is_empty() || options.devices.contains(&load.devices)) {
        rows.push(median(load, options, &workspace, &folder)?);
    }
    let text = table::text(&rows, idle, &table::machine());
    println!("\n{text}");
    let file = folder.join("bench.json");
    std::fs::write(&file, table::json(&rows, idle).to_string())
        .with_context(|| format!("failed to write {}", file.display()))?;
    println!("\n{}", file.display());
    Ok(Outcome::Passed)
}

/// Runs a load as often as asked and keeps the run in the middle.
fn median(load: &Load, options: &Options, workspace: &Workspace, folder: &std::path::Path) -> anyhow::Result<Measured> {
    let mut runs = Vec::new();
    for run in 1..=options.runs.max(1) {
        println!("\n==> {} devices, run {run}", load.devices);
        let warm_up = Duration::from_secs(options.warm_up);
        runs.push(load::measure(load, warm_up, Duration::from_secs(options.seconds.max(1)), workspace, folder)?);
    }
    runs.sort_by(|a, b| a.cpu_seconds_per_minute.total_cmp(&b.cpu_seconds_per_minute));
    let middle = runs.len() / 2;
    Ok(runs.swap_remove(middle))
}
