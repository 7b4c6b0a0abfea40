//! The keys of links, devices and groups.

use std::{fmt, path::PathBuf, time::Duration};

use opcua::{crypto::SecurityPolicy, types::MessageSecurityMode};
use tidegate_driver_api::config::{At, Device, FromNode, Group, Kind, Node, Profile, Report, Secret, Table};

use crate::node::{Address, NodeName, Path};

/// The port of OPC UA (IANA `opcua-tcp`).
const PORT: u16 = 4840;
/// Example of an endpoint in help texts.
const EXAMPLE: &str = "\"opc.tcp://192.168.1.10:4840\"";

/// Where a server listens: the key `endpoint` of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    path: String,
}

impl Endpoint {
    /// A name or an IP address; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port, 1 to 65535.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Endpoint { host, port, path } = self;
        match host.contains(':') {
            true => write!(f, "opc.tcp://[{host}]:{port}{path}"),
            false => write!(f, "opc.tcp://{host}:{port}{path}"),
        }
    }
}

impl FromNode for Endpoint {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<Endpoint> {
        let Kind::Text(text) = &node.kind else {
            let message = format!("`{key}` has to be a string, but is {}", node.kind.describe());
            report.error(&node.origin, message, Some(format!("write {EXAMPLE}")));
            return None;
        };
        match endpoint(text) {
            Ok(endpoint) => Some(endpoint),
            Err(message) => {
                report.error(&node.origin, message, Some(format!("write {EXAMPLE}")));
                None
            }
        }
    }

    fn to_toml(&self) -> String {
        format!("\"{self}\"")
    }
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let Some(rest) = text.strip_prefix("opc.tcp://") else {
        return Err(format!("\"{text}\" does not begin with \"opc.tcp://\""));
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or(rest))),
        None => authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '[' || c == '@') {
        return Err(format!("\"{host}\" is no name or address of a host"));
    }
    let port = match port {
        None => PORT,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| format!("\"{port}\" is no port from 1 to 65535"))?,
    };
    Ok(Endpoint { host: host.to_owned(), port, path: path.to_owned() })
}

/// `security`: how the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Security {
    /// By the strongest policy that the server offers, never by none.
    Strongest,
    /// By this policy.
    Policy(SecurityPolicy),
}

/// The words of `security`.
const SECURITY: [(&str, Security); 5] = [
    ("auto", Security::Strongest),
    ("none", Security::Policy(SecurityPolicy::None)),
    ("basic256sha256", Security::Policy(SecurityPolicy::Basic256Sha256)),
    ("aes128_sha256_rsaoaep", Security::Policy(SecurityPolicy::Aes128Sha256RsaOaep)),
    ("aes256_sha256_rsapss", Security::Policy(SecurityPolicy::Aes256Sha256RsaPss)),
];
/// The words of `mode` of a link.
const MODES: [(&str, MessageSecurityMode); 2] =
    [("sign_and_encrypt", MessageSecurityMode::SignAndEncrypt), ("sign", MessageSecurityMode::Sign)];

/// Who the gateway says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Nobody.
    Anonymous,
    /// A user with a password.
    User(String, Secret),
    /// A user with a certificate (DER or PEM) and its key (PEM).
    Certificate(PathBuf, PathBuf),
}

/// The keys of a link.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkKeys {
    /// Where the server listens.
    pub endpoint: Endpoint,
    /// How the connection is protected.
    pub security: Security,
    /// Whether messages are encrypted or only signed; of no use without security.
    pub mode: MessageSecurityMode,
    /// Who the gateway says it is.
    pub identity: Identity,
    /// Whether the server's certificate has to name the host that is connected to.
    pub check_host: bool,
    /// Whether the server's history fills the hole of an outage.
    pub backfill: bool,
}

impl LinkKeys {
    /// Takes the keys of a link. Every mistake goes into `report`.
    pub fn parse(link: &Table, report: &mut Report) -> Option<LinkKeys> {
        let endpoint: Option<At<Endpoint>> = link.require("endpoint", EXAMPLE, report);
        let security = link.choice("security", &SECURITY, report);
        let mode = link.choice("mode", &MODES, report);
        let check_host = link.take_or("check_host", true, report).value;
        let backfill = link.take_or("backfill", false, report).value;
        let identity = identity(link, report);
        link.finish(report);
        let plain = security.as_ref().is_some_and(|at| at.value == Security::Policy(SecurityPolicy::None));
        if let (true, Some(mode)) = (plain, &mode) {
            report.error(
                &mode.origin,
                "without security nothing is signed or encrypted",
                Some("remove `mode`".to_owned()),
            );
        }
        if let (true, Identity::Certificate(..)) = (plain, identity.as_ref()?) {
            let help = Some("choose another `security`, or log in with `username` and `password`".to_owned());
            report.error(link.origin_of("security"), "a user's certificate proves nothing without security", help);
        }
        if let (true, Identity::User(..)) = (plain, identity.as_ref()?) {
            let help = Some("choose another `security`, unless the network is closed".to_owned());
            report.warning(link.origin_of("security"), "without security the password may travel in clear text", help);
        }
        Some(LinkKeys {
            endpoint: endpoint?.value,
            security: security.map_or(Security::Strongest, |at| at.value),
            mode: mode.map_or(MessageSecurityMode::SignAndEncrypt, |at| at.value),
            identity: identity?,
            check_host,
            backfill,
        })
    }
}

/// Takes `username` with `password`, or `user_certificate` with `user_key`.
fn identity(link: &Table, report: &mut Report) -> Option<Identity> {
    let user: Option<At<String>> = link.take("username", report);
    let password: Option<At<Secret>> = link.take("password", report);
    let certificate: Option<At<PathBuf>> = link.take("user_certificate", report);
    let key: Option<At<PathBuf>> = link.take("user_key", report);
    let mut together = |has: &'static str, wants: &'static str, example: &str| {
        if link.has(has) && !link.has(wants) {
            let help = Some(format!("add `{wants} = {example}`"));
            report.error(link.origin_of(has), format!("`{has}` needs `{wants}`"), help);
        }
    };
    together("username", "password", "\"env:OPCUA_PASSWORD\"");
    together("password", "username", "\"operator\"");
    together("user_certificate", "user_key", "\"user.pem\"");
    together("user_key", "user_certificate", "\"user.der\"");
    if link.has("username") && link.has("user_certificate") {
        let help = Some("keep one of the two".to_owned());
        report.error(link.origin_of("user_certificate"), "a session has one user: by name or by certificate", help);
        return None;
    }
    match (user, password, certificate, key) {
        (Some(user), Some(password), ..) => Some(Identity::User(user.value, password.value)),
        (_, _, Some(certificate), Some(key)) => Some(Identity::Certificate(certificate.value, key.value)),
        _ if ["username", "password", "user_certificate", "user_key"].iter().any(|key| link.has(key)) => None,
        _ => Some(Identity::Anonymous),
    }
}

/// Takes the keys of a device: `root`, where the ways of its tags begin.
pub(crate) fn root(device: &Device, report: &mut Report) -> Option<Address> {
    let text: Option<At<String>> = device.table.take("root", report);
    device.table.finish(report);
    let text = text?;
    let address = if text.starts_with('/') { Path::parse(&text).map(Address::Path) } else { node(&text) };
    match address {
        Ok(address) => Some(address),
        Err(message) => {
            let help = "write \"/Objects/nsu=urn:plant;Line1\" or \"nsu=urn:plant;s=Line1\"".to_owned();
            report.error(&text.origin, format!("\"{}\" names no node: {message}", text.value), Some(help));
            None
        }
    }
}

fn node(text: &str) -> Result<Address, String> {
    NodeName::parse(text).map(Address::Node)
}

/// `mode` of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The server says what has changed.
    Subscribe,
    /// Everything is read at each interval.
    Poll,
}

/// The keys of a group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GroupKeys {
    /// How values come.
    pub(crate) mode: Mode,
    /// The node whose events the rows are.
    pub(crate) events: Option<Address>,
}

impl GroupKeys {
    /// Takes the keys of a group. What nobody took is reported when the profile is finished.
    pub(crate) fn parse(group: &Group, report: &mut Report) -> Option<GroupKeys> {
        let modes = [("subscribe", Mode::Subscribe), ("poll", Mode::Poll)];
        let mode = group.table.choice("mode", &modes, report);
        let events: Option<At<String>> = group.table.take("events", report);
        if let (Some(events), Some(At { value: Mode::Poll, origin })) = (&events, &mode) {
            let _ = events;
            report.error(origin, "events cannot be polled", Some("remove `mode`".to_owned()));
            return None;
        }
        let events = match events {
            None => None,
            Some(text) => Some(address(&text, report)?),
        };
        Some(GroupKeys { mode: mode.map_or(Mode::Subscribe, |at| at.value), events })
    }
}

/// Reads the name of a node; one that stands by the index of its namespace is warned of.
pub(crate) fn address(text: &At<String>, report: &mut Report) -> Option<Address> {
    let help = || Some("write \"nsu=urn:plant;s=T1\", \"nsu=urn:plant;i=7\" or \"i=2253\"".to_owned());
    match node(text) {
        Ok(Address::Node(node)) => {
            if node.namespace.may_move() {
                let message = format!("a server may give the place \"{}\" to another namespace", node.namespace);
                report.warning(&text.origin, message, Some("name it by its URI: \"nsu=…;…\"".to_owned()));
            }
            Some(Address::Node(node))
        }
        Ok(address) => Some(address),
        Err(message) => {
            report.error(&text.origin, format!("\"{}\" names no node: {message}", text.value), help());
            None
        }
    }
}

/// `[quirks]`: what a server cannot do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quirks {
    /// A node that does not exist is asked for again after this time.
    pub retry_bad_address: Duration,
}

impl Quirks {
    /// Takes the keys of `[quirks]`. Every mistake goes into `report`; a wrong value is replaced by its default.
    pub fn parse(profile: &Profile, report: &mut Report) -> Quirks {
        let range = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
        let usual = Duration::from_secs(600);
        let retry_bad_address = profile.quirks.take_within("retry_bad_address", usual, range, report).value;
        profile.quirks.finish(report);
        Quirks { retry_bad_address }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_written_as_it_was_read() {
        for (text, host, port) in [
            ("opc.tcp://plc:4841/server", "plc", 4841),
            ("opc.tcp://[fe80::1]:4840", "fe80::1", 4840),
            ("opc.tcp://10.0.0.7", "10.0.0.7", 4840),
        ] {
            let endpoint = endpoint(text).unwrap();
            assert_eq!((endpoint.host(), endpoint.port()), (host, port));
            assert!(endpoint.to_string().starts_with(text));
        }
        for text in ["plc:4840", "opc.tcp://", "opc.tcp://plc:0", "opc.tcp://plc:x", "http://plc", "opc.tcp://a b"] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }
}
