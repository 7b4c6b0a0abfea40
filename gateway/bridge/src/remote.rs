//! The other broker: how connections to it are made, and whether it sends back what it is sent.
//!
//! MQTT 5 has a wish for that ("no local"). MQTT 3.1.1 has none, but brokers have agreed on a mark of bridges beside the standard: the highest
//! bit of the level in the login. Not all that take it keep messages from coming back (EMQX does not), so a broker that has let the bridge
//! in as one is asked for its name under `$SYS/broker/version`, which clients may read as a rule. Where it is none of those that are known, or
//! does not say, the bridge logs in like any other client from then on and tells echoes by what they say (`loops.rs`). A connection that just
//! ends says nothing of that: only when logging in like any other client has helped several times in a row, it is left at that.

use std::time::Duration;

use tidegate_mqtt::{
    ConnectOptions, Connection, Connector, Event, Failure, FailureKind, Filter, Message, QoS, TlsError,
};
use tokio::time::timeout;

/// Where brokers keep their name and version.
const VERSION: &str = "$SYS/broker/version";
/// What it begins with for brokers that send a bridge nothing back and keep the mark of retained messages.
const KNOWN: [&[u8]; 2] = [b"mosquitto version ", b"tidegate "];
/// How long the question for the name may take, and how many messages may come meanwhile, and bytes of them.
const WITHIN: Duration = Duration::from_secs(20);
const MOST_EARLY: usize = 4_096;
const MOST_EARLY_BYTES: usize = 8 << 20;
/// Times in a row that logging in as a bridge comes to nothing, and logging in like any other client helps, before only that is tried.
/// A broker may close connections over it, but a network does too.
const MOST_DOUBTS: u8 = 3;
const FAREWELL: Duration = Duration::from_secs(2);

/// A connection to the other broker.
pub(crate) struct Remote {
    pub(crate) connection: Connection,
    /// Whether it may send back what it was sent.
    pub(crate) sends_back: bool,
    /// Messages that have come already, from the session that it has kept.
    pub(crate) early: Vec<Message>,
}

/// Makes connections to the other broker.
#[derive(Debug)]
pub(crate) struct Door {
    usual: Connector,
    /// For logging in as a bridge; `None` when there is no use in it, or the broker does not know such.
    bridge: Option<Connector>,
    /// Whether a broker with this version of the protocol sends back what it is sent.
    sends_back: bool,
    /// Times in a row that logging in as a bridge came to nothing without an answer, and logging in like any other client helped.
    doubts: u8,
}

/// What became of logging in as a bridge.
enum Entered {
    /// To a broker that is known.
    Known(Box<Remote>),
    /// The broker has said that it knows no bridges, or not what it is.
    Unknown,
    /// Nothing was said: this may be the broker's way, or that of the network.
    Doubtful,
}

impl Door {
    /// `as_bridge`: whether logging in as one is of use with these options.
    ///
    /// # Errors
    ///
    /// When the certificates cannot be used.
    pub(crate) fn new(options: ConnectOptions, as_bridge: bool, sends_back: bool) -> Result<Door, TlsError> {
        let bridge = ConnectOptions { as_bridge: true, ..options.clone() };
        let bridge = as_bridge.then(|| Connector::new(bridge)).transpose()?;
        Ok(Door { usual: Connector::new(options)?, bridge, sends_back, doubts: 0 })
    }

    /// The other side: `host:port`.
    pub(crate) fn address(&self) -> &str {
        self.usual.address()
    }

    /// Connects and logs in.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    pub(crate) async fn connect(&mut self) -> Result<Remote, Failure> {
        let entered = match &self.bridge {
            Some(bridge) => Some(as_bridge(bridge).await?),
            None => None,
        };
        if let Some(Entered::Known(remote)) = entered {
            self.doubts = 0;
            return Ok(*remote);
        }
        let connection = self.usual.connect().await?;
        self.doubts = self.doubts.saturating_add(1);
        let is_sure = matches!(entered, Some(Entered::Unknown)) || self.doubts >= MOST_DOUBTS;
        if is_sure && self.bridge.take().is_some() {
            tracing::debug!(
                broker = self.address(),
                "the broker is not known to treat bridges apart; from now on the bridge logs in like any other client"
            );
        }
        Ok(Remote { connection, sends_back: self.sends_back, early: Vec::new() })
    }
}

/// Logs in as a bridge. What a broker may answer, or do, that knows nothing of bridges is no error; everything else it would do with any
/// client.
async fn as_bridge(connector: &Connector) -> Result<Entered, Failure> {
    use FailureKind::{Closed, Protocol, Silent, Version};
    match connector.connect().await {
        Ok(connection) => Ok(ask(connection).await),
        Err(failure) if failure.kind == Version => Ok(Entered::Unknown),
        Err(failure) if matches!(failure.kind, Closed | Protocol | Silent) => Ok(Entered::Doubtful),
        Err(failure) => Err(failure),
    }
}

/// Asks a broker that has let the bridge in as one what it is. The connection is closed unless it is known.
async fn ask(mut connection: Connection) -> Entered {
    let mut early = Vec::new();
    let is_known = match timeout(WITHIN, name(&mut connection, &mut early)).await {
        Ok(Ok(is_known)) => is_known,
        Ok(Err(_)) => return Entered::Doubtful,
        Err(_) => None,
    };
    // A session that is kept would keep this too. It does not matter when there is no room for it.
    let _ = connection.unsubscribe(&[VERSION.to_owned()]);
    if is_known == Some(true) {
        return Entered::Known(Box::new(Remote { connection, sends_back: false, early }));
    }
    // What has come is not acknowledged, and comes again.
    connection.disconnect(FAREWELL).await;
    if is_known.is_some() { Entered::Unknown } else { Entered::Doubtful }
}

/// Whether the broker has one of the names that are known; `None` when so much comes that it is not heard. What comes beside is added to
/// `early`.
async fn name(connection: &mut Connection, early: &mut Vec<Message>) -> Result<Option<bool>, Failure> {
    let Ok(asked) = connection.subscribe(&[Filter::new(VERSION, QoS::AtMostOnce)]) else { return Ok(Some(false)) };
    let mut bytes = 0_usize;
    while early.len() < MOST_EARLY && bytes < MOST_EARLY_BYTES {
        match connection.next().await? {
            Event::Message(message) if message.topic == VERSION.as_bytes() => {
                return Ok(Some(KNOWN.iter().any(|known| message.payload.starts_with(known))));
            }
            Event::Message(message) => {
                bytes += message.topic.len() + message.payload.len();
                early.push(message);
            }
            Event::Subscribed(id, results) if id == asked => {
                if results.iter().any(Result::is_err) {
                    return Ok(Some(false));
                }
                // What it has retained comes before the answer.
                connection.ping();
            }
            Event::Pong(_) => return Ok(Some(false)),
            Event::Subscribed(..) | Event::Published(..) | Event::Unsubscribed(_) => {}
        }
    }
    Ok(None)
}
