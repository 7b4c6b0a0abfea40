//! Who may connect, and who may publish and subscribe to what.

use std::{hint::black_box, sync::Arc};

use tidegate_config::{Broker, BrokerUser};

use crate::topic;

/// The users of a broker.
#[derive(Debug)]
pub(crate) struct Users {
    users: Vec<Arc<BrokerUser>>,
    topic_root: Arc<str>,
}

/// What a client may do.
#[derive(Debug, Clone)]
pub(crate) struct Rights {
    /// Absent when the broker has no users: then everybody may do everything.
    user: Option<Arc<BrokerUser>>,
    topic_root: Arc<str>,
}

impl Users {
    pub(crate) fn new(options: &Broker) -> Users {
        let users = options.users.iter().cloned().map(Arc::new).collect();
        Users { users, topic_root: options.topic_root.as_str().into() }
    }

    /// The rights of a client, `None` when its login is wrong.
    ///
    /// All users are compared, each over the whole length of what the client sent, so that the time tells nothing about
    /// names and passwords.
    pub(crate) fn login(&self, login: Option<(&str, &str)>) -> Option<Rights> {
        if self.users.is_empty() {
            return Some(Rights { user: None, topic_root: Arc::clone(&self.topic_root) });
        }
        let (name, password) = login?;
        let mut found = None;
        for user in &self.users {
            let right = same(name, &user.name) & same(password, user.password.reveal());
            if black_box(right) {
                found = Some(Arc::clone(user));
            }
        }
        Some(Rights { user: Some(found?), topic_root: Arc::clone(&self.topic_root) })
    }
}

/// Whether two texts are the same, in a time that depends on the length of `given` alone.
fn same(given: &str, secret: &str) -> bool {
    let mut difference = u8::from(given.len() != secret.len());
    let mut secret = secret.bytes();
    for byte in given.bytes() {
        difference = black_box(difference | (byte ^ secret.next().unwrap_or(!byte)));
    }
    black_box(difference) == 0
}

impl Rights {
    /// The name of the user, if the broker has users.
    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref().map(|user| user.name.as_str())
    }

    /// Whether the client may publish to `topic`.
    pub(crate) fn may_publish(&self, topic: &str) -> bool {
        let Some(user) = &self.user else { return true };
        user.publish.iter().any(|filter| topic::matches(filter.as_bytes(), topic.as_bytes()))
    }

    /// Whether the client may subscribe to `filter`: one of the user's filters has to cover it completely.
    pub(crate) fn may_subscribe(&self, filter: &str) -> bool {
        let Some(user) = &self.user else { return true };
        user.subscribe.iter().any(|granted| topic::covers(granted, filter))
    }

    /// Whether the gateway may answer a command of the client at `topic`.
    ///
    /// A client must not make the gateway write where the client itself may not: among the gateway's own topics only
    /// the replies (`…/set/reply`) are free to who may read them.
    pub(crate) fn may_be_answered_at(&self, topic: &str) -> bool {
        if !topic::is_topic(topic) || topic.starts_with('$') {
            return false;
        }
        let own = topic.strip_prefix(&*self.topic_root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.may_publish(topic) || (self.may_subscribe(topic) && (!own || topic.ends_with("/set/reply")))
    }
}

#[cfg(test)]
mod tests {
    use tidegate_config::Secret;

    use super::*;

    fn users(users: &[(&str, &str, &[&str], &[&str])]) -> Users {
        let owned = |filters: &[&str]| filters.iter().map(|filter| (*filter).to_owned()).collect();
        let users = users
            .iter()
            .map(|(name, password, publish, subscribe)| BrokerUser {
                name: (*name).to_owned(),
                password: Secret::literal(*password),
                publish: owned(publish),
                subscribe: owned(subscribe),
            })
            .collect();
        let listen = ([127, 0, 0, 1], 0).into();
        Users::new(&Broker { listen, topic_root: "plant/tidegate".to_owned(), tag_topics: false, users })
    }

    #[test]
    fn without_users_everybody_may_do_everything() {
        let rights = users(&[]).login(None).unwrap();
        assert!(rights.may_publish("a") && rights.may_subscribe("#") && rights.user().is_none());
        assert!(rights.may_be_answered_at("plant/tidegate/line3/state"));
    }

    #[test]
    fn a_login_needs_the_right_name_with_the_right_password() {
        let users = users(&[("scada", "one", &[], &[]), ("viewer", "two", &[], &[])]);
        assert_eq!(users.login(Some(("viewer", "two"))).unwrap().user(), Some("viewer"));
        for (name, password) in [("scada", "two"), ("viewer", "tw"), ("viewer", "two "), ("", ""), ("Scada", "one")] {
            assert!(users.login(Some((name, password))).is_none(), "{name} {password}");
        }
        assert!(users.login(None).is_none());
    }

    #[test]
    fn rights_are_the_users_filters() {
        let users = users(&[("scada", "x", &["plant/tidegate/line3/+/set"], &["plant/tidegate/#"])]);
        let rights = users.login(Some(("scada", "x"))).unwrap();
        assert!(rights.may_publish("plant/tidegate/line3/press/set"));
        assert!(!rights.may_publish("plant/tidegate/line3/press/state"));
        assert!(rights.may_subscribe("plant/tidegate/+/state") && !rights.may_subscribe("#"));
    }

    #[test]
    fn a_reply_goes_nowhere_that_the_client_could_not_write_or_read() {
        let users = users(&[("scada", "x", &["plant/tidegate/+/+/set"], &["plant/tidegate/#", "answers/scada/#"])]);
        let rights = users.login(Some(("scada", "x"))).unwrap();
        for topic in ["answers/scada/1", "plant/tidegate/line3/press/set/reply"] {
            assert!(rights.may_be_answered_at(topic), "{topic}");
        }
        for topic in ["plant/tidegate/line3/state", "elsewhere", "answers/+", "", "$SYS/x", "plant/tidegate"] {
            assert!(!rights.may_be_answered_at(topic), "{topic}");
        }
    }
}
