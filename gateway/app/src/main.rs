//! `tidegate`: reads the command line, builds, waits, stops. No logic lives here.

mod cli;
mod client;
mod commands;
mod demo;
mod logging;
mod running;
mod site;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
