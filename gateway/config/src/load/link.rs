//! `[[link]]`.

use std::{collections::HashMap, time::Duration};

use tidegate_model::Name;

use super::names::Names;
use crate::{At, Device, FromNode, Gateway, Link, Origin, Report, Retry, Table};

const HOUR: Duration = Duration::from_secs(3600);

/// The links of a site, to be filled with devices.
pub(super) struct Links {
    links: Vec<Link>,
    /// All names that were given, also those of links that could not be built.
    names: Names,
    by_name: HashMap<String, usize>,
}

impl Links {
    /// Whether a link of this name was written, and all names.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Puts a device behind the link of that name.
    pub(super) fn add_device(&mut self, link: &str, device: Device) {
        let index = self.by_name.get(link);
        if let Some(link) = index.and_then(|index| self.links.get_mut(*index)) {
            link.devices.push(device);
        }
    }

    pub(super) fn into_links(self) -> Vec<Link> {
        self.links
    }
}

/// Reads every `[[link]]`; what they all have in common.
pub(super) fn links(root: &Table, gateway: &Gateway, report: &mut Report) -> Links {
    let mut links = Links { links: Vec::new(), names: Names::new("link"), by_name: HashMap::new() };
    for table in root.tables("link", "link", report) {
        let name = table.require::<Name>("name", "\"press\"", report);
        if let Some(name) = &name {
            links.names.add(name, report);
        }
        let name = name.map_or_else(Name::placeholder, |name| name.value);
        if let Some(link) = link(table.named("link", format!("link.{name}")), name, gateway, report) {
            links.by_name.entry(link.name.to_string()).or_insert(links.links.len());
            links.links.push(link);
        }
    }
    links
}

/// A link without its devices. Without a driver there is nothing more to check.
fn link(table: Table, name: Name, gateway: &Gateway, report: &mut Report) -> Option<Link> {
    let driver: Option<At<String>> = table.require("driver", "\"modbus-tcp\"", report);
    let waits = Duration::from_millis(1)..=Duration::from_secs(600);
    let timeout = table.take_within("timeout", Duration::from_secs(1), waits.clone(), report).value;
    let connect_timeout = table.take_within("connect_timeout", Duration::from_secs(5), waits, report).value;
    let retry = retry(&table, report);
    Some(Link {
        name,
        origin: table.origin().clone(),
        driver: driver?,
        gateway: gateway.id.clone(),
        data_dir: gateway.data_dir.clone(),
        timeout,
        connect_timeout,
        retry,
        table,
        devices: Vec::new(),
    })
}

fn retry(link: &Table, report: &mut Report) -> Retry {
    let table = link.inner("retry", "retry", "{ first = \"1s\", longest = \"60s\" }", report);
    let table = table.unwrap_or_else(|| link.empty_inner("retry", "retry"));
    let first = table.take_within("first", Duration::from_secs(1), Duration::from_millis(10)..=HOUR, report);
    let longest = table.take_within("longest", Duration::from_secs(60), Duration::from_millis(10)..=24 * HOUR, report);
    table.finish(report);
    let unusable = |key: &'static str, at: &At<Duration>| table.has(key) && at.origin == Origin::Default;
    if first.value > longest.value && !unusable("first", &first) && !unusable("longest", &longest) {
        let origin = if table.has("longest") { &longest.origin } else { &first.origin };
        let (first, longest) = (first.value.to_toml(), longest.value.to_toml());
        let message = format!("`first` ({first}) is longer than `longest` ({longest})");
        report.error(origin, message, Some("the time between two tries grows from `first` to `longest`".to_owned()));
    }
    Retry { first: first.value, longest: longest.value }
}
