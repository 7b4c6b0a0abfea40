//! What targets count to which others come: the OPC UA servers.

use std::fmt;

use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType};
use tidegate_runtime::{ServerStatus, TargetStatus};

use super::NoLabels;

/// Name, help and value of each number of a server.
type Numbers = [(&'static str, &'static str, fn(&ServerStatus) -> u64)];

const COUNTERS: &Numbers = &[
    ("opcua_server_refused", "Connections and logins beyond a limit", |it| it.refused),
    ("opcua_server_sent_values", "Values sent because they changed", |it| it.values_sent),
    ("opcua_server_overflows", "Values that were not fetched in time", |it| it.overflows),
];

const GAUGES: &Numbers = &[
    ("opcua_server_connections", "Connections", |it| it.connections.into()),
    ("opcua_server_connections_high", "The most connections at a time", |it| it.connections_high.into()),
    ("opcua_server_sessions", "Clients logged in", |it| it.sessions.into()),
    ("opcua_server_sessions_high", "The most clients at a time", |it| it.sessions_high.into()),
    ("opcua_server_subscriptions", "Subscriptions", |it| it.subscriptions.into()),
    ("opcua_server_subscriptions_high", "The most subscriptions at a time", |it| it.subscriptions_high.into()),
    ("opcua_server_monitored_items", "Monitored items", |it| it.monitored_items.into()),
    ("opcua_server_monitored_items_high", "The most items at a time", |it| it.monitored_items_high.into()),
];

/// Writes them, each with its target.
pub(super) fn encode(targets: &[TargetStatus], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let servers = || targets.iter().filter_map(|target| Some((target.name.as_str(), target.server.as_ref()?)));
    for (name, help, read) in COUNTERS {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (target, server) in servers() {
            family.encode_family(&[("target", target)])?.encode_counter::<NoLabels, _, u64>(&read(server), None)?;
        }
    }
    for (name, help, read) in GAUGES {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (target, server) in servers() {
            family.encode_family(&[("target", target)])?.encode_gauge(&read(server))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus_client::{collector::Collector, encoding::text, registry::Registry};

    use super::*;

    #[derive(Debug)]
    struct Targets(Vec<TargetStatus>);

    impl Collector for Targets {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            encode(&self.0, &mut encoder)
        }
    }

    #[test]
    fn a_server_tells_its_numbers_and_other_targets_have_none() {
        let server = ServerStatus { sessions: 2, refused: 7, monitored_items_high: 900, ..ServerStatus::default() };
        let scada = TargetStatus { name: "scada".to_owned(), server: Some(server), ..TargetStatus::default() };
        let cloud = TargetStatus { name: "cloud".to_owned(), ..TargetStatus::default() };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Targets(vec![scada, cloud])));
        let mut text = String::new();
        text::encode(&mut text, &registry).unwrap();
        for line in [
            "opcua_server_sessions{target=\"scada\"} 2",
            "opcua_server_refused_total{target=\"scada\"} 7",
            "opcua_server_monitored_items_high{target=\"scada\"} 900",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("cloud"), "{text}");
    }
}
