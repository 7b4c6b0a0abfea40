//! A Sparkplug edge node that others wrote, with metrics of any kind.

use std::{net::SocketAddr, process::Command};

use crate::{Child, PATIENCE, Peers, sparkplug_host::say};

/// pysparkplug as an edge node of group `plant`.
#[derive(Debug)]
pub struct SparkplugNode {
    child: Child,
}

impl SparkplugNode {
    /// Connects to a broker and publishes its births. `metrics` are its own and those of its devices, as `tests/peers/sparkplug_node.py`
    /// says.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(
        peers: &Peers,
        broker: SocketAddr,
        node: &str,
        metrics: &serde_json::Value,
    ) -> anyhow::Result<SparkplugNode> {
        let mut command = Command::new(peers.python());
        command.arg(peers.script("sparkplug_node.py")).args(["--port", &broker.port().to_string(), "--group", "plant"]);
        command.args(["--node", node, "--metrics", &metrics.to_string()]);
        let child = Child::start("the Sparkplug node", &mut command)?;
        child.wait_for(PATIENCE, "the word \"ready\"", |lines| {
            lines.iter().find(|line| line.text == "ready").map(drop)
        })?;
        Ok(SparkplugNode { child })
    }

    /// Says a command (`set pump Motor/Speed 12.5`).
    ///
    /// # Errors
    ///
    /// When the node cannot carry it out.
    pub fn say(&mut self, command: &str) -> anyhow::Result<()> {
        say(&mut self.child, command)
    }

    /// Waits until this command has come: its line may be read later than what the node does then.
    ///
    /// # Errors
    ///
    /// When it does not come in time.
    pub fn until_told(&self, command: &str) -> anyhow::Result<()> {
        self.child.wait_for(PATIENCE, &format!("the command {command:?}"), |lines| {
            lines.iter().find(|line| line.text.strip_prefix("command ") == Some(command)).map(drop)
        })
    }

    /// The commands that have come, in their order (`pump Motor/Setpoint 42`; `-` is the node itself).
    ///
    /// # Errors
    ///
    /// When there was one that it could not read.
    pub fn commands(&self) -> anyhow::Result<Vec<String>> {
        let lines = self.child.lines();
        if let Some(line) = lines.iter().find(|line| line.text.starts_with("unreadable")) {
            anyhow::bail!("the node cannot read a command: {}", line.text);
        }
        Ok(lines.iter().filter_map(|line| line.text.strip_prefix("command ").map(str::to_owned)).collect())
    }

    /// Ends it at once: its connection breaks, and the broker publishes its will.
    pub fn kill(&mut self) {
        self.child.kill();
    }
}
