//! OPC UA clients that others wrote.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::{Child, PATIENCE, Peers, opcua_server::Stack, opcua_server::ask, wait_until};

/// A session of a foreign client.
#[derive(Debug)]
pub struct OpcuaClient {
    child: Child,
    /// Its certificate, if it has one; kept as long as the client.
    _folder: Option<tempfile::TempDir>,
}

/// How a client connects.
#[derive(Debug, Clone, Default)]
pub struct OpcuaLogin<'a> {
    /// `Basic256Sha256`, …; none unless set.
    pub policy: Option<&'a str>,
    /// `Sign` or `SignAndEncrypt`, which it is unless set.
    pub mode: Option<&'a str>,
    /// User name and password; anonymous unless set.
    pub user: Option<(&'a str, &'a str)>,
    /// Where the client keeps its certificate; a new one unless set.
    pub folder: Option<&'a std::path::Path>,
}

impl OpcuaClient {
    /// Connects; `Err` in the result is why the server refused.
    ///
    /// # Errors
    ///
    /// When the client cannot be started.
    pub fn connect(
        peers: &Peers,
        stack: Stack,
        url: &str,
        login: &OpcuaLogin<'_>,
    ) -> anyhow::Result<Result<OpcuaClient, String>> {
        let own = if login.folder.is_none() { Some(tempfile::tempdir()?) } else { None };
        let folder = login.folder.or(own.as_ref().map(tempfile::TempDir::path)).context("a client without a folder")?;
        let mut command = stack.command(peers, "opcua_client");
        command.args(["--url", url, "--folder"]).arg(folder);
        for (word, value) in [("--policy", login.policy), ("--mode", login.mode)] {
            command.args(value.into_iter().flat_map(|value| [word, value]));
        }
        if let Some((user, password)) = login.user {
            command.args(["--user", user, "--password", password]);
        }
        let mut child = Child::start(&format!("the {} client", stack.as_str()), &mut command)?;
        loop {
            let line = child.next_line(PATIENCE)?;
            if line == "ready" {
                return Ok(Ok(OpcuaClient { child, _folder: own }));
            }
            if let Some(why) = line.strip_prefix("refused ") {
                return Ok(Err(why.to_owned()));
            }
        }
    }

    /// Connects, and fails when the server refuses.
    ///
    /// # Errors
    ///
    /// When the server refuses, or the client cannot be started.
    pub fn connected(peers: &Peers, stack: Stack, url: &str, login: &OpcuaLogin<'_>) -> anyhow::Result<OpcuaClient> {
        match OpcuaClient::connect(peers, stack, url, login)? {
            Ok(client) => Ok(client),
            Err(why) => bail!("{} was refused: {why}", stack.as_str()),
        }
    }

    /// Every variable and method, by its path (`pump/level`): its node id.
    ///
    /// # Errors
    ///
    /// When the server does not answer.
    pub fn browse(&mut self) -> anyhow::Result<BTreeMap<String, String>> {
        Ok(serde_json::from_value(self.ask("browse")?)?)
    }

    /// A value with what belongs to it: `value`, `status`, `times`, `range`, `unit`.
    ///
    /// # Errors
    ///
    /// When there is no such path, or the server does not answer.
    pub fn read(&mut self, path: &str) -> anyhow::Result<Value> {
        self.ask(&format!("read {path}"))
    }

    /// Writes; returns the name of the status code.
    ///
    /// # Errors
    ///
    /// As [`OpcuaClient::read`].
    pub fn write(&mut self, path: &str, value: &str) -> anyhow::Result<String> {
        let status = self.ask(&format!("write {path} {value}"))?;
        Ok(status.as_str().context("a status code has a name")?.to_owned())
    }

    /// Subscribes; returns how many items the server took.
    ///
    /// # Errors
    ///
    /// As [`OpcuaClient::read`].
    pub fn subscribe(&mut self, paths: &[&str]) -> anyhow::Result<u64> {
        self.ask(format!("subscribe {}", paths.join(" ")).trim())?.as_u64().context("a number of items")
    }

    /// Waits until `found` has an answer to what was notified so far: by path the count, the last value and its status.
    ///
    /// # Errors
    ///
    /// When there is none within that time.
    pub fn wait_for_notified<T>(
        &mut self,
        within: Duration,
        what: &str,
        mut found: impl FnMut(&Value) -> Option<T>,
    ) -> anyhow::Result<T> {
        wait_until(within, what, || match self.ask("count") {
            Ok(seen) => found(&seen).map(Ok),
            Err(error) => Some(Err(error)),
        })?
    }

    /// The values of the last hour.
    ///
    /// # Errors
    ///
    /// As [`OpcuaClient::read`].
    pub fn history(&mut self, path: &str) -> anyhow::Result<Vec<Value>> {
        Ok(serde_json::from_value(self.ask(&format!("history {path}"))?)?)
    }

    /// Counts changes by more than a number, as `<path>#deadband`.
    ///
    /// # Errors
    ///
    /// As [`OpcuaClient::read`].
    pub fn deadband(&mut self, path: &str, number: f64) -> anyhow::Result<()> {
        self.ask(&format!("deadband {path} {number}")).map(drop)
    }

    /// What aggregates make of the values of the last hour, one value each.
    ///
    /// # Errors
    ///
    /// As [`OpcuaClient::read`].
    pub fn processed(&mut self, path: &str, aggregates: &[&str]) -> anyhow::Result<Vec<Value>> {
        Ok(serde_json::from_value(self.ask(&format!("processed {path} {}", aggregates.join(" ")))?)?)
    }

    /// Keeps alarms from now on.
    ///
    /// # Errors
    ///
    /// When the server does not take it.
    pub fn listen(&mut self) -> anyhow::Result<()> {
        self.ask("listen").map(drop)
    }

    /// Waits for an alarm among those so far: `name`, `active`, `severity`, `message`, `source`.
    ///
    /// # Errors
    ///
    /// When there is none within that time.
    pub fn wait_for_alarm(&mut self, within: Duration, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        wait_until(within, "an alarm", || match self.ask("alarms") {
            Ok(alarms) => alarms.as_array()?.iter().find(|alarm| wanted(alarm)).cloned().map(Ok),
            Err(error) => Some(Err(error)),
        })?
    }

    /// The alarms so far: `name`, `active`, `severity`, `message`, `source`.
    ///
    /// # Errors
    ///
    /// When the client has ended.
    pub fn alarms(&mut self) -> anyhow::Result<Vec<Value>> {
        Ok(serde_json::from_value(self.ask("alarms")?)?)
    }

    /// Asks to be told all alarms that stand, and waits until that has begun and ended; how often it has by then.
    ///
    /// # Errors
    ///
    /// When the server refuses, or there is no end.
    pub fn refresh(&mut self, within: Duration) -> anyhow::Result<usize> {
        let before = self.frames()?.len();
        self.ask("refresh")?;
        wait_until(within, "the end of the refresh", || match self.frames() {
            Ok(frames) if frames.len() >= before + 2 => {
                let is_in_order =
                    frames.iter().zip(["start", "end"].into_iter().cycle()).all(|(frame, due)| frame == due);
                Some(if is_in_order { Ok(frames.len() / 2) } else { Err(anyhow::anyhow!("{frames:?}")) })
            }
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })?
    }

    fn frames(&mut self) -> anyhow::Result<Vec<String>> {
        Ok(serde_json::from_value(self.ask("frames")?)?)
    }

    fn ask(&mut self, command: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&ask(&mut self.child, command)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OpcuaServer, OpcuaServerOptions};

    #[test]
    fn each_client_reads_what_the_other_stack_serves() -> anyhow::Result<()> {
        let Some(peers) = Peers::find()? else { return Ok(()) };
        for (server, client) in [(Stack::Asyncua, Stack::NodeOpcua), (Stack::NodeOpcua, Stack::Asyncua)] {
            let server = OpcuaServer::start(&peers, server, &OpcuaServerOptions::default())?;
            let login = OpcuaLogin { policy: Some("Basic256Sha256"), ..OpcuaLogin::default() };
            let mut client = OpcuaClient::connected(&peers, client, &server.url(), &login)?;
            let setpoint = client.read("Plant/Setpoint")?;
            assert_eq!((setpoint["value"].as_f64(), setpoint["status"].as_str()), (Some(20.0), Some("Good")));
            assert_eq!((setpoint["unit"].as_str(), setpoint["range"][1].as_f64()), (Some("°C"), Some(150.0)));
        }
        Ok(())
    }
}
