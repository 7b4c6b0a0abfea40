//! A running target: its task, and what is told about it.

use std::time::Duration;

use tidegate_config as config;
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
    pub(crate) status: tidegate_north::TargetStatus,
    pub(crate) cancel: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

impl RunningTarget {
    /// Stops it. Its cursor is free then and stays where it is.
    pub(crate) async fn stop(mut self) {
        self.cancel.cancel();
        // A task that panicked has said so; its cursor is where it was.
        if timeout(FAREWELL, &mut self.task).await.is_err() {
            tracing::warn!(target = %self.target.name, "target does not stop by itself; it is ended");
            self.task.abort();
            let _ = self.task.await;
        }
    }

    /// Tells the status of the target from anywhere.
    pub(crate) fn probe(&self) -> Probe {
        Probe { status: self.status.clone(), cancel: self.cancel.clone(), task: self.task.abort_handle() }
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
            left_out: now.left_out,
            ..TargetStatus::default()
        }
    }
}
