//! What a developer and the continuous integration run: `cargo xtask test`, `cargo xtask check`,
//! `cargo xtask bench`, `cargo xtask peers`.
//!
//! Each verb is one file; [`shell`] starts programs, [`workspace`] knows where things are. Nothing is kept outside of
//! the workspace's `target/` but what the Debian package manager installs.

mod bench;
mod check;
mod deny;
mod junit;
mod packages;
mod peers;
mod shell;
mod tally;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The chores of the Tidegate workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// One chore.
#[derive(Subcommand)]
enum Verb {
    /// Runs everything: format, clippy, licences, every test with the foreign peers, the documentation's examples.
    /// Installs what it needs.
    Test,
    /// Runs what needs no test: format, clippy, licences and advisories.
    Check,
    /// Measures: the whole road under load, the store, a backlog on its way; and prints tables.
    Bench(bench::Options),
    /// Installs the foreign peers of the tests (mosquitto, mbpoll, PostgreSQL, Paho, MQTT.js, asyncua, node-opcua …) and says where they are.
    Peers,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.verb {
        Verb::Test => test::run(),
        Verb::Check => check::run(),
        Verb::Bench(options) => bench::run(&options),
        Verb::Peers => peers::run(),
    };
    match done {
        Ok(tally::Outcome::Passed) => ExitCode::SUCCESS,
        Ok(tally::Outcome::Failed) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
