//! Starts programs, says which, and turns what can go wrong into a sentence.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

/// A program with these arguments.
pub(crate) fn command<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// The cargo that runs this very program, so that a toolchain chosen on the command line holds for everything.
pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), arguments)
}

/// Prints the command, runs it with this program's own output, and says whether it ended well.
///
/// # Errors
///
/// When the program could not be started at all.
pub(crate) fn ends_well(command: &mut Command) -> anyhow::Result<bool> {
    println!("\n==> {}", line(command));
    let status = command.status().with_context(|| format!("failed to start `{}`", line(command)))?;
    Ok(status.success())
}

/// Prints the command and runs it.
///
/// # Errors
///
/// When the program could not be started or did not end well.
pub(crate) fn must(command: &mut Command) -> anyhow::Result<()> {
    if !ends_well(command)? {
        bail!("`{}` failed; its own words are above", line(command));
    }
    Ok(())
}

/// Runs the command silently and returns what it wrote to its standard output.
///
/// # Errors
///
/// When the program could not be started or did not end well; with what it wrote to its standard error.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("failed to start `{}`", line(command)))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", line(command), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The full path of a program on the search path, also where only an administrator's shell looks.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Makes `link` point at `file`, whatever it pointed at before.
///
/// # Errors
///
/// When the link can neither be removed nor made.
pub(crate) fn point(link: &Path, file: &Path) -> anyhow::Result<()> {
    if link.is_symlink() {
        std::fs::remove_file(link).with_context(|| format!("failed to remove {}", link.display()))?;
    }
    std::os::unix::fs::symlink(file, link)
        .with_context(|| format!("failed to link {} to {}", link.display(), file.display()))
}

/// The command as it would be typed, with the program's name instead of its path.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<String>>()
        .join(" ")
}
