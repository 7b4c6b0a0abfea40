//! `[broker]`, its listeners and what it keeps.

use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

use super::{
    broker_limits, broker_users, section,
    target::file,
    topic::{check_root, is_origin, is_path},
    web::collide,
};
use crate::{
    At, Broker, BrokerIdentity, BrokerPersistence, BrokerTls, BrokerWebSocket, ByteSize, CertificateName,
    ClientCertificates, Origin, Report, Table,
};

const SECOND: Duration = Duration::from_secs(1);
const DEFAULT_PATH: &str = "/mqtt";
/// Less would not hold the messages of one session.
const DISK: RangeInclusive<ByteSize> = ByteSize(1 << 20)..=ByteSize(64 << 30);
/// A listener has no more connections than a process can have open files.
pub(super) const CONNECTIONS: RangeInclusive<u32> = 1..=1_000_000;

/// Reads `[broker]`.
pub(super) fn broker(root: &Table, report: &mut Report) -> Broker {
    let table = section(root, "broker", report);
    let defaults = Broker::on(SocketAddr::from(([127, 0, 0, 1], 1883)));
    let listen = table.take_or("listen", defaults.listen, report);
    let max_connections = connections(&table, report);
    let topic_root = table.take_or("topic_root", defaults.topic_root.clone(), report);
    let topic_root = if check_root(&topic_root, report) { topic_root.value } else { defaults.topic_root };
    let tag_topics = table.take_or("tag_topics", false, report).value;
    let sys_interval = table.take_within("sys_interval", 10 * SECOND, Duration::ZERO..=3600 * SECOND, report).value;
    let mut taken = vec![(listen.clone(), "the broker")];
    let tls = tls(&table, &mut taken, report);
    let websocket = websocket(&table, tls.as_ref(), &mut taken, report);
    let addresses: Vec<At<SocketAddr>> = taken.into_iter().map(|(address, _)| address).collect();
    let (users, anonymous) = broker_users::users(&table, &addresses, tls.as_ref(), report);
    let limits = broker_limits::limits(&table, report);
    let persistence = persistence(&table, report);
    table.finish(report);
    Broker {
        listen: listen.value,
        max_connections,
        topic_root,
        tag_topics,
        sys_interval: Some(sys_interval).filter(|interval| !interval.is_zero()),
        users,
        anonymous,
        tls,
        websocket,
        limits,
        persistence,
    }
}

fn connections(table: &Table, report: &mut Report) -> u32 {
    table.take_within("max_connections", Broker::MAX_CONNECTIONS, CONNECTIONS, report).value
}

/// Notes where something listens; the second at the same address is a mistake.
fn note(
    listen: &At<SocketAddr>,
    who: &'static str,
    taken: &mut Vec<(At<SocketAddr>, &'static str)>,
    report: &mut Report,
) {
    if let Some((_, other)) = taken.iter().find(|(other, _)| collide(other.value, listen.value)) {
        let message = format!("{other} listens on {} already", listen.value);
        report.error(&listen.origin, message, Some("give one of the two another port".to_owned()));
    }
    taken.push((listen.clone(), who));
}

fn tls(broker: &Table, taken: &mut Vec<(At<SocketAddr>, &'static str)>, report: &mut Report) -> Option<BrokerTls> {
    let table = broker.table("tls", "broker.tls", report)?;
    let listen = table.require::<SocketAddr>("listen", "\"0.0.0.0:8883\"", report);
    if let Some(listen) = &listen {
        note(listen, "the broker's TLS", taken, report);
    }
    let max_connections = connections(&table, report);
    for (key, example) in [("certificate", "\"certs/broker.pem\""), ("key", "\"certs/broker.key\"")] {
        if !table.has(key) {
            report.missing(table.origin(), format!("`{key}` is missing"), Some(format!("add `{key} = {example}`")));
        }
    }
    let certificate = file(&table, "certificate", report);
    let key = file(&table, "key", report);
    let clients = clients(&table, report);
    table.finish(report);
    let identity = BrokerIdentity { certificate: certificate?, key: key?, clients };
    Some(BrokerTls { listen: listen?.value, max_connections, identity })
}

/// Which certificates clients have to show.
fn clients(table: &Table, report: &mut Report) -> Option<ClientCertificates> {
    let choices = [("required", true), ("optional", false)];
    let required = table.choice("client_certificate", &choices, report);
    let names = [("cn", CertificateName::CommonName), ("san", CertificateName::AlternativeName)];
    let name = table.choice("client_name", &names, report);
    if table.has("client_ca") {
        table.note_default("client_certificate", "\"required\"", report);
        table.note_default("client_name", "\"cn\"", report);
    }
    let ca = file(table, "client_ca", report);
    for key in ["client_certificate", "client_name"].into_iter().filter(|key| table.has(key)) {
        if !table.has("client_ca") {
            let help = "add `client_ca = \"certs/clients.pem\"`, or remove it".to_owned();
            report.error(table.origin_of(key), format!("`{key}` has no effect without `client_ca`"), Some(help));
        }
    }
    Some(ClientCertificates {
        ca: ca?,
        required: required.is_none_or(|required| required.value),
        name: name.map_or(CertificateName::CommonName, |name| name.value),
    })
}

fn websocket(
    broker: &Table,
    tls: Option<&BrokerTls>,
    taken: &mut Vec<(At<SocketAddr>, &'static str)>,
    report: &mut Report,
) -> Option<BrokerWebSocket> {
    let table = broker.table("websocket", "broker.websocket", report)?;
    let listen = table.require::<SocketAddr>("listen", "\"127.0.0.1:9001\"", report);
    if let Some(listen) = &listen {
        note(listen, "the broker's WebSocket", taken, report);
    }
    let max_connections = connections(&table, report);
    let path = table.take_or("path", DEFAULT_PATH.to_owned(), report);
    if !is_path(&path) {
        let help = "write it like \"/mqtt\"".to_owned();
        report.error(&path.origin, "`path` is no path of a URL".to_owned(), Some(help));
    }
    let encrypted = table.take_or("tls", false, report);
    if encrypted.value && !broker.has("tls") {
        let help = "add `[broker.tls]` with `certificate` and `key`".to_owned();
        report.error(&encrypted.origin, "there is no certificate for `tls = true`".to_owned(), Some(help));
    }
    let nothing = At { value: Vec::new(), origin: Origin::Default };
    let origins: Vec<At<String>> = table.take("origins", report).unwrap_or(nothing).value;
    for origin in origins.iter().filter(|origin| !is_origin(origin)) {
        let help = "write it like \"https://panel.example.com\", or \"*\" for every page".to_owned();
        report.error(&origin.origin, "an origin of `origins` is none".to_owned(), Some(help));
    }
    table.finish(report);
    Some(BrokerWebSocket {
        listen: listen?.value,
        max_connections,
        path: path.value,
        origins: origins.into_iter().map(|origin| origin.value).collect(),
        tls: tls.filter(|_| encrypted.value).map(|tls| tls.identity.clone()),
    })
}

fn persistence(broker: &Table, report: &mut Report) -> Option<BrokerPersistence> {
    let table = broker.inner("persistence", "broker.persistence", "{ max_size = \"64MiB\" }", report);
    let table = table.unwrap_or_else(|| broker.empty_inner("persistence", "broker.persistence"));
    let defaults = BrokerPersistence::default();
    let enabled = table.take_or("enabled", true, report).value;
    let commits = Duration::from_millis(10)..=60 * SECOND;
    let commit = table.take_within("commit", defaults.commit, commits, report).value;
    let max_size = table.take_within("max_size", defaults.max_size, DISK, report).value;
    table.finish(report);
    enabled.then_some(BrokerPersistence { commit, max_size })
}
