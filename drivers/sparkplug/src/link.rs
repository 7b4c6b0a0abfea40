//! One edge node on one broker, compiled.

use std::time::{Duration, SystemTime};

use tidegate_driver_api::{
    ConnectFault, Cx, Link, Session, async_trait,
    config::{self},
    model::Timestamp,
};
use tidegate_mqtt::{
    ConnectOptions, Connection, Connector, Event, Filter, Login, Message as Sent, QoS, Tls, Will, Words,
};
use tidegate_sparkplug::{Host, HostOptions, NodeId, rebirth_request};

use crate::{
    config::{LinkKeys, Whose},
    fault::Fault,
    plan::Plan,
    session::NodeSession,
};

/// How the keys of a link are called.
const WORDS: Words =
    Words { us: "the gateway", address: "`address`", ca: "`ca`", client_certificate: "`ca`", client_id: "`client_id`" };
/// Births are waited for that long when a session begins, at most half the time of the call.
const BIRTHS: Duration = Duration::from_secs(1);

/// One device of the link.
pub(crate) struct NodeDevice {
    pub(crate) whose: Whose,
    pub(crate) plan: Plan,
}

/// One edge node on one broker.
pub(crate) struct NodeLink {
    pub(crate) node: NodeId,
    pub(crate) address: String,
    pub(crate) devices: Vec<NodeDevice>,
    /// How long a device has to be heard of at first.
    pub(crate) patience: Duration,
    /// When a connection under the same `host_id` began that is said to be over: what is said of earlier ones is not minded.
    pub(crate) begin_after: Timestamp,
    keys: LinkKeys,
    client_id: String,
}

impl NodeLink {
    pub(crate) fn new(keys: LinkKeys, link: &config::Link, devices: Vec<NodeDevice>) -> NodeLink {
        let client_id = keys.client_id.clone().unwrap_or_else(|| format!("{}-{}", link.gateway, link.name));
        NodeLink {
            node: NodeId::new(keys.group.as_str(), keys.node.as_str()),
            address: format!("{}:{}", keys.host, keys.port),
            patience: link.timeout.max(Duration::from_secs(5)),
            begin_after: Timestamp::from_millis(0),
            keys,
            client_id,
            devices,
        }
    }

    async fn open(&self, cx: &Cx, host: &Host, connected: Timestamp) -> Result<Connection, Fault> {
        let keys = &self.keys;
        let will = host.state(false, connected).map(|death| Will {
            topic: death.topic,
            payload: death.payload.into(),
            qos: QoS::AtLeastOnce,
            retain: true,
            delay: Duration::ZERO,
        });
        let options = ConnectOptions {
            tls: keys.tls.as_ref().map(|ca| Tls { ca: ca.clone(), client: None }),
            login: keys
                .login
                .as_ref()
                .map(|(user, password)| Login { user: user.clone(), password: password.reveal().to_owned() }),
            will,
            ..ConnectOptions::new(&keys.host, keys.port, &self.client_id, WORDS)
        };
        let connector = Connector::new(options).map_err(|error| Fault::Certificate(error.to_string()))?;
        let work = async {
            let mut connection = connector.connect().await?;
            let topics = host.filters(Some(self.node.group()), Some(self.node.node()));
            let filters: Vec<Filter> =
                topics.iter().map(|topic| Filter::new(topic.as_str(), QoS::AtLeastOnce)).collect();
            // A handful of filters on a connection that is empty: there is room.
            let asked = connection.subscribe(&filters).map_err(|_| Fault::TooMuch)?;
            loop {
                match connection.next().await? {
                    Event::Subscribed(id, answers) if id == asked => {
                        for (topic, answer) in topics.iter().zip(answers) {
                            let subscription =
                                |why: &dyn ToString| Fault::Subscription { topic: topic.clone(), why: why.to_string() };
                            answer.map_err(|why| subscription(&why))?;
                        }
                        return Ok(connection);
                    }
                    // Retained states of hosts; of no interest before the session begins.
                    _ => continue,
                }
            }
        };
        cx.within(work).await?
    }
}

#[async_trait]
impl Link for NodeLink {
    async fn connect<'link>(&'link mut self, cx: &Cx) -> Result<Box<dyn Session + 'link>, ConnectFault> {
        let host = Host::new(HostOptions { id: self.keys.host_id.clone(), ..HostOptions::default() });
        // Later than any other, whichever clock that one had.
        let connected = wall().max(Timestamp::from_millis(self.begin_after.as_millis().saturating_add(1)));
        let opened = self.open(cx, &host, connected).await;
        let mut connection = opened.map_err(|fault| fault.not_connected(&self.address))?;
        if let Some(birth) = host.state(true, connected) {
            // On a connection that is empty there is room.
            let _ = connection.publish(Sent::new(birth.topic, birth.payload).retained());
        }
        let ask = rebirth_request(&self.node, wall());
        let _ = connection.publish(Sent::new(ask.topic, ask.payload).unacknowledged());
        let address = self.address.clone();
        let mut session = NodeSession::new(self, connection, host, connected, cx.now());
        let wait = BIRTHS.min(cx.timeout() / 2);
        session.await_births(cx, wait).await.map_err(|fault| fault.not_connected(&address))?;
        Ok(Box::new(session))
    }
}

/// The time of messages.
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
