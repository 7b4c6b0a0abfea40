//! Licences and advisories of every dependency, by cargo-deny with `deny.toml`.

use std::{fs, path::PathBuf};

use anyhow::Context;

use crate::{shell, tally::Tally, workspace::Workspace};

/// The version that `deny.toml` is written for.
const VERSION: &str = "0.20.2";

/// Checks licences, sources and duplicates, and the advisories if their database can be reached.
///
/// # Errors
///
/// When cargo-deny can be neither found nor built.
pub(crate) fn check(workspace: &Workspace, tally: &mut Tally) -> anyhow::Result<()> {
    let deny = install(workspace)?;
    let passed = shell::ends_well(deny_command(workspace, &deny).args(["check", "bans", "licenses", "sources"]))?;
    tally.check("cargo deny check bans licenses sources", passed);
    // `timeout` because a network that swallows packets makes git wait for ever.
    let mut fetch = shell::command("timeout", ["120"]);
    fetch.current_dir(&workspace.root).arg(&deny).args(["fetch", "db"]);
    match shell::output(&mut fetch) {
        Ok(_) => {
            let passed = shell::ends_well(deny_command(workspace, &deny).args(["check", "advisories"]))?;
            tally.check("cargo deny check advisories", passed);
        }
        Err(error) => tally.skip(format!("advisories: their database cannot be reached ({})", reason(&error))),
    }
    Ok(())
}

/// The cargo-deny of the search path if it is of our version, else the one in `target/tools`, built if need be.
fn install(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let own = workspace.tools().join("bin/cargo-deny");
    let candidates = shell::find("cargo-deny").into_iter().chain([own.clone()]);
    for candidate in candidates {
        let version = shell::output(&mut shell::command(&candidate, ["--version"])).unwrap_or_default();
        if version.split_whitespace().nth(1) == Some(VERSION) {
            return Ok(candidate);
        }
    }
    // Not optimised: it runs for a second, and an optimised build takes many minutes.
    let mut build = shell::cargo(["install", "cargo-deny", "--version", VERSION, "--locked", "--debug", "--force"]);
    let objects = workspace.tools().join("build");
    build.arg("--root").arg(workspace.tools()).arg("--target-dir").arg(&objects).env("CARGO_PROFILE_DEV_DEBUG", "0");
    shell::must(&mut build)?;
    fs::remove_dir_all(&objects).with_context(|| format!("failed to remove {}", objects.display()))?;
    Ok(own)
}

fn deny_command(workspace: &Workspace, deny: &PathBuf) -> std::process::Command {
    let mut command = shell::command(deny, ["--all-features"]);
    command.current_dir(&workspace.root);
    command
}

/// The last line of what went wrong: what the network said.
fn reason(error: &anyhow::Error) -> String {
    error.to_string().lines().last().unwrap_or_default().trim().to_owned()
}
