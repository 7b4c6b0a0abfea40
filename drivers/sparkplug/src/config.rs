//! The keys of links, devices and tags.

use std::path::PathBuf;

use tidegate_driver_api::config::{At, Device, Report, Secret, Table};
use tidegate_sparkplug::{DataType, Id};

/// The keys of a link.
#[derive(Debug, Clone)]
pub(crate) struct LinkKeys {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Present when the connection is encrypted: the file of the authorities, if not the system's.
    pub(crate) tls: Option<Option<PathBuf>>,
    pub(crate) login: Option<(String, Secret)>,
    pub(crate) client_id: Option<String>,
    pub(crate) group: Id,
    pub(crate) node: Id,
    /// The id under which the gateway says that it is there, for nodes that wait for it.
    pub(crate) host_id: Option<Id>,
}

/// Which metrics of a node a device has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Those of the node itself.
    Node,
    /// Those of this device.
    Device(String),
}

/// The keys of a tag.
#[derive(Debug, Clone)]
pub(crate) struct TagKeys {
    /// The metric; the tag's name unless set.
    pub(crate) metric: Option<String>,
    pub(crate) datatype: DataType,
    /// Number of items of an array.
    pub(crate) items: Option<u32>,
}

/// Items of an array, at most.
const MOST_ITEMS: u32 = 65_536;

impl LinkKeys {
    /// Takes the keys of a link. Every mistake goes into `report`.
    pub(crate) fn parse(link: &Table, report: &mut Report) -> Option<LinkKeys> {
        let address = link.require::<String>("address", "\"192.168.1.10:1883\"", report);
        let address = address.and_then(|address| split(&address, report));
        let encrypted = link.take_or("tls", false, report).value;
        let ca = link.take::<PathBuf>("ca", report);
        if let (Some(ca), false) = (&ca, encrypted) {
            report.error(&ca.origin, "`ca` has no effect without TLS", Some("add `tls = true`".to_owned()));
        }
        let username = link.take::<String>("username", report);
        let password = link.take::<Secret>("password", report);
        for (one, other) in [("username", "password"), ("password", "username")] {
            if link.has(one) && !link.has(other) {
                report.error(link.origin_of(one), format!("`{one}` without `{other}`"), None);
            }
        }
        let client_id = link.take::<String>("client_id", report).map(|id| id.value);
        let group = link.require::<String>("group_id", "\"plant1\"", report);
        let group = group.and_then(|text| id("group_id", text, report));
        let node = link.require::<String>("edge_node_id", "\"line3\"", report);
        let node = node.and_then(|text| id("edge_node_id", text, report));
        let host_id = match link.take::<String>("host_id", report) {
            Some(text) => id("host_id", text, report).map(Some),
            None => Some(None),
        };
        link.finish(report);
        let (host, port) = address?;
        let login = username.zip(password).map(|(name, password)| (name.value, password.value));
        let tls = encrypted.then(|| ca.map(|ca| ca.value));
        Some(LinkKeys { host, port, tls, login, client_id, group: group?, node: node?, host_id: host_id? })
    }
}

fn split(address: &At<String>, report: &mut Report) -> Option<(String, u16)> {
    let parts = address.value.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.contains("//"));
    let parts =
        parts.and_then(|(host, port)| Some((host.to_owned(), port.parse::<u16>().ok().filter(|port| *port > 0)?)));
    if parts.is_none() {
        let help = Some("write a host and a port: \"192.168.1.10:1883\"".to_owned());
        report.error(&address.origin, format!("\"{}\" is no host with a port", address.value), help);
    }
    parts
}

fn id(key: &str, text: At<String>, report: &mut Report) -> Option<Id> {
    match text.value.parse() {
        Ok(id) => Some(id),
        Err(why) => {
            report.error(&text.origin, format!("`{key}`: {why}"), None);
            None
        }
    }
}

/// Takes the keys of a device.
pub(crate) fn whose(device: &Device, report: &mut Report) -> Option<Whose> {
    let of_node = device.table.take_or("node_metrics", false, report);
    let name = device.table.take::<String>("device_id", report);
    device.table.finish(report);
    match (of_node.value, name) {
        (true, None) => Some(Whose::Node),
        (true, Some(name)) => {
            let help = "a device has the metrics of the node or those of one device; remove one of them".to_owned();
            report.error(&name.origin, "`device_id` beside `node_metrics`", Some(help));
            None
        }
        (false, Some(name)) => id("device_id", name, report).map(|id| Whose::Device(id.to_string())),
        (false, None) => Some(Whose::Device(device.name.to_string())),
    }
}

impl TagKeys {
    /// Takes the keys of a tag.
    pub(crate) fn parse(tag: &Table, report: &mut Report) -> Option<TagKeys> {
        let metric = tag.take::<String>("metric", report);
        let datatype = tag.require::<String>("datatype", "\"Double\"", report);
        let items = tag.take::<u32>("items", report);
        tag.finish(report);
        let datatype = datatype?;
        let Some((found, array)) =
            DataType::from_name(&datatype.value).and_then(|found| Some((found, found.kind()?.1)))
        else {
            let words: Vec<&str> =
                DataType::ALL.into_iter().filter(|found| found.kind().is_some()).map(DataType::as_str).collect();
            let help = Some(format!("it can be {}", words.join(", ")));
            report.error(&datatype.origin, format!("`datatype` cannot be \"{}\"", datatype.value), help);
            return None;
        };
        match (array, &items) {
            (true, None) => {
                let help = Some("add `items = 4`, the number of its items".to_owned());
                report.error(&datatype.origin, "an array without `items`", help);
                return None;
            }
            (false, Some(items)) => {
                report.error(&items.origin, "`items` of what is no array", None);
                return None;
            }
            (true, Some(items)) if !(1..=MOST_ITEMS).contains(&items.value) => {
                report.error(&items.origin, format!("`items` has to be from 1 to {MOST_ITEMS}"), None);
                return None;
            }
            _ => {}
        }
        let (metric, items) = (metric.map(|metric| metric.value), items.map(|items| items.value));
        Some(TagKeys { metric, datatype: found, items })
    }
}
