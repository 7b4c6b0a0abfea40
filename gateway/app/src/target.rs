//! A running target: its task, and what is told about it.

use std::{fs, time::Duration};

use tidegate_config::{self as config, TargetKind};
use tidegate_model::Name;
use tidegate_north::TargetState;
use tidegate_runtime::TargetStatus;
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
    pub(crate) status: tidegate_north::TargetStatus,
    pub(crate) cancel: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

impl RunningTarget {
    pub(crate) fn name(&self) -> &Name {
        &self.target.name
    }

    /// Whether this is what would be started for that configuration now. Certificates that were renewed under the same name
    /// make another target.
    pub(crate) fn is(&self, target: &config::Target) -> bool {
        self.target == *target && self.files == Files::of(target)
    }

    /// Stops it. Its cursor is free then and stays where it is.
    pub(crate) async fn stop(mut self) {
        self.cancel.cancel();
        // A task that panicked has said so; its cursor is where it was.
        if timeout(FAREWELL, &mut self.task).await.is_err() {
            tracing::warn!(target_name = %self.target.name, "target does not stop by itself; it is ended");
            self.task.abort();
            let _ = self.task.await;
        }
    }

    /// Tells the status of the target from anywhere.
    pub(crate) fn probe(&self) -> Probe {
        Probe { status: self.status.clone(), cancel: self.cancel.clone(), task: self.task.abort_handle() }
    }
}

/// What is in the files that the configuration of a target names.
#[derive(PartialEq, Eq)]
pub(crate) struct Files(Vec<Option<Vec<u8>>>);

impl Files {
    /// Reads them; one that cannot be read is like an empty place.
    pub(crate) fn of(target: &config::Target) -> Files {
        let TargetKind::Mqtt(options) = &target.kind;
        let tls = options.tls.iter();
        let paths = tls.flat_map(|tls| tls.ca.iter().chain(tls.client.iter().flat_map(|(one, other)| [one, other])));
        Files(paths.map(|path| fs::read(path).ok()).collect())
    }
}

/// Tells the status of a target in the words of the interface.
pub(crate) struct Probe {
    status: tidegate_north::TargetStatus,
    cancel: CancellationToken,
    task: AbortHandle,
}

impl Probe {
    pub(crate) fn status(&self) -> TargetStatus {
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
