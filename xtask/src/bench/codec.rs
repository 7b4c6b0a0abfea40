//! How many bytes blocks take and how fast they are, beside what others send: the example `codec_bench` of the export.

use std::path::PathBuf;

use anyhow::Context;

use super::table;
use crate::{shell, tally::Outcome, workspace::Workspace};

/// What is packed.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// A folder with recorded data: CSV files whose first line is `ts` and then `name:type` (f, i, b, s).
    #[arg(long)]
    data: PathBuf,
}

/// Runs the example, which prints its tables itself.
///
/// # Errors
///
/// When there is no such folder, or the example cannot be built or fails.
pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let workspace = Workspace::find()?;
    // The example runs at the workspace's root.
    let data = options.data.canonicalize().with_context(|| format!("failed to find {}", options.data.display()))?;
    println!("on one core of {}", table::machine());
    let mut example =
        shell::cargo(["run", "--release", "--locked", "-p", "tidegate-export", "--example", "codec_bench"]);
    example.current_dir(&workspace.root).arg("--").arg(data);
    shell::must(&mut example)?;
    Ok(Outcome::Passed)
}
