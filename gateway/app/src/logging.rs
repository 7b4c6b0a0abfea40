//! Log lines: text for people, JSON for machines; always on standard error.

use std::{io::IsTerminal, sync::OnceLock};

use anyhow::Context;
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt};

/// What was asked for.
static FORMAT: OnceLock<Format> = OnceLock::new();

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// Reads `--log`. A word alone that is no level would be taken for a part of the program that there is not, and nothing would be
/// logged.
pub(crate) fn filter(text: &str) -> Result<String, String> {
    let mut words = text.split(',').filter(|part| !part.contains(['=', '[']) && !part.starts_with("tidegate"));
    match words.all(|word| word.trim().parse::<LevelFilter>().is_ok()) && EnvFilter::builder().parse(text).is_ok() {
        true => Ok(text.to_owned()),
        false => {
            Err("it can be error, warn, info, debug or trace, or a filter such as info,tidegate_north=debug".to_owned())
        }
    }
}

/// Whether machines read the log, so that nothing else may stand between its lines.
pub(crate) fn is_for_machines() -> bool {
    FORMAT.get() == Some(&Format::Json)
}

/// Starts logging. The libraries that only repeat what the gateway says better are kept to warnings.
pub(crate) fn start(format: Format, filter: &str) -> anyhow::Result<()> {
    let libraries = "sqlx=warn,hyper=warn,\
                     opcua_server=off,opcua_core=off,opcua_crypto=off,opcua_types=off,opcua_nodes=off,opcua_client=off";
    let filter = EnvFilter::builder()
        .parse(format!("{libraries},{filter}"))
        .with_context(|| format!("--log \"{filter}\" is no log filter; try info or debug"))?;
    // A reader of the log that has gone away must not end the tasks that log: telling of that on standard error would.
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    match format {
        Format::Text => lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
        Format::Json => lines.json().flatten_event(true).init(),
    }
    let _ = FORMAT.set(format);
    Ok(())
}
