//! What a site says about bridges to other brokers.

use std::time::Duration;

use tidegate_model::Name;

use crate::{ByteSize, Secret, Tls};

/// `[[bridge]]`: topics of the local broker that are also those of another one.
#[derive(Debug, Clone, PartialEq)]
pub struct Bridge {
    /// The bridge.
    pub name: Name,
    /// Host of `url`.
    pub host: String,
    /// Port of `url`; 1883 or 8883 when it has none.
    pub port: u16,
    /// Present when `url` begins with `mqtts://`.
    pub tls: Option<Tls>,
    /// Which version of MQTT is spoken.
    pub protocol: BridgeProtocol,
    /// Client id; the gateway's id and the bridge's name unless set.
    pub client_id: Option<String>,
    /// User name and password.
    pub login: Option<(String, Secret)>,
    /// What goes over it.
    pub routes: Vec<BridgeRoute>,
    /// Keep-alive of the connection.
    pub keep_alive: Duration,
    /// Messages sent and not yet acknowledged, at most.
    pub in_flight: u16,
    /// Longest time between two tries to connect.
    pub retry_longest: Duration,
    /// Bytes of messages that wait, at most, for durable routes and as many again for the others; what is more is dropped and counted.
    pub max_queue: ByteSize,
}

impl Bridge {
    /// Whether any of its routes is durable.
    pub fn is_durable(&self) -> bool {
        self.routes.iter().any(|route| route.durable)
    }
}

/// `protocol`: which version of MQTT a bridge speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BridgeProtocol {
    /// MQTT 5, with the means of that version against loops.
    V5,
    /// MQTT 3.1.1.
    V4,
}

/// `[[bridge.route]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeRoute {
    /// Which way messages go.
    pub direction: BridgeDirection,
    /// What comes behind the prefixes; may have wildcards.
    pub filter: String,
    /// What topics begin with on the local broker; may be empty.
    pub local_prefix: String,
    /// What the same topics begin with on the other one; may be empty.
    pub remote_prefix: String,
    /// The QoS of the subscriptions and, at most, of the messages: 0 or 1.
    pub qos: u8,
    /// Whether retained messages stay retained on the other side.
    pub retain: bool,
    /// Whether messages to the other broker wait, on disk, while it is away. They go out with QoS 1 then.
    pub durable: bool,
}

/// `direction`: which way the messages of a route go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BridgeDirection {
    /// From the other broker to the local one.
    In,
    /// From the local broker to the other one.
    Out,
    /// Both ways.
    Both,
}

impl BridgeRoute {
    /// Whether messages go to the other broker.
    pub fn goes_out(&self) -> bool {
        self.direction != BridgeDirection::In
    }

    /// Whether messages come from the other broker.
    pub fn comes_in(&self) -> bool {
        self.direction != BridgeDirection::Out
    }

    /// The filter on the local broker.
    pub fn local_filter(&self) -> String {
        format!("{}{}", self.local_prefix, self.filter)
    }

    /// The filter on the other broker.
    pub fn remote_filter(&self) -> String {
        format!("{}{}", self.remote_prefix, self.filter)
    }
}
