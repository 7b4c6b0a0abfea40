//! The gateway's own topics: `…/sys/queue`, `…/sys/links` and `…/sys/metrics`, every 10 s, retained.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{handle::Handle, outputs::Outputs, status::Status};

const EVERY: Duration = Duration::from_secs(10);

/// Publishes until cancelled.
pub(crate) async fn run(handle: Handle, outputs: Outputs, cancel: CancellationToken) {
    loop {
        let status = handle.status();
        for (what, payload) in payloads(&status) {
            outputs.announce(outputs.topics.sys(what), payload.to_string().into(), true);
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = handle.clock().sleep(EVERY) => {}
        }
    }
}

fn payloads(status: &Status) -> [(&'static str, serde_json::Value); 3] {
    let links: Vec<_> = status
        .links
        .iter()
        .map(|link| {
            json!({
                "name": link.name, "state": link.state, "since": link.since, "next_try": link.next_try,
                "last_error": link.last_error, "missed_slots": link.missed_slots, "devices": link.devices,
            })
        })
        .collect();
    let rows: u64 = status.links.iter().map(|link| link.rows).sum();
    let values: u64 = status.links.iter().map(|link| link.values).sum();
    let missed: u64 = status.links.iter().map(|link| link.missed_slots).sum();
    [
        ("queue", json!({ "targets": status.targets, "store": status.store })),
        ("links", json!({ "links": links })),
        (
            "metrics",
            json!({
                "uptime_s": status.uptime_s, "rows": rows, "values": values, "missed_slots": missed,
                "clock_steps": status.clock_steps, "broker": status.broker, "bridges": status.bridges,
                "healthy": status.healthy,
            }),
        ),
    ]
}
