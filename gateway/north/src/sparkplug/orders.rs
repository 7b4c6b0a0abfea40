//! Commands on their way to devices.

use futures_util::{StreamExt, stream::FuturesUnordered};
use tidegate_model::Name;
use tidegate_sparkplug::{Command, Written};

use super::CommandPath;
use crate::TargetStatus;

/// Commands that wait for their devices, at most.
const MOST: usize = 64;

type Answer = std::pin::Pin<Box<dyn Future<Output = (Name, Written)> + Send>>;

/// Commands that have been handed on and are not answered. Sparkplug has no answer to a command but the value that changes: what went
/// wrong is told in the log.
pub(super) struct Orders {
    path: CommandPath,
    waiting: FuturesUnordered<Answer>,
}

impl Orders {
    pub(super) fn new(path: CommandPath) -> Orders {
        Orders { path, waiting: FuturesUnordered::new() }
    }

    /// Hands a command on.
    pub(super) fn take(&mut self, command: Command, status: &TargetStatus) {
        let (target_name, device) = (status.name(), command.device.clone());
        for refused in &command.refused {
            let (metric, why) = (&refused.metric, &refused.why);
            tracing::warn!(%target_name, %device, metric, why, "a command over Sparkplug was not carried out");
        }
        if command.values.is_empty() {
            return;
        }
        if self.waiting.len() >= MOST {
            tracing::warn!(%target_name, %device, "too many commands over Sparkplug at a time; this one was not carried out");
            return;
        }
        let answer = (self.path)(command);
        self.waiting.push(Box::pin(async move { (device, answer.await) }));
    }

    /// Waits for the answer of a device; for ever, when none is waited for.
    pub(super) async fn answered(&mut self, status: &TargetStatus) {
        let Some((device, written)) = self.waiting.next().await else { return std::future::pending().await };
        let target_name = status.name();
        match written {
            Ok(faults) => {
                for (tag, why) in faults {
                    tracing::warn!(%target_name, %device, tag, why, "a command over Sparkplug was not carried out");
                }
            }
            Err(why) => tracing::warn!(%target_name, %device, why, "a command over Sparkplug was not carried out"),
        }
    }
}
