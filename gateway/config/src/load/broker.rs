//! `[broker]` and `[[broker.user]]`.

use std::net::{Ipv4Addr, SocketAddr};

use super::{
    names::Names,
    not_yet, section,
    topic::{check_filter, check_root},
};
use crate::{At, Broker, BrokerUser, Origin, Report, Secret, Table};

const DEFAULT_ROOT: &str = "tidegate";

/// Reads `[broker]`.
pub(super) fn broker(root: &Table, report: &mut Report) -> Broker {
    let table = section(root, "broker", report);
    let listen = table.take_or("listen", SocketAddr::from((Ipv4Addr::LOCALHOST, 1883)), report);
    let topic_root = table.take_or("topic_root", DEFAULT_ROOT.to_owned(), report);
    let topic_root = if check_root(&topic_root, report) { topic_root.value } else { DEFAULT_ROOT.to_owned() };
    let tag_topics = table.take_or("tag_topics", false, report).value;
    let plain = "this version listens on `listen`, without encryption";
    not_yet(&table, "tls", plain, report);
    not_yet(&table, "websocket", plain, report);
    let users = users(&table, report);
    if !listen.ip().is_loopback() && !table.has("user") {
        let help = "add `[[broker.user]]`, or listen on 127.0.0.1".to_owned();
        let message = format!("without users, everybody who reaches {} could write to the machines", listen.value);
        report.missing(&listen.origin, message, Some(help));
    }
    table.finish(report);
    Broker { listen: listen.value, topic_root, tag_topics, users }
}

fn users(broker: &Table, report: &mut Report) -> Vec<BrokerUser> {
    let mut names = Names::new("user");
    let tables = broker.tables("user", "broker.user", report);
    tables.into_iter().filter_map(|table| user(table, &mut names, report)).collect()
}

fn user(table: Table, names: &mut Names, report: &mut Report) -> Option<BrokerUser> {
    let table = table.named("broker.user", "");
    let name = table.require::<String>("name", "\"scada\"", report);
    let path = name.as_ref().map_or("", |name| name.as_str());
    let table = table.named("broker.user", format!("broker.user.{path}"));
    if let Some(name) = &name {
        if name.is_empty() {
            report.error(&name.origin, "`name` is empty", None);
        }
        names.add(name, report);
    }
    let password = table.require::<Secret>("password", "\"env:SCADA_PASSWORD\"", report);
    let publish = filters(&table, "publish", report);
    let subscribe = filters(&table, "subscribe", report);
    if publish.is_empty() && subscribe.is_empty() && !table.has("publish") && !table.has("subscribe") {
        let help = "add `subscribe = [\"tidegate/#\"]`".to_owned();
        report.warning(table.origin(), "this user may neither publish nor subscribe", Some(help));
    }
    table.finish(report);
    Some(BrokerUser { name: name?.value, password: password?.value, publish, subscribe })
}

fn filters(table: &Table, key: &'static str, report: &mut Report) -> Vec<String> {
    let nothing = At { value: Vec::new(), origin: Origin::Default };
    let filters: Vec<At<String>> = table.take(key, report).unwrap_or(nothing).value;
    for filter in &filters {
        check_filter(filter, key, report);
    }
    filters.into_iter().map(|filter| filter.value).collect()
}
