//! `format = "sparkplug_b"` of a target.

use crate::MqttTarget;

/// `kind = "mqtt"` with `format = "sparkplug_b"`: the gateway as an edge node.
#[derive(Debug, Clone, PartialEq)]
pub struct SparkplugTarget {
    /// The connection to the broker; its `format`, `batch` and `in_flight` mean nothing here.
    pub connection: MqttTarget,
    /// What the edge node is called.
    pub ids: SparkplugIds,
}

/// What an edge node is called, and whom it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparkplugIds {
    /// `group_id`.
    pub group: String,
    /// `edge_node_id`; the gateway's id unless set.
    pub edge_node: Option<String>,
    /// `primary_host`: the host application without which nothing is published.
    pub primary_host: Option<String>,
}
