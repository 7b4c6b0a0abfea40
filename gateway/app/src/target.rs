//! A running target: its task, and what is told about it.

use std::{fs, sync::Arc, time::Duration};

use tidegate_config::{self as config, TargetKind};
use tidegate_model::{Name, Timestamp};
use tidegate_north::TargetState;
use tidegate_runtime::{ServerStatus, TargetProbe, TargetStatus};
use tidegate_topics::Layout;
use tokio::{
    task::{AbortHandle, JoinHandle},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// How long a target may take to say goodbye to the other side.
const FAREWELL: Duration = Duration::from_secs(5);

/// A running target.
pub(crate) struct RunningTarget {
    pub(crate) target: config::Target,
    pub(crate) files: Files,
    pub(crate) layout: Option<Arc<Layout>>,
    pub(crate) work: Work,
}

/// What runs for a target.
pub(crate) enum Work {
    /// A task that sends.
    Sender { status: tidegate_north::TargetStatus, cancel: CancellationToken, task: JoinHandle<()> },
    /// A server that is asked.
    OpcUa { server: tidegate_opcua::Server, since: Timestamp },
}

impl RunningTarget {
    pub(crate) fn name(&self) -> &Name {
        &self.target.name
    }

    /// Whether this is what would be started for that configuration now. Certificates that were renewed under the same name
    /// make another target, and so do other topics where it uses templates.
    pub(crate) fn is(&self, target: &config::Target, layout: &Arc<Layout>) -> bool {
        self.target == *target && self.files == Files::of(target) && self.layout == self::layout(target, layout)
    }

    /// Stops it. Its cursor is free then and stays where it is.
    pub(crate) async fn stop(self) {
        let (cancel, mut task) = match self.work {
            Work::Sender { cancel, task, .. } => (cancel, task),
            Work::OpcUa { server, .. } => return server.stop().await,
        };
        cancel.cancel();
        // A task that panicked has said so; its cursor is where it was.
        if timeout(FAREWELL, &mut task).await.is_err() {
            tracing::warn!(target_name = %self.target.name, "target does not stop by itself; it is ended");
            task.abort();
            let _ = task.await;
        }
    }

    /// Tells the status of the target from anywhere.
    pub(crate) fn probe(&self) -> TargetProbe {
        match &self.work {
            Work::Sender { status, cancel, task } => {
                let probe = Probe { status: status.clone(), cancel: cancel.clone(), task: task.abort_handle() };
                Box::new(move || probe.status())
            }
            Work::OpcUa { server, since } => {
                let (name, address) = (self.target.name.to_string(), server.address().to_string());
                let (probe, since) = (server.probe(), since.as_millis());
                Box::new(move || of_server(&name, &address, since, probe()))
            }
        }
    }
}

/// What a site says about topics, for a target whose rows go to some of its templates.
pub(crate) fn layout(target: &config::Target, layout: &Arc<Layout>) -> Option<Arc<Layout>> {
    match &target.kind {
        TargetKind::Mqtt(options) if !options.topics.templates.is_empty() => Some(Arc::clone(layout)),
        _ => None,
    }
}

/// The status of a server in the words of the interface.
fn of_server(name: &str, address: &str, since: i64, now: tidegate_opcua::ServerStatus) -> TargetStatus {
    TargetStatus {
        name: name.to_owned(),
        state: if now.running { "online" } else { "stopped" }.to_owned(),
        since,
        last_error: now.last_error,
        server: Some(ServerStatus {
            address: address.to_owned(),
            connections: now.connections,
            connections_high: now.connections_high,
            sessions: now.sessions,
            sessions_high: now.sessions_high,
            subscriptions: now.subscriptions,
            subscriptions_high: now.subscriptions_high,
            monitored_items: now.monitored_items,
            monitored_items_high: now.monitored_items_high,
            refused: now.refused,
            values_sent: now.values,
            overflows: now.overflows,
        }),
        ..TargetStatus::default()
    }
}

/// What is in the files that the configuration of a target names.
#[derive(PartialEq, Eq)]
pub(crate) struct Files(Vec<Option<Vec<u8>>>);

impl Files {
    /// Reads them; one that cannot be read is like an empty place.
    pub(crate) fn of(target: &config::Target) -> Files {
        if let TargetKind::OpcUaServer(options) = &target.kind {
            let certificates = options.users.iter().filter_map(|user| user.certificate.as_ref());
            return Files(certificates.map(|path| fs::read(path).ok()).collect());
        }
        let tls = match &target.kind {
            TargetKind::Mqtt(options) => options.tls.iter(),
            TargetKind::Sparkplug(options) => options.connection.tls.iter(),
            TargetKind::OpcUaServer(_) => None.iter(),
        };
        let paths = tls.flat_map(|tls| tls.ca.iter().chain(tls.client.iter().flat_map(|(one, other)| [one, other])));
        Files(paths.map(|path| fs::read(path).ok()).collect())
    }
}

/// Tells the status of a target in the words of the interface.
struct Probe {
    status: tidegate_north::TargetStatus,
    cancel: CancellationToken,
    task: AbortHandle,
}

impl Probe {
    fn status(&self) -> TargetStatus {
        let now = self.status.snapshot();
        let (mut state, next_try) = match now.state {
            TargetState::Connecting => ("connecting", None),
            TargetState::Online => ("online", None),
            TargetState::BackingOff { until } => ("backing_off", Some(until.as_millis())),
            TargetState::Stopped => ("stopped", None),
        };
        let mut last_error = now.last_error;
        if self.task.is_finished() && !self.cancel.is_cancelled() {
            state = "stopped";
            last_error = Some("it has ended by a fault in the program; its rows wait; restart the gateway".to_owned());
        }
        TargetStatus {
            name: now.name.to_string(),
            state: state.to_owned(),
            since: now.since.as_millis(),
            next_try,
            last_error,
            last_error_at: now.last_error_at.map(|time| time.as_millis()),
            sent: now.sent,
            acknowledged: now.acknowledged,
            bytes: now.bytes,
            reconnects: now.reconnects,
            connect_failures: now.connect_failures,
            in_flight: now.in_flight,
            in_flight_bytes: now.in_flight_bytes,
            live_rows: now.live_rows,
            live_rate: now.live_rate,
            backlog_rate: now.backlog_rate,
            watchdog_resets: now.watchdog_resets,
            refused: now.refused,
            left_out: now.left_out,
            ..TargetStatus::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_was_renewed_under_its_name_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let [ca, certificate, key] = ["ca.pem", "client.pem", "key.pem"].map(|name| folder.path().join(name));
        let tls = config::Tls { ca: Some(ca.clone()), client: Some((certificate, key.clone())) };
        let target = config::Target {
            name: "cloud".parse().unwrap(),
            start: config::StartAt::Now,
            was: None,
            kind: TargetKind::Mqtt(config::MqttTarget { tls: Some(tls), ..config::MqttTarget::new("localhost", 8883) }),
        };
        let none = Files::of(&target);
        fs::write(&ca, "one").unwrap();
        let one = Files::of(&target);
        fs::write(&key, "one").unwrap();
        let two = Files::of(&target);
        fs::write(&ca, "two").unwrap();
        assert!(none != one && one != two && two != Files::of(&target));
        fs::write(&ca, "one").unwrap();
        assert!(two == Files::of(&target));
    }
}
