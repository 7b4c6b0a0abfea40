//! What needs no test: format, clippy, the decoder on its own, licences and advisories.

use crate::{
    deny, shell,
    tally::{Outcome, Tally},
    workspace::Workspace,
};

/// `cargo xtask check`.
///
/// # Errors
///
/// When a tool cannot be started.
pub(crate) fn run() -> anyhow::Result<Outcome> {
    let workspace = Workspace::find()?;
    let mut tally = Tally::new();
    source(&workspace, &mut tally)?;
    deny::check(&workspace, &mut tally)?;
    println!("\n{tally}");
    Ok(tally.outcome())
}

/// The checks of our own source: format, clippy, and what is built with fewer features elsewhere.
///
/// # Errors
///
/// When a tool cannot be started.
pub(crate) fn source(workspace: &Workspace, tally: &mut Tally) -> anyhow::Result<()> {
    let mut format = shell::cargo(["fmt", "--all", "--check"]);
    tally.check("format", shell::ends_well(format.current_dir(&workspace.root))?);
    let mut clippy =
        shell::cargo(["clippy", "--locked", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"]);
    tally.check("clippy", shell::ends_well(clippy.current_dir(&workspace.root))?);
    let mut decoder = shell::cargo(["check", "--locked", "-p", "tidegate-codec", "--no-default-features"]);
    tally.check("decoder without zstd", shell::ends_well(decoder.current_dir(&workspace.root))?);
    Ok(())
}
