//! The running bridges, and what is told about them.

use tidegate_bridge::{Bridge, BridgeState};
use tidegate_broker::Broker;
use tidegate_config as config;
use tidegate_model::Name;
use tidegate_runtime::{BridgeProbe, BridgeStatus, Handle};

/// The bridges of a site.
#[derive(Default)]
pub(crate) struct Bridges(Vec<(config::Bridge, Bridge)>);

impl Bridges {
    /// Stops bridges that are gone or changed and starts those that are new or changed. One that cannot be started is said. What
    /// waits for bridges that are gone, or do not want it any more, is dropped.
    pub(crate) async fn reload(&mut self, new: &[config::Bridge], gateway: &Name, broker: &Broker, handle: &Handle) {
        let (kept, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.0).into_iter().partition(|(old, _)| new.contains(old));
        self.0 = kept;
        for (_, bridge) in gone {
            bridge.stop().await;
        }
        let runs = |it: &config::Bridge| self.0.iter().any(|(running, _)| running.name == it.name);
        let go_on: Vec<String> = new.iter().flat_map(|it| Bridge::sessions(it, runs(it))).collect();
        broker.let_out_all_but(&go_on.iter().map(String::as_str).collect::<Vec<_>>());
        for options in new {
            if self.0.iter().any(|(running, _)| running.name == options.name) {
                continue;
            }
            match Bridge::start(options, gateway, broker) {
                Ok(bridge) => self.0.push((options.clone(), bridge)),
                Err(error) => tracing::error!(
                    bridge = %options.name, error = format!("failed to {error}"),
                    "bridge could not be started; reload again when it is mended"
                ),
            }
        }
        self.0.sort_by_key(|(options, _)| new.iter().position(|new| new.name == options.name));
        handle.set_bridges(self.0.iter().map(|(options, bridge)| probe(options, bridge, handle)).collect());
    }

    /// Stops all of them. What waits stays on the local broker.
    pub(crate) async fn stop(self) {
        for (_, bridge) in self.0 {
            bridge.stop().await;
        }
    }
}

fn probe(options: &config::Bridge, bridge: &Bridge, handle: &Handle) -> BridgeProbe {
    let (name, ask, clock) = (options.name.to_string(), bridge.probe(), handle.clock().clone());
    Box::new(move || {
        let (now, waiting) = ask();
        let since = clock.timestamp(now.since.into_std()).as_millis();
        let (state, next_try) = match now.state {
            BridgeState::Connecting => ("connecting", None),
            BridgeState::Online => ("online", None),
            BridgeState::BackingOff(pause) => {
                ("backing_off", Some(since.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(0))))
            }
            BridgeState::Stopped => ("stopped", None),
        };
        BridgeStatus {
            name: name.clone(),
            state: state.to_owned(),
            since,
            next_try,
            last_error: now.last_error,
            reconnects: now.reconnects,
            connect_failures: now.connect_failures,
            sent: now.sent,
            acknowledged: now.acknowledged,
            received: now.received,
            dropped: now.dropped + waiting.dropped,
            looped: now.looped,
            waiting: waiting.messages,
            waiting_bytes: waiting.bytes,
            waiting_bytes_high: waiting.bytes_high,
        }
    })
}
