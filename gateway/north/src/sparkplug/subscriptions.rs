//! What an edge node has subscribed to.

use std::collections::{HashMap, HashSet};

use tidegate_mqtt::{Connection, Failure, FailureKind, Filter, QoS, Refusal, SubscribeId};

use crate::TargetStatus;

/// Topics in one request.
const TOGETHER: usize = 50;

/// The topics that have been asked for on one connection.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    known: HashSet<String>,
    /// Not asked for yet: the client takes so many requests at a time.
    waiting: Vec<String>,
    asked: HashMap<SubscribeId, Vec<String>>,
}

impl Subscriptions {
    /// These are to be subscribed to, if they are not yet.
    pub(super) fn want(&mut self, topics: Vec<String>) {
        let new = topics.into_iter().filter(|topic| self.known.insert(topic.clone()));
        self.waiting.extend(new);
    }

    /// Asks for what has not been asked for, as far as the client takes requests.
    pub(super) fn ask(&mut self, connection: &mut Connection) {
        while !self.waiting.is_empty() {
            let rest = self.waiting.split_off(self.waiting.len().min(TOGETHER));
            let filters: Vec<Filter> =
                self.waiting.iter().map(|topic| Filter::new(topic.as_str(), QoS::AtLeastOnce)).collect();
            match connection.subscribe(&filters) {
                Ok(id) => {
                    let asked = std::mem::replace(&mut self.waiting, rest);
                    self.asked.insert(id, asked);
                }
                Err(_) => {
                    self.waiting.extend(rest);
                    return;
                }
            }
        }
    }

    /// Whether everything that was wanted has been answered.
    pub(super) fn are_complete(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }

    /// The broker has answered. Without commands an edge node still has its data; without its primary host it has nothing.
    ///
    /// # Errors
    ///
    /// The broker does not let the primary host be heard.
    pub(super) fn answered(
        &mut self,
        id: SubscribeId,
        answers: &[Result<QoS, Refusal>],
        address: &str,
        status: &TargetStatus,
    ) -> Result<(), Failure> {
        let Some(topics) = self.asked.remove(&id) else { return Ok(()) };
        for (topic, answer) in topics.iter().zip(answers) {
            let Err(why) = answer else { continue };
            if topic.starts_with("spBv1.0/STATE/") {
                let text = format!("{address} refused the subscription to {topic}: {why}");
                return Err(Failure::new(FailureKind::Refused, text));
            }
            let target_name = status.name();
            tracing::warn!(%target_name, topic, %why, "the broker refuses the subscription; no commands come from there");
        }
        Ok(())
    }
}
