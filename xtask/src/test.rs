//! `cargo xtask test`: everything.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::Context;

use crate::{
    check, deny,
    junit::{self, Report},
    peers, shell,
    tally::{Outcome, Tally},
    workspace::Workspace,
};

/// Programs of the workspace that tests start as a user would.
const PROGRAMS: [(&str, &str); 2] = [("TIDEGATE_BIN", "tidegate"), ("TIDEGATE_SIM_BIN", "tidegate-sim")];

/// Runs everything. What fails does not keep the rest from running.
///
/// # Errors
///
/// When a peer cannot be installed or a tool cannot be started.
pub(crate) fn run() -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let workspace = Workspace::find()?;
    let mut tally = Tally::new();
    peers::install(&workspace)?;
    check::source(&workspace, &mut tally)?;
    deny::check(&workspace, &mut tally)?;
    let mut build = shell::cargo(["build", "--locked", "--workspace", "--bins"]);
    let built = shell::ends_well(build.current_dir(&workspace.root))?;
    tally.check("build", built);
    if built {
        tests(&workspace, &mut tally)?;
        examples(&workspace, &mut tally)?;
    }
    println!("\n{} minutes", started.elapsed().as_secs().div_ceil(60));
    println!("\n{tally}");
    Ok(tally.outcome())
}

/// All tests, with cargo-nextest if it is there.
fn tests(workspace: &Workspace, tally: &mut Tally) -> anyhow::Result<()> {
    if shell::find("cargo-nextest").is_none() {
        let mut test = shell::cargo(["test", "--locked", "--workspace", "--all-targets", "--no-fail-fast"]);
        // What tests say they skipped is in the output of those that passed.
        test.args(["--", "--show-output"]);
        return counted(workspace, "tests", test, tally);
    }
    let file = workspace.target.join("nextest/default/junit.xml");
    if file.exists() {
        fs::remove_file(&file).with_context(|| format!("failed to remove {}", file.display()))?;
    }
    let mut nextest = shell::cargo(["nextest", "run", "--locked", "--workspace", "--no-fail-fast"]);
    let ended_well = shell::ends_well(surroundings(workspace, &mut nextest))?;
    match fs::read_to_string(&file).ok().as_deref().and_then(Report::parse) {
        Some(report) => {
            tally.tests("tests", report.tests.saturating_sub(report.failed), report.failed);
            report.shaky.into_iter().for_each(|name| tally.shaky(name));
            report.skips.into_iter().for_each(|skip| tally.skip(skip));
            if report.failed == 0 {
                tally.check("nextest", ended_well);
            }
        }
        None => tally.check("nextest, which left no report", false),
    }
    Ok(())
}

/// The examples in the documentation, which nextest does not run.
fn examples(workspace: &Workspace, tally: &mut Tally) -> anyhow::Result<()> {
    let test = shell::cargo(["test", "--locked", "--workspace", "--doc", "--no-fail-fast"]);
    counted(workspace, "documentation examples", test, tally)
}

/// Runs `cargo test` and counts what it says.
fn counted(workspace: &Workspace, name: &str, mut test: Command, tally: &mut Tally) -> anyhow::Result<()> {
    println!("\n==> {name}");
    test.stdout(Stdio::piped());
    let mut child = surroundings(workspace, &mut test).spawn().context("failed to start `cargo test`")?;
    let (mut passed, mut failed) = (0, 0);
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let line = line.context("failed to read what `cargo test` says")?;
        if let Some((good, bad)) = result_line(&line) {
            passed += good;
            failed += bad;
        }
        junit::skips(&line).into_iter().for_each(|skip| tally.skip(skip));
        println!("{line}");
    }
    let ended_well = child.wait().context("failed to wait for `cargo test`")?.success();
    tally.tests(name, passed, failed);
    if failed == 0 {
        tally.check(name, ended_well);
    }
    Ok(())
}

/// What tests find around them: the peers, the programs, and no wish to rewrite snapshots.
fn surroundings<'a>(workspace: &Workspace, command: &'a mut Command) -> &'a mut Command {
    for (variable, program) in PROGRAMS {
        command.env(variable, workspace.program(program));
    }
    command
        .current_dir(&workspace.root)
        .env("TIDEGATE_PEERS", workspace.peers())
        .env("TIDEGATE_REQUIRE_PEERS", "1")
        .env("INSTA_UPDATE", "no")
}

/// Passed and failed of a line like `test result: ok. 3 passed; 0 failed; …`.
fn result_line(line: &str) -> Option<(u64, u64)> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut numbers = counts.split("; ").map(|part| part.split(' ').next().and_then(|number| number.parse().ok()));
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_and_failed_come_out_of_a_result_line() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s";
        assert_eq!(result_line(line), Some((12, 3)));
        assert_eq!(result_line("test a ... ok"), None);
    }
}
