//! `tidegate-sim opcua`.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use tidegate_config::parse_duration;
use tidegate_simulators::opcua::{OpcuaOptions, OpcuaSimulator, parse_fault, parse_script};

pub(super) const HELP: &str = "\
Prints `listening opcua URL`, and runs until Ctrl-C or SIGTERM. Every tag that says its node is where it says; namespaces have the
order of their names.

Faults are words: what goes wrong, and when. `after=10s` (from the start), `for=30s` (for ever unless set), and one of

  silence              connections stay open and nothing comes on them until it is over
  delay by=200ms       whatever the server sends comes later; `nth=10`: every tenth thing only
  close                the connection is closed instead of what the server would send; `nth=10` as above
  refuse               the port is closed
  status code=BadSensorFailure tag=level
                       the tag (all of them unless set) has this status code instead of a value
  no-items             new monitored items are refused

A script has the same as TOML: `[[fault]]`, `kind = \"silence\"`, `after = \"10s\"`, `for = \"30s\"`.

Examples:
  tidegate-sim opcua --profile profiles/open62541/tutorial-server.toml --listen 127.0.0.1:4840
  tidegate-sim opcua --profile press.toml --user op --password secret --security pki
  tidegate-sim opcua --profile press.toml --fault 'silence after=10s for=30s'";

#[derive(Debug, Args)]
pub(super) struct Opcua {
    /// What the server has: a profile's file.
    #[arg(long, value_name = "FILE")]
    profile: PathBuf,
    /// Where it listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The same seed gives the same values at the same time after the start.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Time between two changes of a value.
    #[arg(long, value_name = "DURATION", default_value = "200ms", value_parser = parse_duration)]
    step: Duration,
    /// No value moves by itself.
    #[arg(long, conflicts_with = "all_change")]
    still: bool,
    /// Every float differs from that of the step before, setpoints and counters too.
    #[arg(long)]
    all_change: bool,
    /// Offer all security policies, with a certificate that is kept in this folder.
    #[arg(long, value_name = "FOLDER")]
    security: Option<PathBuf>,
    /// The only user; anybody may come without it.
    #[arg(long, value_name = "NAME", requires = "password")]
    user: Option<String>,
    /// Its password.
    #[arg(long, value_name = "WORD", requires = "user")]
    password: Option<String>,
    /// Refuse every subscription.
    #[arg(long)]
    no_subscriptions: bool,
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

impl Opcua {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let simulator = OpcuaSimulator::start(self.options()?).context("failed to start the simulator")?;
        let mut out = io::stdout().lock();
        writeln!(out, "listening opcua {}", simulator.url())?;
        out.flush()?;
        drop(out);
        super::wait_for_the_end()
    }

    fn options(self) -> anyhow::Result<OpcuaOptions> {
        let profile = super::profile(&self.profile)?;
        let faults = super::faults(self.script.as_deref(), &self.fault, parse_script, parse_fault)?;
        Ok(OpcuaOptions {
            listen: self.listen,
            seed: self.seed,
            step: self.step,
            still: self.still,
            all_change: self.all_change,
            security: self.security,
            user: self.user.zip(self.password),
            no_subscriptions: self.no_subscriptions,
            workers: self.workers,
            faults,
            ..OpcuaOptions::new(profile)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_option_and_every_fault() {
        let page = include_str!("../../../docs/reference/simulator.md");
        let command = Opcua::augment_args(clap::Command::new("opcua"));
        for option in command.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(page.contains(&format!("`--{option}")), "--{option} is not on the page");
        }
        for line in HELP.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' ')) {
            let word = line.split([' ', '\n']).next().unwrap();
            assert!(word == "tidegate-sim" || page.contains(&format!("| `{word}` |")), "{word} is not on the page");
        }
    }

    #[test]
    fn the_script_on_the_page_is_the_fault_on_the_page() {
        let page = include_str!("../../../docs/reference/simulator.md");
        let script = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), script).unwrap();
        let words = page.split("--fault '").last().and_then(|rest| rest.split('\'').next()).unwrap();
        assert_eq!(parse_script(file.path()).unwrap(), [parse_fault(words).unwrap()]);
    }
}
