//! What clients want to be published when they are lost (MQTT 5.0 §3.1.2.5).
//!
//! A will is kept here from the CONNECT until it has been published or taken back, so that the disk has it: when the broker ends, it is
//! published after the restart.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::Instant;

use super::Hub;
use crate::{
    message::{Published, expires},
    session::Session,
    total::Part,
    wire::Will,
};

/// A will, and whose it is.
#[derive(Debug)]
pub(crate) struct Testament {
    /// Number of the connection that it came with.
    pub(crate) connection: u64,
    /// Number of the session.
    pub(crate) session: u64,
    pub(crate) client: String,
    /// Absent for clients that did not say who they are.
    pub(crate) user: Option<String>,
    pub(crate) will: Will,
}

/// Wills that may still be due.
#[derive(Debug, Default)]
pub(super) struct Wills {
    /// By connection, the older ones first.
    kept: BTreeMap<u64, Arc<Testament>>,
    unsaved: bool,
}

impl Wills {
    /// All wills, when they have changed since the last call.
    pub(super) fn take_unsaved(&mut self) -> Option<Vec<Arc<Testament>>> {
        std::mem::take(&mut self.unsaved).then(|| self.kept.values().map(Arc::clone).collect())
    }

    /// The disk has to be told.
    pub(super) fn note_unsaved(&mut self) {
        self.unsaved = true;
    }
}

impl Hub {
    /// Keeps the will of a client that has come.
    pub(crate) fn keep_will(&self, connection: u64, session: &Session, will: Will) -> Arc<Testament> {
        let (client, user) = (session.client.clone(), session.rights.user().map(str::to_owned));
        let testament = Arc::new(Testament { connection, session: session.number, client, user, will });
        self.put_back_will(&testament);
        testament
    }

    /// Keeps a will of before a restart that is not yet due.
    pub(crate) fn put_back_will(&self, testament: &Arc<Testament>) {
        let wills = &mut self.lock().wills;
        wills.kept.insert(testament.connection, Arc::clone(testament));
        wills.unsaved = true;
    }

    /// A will has been published, or is not due any more.
    pub(crate) fn forget_will(&self, connection: u64) {
        let wills = &mut self.lock().wills;
        if wills.kept.remove(&connection).is_some() {
            wills.unsaved = true;
        }
    }

    /// Publishes a will, if the user may still publish it: users may have changed since the client has come.
    pub(crate) fn publish_will(&self, testament: &Testament) {
        let Testament { session, client, user, will, .. } = testament;
        let rights = self.users.rights(user.as_deref(), client);
        let Some(rights) = rights.filter(|rights| rights.may_publish(&will.topic)) else {
            self.counters.refused_publishes.increase();
            let (user, topic) = (user.as_deref(), &*will.topic);
            tracing::debug!(
                client,
                user,
                topic,
                "the will of an MQTT client goes where its user may not publish any more; refused and counted"
            );
            return;
        };
        let response = will.passed.response_topic();
        let may_be_answered = response.is_some_and(|topic| rights.may_be_answered_at(topic));
        self.counters.received.increase();
        self.counters.received_bytes.add(will.payload.len());
        self.publish(Published {
            topic: will.topic.clone().into(),
            payload: will.payload.clone(),
            qos: will.qos,
            retain: will.retain,
            expires: expires(will.message_expiry, Instant::now()),
            properties: will.passed.clone(),
            from: *session,
            may_be_answered,
            part: Part::default(),
        });
    }
}
