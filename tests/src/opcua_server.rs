//! OPC UA servers that others wrote, with a plant of our own in them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::bail;

use crate::{Child, PATIENCE, Peers, Port};

/// Which of the two foreign stacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    /// asyncua, from PyPI.
    Asyncua,
    /// node-opcua, from npm.
    NodeOpcua,
}

impl Stack {
    /// Both of them.
    pub const ALL: [Stack; 2] = [Stack::Asyncua, Stack::NodeOpcua];

    /// The command that runs one of our scripts (`opcua_server`) on this stack.
    pub(crate) fn command(self, peers: &Peers, script: &str) -> Command {
        match self {
            Stack::Asyncua => {
                let mut command = Command::new(peers.python());
                command.arg(peers.script(&format!("{script}.py")));
                command
            }
            Stack::NodeOpcua => {
                let mut command = Command::new(peers.program("node"));
                command.env("NODE_PATH", peers.node_modules()).arg(peers.script(&format!("{script}.js")));
                command
            }
        }
    }

    /// Its name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Stack::Asyncua => "asyncua",
            Stack::NodeOpcua => "node-opcua",
        }
    }
}

/// What the server is to be, beside its plant.
#[derive(Debug, Clone, Default)]
pub struct OpcuaServerOptions {
    /// Items `T0`, `T1`, … that change every two seconds, a tenth of them every 200 ms.
    pub items: usize,
    /// Other namespaces before that of the plant.
    pub padding: usize,
    /// More words for the script (`--no-anonymous`, `--no-security`, `--every 0`).
    pub words: Vec<String>,
}

/// A server on a port and with a certificate that stay the same when it is started again.
#[derive(Debug)]
pub struct OpcuaServer {
    stack: Stack,
    peers: Peers,
    port: Port,
    folder: tempfile::TempDir,
    /// `None` while it is not running.
    child: Option<Child>,
}

impl OpcuaServer {
    /// The namespace of the plant.
    pub const NAMESPACE: &str = "urn:tidegate:tests:plant";

    /// Starts a server.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(peers: &Peers, stack: Stack, options: &OpcuaServerOptions) -> anyhow::Result<OpcuaServer> {
        let (port, folder) = (Port::reserve()?, tempfile::tempdir()?);
        let mut server = OpcuaServer { stack, peers: peers.clone(), port, folder, child: None };
        server.start_again(options)?;
        Ok(server)
    }

    /// Starts it again where it was, after [`OpcuaServer::kill`]. It listens when this returns.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start_again(&mut self, options: &OpcuaServerOptions) -> anyhow::Result<()> {
        let mut command = self.stack.command(&self.peers, "opcua_server");
        command.args(["--port", &self.port.number().to_string(), "--folder"]).arg(self.folder.path());
        command.args(["--items", &options.items.to_string(), "--padding", &options.padding.to_string()]);
        let child = Child::start(&format!("the {} server", self.stack.as_str()), command.args(&options.words))?;
        // node-opcua says more than that when it starts.
        child.wait_for(PATIENCE, "the word \"ready\"", |lines| {
            lines.iter().find(|line| line.text == "ready").map(drop)
        })?;
        self.child = Some(child);
        Ok(())
    }

    /// Where it listens: `opc.tcp://…`.
    pub fn url(&self) -> String {
        format!("opc.tcp://{}/plant", self.port.address())
    }

    /// Its port, for a proxy before it.
    pub fn address(&self) -> std::net::SocketAddr {
        self.port.address()
    }

    /// The folder with its certificate.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its certificate in PEM or DER, where its stack keeps it.
    pub fn certificate(&self) -> PathBuf {
        match self.stack {
            Stack::Asyncua => self.folder().join("asyncua.der"),
            Stack::NodeOpcua => self.folder().join("server/own/certs/certificate.pem"),
        }
    }

    /// Ends it at once (SIGKILL); its connections break.
    pub fn kill(&mut self) {
        self.child = None;
    }

    /// Stops it where it stands (SIGSTOP), or lets it go on (SIGCONT): its connections stay and nothing comes on them.
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub fn freeze(&self, frozen: bool) -> anyhow::Result<()> {
        match &self.child {
            Some(child) => child.signal(if frozen { "STOP" } else { "CONT" }),
            None => bail!("the {} server is not running", self.stack.as_str()),
        }
    }

    /// Changes a value as the machine would; `value` is JSON.
    ///
    /// # Errors
    ///
    /// When there is no such node, or the server has ended.
    pub fn set(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        self.ask(&format!("set {name} {value}")).map(drop)
    }

    /// A value, as JSON.
    ///
    /// # Errors
    ///
    /// As [`OpcuaServer::set`].
    pub fn get(&mut self, name: &str) -> anyhow::Result<String> {
        self.ask(&format!("get {name}"))
    }

    /// One command of the script, and what it answers.
    ///
    /// # Errors
    ///
    /// When the script does not understand it, or has ended.
    pub fn ask(&mut self, command: &str) -> anyhow::Result<String> {
        match &mut self.child {
            Some(child) => ask(child, command),
            None => bail!("the {} server is not running", self.stack.as_str()),
        }
    }
}

/// One command, and the rest of the line that answers it; lines of other kinds are passed over.
pub(crate) fn ask(child: &mut Child, command: &str) -> anyhow::Result<String> {
    child.say(command)?;
    loop {
        let line = child.next_line(PATIENCE)?;
        match line.split_once(' ') {
            Some(("ok", answer)) => return Ok(answer.to_owned()),
            None if line == "ok" => return Ok(String::new()),
            Some(("error", why)) => bail!("{command:?} failed: {why}"),
            // What the stack says about itself.
            _ => continue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_servers_have_the_same_plant() -> anyhow::Result<()> {
        let Some(peers) = Peers::find()? else { return Ok(()) };
        for stack in Stack::ALL {
            let options = OpcuaServerOptions { items: 3, ..OpcuaServerOptions::default() };
            let mut server = OpcuaServer::start(&peers, stack, &options)?;
            server.set("Count", "42")?;
            assert_eq!(server.get("Count")?, "42");
            assert_eq!(server.get("Mode")?, "1");
            assert_eq!(server.ask("calls")?, "0");
            assert!(server.get("T3").is_err(), "there are only three");
            server.kill();
            server.start_again(&options)?;
            assert_eq!(server.get("Count")?, "0");
        }
        Ok(())
    }
}
