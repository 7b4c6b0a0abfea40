//! `[[bridge]]`.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    names::Names,
    target::{client_id, is_this_machine, login, tls},
    topic::{check_filter, check_prefix},
    url::MqttUrl,
};
use crate::{At, Bridge, BridgeDirection, BridgeProtocol, BridgeRoute, ByteSize, Report, Table};

use tidegate_model::Name;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Less would not hold the messages of a moment.
const QUEUES: RangeInclusive<ByteSize> = ByteSize(64 << 10)..=ByteSize(64 << 30);
const DEFAULT_QUEUE: ByteSize = ByteSize(64 << 20);

/// Reads every `[[bridge]]`.
pub(super) fn bridges(root: &Table, report: &mut Report) -> Vec<Bridge> {
    let mut names = Names::new("bridge");
    let tables = root.tables("bridge", "bridge", report);
    tables.into_iter().filter_map(|table| bridge(table, &mut names, report)).collect()
}

fn bridge(table: Table, names: &mut Names, report: &mut Report) -> Option<Bridge> {
    let table = table.named("bridge", "");
    let name = table.require::<Name>("name", "\"plant\"", report);
    if let Some(name) = &name {
        names.add(name, report);
    }
    let path = name.as_ref().map_or("", |name| name.value.as_str()).to_owned();
    let table = table.named("bridge", format!("bridge.{path}"));
    let url = table.require::<MqttUrl>("url", "\"mqtts://broker.example.com:8883\"", report);
    let login = login(&table, report);
    let tls = tls(&table, url.as_ref(), report);
    if let (Some(url), true) = (&url, table.has("password"))
        && !url.tls
        && !is_this_machine(&url.host)
    {
        let help = "write \"mqtts://\" if the broker can do TLS".to_owned();
        report.warning(&url.origin, "the password travels through the network in clear text", Some(help));
    }
    let protocols = [("5", BridgeProtocol::V5), ("3.1.1", BridgeProtocol::V4)];
    table.note_default("protocol", "\"5\"", report);
    let protocol = table.choice("protocol", &protocols, report).map_or(BridgeProtocol::V5, |found| found.value);
    let client_id = client_id(&table, report);
    let keep_alive = table.take_within("keep_alive", 30 * SECOND, SECOND..=HOUR, report).value;
    let in_flight = table.take_within("in_flight", 100, 1..=10_000, report).value;
    let retry_longest = table.take_within("retry_longest", 10 * SECOND, SECOND..=24 * HOUR, report).value;
    let max_queue = table.take_within("max_queue", DEFAULT_QUEUE, QUEUES, report).value;
    let durable = table.take_or("durable", false, report);
    let tables = table.tables("route", "bridge.route", report);
    let routes: Vec<At<BridgeRoute>> = tables.iter().filter_map(|it| route(it, durable.value, report)).collect();
    check_order(&routes, report);
    let routes: Vec<BridgeRoute> = routes.into_iter().map(|route| route.value).collect();
    if durable.value && table.has("route") && !routes.iter().any(can_wait) {
        let help = "remove it, or add a route with `direction = \"out\"` and `qos = 1`; what comes in waits on the other broker".to_owned();
        report.error(&durable.origin, "`durable` has no effect: nothing goes out with QoS 1".to_owned(), Some(help));
    }
    if !table.has("route") {
        let help = "add `[[bridge.route]]` with `direction` and `filter`".to_owned();
        report.missing(table.origin(), "this bridge has no route, so nothing goes over it".to_owned(), Some(help));
    }
    table.finish(report);
    let MqttUrl { host, port, tls: encrypted } = url?.value;
    Some(Bridge {
        name: name?.value,
        host,
        port,
        tls: encrypted.then_some(tls),
        protocol,
        client_id,
        login,
        routes,
        keep_alive,
        in_flight,
        retry_longest,
        max_queue,
    })
}

/// Whether messages of a route can wait for the other broker.
fn can_wait(route: &BridgeRoute) -> bool {
    route.goes_out() && route.qos > 0
}

/// What has waited in the session of durable routes is passed on only where such a route is the first that wants it: one that never is
/// would lose what it is there to keep.
fn check_order(routes: &[At<BridgeRoute>], report: &mut Report) {
    for (position, route) in routes.iter().enumerate().filter(|(_, route)| route.durable) {
        let mut before = routes.iter().take(position);
        let Some(first) = before.find(|first| first.goes_out() && !first.durable && takes_all(first, route)) else {
            continue;
        };
        let wrong = format!(
            "`durable` has no effect: the route with `filter = \"{}\"` before this one takes all its topics, and is not `durable`",
            first.filter
        );
        let help = "put this route before that one".to_owned();
        report.error(&route.origin, wrong, Some(help));
    }
}

/// Whether `first` selects every topic of the local broker that `route` selects.
fn takes_all(first: &BridgeRoute, route: &BridgeRoute) -> bool {
    let selected = route.local_filter();
    let Some(rest) = selected.strip_prefix(&first.local_prefix) else { return false };
    if rest.starts_with('$') && first.filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = rest.split('/');
    for wanted in first.filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(level)) if level != "#" => {}
            (_, Some(level)) if level == wanted => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// A route, which is where its filter is.
fn route(table: &Table, durable: bool, report: &mut Report) -> Option<At<BridgeRoute>> {
    let directions = [("in", BridgeDirection::In), ("out", BridgeDirection::Out), ("both", BridgeDirection::Both)];
    let direction = match table.has("direction") {
        true => table.choice("direction", &directions, report).map(|found| found.value),
        false => table.require::<String>("direction", "\"out\"", report).map(|_| BridgeDirection::Out),
    };
    let filter = table.require::<String>("filter", "\"#\"", report);
    if let Some(filter) = &filter {
        check_filter(filter, "filter", report);
        if filter.starts_with('$') {
            let help = "write a filter that does not begin with `$`".to_owned();
            report.error(&filter.origin, "topics with `$` belong to the broker they are on".to_owned(), Some(help));
        }
    }
    let local_prefix = table.take_or("local_prefix", String::new(), report);
    check_prefix(&local_prefix, "local_prefix", report);
    let remote_prefix = table.take_or("remote_prefix", String::new(), report);
    check_prefix(&remote_prefix, "remote_prefix", report);
    let qos = table.take_within("qos", 1, 0..=1, report).value;
    let retain = table.take_or("retain", false, report).value;
    let own = table.take::<bool>("durable", report);
    table.finish(report);
    let At { value: filter, origin } = filter?;
    let mut route = BridgeRoute {
        direction: direction?,
        filter,
        local_prefix: local_prefix.value,
        remote_prefix: remote_prefix.value,
        qos,
        retain,
        durable: false,
    };
    if let Some(own) = own.as_ref().filter(|own| own.value && !can_wait(&route)) {
        let help =
            "remove it, or set `direction = \"out\"` and `qos = 1`; what comes in waits on the other broker".to_owned();
        report.error(
            &own.origin,
            "`durable` has no effect: this route sends nothing out with QoS 1".to_owned(),
            Some(help),
        );
    }
    route.durable = can_wait(&route) && own.map_or(durable, |own| own.value);
    Some(At { value: route, origin })
}
