//! What days of data take on the disk, and what writing them costs: the example `store_days` of the store, on a
//! simulated clock.

use super::table;
use crate::{shell, tally::Outcome, workspace::Workspace};

/// What is written.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Hours of simulated time.
    #[arg(long, default_value_t = 72)]
    hours: u32,
    /// Tags, each read every second.
    #[arg(long, default_value_t = 10_000)]
    tags: u32,
}

/// Runs the example, which prints its table itself.
///
/// # Errors
///
/// When it cannot be built or fails.
pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let workspace = Workspace::find()?;
    println!("on {}", table::machine());
    let mut example = shell::cargo(["run", "--release", "--locked", "-p", "tidegate-store", "--example", "store_days"]);
    example.current_dir(&workspace.root).arg("--");
    example.args(["--hours", &options.hours.to_string(), "--tags", &options.tags.to_string()]);
    shell::must(&mut example)?;
    Ok(Outcome::Passed)
}
