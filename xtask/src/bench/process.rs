//! Child processes that end with the measurement, whatever happens.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// A child process that is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    name: String,
    lines: Receiver<String>,
}

impl Process {
    /// Starts a program; its standard output can be waited for.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Process> {
        Process::start_with(command, Stdio::null())
    }

    /// Starts a program that takes lines on its standard input.
    pub(crate) fn start_listening(command: &mut Command) -> anyhow::Result<Process> {
        Process::start_with(command, Stdio::piped())
    }

    fn start_with(command: &mut Command, stdin: Stdio) -> anyhow::Result<Process> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child =
            command.stdin(stdin).stdout(Stdio::piped()).spawn().with_context(|| format!("failed to start {name}"))?;
        let (sender, lines) = channel();
        let stdout = child.stdout.take().context("the child has no standard output")?;
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Process { stdin: child.stdin.take(), child, name, lines })
    }

    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Says a line to a program that was started with [`Process::start_listening`].
    pub(crate) fn say(&mut self, line: &str) -> anyhow::Result<()> {
        let stdin = self.stdin.as_mut().with_context(|| format!("{} does not listen", self.name))?;
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).with_context(|| format!("{} has ended", self.name))
    }

    /// Waits a minute for so many lines of standard output that `wanted` accepts.
    pub(crate) fn wait_for(&self, count: usize, wanted: impl Fn(&str) -> bool) -> anyhow::Result<Vec<String>> {
        self.wait_within(Duration::from_secs(60), count, wanted)
    }

    /// Waits that long for so many lines of standard output that `wanted` accepts.
    pub(crate) fn wait_within(
        &self,
        time: Duration,
        count: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Vec<String>> {
        let deadline = Instant::now() + time;
        let mut found = Vec::new();
        while found.len() < count {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if wanted(&line) => found.push(line),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} did not say what was waited for within {time:?}", self.name)
                }
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
