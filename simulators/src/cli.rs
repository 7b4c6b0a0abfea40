//! The command line of the simulators.

mod opcua;

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use tidegate_config::{Report, load_profile, parse_duration};
use tidegate_simulators::{
    BenchProfile, BenchType, SimulatorError,
    modbus::{Fill, ModbusOptions, ModbusSimulator, UnitRange, UnknownUnit, parse_fault, parse_script},
};

/// Serves any profile as simulated devices that move, answer, and fail on command.
#[derive(Debug, Parser)]
#[command(name = "tidegate-sim", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Modbus TCP devices: every unit of every port is one, with a course of its own.
    #[command(after_help = MODBUS_HELP)]
    Modbus(Modbus),
    /// An OPC UA server with the tags of a profile.
    #[command(after_help = opcua::HELP)]
    Opcua(opcua::Opcua),
    /// Print a profile with many tags of one type, for benches.
    #[command(after_help = "Examples:\n  tidegate-sim profile --tags 1000 --type f32 > profiles/bench.toml")]
    Profile(Profile),
}

const MODBUS_HELP: &str = "\
Prints `listening modbus-tcp ADDRESS units RANGE` for each port, and runs until Ctrl-C or SIGTERM.

Faults are words: what goes wrong, and where and when. `unit=3` (all unless set), `port=0` (counted from 0; all unless
set), `after=10s` (from the start), `for=30s` (for ever unless set), `nth=10` (every tenth request only), and one of

  delay by=200ms       the answer comes later, and so do those behind it
  silence              no answer
  exception code=4     this exception
  wrong-unit, wrong-transaction, wrong-function, wrong-length
  cut bytes=5          only the first bytes of the answer come
  late by=2s           the answer comes later, those behind it at once
  flood every=10ms     frames that nobody asked for
  refuse               the port is closed
  close bytes=5        the first bytes come, then the connection is closed
  illegal-address table=holding from=100 count=10

A script has the same as TOML: `[[fault]]`, `kind = \"silence\"`, `unit = 3`, `after = \"10s\"`, `for = \"30s\"`.

Examples:
  tidegate-sim modbus --profile profiles/eastron/sdm630.toml --listen 127.0.0.1:1502
  tidegate-sim modbus --profile meter.toml --ports 10 --units 1-10 --seed 7
  tidegate-sim modbus --profile meter.toml --fault 'unit=3 silence after=10s for=30s' --fault 'late by=2s nth=50'";

#[derive(Debug, Args)]
struct Modbus {
    /// What every device is: a profile's file.
    #[arg(long, value_name = "FILE")]
    profile: PathBuf,
    /// The first port; port 0 takes free ones.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// How many ports, one behind the other.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    ports: u16,
    /// The units behind each port: `7`, `1-10` or `1..10`.
    #[arg(long, value_name = "RANGE", default_value_t = UnitRange::ONE)]
    units: UnitRange,
    /// What a unit that is not there does.
    #[arg(long, value_enum, default_value_t = UnknownUnitWord::Exception)]
    unknown_unit: UnknownUnitWord,
    /// What can be read besides the tags: nothing, the gaps that the profile lets the gateway read along, or everything.
    #[arg(long, value_enum, default_value_t = FillWord::Gaps)]
    fill: FillWord,
    /// The same seed gives the same values at the same time after the start.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Time between two changes of a value.
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = parse_duration)]
    step: Duration,
    /// No value moves by itself.
    #[arg(long, conflicts_with = "all_change")]
    still: bool,
    /// Every float differs from what was read a step before, setpoints and counters too.
    #[arg(long)]
    all_change: bool,
    /// Floats use all their bits, not just the decimals that a device would show.
    #[arg(long)]
    full_precision: bool,
    /// Threads.
    #[arg(long, value_name = "N", default_value_t = 1)]
    workers: usize,
    /// Something that goes wrong; may be given several times. See below.
    #[arg(long, value_name = "WORDS")]
    fault: Vec<String>,
    /// A TOML file of faults.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum UnknownUnitWord {
    /// Answer with exception 11, as a gateway to a serial line does.
    Exception,
    /// Say nothing.
    Silent,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FillWord {
    /// Only the tags.
    Tags,
    /// The tags, and gaps between them of at most the profile's `max_gap`.
    Gaps,
    /// All addresses from 0 to 65535.
    Everything,
}

#[derive(Debug, Args)]
struct Profile {
    /// The protocol that it is for.
    #[arg(long, value_enum, default_value_t = DriverWord::Modbus)]
    driver: DriverWord,
    /// Number of tags.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    tags: u32,
    /// Type of all tags.
    #[arg(long = "type", value_enum, default_value_t = TypeWord::F32)]
    tag_type: TypeWord,
    /// Time between two polls.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    interval: Duration,
    /// Registers of one request at most, for Modbus.
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u16).range(1..=125))]
    max_registers: u16,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DriverWord {
    Modbus,
    Opcua,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TypeWord {
    U16,
    I16,
    U32,
    I32,
    F32,
    F64,
}

impl Cli {
    /// Does what the command line says.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Modbus(modbus) => modbus.run(),
            Command::Opcua(opcua) => opcua.run(),
            Command::Profile(profile) => profile.run(),
        }
    }
}

impl Modbus {
    fn run(self) -> anyhow::Result<()> {
        let units = self.units;
        let simulator = ModbusSimulator::start(self.options()?).context("failed to start the simulator")?;
        let mut out = io::stdout().lock();
        for address in simulator.addresses() {
            writeln!(out, "listening modbus-tcp {address} units {units}")?;
        }
        out.flush()?;
        drop(out);
        wait_for_the_end()
    }

    fn options(self) -> anyhow::Result<ModbusOptions> {
        let profile = profile(&self.profile)?;
        let faults = faults(self.script.as_deref(), &self.fault, parse_script, parse_fault)?;
        Ok(ModbusOptions {
            listen: self.listen,
            ports: self.ports,
            units: self.units,
            unknown_unit: match self.unknown_unit {
                UnknownUnitWord::Exception => UnknownUnit::Exception,
                UnknownUnitWord::Silent => UnknownUnit::Silent,
            },
            fill: match self.fill {
                FillWord::Tags => Fill::Tags,
                FillWord::Gaps => Fill::Gaps,
                FillWord::Everything => Fill::Everything,
            },
            seed: self.seed,
            step: self.step,
            still: self.still,
            all_change: self.all_change,
            full_precision: self.full_precision,
            workers: self.workers,
            faults,
            ..ModbusOptions::new(profile)
        })
    }
}

impl Profile {
    fn run(self) -> anyhow::Result<()> {
        let profile = BenchProfile {
            tags: self.tags,
            tag_type: match self.tag_type {
                TypeWord::U16 => BenchType::U16,
                TypeWord::I16 => BenchType::I16,
                TypeWord::U32 => BenchType::U32,
                TypeWord::I32 => BenchType::I32,
                TypeWord::F32 => BenchType::F32,
                TypeWord::F64 => BenchType::F64,
            },
            interval: self.interval,
            max_registers: self.max_registers,
        };
        let text = match self.driver {
            DriverWord::Modbus => profile.to_toml(),
            DriverWord::Opcua => profile.to_opcua_toml(),
        };
        io::stdout().write_all(text.as_bytes()).context("failed to print the profile")
    }
}

/// The profile of a file, or every mistake in it.
fn profile(file: &Path) -> anyhow::Result<Arc<tidegate_config::Profile>> {
    let mut report = Report::new();
    let profile = load_profile(file, &mut report).filter(|_| !report.has_errors());
    profile.ok_or_else(|| SimulatorError::Profile(report.render())).context("failed to start the simulator")
}

/// The faults of a script and those of the command line behind them.
fn faults<T>(
    script: Option<&Path>,
    words: &[String],
    parse_script: impl Fn(&Path) -> Result<Vec<T>, SimulatorError>,
    parse_fault: impl Fn(&str) -> Result<T, SimulatorError>,
) -> anyhow::Result<Vec<T>> {
    let mut faults = match script {
        Some(file) => parse_script(file).context("failed to start the simulator")?,
        None => Vec::new(),
    };
    for words in words {
        faults.push(parse_fault(words).context("failed to start the simulator")?);
    }
    Ok(faults)
}

/// Waits for Ctrl-C or SIGTERM.
fn wait_for_the_end() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            ended = tokio::signal::ctrl_c() => ended.context("failed to wait for Ctrl-C"),
            _ = terminate.recv() => Ok(()),
        }
    })
}
