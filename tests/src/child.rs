//! A child process whose lines are collected as they come.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};

use crate::{PATIENCE, wait_until};

/// How many of the last lines are shown when something goes wrong.
const SHOWN: usize = 30;

/// A line that a child has written to its standard output or error.
#[derive(Debug, Clone)]
pub struct Line {
    /// The text without its end; what is no UTF-8 is replaced.
    pub text: String,
}

/// A running program. Killed and waited for when dropped.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    lines: Arc<Lines>,
    /// Lines before this one were already given out by [`Child::next_line`].
    next: usize,
}

#[derive(Debug, Default)]
struct Lines {
    collected: Mutex<Collected>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Collected {
    lines: Vec<Line>,
    /// Outputs of the child that have ended; with two there will be no more lines.
    ended: usize,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(self: Arc<Lines>, output: impl Read + Send + 'static) {
        thread::spawn(move || {
            let mut reader = BufReader::new(output);
            let mut bytes = Vec::new();
            while reader.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
                bytes.clear();
                self.lock().lines.push(Line { text });
                self.changed.notify_all();
            }
            self.lock().ended += 1;
            self.changed.notify_all();
        });
    }
}

impl Child {
    /// Starts a program; `name` stands for it in messages.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command) -> anyhow::Result<Child> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().with_context(|| format!("failed to start {name} ({command:?})"))?;
        let lines = Arc::new(Lines::default());
        let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
        Arc::clone(&lines).collect(stdout.context("the child has no standard output")?);
        Arc::clone(&lines).collect(stderr.context("the child has no standard error")?);
        Ok(Child { name: name.to_owned(), stdin: process.stdin.take(), process, lines, next: 0 })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Everything it has written so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().lines.clone()
    }

    /// Calls `found` with all lines so far, again after each new one, until it has an answer.
    ///
    /// # Errors
    ///
    /// When there is none within that time, or the program has ended; with its last lines.
    pub fn wait_for<T>(
        &self,
        within: Duration,
        what: &str,
        mut found: impl FnMut(&[Line]) -> Option<T>,
    ) -> anyhow::Result<T> {
        let started = Instant::now();
        let mut collected = self.lines.lock();
        loop {
            if let Some(answer) = found(&collected.lines) {
                return Ok(answer);
            }
            let left = within.saturating_sub(started.elapsed());
            if left.is_zero() || collected.ended == 2 {
                let end = if collected.ended == 2 { "ended without" } else { "did not bring in time" };
                return Err(anyhow!("{} {end} {what}; its last lines:\n{}", self.name, tail(&collected.lines)));
            }
            collected = self.lines.changed.wait_timeout(collected, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The next line that this was not asked for yet.
    ///
    /// # Errors
    ///
    /// As [`Child::wait_for`].
    pub fn next_line(&mut self, within: Duration) -> anyhow::Result<String> {
        let line = self.wait_for(within, "another line", |lines| lines.get(self.next).map(|line| line.text.clone()))?;
        self.next += 1;
        Ok(line)
    }

    /// Writes a line to its standard input.
    ///
    /// # Errors
    ///
    /// When the program has ended or closed its input.
    pub fn say(&mut self, line: &str) -> anyhow::Result<()> {
        let stdin = self.stdin.as_mut().with_context(|| format!("{} has no standard input", self.name))?;
        writeln!(stdin, "{line}")
            .and_then(|()| stdin.flush())
            .with_context(|| format!("failed to tell {} something", self.name))
    }

    /// Ends it at once, without any chance to tidy up (SIGKILL). Does nothing when it has ended already.
    pub fn kill(&mut self) {
        // Both fail only when the process is gone already, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    ///
    /// When it is still there after that time.
    pub fn terminate(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        self.signal("TERM")?;
        self.wait(within)
    }

    /// Sends a signal by its name (`HUP`).
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        if !sent.context("failed to start `kill`")?.success() {
            return Err(self.complaint("is gone"));
        }
        Ok(())
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// An error about it: its name, `what`, and its last lines.
    pub fn complaint(&self, what: &str) -> anyhow::Error {
        anyhow!("{} {what}; its last lines:\n{}", self.name, tail(&self.lines.lock().lines))
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    ///
    /// When it is still there after that time.
    pub fn wait(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let process = &mut self.process;
        let ended = wait_until(within, &format!("the end of {}", self.name), || process.try_wait().transpose())?;
        Ok(ended?)
    }

    /// Waits until it has ended by itself and its last line is here, and returns how it ended and all its lines.
    ///
    /// # Errors
    ///
    /// When it is still there after [`PATIENCE`].
    pub fn end(&mut self) -> anyhow::Result<(ExitStatus, Vec<Line>)> {
        Ok((self.wait(PATIENCE)?, self.wait_for_end()?))
    }

    /// Waits for the end and for the last of its lines, and returns all of them.
    ///
    /// # Errors
    ///
    /// When it has not ended, or ended with a failure.
    pub fn finish(mut self) -> anyhow::Result<Vec<Line>> {
        self.stdin = None;
        let (status, lines) = self.end()?;
        if !status.success() {
            return Err(self.complaint(&format!("ended with {status}")));
        }
        Ok(lines)
    }

    fn wait_for_end(&self) -> anyhow::Result<Vec<Line>> {
        let started = Instant::now();
        let mut collected = self.lines.lock();
        while collected.ended < 2 {
            let left = PATIENCE.saturating_sub(started.elapsed());
            if left.is_zero() {
                bail!("{} has ended, but something still holds its output", self.name);
            }
            collected = self.lines.changed.wait_timeout(collected, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(collected.lines.clone())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

fn tail(lines: &[Line]) -> String {
    let from = lines.len().saturating_sub(SHOWN);
    lines.iter().skip(from).map(|line| format!("    {}\n", line.text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        Child::start("a shell", Command::new("sh").args(["-c", script])).expect("a shell starts")
    }

    #[test]
    fn lines_come_in_order_and_answers_to_what_was_said() {
        let mut child = shell("echo ready; while read word; do echo got $word; done");
        assert_eq!(child.next_line(PATIENCE).expect("a line"), "ready");
        child.say("tide").expect("the shell listens");
        assert_eq!(child.next_line(PATIENCE).expect("a line"), "got tide");
    }

    #[test]
    fn a_child_that_ends_too_early_shows_its_last_lines() {
        let child = shell("echo broken >&2; exit 3");
        let error = child.wait_for(PATIENCE, "a port", |_| None::<()>).expect_err("it ends");
        assert_eq!(error.to_string(), "a shell ended without a port; its last lines:\n    broken\n");
        let error = shell("exit 3").finish().expect_err("a bad end");
        assert!(error.to_string().contains("exit status: 3"), "{error}");
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let child = shell("echo here; exec sleep 1000");
        child.wait_for(PATIENCE, "the first line", |lines| lines.first().cloned()).expect("a line");
        let id = child.id().to_string();
        drop(child);
        let there = Command::new("kill").args(["-0", &id]).stderr(Stdio::null()).status().expect("kill starts");
        assert!(!there.success());
    }

    #[test]
    fn a_child_may_tidy_up_when_asked_to_end() {
        let mut child = shell("trap 'exit 7' TERM; echo here; while :; do sleep 0.01; done");
        child.wait_for(PATIENCE, "the first line", |lines| lines.first().cloned()).expect("a line");
        assert_eq!(child.terminate(PATIENCE).expect("it ends").code(), Some(7));
    }
}
