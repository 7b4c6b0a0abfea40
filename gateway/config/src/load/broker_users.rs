//! `[[broker.user]]` and what clients may do that are none of them.

use std::net::SocketAddr;

use super::{names::Names, topic::check_filter};
use crate::{Anonymous, At, BrokerLogin, BrokerTls, BrokerUser, Kind, Origin, Report, Secret, Table, TopicRights};

/// Memory and passes of a hash that is checked at each login: what is more would be a way to stop the gateway.
const MOST_KIBIBYTES: u32 = 256 * 1024;
const MOST_PASSES: u32 = 64;

/// Reads the users, and what others may do. `listeners`: all addresses of the broker.
pub(super) fn users(
    broker: &Table,
    listeners: &[At<SocketAddr>],
    tls: Option<&BrokerTls>,
    report: &mut Report,
) -> (Vec<BrokerUser>, Anonymous) {
    let certificates = tls.is_some_and(|tls| tls.identity.clients.is_some());
    let mut names = Names::new("user");
    let tables = broker.tables("user", "broker.user", report);
    let users = tables.into_iter().filter_map(|table| user(table, certificates, &mut names, report)).collect();
    (users, anonymous(broker, listeners, report))
}

fn user(table: Table, certificates: bool, names: &mut Names, report: &mut Report) -> Option<BrokerUser> {
    let table = table.named("broker.user", "");
    let name = table.require::<String>("name", "\"scada\"", report);
    let path = name.as_ref().map_or("", |name| name.as_str());
    let table = table.named("broker.user", format!("broker.user.{path}"));
    if let Some(name) = &name {
        if name.is_empty() {
            report.error(&name.origin, "`name` is empty", None);
        }
        if name.starts_with('$') {
            let help = "give the user a name that does not begin with `$`".to_owned();
            report.error(&name.origin, "names with `$` are those of the gateway's own bridges", Some(help));
        }
        names.add(name, report);
    }
    let login = login(&table, certificates, report);
    let publish = filters(&table, "publish", report);
    let subscribe = filters(&table, "subscribe", report);
    if publish.is_empty() && subscribe.is_empty() && !table.has("publish") && !table.has("subscribe") {
        let help = "add `subscribe = [\"tidegate/#\"]`".to_owned();
        report.warning(table.origin(), "this user may neither publish nor subscribe", Some(help));
    }
    table.finish(report);
    Some(BrokerUser { name: name?.value, login: login?, rights: TopicRights { publish, subscribe } })
}

fn login(table: &Table, certificates: bool, report: &mut Report) -> Option<BrokerLogin> {
    if table.has("password_hash") {
        let hash = hash(table, report);
        if table.has("password") {
            table.take::<Secret>("password", report);
            let help = "remove one of the two".to_owned();
            report.error(table.origin_of("password"), "there is already a `password_hash`".to_owned(), Some(help));
        }
        return hash.map(BrokerLogin::Hash);
    }
    // Asked for all the same, so that a misspelt one is told its name.
    table.node("password_hash", report);
    if certificates && !table.has("password") {
        return Some(BrokerLogin::Certificate);
    }
    let password = table.require::<Secret>("password", "\"env:SCADA_PASSWORD\"", report)?;
    Some(BrokerLogin::Password(password.value))
}

/// A hash may stand in the file; one in a variable or a file of its own is taken from there.
fn hash(table: &Table, report: &mut Report) -> Option<Secret> {
    let node = table.node("password_hash", report)?.clone();
    let hash = match &node.kind {
        Kind::Text(text) if text.starts_with('$') => Secret::literal(text.clone()),
        _ => table.take::<Secret>("password_hash", report)?.value,
    };
    if let Err(why) = check_hash(hash.reveal()) {
        let help = "make one with `tidegate password`".to_owned();
        report.error(&node.origin, format!("`password_hash` {why}"), Some(help));
        return None;
    }
    Some(hash)
}

/// Whether a text is an argon2 hash in PHC form that does not cost too much to check.
fn check_hash(text: &str) -> Result<(), String> {
    let unreadable = || "is no argon2 hash like \"$argon2id$v=19$m=7168,t=5,p=1$…$…\"".to_owned();
    let parts: Vec<&str> = text.split('$').collect();
    let ["", "argon2id" | "argon2i" | "argon2d", "v=19", costs, salt, output] = parts.as_slice() else {
        return Err(unreadable());
    };
    let base64 = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
    if !base64(salt) || !base64(output) || salt.len() < 11 || output.len() < 16 || text.len() > 512 {
        return Err(unreadable());
    }
    for cost in costs.split(',') {
        let (name, number) = cost.split_once('=').ok_or_else(unreadable)?;
        let number: u32 = number.parse().map_err(|_| unreadable())?;
        let most = match name {
            "m" => MOST_KIBIBYTES,
            "t" => MOST_PASSES,
            "p" => 16,
            _ => return Err(unreadable()),
        };
        if number > most {
            return Err(format!("asks for {cost}, and a login may cost {name}={most} at most"));
        }
    }
    Ok(())
}

fn anonymous(broker: &Table, listeners: &[At<SocketAddr>], report: &mut Report) -> Anonymous {
    let open = listeners.iter().find(|listener| !listener.ip().is_loopback());
    let users = broker.has("user");
    if open.is_none() && !users {
        broker.note_default("anonymous", "true", report);
    } else {
        broker.note_default("anonymous", "false", report);
    }
    let wanted = broker.take::<bool>("anonymous", report);
    let publish = filters(broker, "anonymous_publish", report);
    let subscribe = filters(broker, "anonymous_subscribe", report);
    let written = ["anonymous_publish", "anonymous_subscribe"].into_iter().filter(|key| broker.has(key));
    let written: Vec<&str> = written.collect();
    match wanted {
        Some(At { value: true, origin }) => {
            if open.is_none() && !users && written.is_empty() {
                return Anonymous::Everything;
            }
            if written.is_empty() {
                let help = "add `anonymous_subscribe = [\"tidegate/#\"]`".to_owned();
                report.warning(&origin, "without a login clients may neither publish nor subscribe", Some(help));
            }
            Anonymous::Rights(TopicRights { publish, subscribe })
        }
        wanted => {
            for key in written {
                let help = "add `anonymous = true`, or remove it".to_owned();
                let message = format!("`{key}` has no effect without `anonymous = true`");
                report.error(broker.origin_of(key), message, Some(help));
            }
            match (wanted, open) {
                (Some(wanted), _) if !users => {
                    let help = "add `[[broker.user]]`, or remove `anonymous`".to_owned();
                    report.error(&wanted.origin, "without users, nobody can connect".to_owned(), Some(help));
                }
                (None, Some(open)) if !users => {
                    let help = "add `[[broker.user]]`, or listen on 127.0.0.1, or write `anonymous = true` and what everybody may do"
                        .to_owned();
                    let message =
                        format!("without users, everybody who reaches {} could write to the machines", open.value);
                    report.missing(&open.origin, message, Some(help));
                }
                (None, None) if !users => return Anonymous::Everything,
                _ => {}
            }
            Anonymous::Refused
        }
    }
}

fn filters(table: &Table, key: &'static str, report: &mut Report) -> Vec<String> {
    let nothing = At { value: Vec::new(), origin: Origin::Default };
    let filters: Vec<At<String>> = table.take(key, report).unwrap_or(nothing).value;
    for filter in &filters {
        check_filter(filter, key, report);
    }
    filters.into_iter().map(|filter| filter.value).collect()
}

#[cfg(test)]
mod tests {
    use super::check_hash;

    #[test]
    fn a_hash_is_argon2_and_affordable() {
        let good = "$argon2id$v=19$m=7168,t=5,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b+dWRWJTmaaJObG";
        assert_eq!(check_hash(good), Ok(()));
        for bad in [
            "",
            "hunter2",
            "$2b$12$abcdefghijklmnopqrstuv",
            "$argon2id$v=19$m=7168,t=5,p=1$c29tZXNhbHRzb21lc2FsdA",
            "$argon2id$v=16$m=7168,t=5,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub",
            "$argon2id$v=19$m=x,t=5,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub",
            "$argon2id$v=19$m=7168,t=5,q=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub",
            "$argon2id$v=19$m=7168,t=5,p=1$short$RdescudvJCsgt3ub",
        ] {
            assert!(check_hash(bad).is_err(), "{bad}");
        }
        assert!(check_hash(&good.replace("m=7168", "m=4194304")).unwrap_err().contains("m=262144 at most"));
    }
}
