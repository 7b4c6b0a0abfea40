//! A mosquitto broker, as the cloud or as anybody else's.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
};

use anyhow::Context;
use tempfile::TempDir;

use crate::{Child, PATIENCE, Peers, Port};

/// A mosquitto on a port of its own that anybody may use. It keeps what it has to over a restart, as a cloud would.
#[derive(Debug)]
pub struct Mosquitto {
    program: std::path::PathBuf,
    port: Port,
    folder: TempDir,
    child: Option<Child>,
}

impl Mosquitto {
    /// Starts a broker.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(peers: &Peers) -> anyhow::Result<Mosquitto> {
        Mosquitto::start_with(peers, "allow_anonymous true\n")
    }

    /// Starts a broker with these lines in its configuration, after the listener and the persistence: users
    /// (`password_file`), certificates. Without `allow_anonymous true` nobody may connect without a user name.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start_with(peers: &Peers, lines: &str) -> anyhow::Result<Mosquitto> {
        let folder = tempfile::tempdir().context("failed to make a folder for mosquitto")?;
        let port = Port::reserve()?;
        let configuration = format!(
            "# Without this a mosquitto that root starts becomes somebody who may not write here.\n\
             user root\n\
             log_dest stderr\n\
             persistence true\n\
             persistence_location {}/\n\
             max_queued_messages 0\n\
             listener {} 127.0.0.1\n\
             {lines}",
            folder.path().display(),
            port.number(),
        );
        fs::write(folder.path().join("mosquitto.conf"), configuration).context("failed to write mosquitto.conf")?;
        let mut broker = Mosquitto { program: peers.program("mosquitto"), port, folder, child: None };
        broker.resume()?;
        Ok(broker)
    }

    /// Where it listens, also while it is stopped.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// A folder that lives as long as the broker, for what its configuration names.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops it in an orderly way; sessions and retained messages are kept.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.terminate(PATIENCE)?;
        }
        Ok(())
    }

    /// Kills it; what it had not written is gone.
    pub fn kill(&mut self) {
        self.child = None;
    }

    /// Starts it again at the same address, with what it had kept.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        let file = self.folder.path().join("mosquitto.conf");
        let child = Child::start("mosquitto", Command::new(&self.program).arg("-c").arg(file))?;
        let address = self.address();
        child.wait_for(PATIENCE, "the word that it runs", |lines| {
            lines
                .iter()
                .any(|line| line.text.contains("mosquitto version") && line.text.ends_with("running"))
                .then_some(())
        })?;
        answers(address).context("mosquitto says that it runs but answers nobody")?;
        self.child = Some(child);
        Ok(())
    }
}

/// Waits until a broker takes notice of a client. mosquitto says that it runs a moment before it does, and forgets a
/// SIGTERM that comes in between.
fn answers(address: SocketAddr) -> anyhow::Result<()> {
    // CONNECT of MQTT 3.1.1 with a clean session, a keep-alive of 60 s and the client id `ready`.
    const CONNECT: &[u8] = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05ready";
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(CONNECT)?;
    match stream.read(&mut [0; 4]) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(error.into()),
        // Let in, refused, or cut off because it wants TLS: somebody is there.
        _ => Ok(()),
    }
}

/// Publishes one message with mosquitto_pub and waits until the broker has it.
///
/// # Errors
///
/// When the broker does not take it.
pub fn publish(peers: &Peers, broker: SocketAddr, topic: &str, payload: &str) -> anyhow::Result<()> {
    publication(peers, broker, topic, payload, &[])?.finish().map(drop)
}

/// The same with more arguments of mosquitto_pub (`--cafile`).
///
/// # Errors
///
/// When the broker does not take it.
pub fn publish_with(
    peers: &Peers,
    broker: SocketAddr,
    topic: &str,
    payload: &str,
    arguments: &[&str],
) -> anyhow::Result<()> {
    publication(peers, broker, topic, payload, arguments)?.finish().map(drop)
}

/// Publishes one message as a user, with MQTT 5, where a broker can say that it does not take it; returns what
/// mosquitto_pub said.
///
/// # Errors
///
/// When the broker does not let the user in.
pub fn publish_as(
    peers: &Peers,
    broker: SocketAddr,
    (user, password): (&str, &str),
    topic: &str,
    payload: &str,
) -> anyhow::Result<String> {
    let arguments = ["-V", "mqttv5", "-u", user, "-P", password];
    let lines = publication(peers, broker, topic, payload, &arguments)?.finish()?;
    Ok(lines.into_iter().map(|line| line.text + "\n").collect())
}

fn publication(
    peers: &Peers,
    broker: SocketAddr,
    topic: &str,
    payload: &str,
    arguments: &[&str],
) -> anyhow::Result<Child> {
    let (host, port) = (broker.ip().to_string(), broker.port().to_string());
    let mut command = Command::new(peers.program("mosquitto_pub"));
    command.args(["-h", &host, "-p", &port, "-q", "1", "-t", topic, "-m", payload]).args(arguments);
    Child::start("mosquitto_pub", &mut command)
}
