//! One load: starts everything, lets it run, reads the figures.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::{
    commands,
    process::{Process, pause},
    site::{self, Ports},
    subscriber::Subscriber,
    usage,
};
use crate::{shell, workspace::Workspace};

/// A number of devices of 1,000 f32 tags each, read every second.
pub(crate) struct Load {
    pub(crate) devices: usize,
    /// Units behind each connection.
    pub(crate) units: usize,
}

/// The loads of the table.
pub(crate) const LOADS: [Load; 3] =
    [Load { devices: 10, units: 10 }, Load { devices: 100, units: 10 }, Load { devices: 1_000, units: 10 }];

/// Commands that are timed, after the measurement and under the same load.
const COMMANDS: usize = 200;

/// A tag that can only be written, so that it changes nothing about the polls.
const SETPOINT: &str = "\n[[group]]\nname = \"commands\"\ninterval = \"1h\"\n\n\
     [[tag]]\nname = \"setpoint\"\ngroup = \"commands\"\ntable = \"holding\"\ntype = \"i16\"\naddress = 0\naccess = \"write\"\n";

/// The figures of one load.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Measured {
    pub(crate) devices: usize,
    pub(crate) seconds: f64,
    pub(crate) rows_per_second: f64,
    pub(crate) values_per_second: f64,
    pub(crate) missed_slots: u64,
    pub(crate) cpu_seconds_per_minute: f64,
    pub(crate) peak_rss_mib: f64,
    /// Milliseconds.
    pub(crate) latency_p50: f64,
    pub(crate) latency_p99: f64,
    pub(crate) latency_max: f64,
    /// From a command on the local broker to its reply, milliseconds.
    pub(crate) command_p50: f64,
    pub(crate) command_p99: f64,
    pub(crate) disk_bytes_per_value: f64,
    pub(crate) target_rows_per_second: f64,
    pub(crate) subscriber_errors: u64,
}

/// Resident memory, in MiB, of a gateway with nothing to do.
pub(crate) fn idle(workspace: &Workspace, folder: &Path) -> anyhow::Result<f64> {
    println!("\n==> idle");
    let folder = fresh(folder, "idle")?;
    let ports = Ports::find()?;
    let file = site::write(&folder, &ports, &[], 0)?;
    let gateway = gateway(workspace, &file)?;
    wait_until_running(&ports)?;
    pause(Duration::from_secs(10));
    Ok(mebibytes(usage::memory_kib(gateway.id(), "VmRSS")?))
}

/// Runs a load and measures it.
pub(crate) fn measure(
    load: &Load,
    warm_up: Duration,
    time: Duration,
    workspace: &Workspace,
    folder: &Path,
) -> anyhow::Result<Measured> {
    let folder = fresh(folder, &load.devices.to_string())?;
    let ports = Ports::find()?;
    let (plant, links) = plant(load, workspace, &folder)?;
    let cloud = cloud(workspace, &folder, &ports)?;
    let file = site::write(&folder, &ports, &links, load.units)?;
    let gateway = gateway(workspace, &file)?;
    wait_until_running(&ports)?;
    let subscriber = Subscriber::start(ports.mqtt);
    pause(warm_up);

    subscriber.take();
    let (before, cpu_before) = (counters(&ports)?, usage::processor_time(gateway.id())?);
    let started = Instant::now();
    pause(time);
    let mut arrived = subscriber.take();
    let seconds = started.elapsed().as_secs_f64();
    let cpu = usage::processor_time(gateway.id())?.saturating_sub(cpu_before);
    let after = counters(&ports)?;
    let grown = |name: &str| sum(&after, name) - sum(&before, name);

    arrived.ages.sort_unstable();
    let devices: Vec<String> = (0..links.len()).map(|link| site::device(link, 1 + link % load.units)).collect();
    let mut commands = commands::measure(ports.mqtt, &devices, COMMANDS)?;
    commands.sort_unstable();
    let peak_rss_mib = mebibytes(usage::memory_kib(gateway.id(), "VmHWM")?);
    drop((plant, cloud, subscriber));
    Ok(Measured {
        devices: load.devices,
        seconds,
        rows_per_second: ratio(arrived.rows, seconds),
        values_per_second: ratio(arrived.values, seconds),
        missed_slots: whole(grown("tidegate_missed_slots_total")),
        cpu_seconds_per_minute: cpu.as_secs_f64() * 60.0 / seconds,
        peak_rss_mib,
        latency_p50: percentile(&arrived.ages, 0.50),
        latency_p99: percentile(&arrived.ages, 0.99),
        latency_max: percentile(&arrived.ages, 1.0),
        command_p50: percentile(&commands, 0.50),
        command_p99: percentile(&commands, 0.99),
        disk_bytes_per_value: grown("tidegate_store_bytes") / grown("tidegate_values_total").max(1.0),
        target_rows_per_second: grown("tidegate_target_acknowledged_rows_total") / seconds,
        subscriber_errors: arrived.errors,
    })
}

/// An empty folder for one measurement.
fn fresh(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let folder = folder.join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder.join("profiles")).with_context(|| format!("failed to make {}", folder.display()))?;
    Ok(folder)
}

/// The simulated plant, and where its links are.
fn plant(load: &Load, workspace: &Workspace, folder: &Path) -> anyhow::Result<(Process, Vec<String>)> {
    let simulator = workspace.target.join("release/tidegate-sim");
    let profile = shell::output(Command::new(&simulator).args(["profile", "--tags", "1000", "--type", "f32"]))?;
    let file = folder.join("profiles/bench.toml");
    fs::write(&file, profile + SETPOINT).with_context(|| format!("failed to write {}", file.display()))?;
    let count = load.devices / load.units;
    let mut command = Command::new(&simulator);
    command.args(["modbus", "--all-change", "--listen", "127.0.0.1:0", "--profile"]).arg(&file);
    command.args(["--ports", &count.to_string(), "--units", &format!("1..{}", load.units)]);
    let process = Process::start(&mut command)?;
    let lines = process.wait_for(count, |line| line.starts_with("listening "))?;
    let links = lines.iter().filter_map(|line| line.split(' ').nth(2)).map(str::to_owned).collect();
    Ok((process, links))
}

/// mosquitto as the cloud.
fn cloud(workspace: &Workspace, folder: &Path, ports: &Ports) -> anyhow::Result<Process> {
    let file = folder.join("mosquitto.conf");
    let text = format!("listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type error\n", ports.cloud);
    fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
    Process::start(Command::new(workspace.peers().join("bin/mosquitto")).arg("-c").arg(file))
}

/// The gateway, as a user runs it.
fn gateway(workspace: &Workspace, site: &Path) -> anyhow::Result<Process> {
    let mut command = Command::new(workspace.target.join("release/tidegate"));
    Process::start(command.args(["--log", "warn", "run", "-c"]).arg(site))
}

/// Waits until the gateway answers.
pub(crate) fn wait_until_running(ports: &Ports) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match counters(ports) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error.context("the gateway does not answer")),
            Err(_) => pause(Duration::from_millis(100)),
        }
    }
}

/// The counters of the gateway, by name with labels.
fn counters(ports: &Ports) -> anyhow::Result<BTreeMap<String, f64>> {
    let text = ureq::get(format!("http://127.0.0.1:{}/metrics", ports.web)).call()?.body_mut().read_to_string()?;
    let counters: BTreeMap<String, f64> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect();
    if counters.is_empty() {
        bail!("the gateway has no counters");
    }
    Ok(counters)
}

/// The sum of a counter over all its labels.
fn sum(counters: &BTreeMap<String, f64>, name: &str) -> f64 {
    let of_name = |key: &str| key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
    counters.iter().filter(|(key, _)| of_name(key)).map(|(_, value)| value).sum()
}

pub(crate) fn ratio(count: u64, seconds: f64) -> f64 {
    Duration::from_secs(count).as_secs_f64() / seconds
}

/// A counter's growth is a whole number.
fn whole(number: f64) -> u64 {
    Duration::try_from_secs_f64(number).map_or(0, |time| time.as_secs())
}

pub(crate) fn mebibytes(kibibytes: u64) -> f64 {
    ratio(kibibytes, 1024.0)
}

/// The age below which this part of the sorted ages is, in milliseconds.
pub(crate) fn percentile(sorted: &[u32], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let rank = Duration::from_secs(u64::try_from(last).unwrap_or(0)).mul_f64(part).as_secs();
    let age = sorted.get(usize::try_from(rank).unwrap_or(last)).copied().unwrap_or(0);
    f64::from(age) / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_an_age_that_was_measured() {
        let ages: Vec<u32> = (1..=100).map(|age| age * 1000).collect();
        assert_eq!(percentile(&ages, 0.5), 50.0);
        assert_eq!(percentile(&ages, 0.99), 99.0);
        assert_eq!(percentile(&ages, 1.0), 100.0);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }

    #[test]
    fn a_counter_is_summed_over_its_labels_and_not_over_its_namesakes() {
        let counters = [("rows_total{link=\"a\"}", 1.0), ("rows_total{link=\"b\"}", 2.0), ("rows_total_bytes", 4.0)];
        let counters = counters.map(|(name, value)| (name.to_owned(), value)).into();
        assert_eq!(sum(&counters, "rows_total"), 3.0);
    }
}
