//! What a client may publish and subscribe to.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tidegate_config::TopicRights;

use crate::{inside::Inside, topic};

/// What a client may do. Clones are the same: a reload of the site changes all of them.
#[derive(Debug, Clone)]
pub(crate) struct Rights {
    holder: Arc<Holder>,
}

#[derive(Debug)]
struct Holder {
    /// Absent for clients that did not say who they are.
    user: Option<String>,
    /// The client id.
    client: String,
    granted: RwLock<Arc<Granted>>,
    topic_root: Arc<str>,
    /// Present for a part of the gateway itself; leads to what counts now.
    inside: OnceLock<Arc<Inside>>,
}

/// What has been granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Granted {
    /// Everything.
    Everything,
    /// What these filters say; `%u` and `%c` are filled in.
    Filters(TopicRights),
}

impl Granted {
    /// What somebody may do who is no user any more.
    pub(crate) fn nothing() -> Granted {
        Granted::Filters(TopicRights::default())
    }

    /// What `rights` grant to a user with a client id.
    pub(crate) fn to(rights: &TopicRights, user: Option<&str>, client: &str) -> Granted {
        let fill = |patterns: &[String]| patterns.iter().filter_map(|it| fill(it, user, client)).collect();
        Granted::Filters(TopicRights { publish: fill(&rights.publish), subscribe: fill(&rights.subscribe) })
    }
}

/// Fills in the names. A pattern grants nothing when a name is missing, or would be more than one plain level: a client
/// chooses its id itself, and must not choose its rights with it.
fn fill(pattern: &str, user: Option<&str>, client: &str) -> Option<String> {
    let mut filled = pattern.to_owned();
    for (mark, name) in [("%u", user), ("%c", Some(client))] {
        if !pattern.contains(mark) {
            continue;
        }
        let name = name.filter(|name| !name.is_empty() && !name.contains(['/', '+', '#', '\0', '%', '$']))?;
        filled = filled.replace(mark, name);
    }
    Some(filled)
}

impl Rights {
    pub(crate) fn new(user: Option<String>, client: &str, granted: Granted, topic_root: &Arc<str>) -> Rights {
        let granted = RwLock::new(Arc::new(granted));
        let (client, topic_root) = (client.to_owned(), Arc::clone(topic_root));
        let holder = Holder { user, client, granted, topic_root, inside: OnceLock::new() };
        Rights { holder: Arc::new(holder) }
    }

    /// The name of the user, if the client said who it is.
    pub(crate) fn user(&self) -> Option<&str> {
        self.holder.user.as_deref()
    }

    /// The client id that the rights are for.
    pub(crate) fn client(&self) -> &str {
        &self.holder.client
    }

    /// What is special about a part of the gateway itself.
    pub(crate) fn inside(&self) -> Option<&Inside> {
        self.holder.inside.get().map(|inside| inside.now())
    }

    /// The same as it was when these rights were made.
    pub(crate) fn first_inside(&self) -> Option<&Arc<Inside>> {
        self.holder.inside.get()
    }

    /// From now on this is a part of the gateway itself, if it is not already.
    pub(crate) fn is_inside(&self, inside: &Arc<Inside>) {
        let _ = self.holder.inside.set(Arc::clone(inside));
    }

    /// Grants something else from now on; says whether it is something else.
    pub(crate) fn grant(&self, granted: Granted) -> bool {
        let mut held = self.holder.granted.write().unwrap_or_else(PoisonError::into_inner);
        let changed = **held != granted;
        *held = Arc::new(granted);
        changed
    }

    fn granted(&self) -> Arc<Granted> {
        Arc::clone(&self.holder.granted.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the client may publish to `topic`. Nobody may to the broker's own; of the others that begin with `$` a filter
    /// that begins with a wildcard grants none.
    pub(crate) fn may_publish(&self, topic: &str) -> bool {
        if topic::is_brokers(topic) {
            return false;
        }
        match &*self.granted() {
            Granted::Everything => true,
            Granted::Filters(rights) => {
                rights.publish.iter().any(|filter| topic::matches(filter.as_bytes(), topic.as_bytes()))
            }
        }
    }

    /// Whether the client may subscribe to `filter`: one of the user's filters has to cover it completely. Of a shared
    /// subscription the filter in it counts. What the broker tells about itself (`$SYS/…`) is for everybody who was let in.
    pub(crate) fn may_subscribe(&self, filter: &str) -> bool {
        let filter = match filter.strip_prefix("$share/") {
            Some(shared) => shared.split_once('/').map_or("", |(_, filter)| filter),
            None => filter,
        };
        if filter.is_empty() || filter == "$SYS" || filter.starts_with("$SYS/") {
            return !filter.is_empty();
        }
        match &*self.granted() {
            Granted::Everything => true,
            Granted::Filters(rights) => rights.subscribe.iter().any(|granted| topic::covers(granted, filter)),
        }
    }

    /// Whether the gateway may answer a command of the client at `topic`.
    ///
    /// A client must not make the gateway write where the client itself may not: among the gateway's own topics only
    /// the replies (`…/set/reply`) are free to who may read them. A bridge may do everything, but those who ask over it may not.
    pub(crate) fn may_be_answered_at(&self, topic: &str) -> bool {
        if !topic::is_topic(topic) || topic.starts_with('$') {
            return false;
        }
        let root = &*self.holder.topic_root;
        let own = topic.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let may_write = self.inside().is_none() && self.may_publish(topic);
        may_write || (self.may_subscribe(topic) && (!own || topic.ends_with("/set/reply")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn rights(user: Option<&str>, client: &str, publish: &[&str], subscribe: &[&str]) -> Rights {
        let owned = |filters: &[&str]| filters.iter().map(|filter| (*filter).to_owned()).collect();
        let rights = TopicRights { publish: owned(publish), subscribe: owned(subscribe) };
        Rights::new(user.map(str::to_owned), client, Granted::to(&rights, user, client), &"plant/tidegate".into())
    }

    #[test]
    fn who_may_do_everything_may_not_write_what_is_the_brokers() {
        let rights = Rights::new(None, "c", Granted::Everything, &"plant/tidegate".into());
        assert!(rights.may_publish("a") && rights.may_subscribe("#") && rights.user().is_none());
        assert!(rights.may_be_answered_at("plant/tidegate/line3/state"));
        assert!(!rights.may_publish("$SYS/broker/uptime") && rights.may_subscribe("$SYS/#"));
        assert!(!rights.may_publish("$share/group/a") && !rights.may_publish("$sparkplug/certificates/x"));
    }

    #[test]
    fn topics_that_begin_with_a_dollar_and_are_not_the_brokers_are_granted_by_name_only() {
        let everything = Rights::new(None, "c", Granted::Everything, &"plant/tidegate".into());
        assert!(everything.may_publish("$aws/things/press/shadow") && everything.may_subscribe("$aws/#"));
        let wildcards = rights(Some("scada"), "c", &["#", "+/things/#"], &["#"]);
        assert!(!wildcards.may_publish("$aws/things/press") && !wildcards.may_subscribe("$aws/#"));
        let named = rights(Some("scada"), "c", &["$aws/things/%c/#", "$SYS/#"], &["$aws/#"]);
        assert!(named.may_publish("$aws/things/c/shadow") && named.may_subscribe("$aws/things/+"));
        assert!(!named.may_publish("$aws/things/d") && !named.may_publish("$SYS/broker/uptime"));
    }

    #[test]
    fn rights_are_the_users_filters() {
        let rights = rights(Some("scada"), "c", &["plant/tidegate/line3/+/set"], &["plant/tidegate/#"]);
        assert!(rights.may_publish("plant/tidegate/line3/press/set"));
        assert!(!rights.may_publish("plant/tidegate/line3/press/state"));
        assert!(rights.may_subscribe("plant/tidegate/+/state") && !rights.may_subscribe("#"));
    }

    #[test]
    fn a_shared_subscription_needs_the_right_to_the_filter_in_it() {
        let rights = rights(Some("scada"), "c", &[], &["a/#"]);
        assert!(rights.may_subscribe("$share/group/a/b") && rights.may_subscribe("$share/a/a/#"));
        for filter in ["$share/group/b", "$share/a/#", "$share/a", "$share/a/", "$share/group/+/b"] {
            assert!(!rights.may_subscribe(filter), "{filter}");
        }
    }

    #[test]
    fn names_are_filled_in_and_never_widen_rights() {
        let own = ["users/%u/#", "clients/%c/+", "%u-%c/x"];
        let scada = rights(Some("scada"), "panel-1", &own, &own);
        for topic in ["users/scada/a/b", "clients/panel-1/x", "scada-panel-1/x"] {
            assert!(scada.may_publish(topic) && scada.may_subscribe(topic), "{topic}");
        }
        assert!(!scada.may_publish("users/other/a") && !scada.may_publish("clients/%c/x"));
        for client in ["#", "+", "a/b", "", "+/+", "a+", "$SYS", "%u", "a\0"] {
            let rights =
                rights(Some("scada"), client, &["%c/#", "clients/%c/+", "clients/%c"], &["%c/#", "clients/%c/#"]);
            for topic in ["a", "clients/a", "clients/a/b", "clients/+/b", "$SYS/x/set", "scada/a", "clients/#", client]
            {
                assert!(!rights.may_publish(topic), "{client:?} may not publish to {topic:?}");
                assert!(topic.starts_with('$') || !rights.may_subscribe(topic), "{client:?} may not read {topic:?}");
            }
        }
        assert!(!rights(None, "c", &["users/%u"], &[]).may_publish("users/"), "nobody has no topics of its own");
    }

    #[test]
    fn a_reply_goes_nowhere_that_the_client_could_not_write_or_read() {
        let rights = rights(Some("scada"), "c", &["plant/tidegate/+/+/set"], &["plant/tidegate/#", "answers/scada/#"]);
        for topic in ["answers/scada/1", "plant/tidegate/line3/press/set/reply"] {
            assert!(rights.may_be_answered_at(topic), "{topic}");
        }
        for topic in ["plant/tidegate/line3/state", "elsewhere", "answers/+", "", "$SYS/x", "plant/tidegate"] {
            assert!(!rights.may_be_answered_at(topic), "{topic}");
        }
    }

    #[test]
    fn a_bridge_is_not_answered_where_the_gateway_alone_writes() {
        let rights = Rights::new(None, "c", Granted::Everything, &"plant/tidegate".into());
        rights.is_inside(&Arc::new(Inside::new(&Limits::default(), 1)));
        for topic in ["answers/1", "plant/tidegate/line3/press/set/reply"] {
            assert!(rights.may_be_answered_at(topic), "{topic}");
        }
        assert!(!rights.may_be_answered_at("plant/tidegate/line3/state"));
        assert!(rights.may_publish("plant/tidegate/line3/state"), "what it passes on is another thing");
    }

    #[test]
    fn what_is_granted_anew_counts_for_every_clone() {
        let rights = rights(Some("scada"), "c", &["a"], &[]);
        let clone = rights.clone();
        assert!(clone.may_publish("a"));
        assert!(rights.grant(Granted::to(&TopicRights::default(), Some("scada"), "c")));
        assert!(!clone.may_publish("a"));
        assert!(!rights.grant(Granted::to(&TopicRights::default(), Some("scada"), "c")), "the same as before");
    }
}
