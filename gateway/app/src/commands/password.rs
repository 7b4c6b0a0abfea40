//! `tidegate password`: the hash of a password, for `password_hash` of the site.

use std::{
    io::{self, BufRead, IsTerminal},
    process::ExitCode,
};

use anyhow::{Context, bail};
use tidegate_broker::password_hash;

use crate::console::{draw, say};

/// No password is longer.
const LONGEST: u64 = 4_096;

/// Reads a password from standard input and prints its hash.
pub(crate) fn password() -> anyhow::Result<ExitCode> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        draw("Password (it is shown while you type it):\n");
    }
    let mut line = String::new();
    io::Read::take(stdin.lock(), LONGEST).read_line(&mut line).context("failed to read the password")?;
    let password = line.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        bail!("failed to make a hash: there is no password on standard input; try `tidegate password < file`");
    }
    match password_hash(password) {
        Ok(hash) => say(hash),
        Err(error) => bail!("failed to make a hash: {error}"),
    }
    Ok(ExitCode::SUCCESS)
}
