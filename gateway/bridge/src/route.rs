//! Which messages go where, and under which topic.

use tidegate_config::BridgeRoute;
use tidegate_mqtt::{Filter, QoS};

/// The routes of a bridge.
#[derive(Debug, Clone)]
pub(crate) struct Routes(Vec<BridgeRoute>);

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the other broker to the local one.
    In,
    /// From the local broker to the other one.
    Out,
}

impl Way {
    fn back(self) -> Way {
        match self {
            Way::In => Way::Out,
            Way::Out => Way::In,
        }
    }
}

/// Which of the bridge's sessions on the local broker a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It goes on while the other broker is away: for durable routes.
    Durable,
    /// It ends with the connection.
    Passing,
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) topic: String,
    /// At most this.
    pub(crate) qos: QoS,
    /// Whether a retained message stays one.
    pub(crate) retain: bool,
    /// The session that it comes from when it goes out. Where filters overlap the other one gets it too.
    pub(crate) keep: Keep,
}

impl Routes {
    pub(crate) fn new(routes: &[BridgeRoute]) -> Routes {
        Routes(routes.to_vec())
    }

    /// What to subscribe to at the other broker.
    pub(crate) fn inward_filters(&self) -> Vec<Filter> {
        self.filters(Way::In, |_| true)
    }

    /// What to subscribe to in this session at the local broker.
    pub(crate) fn outward_filters(&self, session: Keep) -> Vec<Filter> {
        self.filters(Way::Out, |route| keep(route) == session)
    }

    fn filters(&self, way: Way, is_wanted: impl Fn(&BridgeRoute) -> bool) -> Vec<Filter> {
        let routes = self.0.iter().filter(|route| goes(route, way) && is_wanted(route));
        let mut filters: Vec<Filter> = Vec::new();
        for route in routes {
            let topic = format!("{}{}", from(route, way), route.filter);
            let filter = Filter { no_local: true, as_published: true, ..Filter::new(topic, qos(route)) };
            if let Some(same) = filters.iter_mut().find(|other| other.topic == filter.topic) {
                same.qos = same.qos.max(filter.qos);
            } else {
                filters.push(filter);
            }
        }
        filters
    }

    /// Where a message of this way goes; the first route that wants it says. `None` when no route does.
    pub(crate) fn destination(&self, way: Way, topic: &str) -> Option<Destination> {
        self.0.iter().filter(|route| goes(route, way)).find_map(|route| {
            let rest = topic.strip_prefix(from(route, way))?;
            let topic = format!("{}{rest}", to(route, way));
            let (qos, retain, keep) = (qos(route), route.retain, keep(route));
            selects(&route.filter, rest).then_some(Destination { topic, qos, retain, keep })
        })
    }

    /// Whether what is sent to a topic of the other broker is selected by what is subscribed to there.
    pub(crate) fn comes_back(&self, topic: &[u8]) -> bool {
        str::from_utf8(topic).is_ok_and(|topic| self.destination(Way::In, topic).is_some())
    }

    /// Where a message of this way is to be answered, for it to be answered at `topic` where it comes from: a topic that a route
    /// brings back there. `None` when none does. What asks over the bridge can have answers only where the site lets messages go.
    pub(crate) fn answer(&self, way: Way, topic: &str) -> Option<String> {
        let back = way.back();
        self.0.iter().filter(|route| goes(route, back)).find_map(|route| {
            let rest = topic.strip_prefix(to(route, back))?;
            let answer = format!("{}{rest}", from(route, back));
            let is_topic = !answer.is_empty() && !answer.starts_with('$') && !answer.contains(['+', '#', '\0']);
            let returns = || self.destination(back, &answer).is_some_and(|it| it.topic == topic);
            (is_topic && returns()).then_some(answer)
        })
    }
}

fn goes(route: &BridgeRoute, way: Way) -> bool {
    match way {
        Way::In => route.comes_in(),
        Way::Out => route.goes_out(),
    }
}

fn from(route: &BridgeRoute, way: Way) -> &str {
    match way {
        Way::In => &route.remote_prefix,
        Way::Out => &route.local_prefix,
    }
}

fn to(route: &BridgeRoute, way: Way) -> &str {
    match way {
        Way::In => &route.local_prefix,
        Way::Out => &route.remote_prefix,
    }
}

fn keep(route: &BridgeRoute) -> Keep {
    if route.durable { Keep::Durable } else { Keep::Passing }
}

fn qos(route: &BridgeRoute) -> QoS {
    if route.qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce }
}

/// Whether a filter selects a topic (MQTT 5.0 §4.7).
fn selects(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (_, Some(level)) if level == wanted => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use tidegate_config::BridgeDirection;

    use super::*;

    fn route(direction: BridgeDirection, filter: &str, local: &str, remote: &str, qos: u8) -> BridgeRoute {
        BridgeRoute {
            direction,
            filter: filter.to_owned(),
            local_prefix: local.to_owned(),
            remote_prefix: remote.to_owned(),
            qos,
            retain: true,
            durable: false,
        }
    }

    #[test]
    fn prefixes_are_exchanged_and_the_first_route_that_fits_says() {
        let routes = Routes::new(&[
            route(BridgeDirection::Out, "+/state", "tidegate/", "plant/hall2/", 1),
            route(BridgeDirection::Out, "#", "tidegate/", "rest/", 0),
            route(BridgeDirection::In, "set/#", "", "orders/", 1),
        ]);
        let to = |way, topic| routes.destination(way, topic).map(|it| (it.topic, it.qos));
        let out = |topic| to(Way::Out, topic);
        assert_eq!(out("tidegate/line3/state"), Some(("plant/hall2/line3/state".to_owned(), QoS::AtLeastOnce)));
        assert_eq!(out("tidegate/line3/x/state"), Some(("rest/line3/x/state".to_owned(), QoS::AtMostOnce)));
        assert_eq!(out("elsewhere/state"), None);
        assert_eq!(to(Way::In, "orders/set/é"), Some(("set/é".to_owned(), QoS::AtLeastOnce)));
        assert_eq!(to(Way::In, "set/é"), None);
        let filters = routes.outward_filters(Keep::Passing);
        assert_eq!(filters.iter().map(|it| it.topic.as_str()).collect::<Vec<_>>(), ["tidegate/+/state", "tidegate/#"]);
        assert!(filters.iter().all(|filter| filter.no_local && filter.as_published));
        assert_eq!(routes.inward_filters().len(), 1);
    }

    #[test]
    fn topics_of_a_broker_about_itself_stay_there() {
        let routes = Routes::new(&[route(BridgeDirection::Both, "#", "", "far/", 1)]);
        assert_eq!(routes.destination(Way::Out, "$SYS/broker/uptime"), None);
        assert!(routes.comes_back(b"far/a") && !routes.comes_back(b"a") && !routes.comes_back(b"far/\xff"));
        assert_eq!(routes.destination(Way::In, "far"), None, "the prefix is not a topic of the route");
    }

    #[test]
    fn each_session_has_the_filters_of_its_routes_and_a_message_belongs_to_one() {
        let out = |filter| route(BridgeDirection::Out, filter, "", "", 1);
        let routes = Routes::new(&[BridgeRoute { durable: true, ..out("a/#") }, out("#"), out("a/#")]);
        let filters = |keep| routes.outward_filters(keep).into_iter().map(|it| it.topic).collect::<Vec<_>>();
        assert_eq!(
            (filters(Keep::Durable), filters(Keep::Passing)),
            (vec!["a/#".to_owned()], vec!["#".to_owned(), "a/#".to_owned()])
        );
        let keep = |topic| routes.destination(Way::Out, topic).unwrap().keep;
        assert_eq!((keep("a/b"), keep("b")), (Keep::Durable, Keep::Passing));
    }

    #[test]
    fn an_answer_takes_the_way_back_or_none() {
        let routes = Routes::new(&[
            route(BridgeDirection::Out, "+/reply", "tidegate/", "plant/", 1),
            route(BridgeDirection::Out, "#", "tidegate/", "rest/", 1),
            route(BridgeDirection::In, "set/#", "", "orders/", 1),
        ]);
        let inward = |topic| routes.answer(Way::In, topic);
        assert_eq!(inward("plant/line3/reply").as_deref(), Some("tidegate/line3/reply"));
        assert_eq!(inward("rest/line3/state").as_deref(), Some("tidegate/line3/state"));
        assert_eq!(inward("rest/line3/reply"), None, "the first route takes it elsewhere");
        for topic in ["tidegate/line3/state", "plant/line3/state", "orders/set/x", "rest/+", "rest/#", "", "elsewhere"]
        {
            assert_eq!(inward(topic), None, "{topic}");
        }
        let outward = |topic| routes.answer(Way::Out, topic);
        assert_eq!(outward("set/reply").as_deref(), Some("orders/set/reply"));
        assert_eq!(outward("elsewhere"), None);
        let all = Routes::new(&[route(BridgeDirection::Both, "#", "", "", 1)]);
        assert_eq!(all.answer(Way::In, "a/b").as_deref(), Some("a/b"));
        assert_eq!(all.answer(Way::In, ""), None);
        assert_eq!(all.answer(Way::In, "$SYS/x"), None);
    }
}
