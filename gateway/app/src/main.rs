//! `tidegate`: reads the command line, builds, waits, stops. No logic lives here.

mod announcements;
mod bridge;
mod certificates;
mod cli;
mod client;
mod commands;
mod console;
mod demo;
mod logging;
mod running;
mod site;
mod sparkplug;
mod target;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            console::complain(format_args!("error: {}", chain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes; a cause that the text before it has told already is left out.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the folder cannot be used: {0}; make it")]
    struct Folder(#[source] std::io::Error);

    #[test]
    fn a_cause_that_was_told_already_is_not_told_again() {
        let error: Result<(), _> = Err(Folder(std::io::Error::other("no room")));
        let error = error.context("failed to open the store").unwrap_err();
        assert_eq!(chain(&error), "failed to open the store: the folder cannot be used: no room; make it");
    }
}
