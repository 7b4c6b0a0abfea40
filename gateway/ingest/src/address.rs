//! The address of a broker, as it is written after `--from`.

use crate::{IngestError, options::Address};

const WANTED: &str = "write mqtt://USER@HOST:1883, or mqtts://USER@HOST:8883 with TLS";

/// Reads `mqtt://user@host:port`. User and port may be missing.
pub(crate) fn parse(text: &str) -> Result<Address, IngestError> {
    // What is refused is not repeated: it may hold a password.
    let refused = |what: &str| Err(IngestError::From { why: format!("{what}; {WANTED}") });
    let Some((scheme, rest)) = text.split_once("://") else { return refused("it has no scheme") };
    let (tls, default_port) = match scheme {
        "mqtt" => (false, 1883),
        "mqtts" => (true, 8883),
        "ws" | "wss" => return refused("websockets are not supported"),
        _ => return refused("its scheme is unknown"),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    if user.is_some_and(|user| user.contains(':')) {
        return refused("it may not hold the password; give it with --password env:NAME or file:PATH");
    }
    if user.is_some_and(str::is_empty) {
        return refused("there is no user before the @");
    }
    if rest.contains(['/', '?', '#']) {
        return refused("something stands behind host and port");
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(bracketed) => match bracketed.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => match port.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return refused("something stands between host and port"),
            },
            None => return refused("a [ has no ]"),
        },
        None => match rest.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => return refused("an IPv6 address stands in brackets"),
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return refused("it has no host");
    }
    let port = match port.map(str::parse::<u16>) {
        None => default_port,
        Some(Ok(port)) if port > 0 => port,
        Some(_) => return refused("a port is a number from 1 to 65535"),
    };
    Ok(Address { host: host.to_owned(), port, tls, user: user.map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16, tls: bool, user: Option<&str>) -> Address {
        Address { host: host.to_owned(), port, tls, user: user.map(str::to_owned) }
    }

    #[test]
    fn addresses_are_read() {
        let cases = [
            ("mqtt://broker", address("broker", 1883, false, None)),
            ("mqtt://tide@broker:1884/", address("broker", 1884, false, Some("tide"))),
            ("mqtts://broker.example.com", address("broker.example.com", 8883, true, None)),
            ("mqtts://a@b@[fd00::1]:99", address("fd00::1", 99, true, Some("a@b"))),
            ("mqtt://[::1]", address("::1", 1883, false, None)),
        ];
        for (text, wanted) in cases {
            assert_eq!(parse(text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn a_password_in_the_address_is_refused_and_not_repeated() {
        let error = parse("mqtt://tide:low@broker").unwrap_err().to_string();
        assert!(error.contains("--password") && !error.contains("low"), "{error}");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "broker",
            "mqtt://",
            "http://broker",
            "ws://broker",
            "mqtt://@broker",
            "mqtt://broker:0",
            "mqtt://broker:x",
            "mqtt://broker/topic",
            "mqtt://fd00::1",
            "mqtt://[fd00::1",
            "mqtt://[fd00::1]1",
            "mqtt://a b",
        ] {
            assert!(matches!(parse(text), Err(IngestError::From { .. })), "{text}");
        }
    }
}
