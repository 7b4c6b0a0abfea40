//! The keys of links, devices and profiles.

use std::{fmt, net::Ipv6Addr, time::Duration};

use tidegate_driver_api::config::{At, Device, FromNode, Kind, Node, Profile, Report, Table, TagSource};

use crate::{Point, UnitId};

/// The port of Modbus TCP (Modbus Messaging on TCP/IP 1.0b §4.3.1).
const PORT: u16 = 502;

/// Most registers that one request can read (Modbus Application Protocol 1.1b3 §6.3).
const MOST_REGISTERS: u16 = 125;
/// Most coils that one request can read (§6.1).
const MOST_COILS: u16 = 2000;
/// Most registers that one request can write (§6.12).
const MOST_WRITTEN_REGISTERS: u16 = 123;
/// Most coils that one request can write (§6.11).
const MOST_WRITTEN_COILS: u16 = 1968;

/// Where a device or gateway listens: the key `address` of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
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

    /// Takes the keys of a link. Every mistake goes into `report`.
    pub fn parse(link: &Table, report: &mut Report) -> Option<Endpoint> {
        let endpoint: Option<At<Endpoint>> = link.require("address", "\"192.168.1.10:502\"", report);
        link.finish(report);
        endpoint.map(|endpoint| endpoint.value)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromNode for Endpoint {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<Endpoint> {
        let help =
            Some("write a name or address and a port: \"192.168.1.10:502\"; without a port it is 502".to_owned());
        let Kind::Text(text) = &node.kind else {
            report.error(&node.origin, format!("`{key}` has to be a string, but is {}", node.kind.describe()), help);
            return None;
        };
        match endpoint(text) {
            Ok(endpoint) => Some(endpoint),
            Err(message) => {
                report.error(&node.origin, message, help);
                None
            }
        }
    }

    fn to_toml(&self) -> String {
        format!("\"{self}\"")
    }
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    if text.contains("://") {
        return Err(format!("\"{text}\" is a URL, not a host and a port"));
    }
    let (host, port) = if text.parse::<Ipv6Addr>().is_ok() {
        (text, None)
    } else if let Some((host, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        if host.parse::<Ipv6Addr>().is_err() {
            return Err(format!("\"{host}\" is no IPv6 address"));
        }
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err(format!("\"{rest}\" behind the address is no port")),
        }
    } else {
        text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/' || c == '[') {
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
    Ok(Endpoint { host: host.to_owned(), port })
}

impl UnitId {
    /// Takes the keys of a device: `unit`, 0 to 255, 1 unless set.
    pub fn parse(device: &Device, report: &mut Report) -> UnitId {
        let unit = device.table.take_or("unit", UnitId::DEFAULT.get(), report);
        device.table.finish(report);
        UnitId::from(unit.value)
    }
}

/// `[quirks]`: what a model cannot do, and what it does its own way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quirks {
    /// Registers that one request reads at most, 1 to 125.
    pub max_registers: u16,
    /// Coils that one request reads at most, 1 to 2000.
    pub max_coils: u16,
    /// Registers between two tags that are read along rather than asking twice.
    pub max_gap: u16,
    /// Coils between two tags that are read along rather than asking twice.
    pub max_coil_gap: u16,
    /// Registers that one request writes at most, 1 to 123.
    pub max_write_registers: u16,
    /// Coils that one request writes at most, 1 to 1968.
    pub max_write_coils: u16,
    /// Whether the model knows the functions 5 and 6; otherwise 15 and 16 write single values too.
    pub single_writes: bool,
    /// The line is silent that long between an answer and the next request.
    pub turnaround: Duration,
    /// Exception codes by which the model says that an address does not exist; 2 and 3 unless set, some models say 4.
    pub bad_address_codes: Vec<u8>,
    /// An address that does not exist is asked for again after this time.
    pub retry_bad_address: Duration,
}

impl Default for Quirks {
    fn default() -> Quirks {
        Quirks {
            max_registers: MOST_REGISTERS,
            max_coils: MOST_COILS,
            max_gap: 16,
            max_coil_gap: 128,
            max_write_registers: MOST_WRITTEN_REGISTERS,
            max_write_coils: MOST_WRITTEN_COILS,
            single_writes: true,
            turnaround: Duration::ZERO,
            bad_address_codes: vec![2, 3],
            retry_bad_address: Duration::from_secs(600),
        }
    }
}

impl Quirks {
    /// Takes the keys of `[quirks]`. Every mistake goes into `report`; a wrong value is replaced by its default.
    pub fn parse(keys: &Table, report: &mut Report) -> Quirks {
        let usual = Quirks::default();
        let quirks = Quirks {
            max_registers: limit(keys, "max_registers", MOST_REGISTERS, report),
            max_coils: limit(keys, "max_coils", MOST_COILS, report),
            max_gap: keys.take_or("max_gap", usual.max_gap, report).value,
            max_coil_gap: keys.take_or("max_coil_gap", usual.max_coil_gap, report).value,
            max_write_registers: limit(keys, "max_write_registers", MOST_WRITTEN_REGISTERS, report),
            max_write_coils: limit(keys, "max_write_coils", MOST_WRITTEN_COILS, report),
            single_writes: keys.take_or("single_writes", usual.single_writes, report).value,
            turnaround: keys.take_or("turnaround", usual.turnaround, report).value,
            bad_address_codes: keys.take_or("bad_address_codes", usual.bad_address_codes, report).value,
            retry_bad_address: keys.take_or("retry_bad_address", usual.retry_bad_address, report).value,
        };
        keys.finish(report);
        quirks
    }
}

/// A number from 1 to what the protocol allows, which it is unless set.
fn limit(keys: &Table, key: &'static str, most: u16, report: &mut Report) -> u16 {
    keys.take_within(key, most, 1..=most, report).value
}

/// A profile as a Modbus device sees it: the quirks, and a point for each tag that the device holds.
#[derive(Debug)]
pub struct Points {
    /// `[quirks]`.
    pub quirks: Quirks,
    /// By group and column; `None` for constants and calculated tags.
    pub groups: Vec<Vec<Option<Point>>>,
}

impl Points {
    /// Takes all keys of a profile. Every mistake goes into `report`; the answer is `None` when a tag has one.
    pub fn parse(profile: &Profile, report: &mut Report) -> Option<Points> {
        let quirks = Quirks::parse(&profile.quirks, report);
        let mut complete = true;
        let mut groups = Vec::with_capacity(profile.groups.len());
        for group in &profile.groups {
            let mut points = Vec::with_capacity(group.tags.len());
            for tag in &group.tags {
                let point = match &tag.source {
                    TagSource::Device(keys) => {
                        let point = Point::parse(tag, keys, &quirks, report);
                        complete &= point.is_some();
                        point
                    }
                    TagSource::Constant(_) | TagSource::Expression(_) => None,
                };
                points.push(point);
            }
            groups.push(points);
        }
        complete.then_some(Points { quirks, groups })
    }
}
