//! mosquitto_sub, and what it got.

use std::{net::SocketAddr, process::Command, time::Duration};

use anyhow::anyhow;

use crate::{Child, Line, PATIENCE, Peers};

/// Before each message, to tell it from what mosquitto_sub says about itself.
const MARK: &str = "message\t";

/// A message that was received.
#[derive(Debug, Clone)]
pub struct Message {
    /// The topic.
    pub topic: String,
    /// Whether the broker had kept it from before the subscription.
    pub retained: bool,
    /// Quality of service, 0 to 2.
    pub qos: u8,
    /// The payload, which has to be text of one line, as all of ours are.
    pub payload: String,
}

impl Message {
    /// The payload as JSON.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_str(&self.payload)
            .map_err(|error| anyhow!("the payload of {} is no JSON ({error}): {}", self.topic, self.payload))
    }
}

/// How to subscribe.
#[derive(Debug, Clone, Default)]
pub struct SubscriberOptions {
    /// A session that the broker keeps under this client id while the subscriber is away; without it a clean one.
    pub session: Option<String>,
    /// User name and password.
    pub login: Option<(String, String)>,
    /// More arguments of mosquitto_sub (`--cafile`).
    pub arguments: Vec<String>,
}

/// A mosquitto_sub at QoS 1. It connects again by itself when the broker comes back.
#[derive(Debug)]
pub struct Subscriber {
    child: Child,
}

impl Subscriber {
    /// Subscribes and waits until the broker has granted it.
    ///
    /// # Errors
    ///
    /// When the broker cannot be reached or does not grant it.
    pub fn start(peers: &Peers, broker: SocketAddr, filter: &str) -> anyhow::Result<Subscriber> {
        Subscriber::start_with(peers, broker, filter, &SubscriberOptions::default())
    }

    /// Subscribes with options.
    ///
    /// # Errors
    ///
    /// When the broker cannot be reached or does not grant it.
    pub fn start_with(
        peers: &Peers,
        broker: SocketAddr,
        filter: &str,
        options: &SubscriberOptions,
    ) -> anyhow::Result<Subscriber> {
        let (host, port) = (broker.ip().to_string(), broker.port().to_string());
        // Into a pipe mosquitto_sub would keep what it says about itself until its buffer is full.
        let mut command = Command::new("stdbuf");
        command.arg("--output=L").arg(peers.program("mosquitto_sub"));
        command.args(["-d", "-h", &host, "-p", &port, "-q", "1", "-t", filter, "-F", "message\t%r\t%q\t%t\t%p"]);
        if let Some(session) = &options.session {
            command.args(["-c", "-i", session]);
        }
        if let Some((user, password)) = &options.login {
            command.args(["-u", user, "-P", password]);
        }
        command.args(&options.arguments);
        let child = Child::start("mosquitto_sub", &mut command)?;
        let granted = child.wait_for(PATIENCE, "the answer to its subscription", |lines| {
            let answer = lines.iter().find(|line| line.text.starts_with("Subscribed ("))?;
            // `Subscribed (mid: 1): 1`: the quality of service, or from 128 on a refusal (MQTT 3.1.1 §3.9.3).
            Some(answer.text.rsplit(' ').next()?.parse::<u8>().is_ok_and(|code| code < 128))
        })?;
        if !granted {
            return Err(child.complaint("was not granted its subscription"));
        }
        Ok(Subscriber { child })
    }

    /// Everything received so far, in order.
    pub fn messages(&self) -> Vec<Message> {
        messages(&self.child.lines())
    }

    /// Calls `found` with everything received so far, again after each new message, until it has an answer.
    ///
    /// # Errors
    ///
    /// When there is none within that time.
    pub fn wait_for<T>(
        &self,
        within: Duration,
        what: &str,
        mut found: impl FnMut(&[Message]) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut read = 0;
        let mut received = Vec::new();
        self.child.wait_for(within, what, |lines| {
            received.extend(messages(lines.get(read..).unwrap_or_default()));
            read = lines.len();
            found(&received)
        })
    }

    /// Ends it without a word to the broker, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill();
    }
}

fn messages(lines: &[Line]) -> Vec<Message> {
    lines.iter().filter_map(message).collect()
}

fn message(line: &Line) -> Option<Message> {
    let mut parts = line.text.strip_prefix(MARK)?.splitn(4, '\t');
    let retained = parts.next()? == "1";
    let qos = parts.next()?.parse().ok()?;
    let topic = parts.next()?.to_owned();
    let payload = parts.next()?.to_owned();
    Some(Message { topic, retained, qos, payload })
}

#[cfg(test)]
mod tests {
    use crate::{Mosquitto, publish};

    use super::*;

    #[test]
    fn messages_come_with_all_that_belongs_to_them() -> anyhow::Result<()> {
        let Some(peers) = Peers::find()? else { return Ok(()) };
        let broker = Mosquitto::start(&peers)?;
        let subscriber = Subscriber::start(&peers, broker.address(), "tide/#")?;
        publish(&peers, broker.address(), "tide/high", "{\"v\":1}\tand more")?;
        let message = subscriber.wait_for(PATIENCE, "a message", |messages| messages.first().cloned())?;
        assert_eq!((message.topic.as_str(), message.qos, message.retained), ("tide/high", 1, false));
        assert_eq!(message.payload, "{\"v\":1}\tand more");
        Ok(())
    }

    #[test]
    fn a_kept_session_gets_over_a_restart_of_both() -> anyhow::Result<()> {
        let Some(peers) = Peers::find()? else { return Ok(()) };
        let mut broker = Mosquitto::start(&peers)?;
        let options = SubscriberOptions { session: Some("kept".to_owned()), ..SubscriberOptions::default() };
        let mut before = Subscriber::start_with(&peers, broker.address(), "tide/#", &options)?;
        before.kill();
        publish(&peers, broker.address(), "tide/low", "meanwhile")?;
        broker.stop()?;
        broker.resume()?;
        let after = Subscriber::start_with(&peers, broker.address(), "tide/#", &options)?;
        let message = after.wait_for(PATIENCE, "the message in between", |messages| messages.first().cloned())?;
        assert_eq!(message.payload, "meanwhile");
        Ok(())
    }
}
