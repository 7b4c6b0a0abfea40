//! Words for the person at the terminal. What nobody can hear any more (a pipe that was closed) is not said, and is no
//! reason to stop: `println!` would panic.

use std::{
    fmt::Display,
    io::{Write, stderr, stdout},
};

use crate::logging;

/// A line on standard output: what a command was asked for.
pub(crate) fn say(line: impl Display) {
    write(&mut stdout().lock(), &format!("{line}\n"));
}

/// Text on standard output as it is.
pub(crate) fn print(text: &str) {
    write(&mut stdout().lock(), text);
}

/// A line on standard error: what went wrong. Where machines read the log it is a line of the log.
pub(crate) fn complain(line: impl Display) {
    match logging::is_for_machines() {
        true => tracing::error!("{line}"),
        false => write(&mut stderr().lock(), &format!("{line}\n")),
    }
}

/// Text on standard error as it is: what is wrong with a site. Where machines read the log it is one line of the log.
pub(crate) fn warn(text: &str) {
    match logging::is_for_machines() && !text.is_empty() {
        true => tracing::warn!("{}", text.trim_end()),
        false => write(&mut stderr().lock(), text),
    }
}

/// Text on standard error as it is, for the person who sits at the terminal: how far something is, a question.
pub(crate) fn draw(text: &str) {
    write(&mut stderr().lock(), text);
}

fn write(to: &mut impl Write, text: &str) {
    // In one piece, so that lines of the log do not get in between.
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}
