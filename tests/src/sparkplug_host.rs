//! A Sparkplug host application that others wrote.

use std::{net::SocketAddr, process::Command};

use anyhow::bail;
use serde_json::Value;

use crate::{Child, Line, PATIENCE, Peers};

/// pysparkplug as a host, with everything that it has heard.
#[derive(Debug)]
pub struct SparkplugHost {
    child: Child,
}

impl SparkplugHost {
    /// Connects to a broker and subscribes; with an id it says that it is online under that id.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(peers: &Peers, broker: SocketAddr, id: Option<&str>) -> anyhow::Result<SparkplugHost> {
        let mut command = Command::new(peers.python());
        command.arg(peers.script("sparkplug_host.py")).args(["--port", &broker.port().to_string()]);
        command.args(id.into_iter().flat_map(|id| ["--host-id", id]));
        let child = Child::start("the Sparkplug host", &mut command)?;
        child.wait_for(PATIENCE, "the word \"ready\"", |lines| {
            lines.iter().find(|line| line.text == "ready").map(drop)
        })?;
        Ok(SparkplugHost { child })
    }

    /// Says a command (`rebirth plant line3`).
    ///
    /// # Errors
    ///
    /// When the host cannot carry it out.
    pub fn say(&mut self, command: &str) -> anyhow::Result<()> {
        say(&mut self.child, command)
    }

    /// Everything that it has heard so far.
    ///
    /// # Errors
    ///
    /// When there was a message that it could not read.
    pub fn heard(&self) -> anyhow::Result<Vec<Value>> {
        heard(&self.child.lines())
    }

    /// Waits until what it has heard gives an answer.
    ///
    /// # Errors
    ///
    /// When it does not in time, or a message cannot be read.
    pub fn until<T>(&self, what: &str, look: impl Fn(&[Value]) -> Option<T>) -> anyhow::Result<T> {
        let found = self.child.wait_for(PATIENCE, what, |lines| look(&heard(lines).unwrap_or_default()));
        found.or_else(|error| self.heard().and(Err(error)))
    }

    /// Ends it at once: its connection breaks, and the broker publishes its will.
    pub fn kill(&mut self) {
        self.child.kill();
    }
}

/// Says a command to a peer, and waits until it answers `ok`, or `error` and why.
pub(crate) fn say(child: &mut Child, command: &str) -> anyhow::Result<()> {
    let answers = |lines: &[Line]| -> Vec<String> {
        let is = |text: &&str| *text == "ok" || text.starts_with("error");
        lines.iter().map(|line| line.text.as_str()).filter(is).map(str::to_owned).collect()
    };
    let before = answers(&child.lines()).len();
    child.say(command)?;
    let answer = child.wait_for(PATIENCE, "an answer", |lines| answers(lines).get(before).cloned())?;
    if answer != "ok" {
        bail!("{command:?}: {answer}");
    }
    Ok(())
}

fn heard(lines: &[Line]) -> anyhow::Result<Vec<Value>> {
    let mut heard = Vec::new();
    for line in lines {
        if line.text.starts_with("unreadable") {
            bail!("the host cannot read a message: {}", line.text);
        }
        if let Some(json) = line.text.strip_prefix("message ") {
            heard.push(serde_json::from_str(json)?);
        }
    }
    Ok(heard)
}
