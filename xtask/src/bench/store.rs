//! What days of data take on the disk, what writing them costs, and how long the history of a tag takes: the examples
//! `store_days`, on a simulated clock, and `store_history` of the store.

use std::{ffi::OsStr, fs, path::PathBuf};

use anyhow::Context;

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
    /// Commits a second of the plant; a gateway makes four, which takes long here for the disk's sake.
    #[arg(long, default_value_t = 4)]
    commits: u32,
    /// A folder of recorded data as csv files, which the devices repeat; without it the plant is made up.
    #[arg(long)]
    data: Option<PathBuf>,
}

/// Runs the examples, which print their tables themselves.
///
/// # Errors
///
/// When one cannot be built or fails.
pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let workspace = Workspace::find()?;
    println!("on {}", table::machine());
    let folder = workspace.target.join("bench").join("store");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let mut example = shell::cargo(["run", "--release", "--locked", "-p", "tidegate-store", "--example", "store_days"]);
    example.current_dir(&workspace.root).arg("--");
    example.args(["--hours", &options.hours.to_string(), "--tags", &options.tags.to_string()]);
    example.args(["--commits", &options.commits.to_string(), "--dir"]).arg(&folder);
    if let Some(data) = &options.data {
        example.arg("--data").arg(std::path::absolute(data)?);
    }
    shell::must(&mut example)?;
    println!("\nthe history of a tag in this store, 1,000 points:");
    history(&workspace, &[folder.as_os_str(), "device0".as_ref()])?;
    println!("\nin a store of one device with ten tags:");
    history(&workspace, &["1".as_ref(), "10".as_ref(), options.hours.to_string().as_ref()])?;
    fs::remove_dir_all(&folder).with_context(|| format!("failed to remove {}", folder.display()))?;
    Ok(Outcome::Passed)
}

/// How long the first, the middle and the last tag of a device take.
fn history(workspace: &Workspace, arguments: &[&OsStr]) -> anyhow::Result<()> {
    let example = ["run", "--release", "--locked", "-p", "tidegate-store", "--example", "store_history", "--"];
    let mut example = shell::cargo(example);
    example.current_dir(&workspace.root).args(arguments);
    shell::must(&mut example)
}
