//! The address of an MQTT broker: `mqtt://host:port` or `mqtts://host:port`.

use crate::{FromNode, Kind, Node, Report, from_node::wrong_kind, words::nearest};

const WANTED: &str = "an address like \"mqtts://broker.example.com:8883\"";

/// Host and port of a broker, and whether the connection is encrypted.
pub(super) struct MqttUrl {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

impl FromNode for MqttUrl {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<MqttUrl> {
        let Kind::Text(text) = &node.kind else { return wrong_kind(node, key, WANTED, report) };
        match parse(text) {
            Ok(url) => Some(url),
            Err(fault) => {
                if fault.is_secret {
                    report.hide(&node.origin);
                }
                report.error(&node.origin, format!("`{key}` {}", fault.message), Some(fault.help));
                None
            }
        }
    }

    fn to_toml(&self) -> String {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        format!("\"{scheme}://{}:{}\"", self.host, self.port)
    }

    fn shown(node: &Node) -> String {
        match &node.kind {
            Kind::Text(text) if text.contains('@') => "\"***\"".to_owned(),
            _ => node.to_string(),
        }
    }
}

struct Fault {
    message: String,
    help: String,
    /// Whether the address holds a password.
    is_secret: bool,
}

fn fault<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { message: message.into(), help: help.into(), is_secret: false })
}

fn parse(text: &str) -> Result<MqttUrl, Fault> {
    if text.contains('@') {
        let help = "move them to `username` and `password = \"env:NAME\"`".to_owned();
        return Err(Fault { message: "may not hold user name and password".to_owned(), help, is_secret: true });
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return fault("has no scheme", format!("write \"mqtt://{text}\", or \"mqtts://{text}\" with TLS"));
    };
    let tls = match scheme {
        "mqtt" => false,
        "mqtts" => true,
        "ws" | "wss" => return fault("cannot be a websocket in this version", "write mqtt:// or mqtts://"),
        "tcp" => return fault("has the scheme tcp", format!("write \"mqtt://{rest}\"")),
        "ssl" | "tls" => return fault(format!("has the scheme {scheme}"), format!("write \"mqtts://{rest}\"")),
        other => {
            let help = match nearest(other, ["mqtt", "mqtts"]) {
                Some(near) => format!("did you mean \"{near}://\"?"),
                None => "known are mqtt:// and, with TLS, mqtts://".to_owned(),
            };
            return fault(format!("has the unknown scheme {other:?}"), help);
        }
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return fault("has something behind the host and port", format!("write {WANTED}"));
    }
    let (host, port) = split_port(authority)?;
    if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return fault(format!("has no host in {text:?}"), format!("write {WANTED}"));
    }
    let port = match port {
        None => {
            if tls {
                8883
            } else {
                1883
            }
        }
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return fault(format!("has the port {port:?}"), "a port is a number from 1 to 65535"),
        },
    };
    Ok(MqttUrl { host: host.to_owned(), port, tls })
}

/// Host and port; an IPv6 address stands in brackets.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), Fault> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let Some((host, rest)) = bracketed.split_once(']') else {
            return fault("has a `[` without `]`", "write an IPv6 address like \"mqtt://[fd00::1]:1883\"");
        };
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => fault("has something between host and port", format!("write {WANTED}")),
        };
    }
    match authority.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => {
            fault("has an IPv6 address without brackets", format!("write \"mqtt://[{authority}]:1883\""))
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(text: &str) -> (String, u16, bool) {
        let url = parse(text).ok().unwrap();
        (url.host, url.port, url.tls)
    }

    #[test]
    fn ports_and_tls_follow_the_scheme() {
        assert_eq!(ok("mqtt://broker"), ("broker".to_owned(), 1883, false));
        assert_eq!(ok("mqtts://broker.example.com/"), ("broker.example.com".to_owned(), 8883, true));
        assert_eq!(ok("mqtt://10.0.0.1:2000"), ("10.0.0.1".to_owned(), 2000, false));
        assert_eq!(ok("mqtt://[fd00::1]:2000"), ("fd00::1".to_owned(), 2000, false));
        assert_eq!(ok("mqtts://[::1]"), ("::1".to_owned(), 8883, true));
    }

    #[test]
    fn what_is_no_broker_is_refused() {
        for text in [
            "",
            "broker",
            "broker:1883",
            "http://broker",
            "mqtt://",
            "mqtt://:1883",
            "mqtt://broker:0",
            "mqtt://broker:65536",
            "mqtt://broker:port",
            "mqtt://broker/path",
            "mqtt://fd00::1",
            "mqtt://[fd00::1",
            "mqtt://[::1]x",
            "mqtt://a b",
            "wss://broker",
            "mqtt://user:secret@broker",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
