//! Child processes that end with the measurement, whatever happens.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// A child process that is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    name: String,
    lines: Receiver<String>,
}

impl Process {
    /// Starts a program; its standard output can be waited for.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Process> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start {name}"))?;
        let (sender, lines) = channel();
        let stdout = child.stdout.take().context("the child has no standard output")?;
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Process { child, name, lines })
    }

    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for so many lines of standard output that `wanted` accepts.
    pub(crate) fn wait_for(&self, count: usize, wanted: impl Fn(&str) -> bool) -> anyhow::Result<Vec<String>> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut found = Vec::new();
        while found.len() < count {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if wanted(&line) => found.push(line),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => bail!("{} did not say what was waited for within 60 s", self.name),
                Err(RecvTimeoutError::Disconnected) => bail!("{} ended early; its own words are above", self.name),
            }
        }
        Ok(found)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits that long.
#[expect(clippy::disallowed_methods, reason = "this thread is not a runtime's")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
