//! What a change of users means for those who are in.

use std::sync::Arc;

use tidegate_config as config;

use super::Hub;
use crate::{
    inside::{Inside, MARK},
    session::Session,
    users::Standing,
};

impl Hub {
    /// Goes over to other users.
    pub(crate) fn replace_users(&self, options: &config::Broker) {
        let log_in_again = self.users.replace(options);
        let sessions: Vec<Arc<Session>> = self.lock().sessions.values().map(Arc::clone).collect();
        let (mut changed, mut gone) = (0_u32, 0_u32);
        for session in sessions {
            match self.users.review(&session.rights) {
                Standing::Same => {}
                Standing::Changed => {
                    changed += 1;
                    self.take_back(&session);
                }
                Standing::Gone => {
                    gone += 1;
                    self.give_up(&mut self.lock(), &session);
                    continue;
                }
            }
            if session.rights.user().is_some_and(|user| log_in_again.iter().any(|name| name == user)) {
                session.dismiss();
            }
        }
        if changed + gone > 0 || !log_in_again.is_empty() {
            tracing::info!(
                changed,
                gone,
                log_in_again = log_in_again.len(),
                "users of the MQTT broker have changed; rights of connected clients are those of now"
            );
        }
    }

    /// Takes the subscriptions back that the rights do not cover any more.
    fn take_back(&self, session: &Arc<Session>) {
        let mut state = self.lock();
        for (filter, _) in state.routes.subscriptions(session) {
            if !session.rights.may_subscribe(&filter) {
                state.routes.unsubscribe(session, &filter);
                session.unsaved.note_subscriptions();
            }
        }
    }

    /// Lets a part of the gateway in, also into the session that it had before a restart. Returns what counts for it: what did
    /// before, when the limits are the same.
    pub(crate) fn let_in(&self, name: String, inside: Inside) -> Arc<Inside> {
        let before = self.users.rights(Some(&name), &name);
        let before = before.as_ref().and_then(|rights| rights.first_inside());
        if let Some(before) = before.filter(|before| before.limits == inside.limits) {
            return Arc::clone(before);
        }
        let inside = Arc::new(inside);
        self.users.let_in(name.clone(), Arc::clone(&inside));
        if let Some(before) = before {
            before.give_way_to(&inside);
        }
        for session in self.lock().sessions.values().filter(|session| session.rights.user() == Some(&name)) {
            session.rights.is_inside(&inside);
        }
        inside
    }

    /// Gives up the sessions of parts of the gateway that there are no more, with what waits in them.
    pub(crate) fn let_out_all_but(&self, names: &[&str]) {
        let mut state = self.lock();
        let is_gone = |client: &str| client.strip_prefix(MARK).is_some_and(|name| !names.contains(&name));
        let gone: Vec<Arc<Session>> =
            state.sessions.values().filter(|session| is_gone(&session.client)).map(Arc::clone).collect();
        for session in gone {
            let (messages, bytes) = session.all_waiting();
            self.give_up(&mut state, &session);
            tracing::info!(
                session = &*session.client,
                messages,
                bytes,
                "the site has no such durable bridge any more; what waited for it is dropped"
            );
        }
    }

    /// Takes back the subscriptions of a client but these, which are all that it wants now.
    pub(crate) fn narrow(&self, client: &str, wanted: &[&str]) {
        let mut state = self.lock();
        let Some(session) = state.sessions.get(client).map(Arc::clone) else { return };
        for (filter, _) in state.routes.subscriptions(&session) {
            if !wanted.contains(&filter.as_str()) {
                state.routes.unsubscribe(&session, &filter);
                session.unsaved.note_subscriptions();
            }
        }
    }

    /// Messages that wait for a client or are on their way to it, and their bytes.
    pub(crate) fn waiting(&self, client: &str) -> (u64, u64) {
        let session = self.lock().sessions.get(client).map(Arc::clone);
        let (messages, bytes) = session.map_or((0, 0), |session| session.all_waiting());
        (u64::try_from(messages).unwrap_or(u64::MAX), u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use tidegate_config::{Broker, BrokerUser};

    use crate::{
        hub::{Guest, Hub},
        limits::Limits,
        session::Attached,
        users::Users,
    };

    #[test]
    fn who_began_to_log_in_before_users_changed_is_not_let_in() {
        let site =
            |password| Broker::on_loopback().with_users(vec![BrokerUser::literal("scada", password, &["#"], &[])]);
        let hub = Hub::new(Limits::default(), Users::new(&site("x")));
        let enter = |users| {
            let rights = hub.users.rights(Some("scada"), "client").unwrap();
            let attached = Attached::for_test(hub.number(), 0);
            hub.attach(Guest { client: "client", rights, clean: true, users }, attached).is_some()
        };
        let before = hub.users.generation();
        hub.replace_users(&site("x"));
        assert!(enter(before), "the same users as before");
        hub.replace_users(&site("y"));
        assert!(!enter(before));
        assert_eq!(hub.status().clients, 1);
        assert!(enter(hub.users.generation()));
    }
}
