//! `[[target]]` with `kind = "opcua-server"`.

use std::net::{Ipv4Addr, SocketAddr};

use super::{names::Names, web::collide};
use crate::{At, ByteSize, OpcUaRole, OpcUaServer, OpcUaUser, Origin, Report, Secret, SecurityPolicy, Table};

/// The port of OPC UA (IANA `opcua-tcp`).
const PORT: u16 = 4840;
/// A smaller message would not hold what clients ask for at once; a larger one is a whole database.
const MESSAGE_SIZES: (ByteSize, ByteSize) = (ByteSize(64 << 10), ByteSize(256 << 20));

/// Addresses that are listened on, each with who does.
pub(super) type Listeners = Vec<(SocketAddr, String)>;

/// Reads the keys of this kind.
pub(super) fn server(table: &Table, listeners: &Listeners, report: &mut Report) -> Option<OpcUaServer> {
    let defaults = OpcUaServer::on_loopback(PORT);
    let listen = table.take_or("listen", SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)), report);
    if let Some((taken, who)) = listeners.iter().find(|(taken, _)| collide(listen.value, *taken)) {
        let message = format!("{who} listens on {taken} already");
        report.error(&listen.origin, message, Some("give one of the two another port".to_owned()));
    }
    let near = listen.ip().is_loopback();
    let host = host(table, report);
    let security = security(table, near, report);
    let sign_only = table.take_or("sign_only", defaults.sign_only, report).value;
    let users = users(table, report);
    let anonymous = table.take_or("anonymous", near && users.is_empty() && !table.has("user"), report).value;
    if !anonymous && !table.has("user") {
        let help = "add `[[target.user]]`, or `anonymous = true` when everybody may look".to_owned();
        report.missing(&listen.origin, "without users, nobody can log in to this server".to_owned(), Some(help));
    }
    let max_sessions = table.take_within("max_sessions", defaults.max_sessions, 1..=1_000, report).value;
    let max_subscriptions = table.take_within("max_subscriptions", defaults.max_subscriptions, 1..=1_000, report).value;
    let items = 1..=1_000_000;
    let max_monitored_items = table.take_within("max_monitored_items", defaults.max_monitored_items, items, report);
    let sizes = MESSAGE_SIZES.0..=MESSAGE_SIZES.1;
    let max_message_size = table.take_within("max_message_size", defaults.max_message_size, sizes, report).value;
    Some(OpcUaServer {
        listen: listen.value,
        host,
        security: security?,
        sign_only,
        anonymous,
        users,
        max_sessions,
        max_subscriptions,
        max_monitored_items: max_monitored_items.value,
        max_message_size,
    })
}

fn host(table: &Table, report: &mut Report) -> Option<String> {
    let host = table.take::<String>("host", report)?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':');
    if host.is_empty() || !host.bytes().all(fits) {
        let help = "write a host name or an address, without a port: \"line3.example.com\"".to_owned();
        report.error(&host.origin, "`host` is no host name and no address", Some(help));
        return None;
    }
    Some(host.value)
}

/// The policies. Unencrypted connections from other machines are offered only when somebody has written so.
fn security(table: &Table, near: bool, report: &mut Report) -> Option<Vec<SecurityPolicy>> {
    let first = usize::from(!near);
    let offered = SecurityPolicy::ALL.get(first..).unwrap_or_default();
    let words = offered.iter().map(|policy| policy.as_str().to_owned());
    let default: Vec<At<String>> = words.map(|value| At { value, origin: Origin::Default }).collect();
    let written = table.take_or("security", default, report);
    let mut policies: Vec<SecurityPolicy> = Vec::new();
    let mut whole = true;
    for word in &written.value {
        let Some(policy) = SecurityPolicy::ALL.into_iter().find(|policy| policy.as_str() == word.as_str()) else {
            let words: Vec<&str> = SecurityPolicy::ALL.iter().map(|policy| policy.as_str()).collect();
            let help = match crate::nearest(word, words.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("there are {}", crate::words::list(&words, '"')),
            };
            report.error(&word.origin, "`security` has a policy that there is not", Some(help));
            whole = false;
            continue;
        };
        if policy == SecurityPolicy::None && !near {
            let help = "remove \"none\" if the clients can do any of the others".to_owned();
            let message = "with \"none\", values and passwords can be read and changed on their way";
            report.warning(&word.origin, message, Some(help));
        }
        if !policies.contains(&policy) {
            policies.push(policy);
        }
    }
    if written.value.is_empty() {
        let help = "add `security = [\"basic256sha256\"]`, or remove the key".to_owned();
        report.error(&written.origin, "`security` has no policy, so that nobody can connect", Some(help));
        return None;
    }
    whole.then_some(policies)
}

fn users(target: &Table, report: &mut Report) -> Vec<OpcUaUser> {
    let mut names = Names::new("user");
    let tables = target.tables("user", "target.user", report);
    tables.into_iter().filter_map(|table| user(table, target, &mut names, report)).collect()
}

fn user(table: Table, target: &Table, names: &mut Names, report: &mut Report) -> Option<OpcUaUser> {
    let table = table.named("target.user", "");
    let name = table.require::<String>("name", "\"scada\"", report);
    let path = name.as_ref().map_or("", |name| name.as_str());
    let table = table.named("target.user", target.child_path(&format!("user.{path}")));
    if let Some(name) = &name {
        if name.is_empty() {
            report.error(&name.origin, "`name` is empty", None);
        }
        names.add(name, report);
    }
    let by_certificate = table.has("certificate");
    let certificate = super::target::file(&table, "certificate", report);
    let password = match by_certificate && !table.has("password") {
        true => None,
        false => table.require::<Secret>("password", "\"env:SCADA_PASSWORD\"", report),
    };
    if let Some(password) = password.as_ref().filter(|password| password.reveal().is_empty()) {
        report.error(&password.origin, "`password` is empty", None);
    }
    let roles = [("viewer", OpcUaRole::Viewer), ("operator", OpcUaRole::Operator)];
    let role = match table.has("role") {
        true => table.choice("role", &roles, report).map(|role| role.value),
        false => table.require::<String>("role", "\"viewer\"", report).map(|_| OpcUaRole::Viewer),
    };
    table.finish(report);
    if password.is_none() && !by_certificate {
        return None;
    }
    let password = password.map(|password| password.value);
    Some(OpcUaUser { name: name?.value, password, certificate, role: role? })
}
