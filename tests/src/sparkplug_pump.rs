//! A Sparkplug edge node that others wrote.

use std::{net::SocketAddr, process::Command};

use anyhow::bail;

use crate::{Child, Line, PATIENCE, Peers};

/// pysparkplug as the edge node `plant/line4` with the device `pump`; `tests/peers/sparkplug_pump.py` tells its metrics and commands.
#[derive(Debug)]
pub struct SparkplugPump {
    child: Child,
}

impl SparkplugPump {
    /// Connects to a broker. It is not born yet; the values of its births have this time, in Unix milliseconds.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(peers: &Peers, broker: SocketAddr, time: i64) -> anyhow::Result<SparkplugPump> {
        let mut command = Command::new(peers.python());
        command.arg(peers.script("sparkplug_pump.py"));
        command.args(["--port", &broker.port().to_string(), "--time", &time.to_string()]);
        let child = Child::start("the Sparkplug edge node", &mut command)?;
        child.wait_for(PATIENCE, "the word \"ready\"", |lines| {
            lines.iter().find(|line| line.text == "ready").map(drop)
        })?;
        Ok(SparkplugPump { child })
    }

    /// Says a command (`data 1 2.5 1700000000000`).
    ///
    /// # Errors
    ///
    /// When the node cannot carry it out.
    pub fn say(&mut self, command: &str) -> anyhow::Result<()> {
        let before = answers(&self.child.lines());
        self.child.say(command)?;
        self.child.wait_for(PATIENCE, "an answer", |lines| (answers(lines) > before).then_some(()))?;
        match self.child.lines().iter().rev().find(|line| line.text.starts_with("error")) {
            Some(line) => bail!("{command:?}: {}", line.text),
            None => Ok(()),
        }
    }

    /// Waits until it was asked for its births so often.
    ///
    /// # Errors
    ///
    /// When it is not in time.
    pub fn until_asked(&self, times: usize) -> anyhow::Result<()> {
        self.child.wait_for(PATIENCE, "a request for births", |lines| {
            (lines.iter().filter(|line| line.text == "rebirth").count() >= times).then_some(())
        })
    }
}

fn answers(lines: &[Line]) -> usize {
    lines.iter().filter(|line| line.text == "ok" || line.text.starts_with("error")).count()
}
