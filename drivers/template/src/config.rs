//! The keys of links and tags.

use tidegate_driver_api::config::{Report, Table};

/// Takes the keys of a link: `address`, host and port.
pub(crate) fn address(link: &Table, report: &mut Report) -> Option<String> {
    let address = link.require::<String>("address", "\"192.168.1.10:4001\"", report);
    link.finish(report);
    let address = address?;
    if address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).is_none() {
        let help = Some("write a host and a port: \"192.168.1.10:4001\"".to_owned());
        report.error(&address.origin, format!("\"{}\" has no port", address.value), help);
        return None;
    }
    Some(address.value)
}

/// Takes the keys of a tag: `item`, what the device calls it.
pub(crate) fn item(tag: &Table, report: &mut Report) -> Option<String> {
    let item = tag.require::<String>("item", "\"level\"", report);
    tag.finish(report);
    let item = item?;
    if item.is_empty() || item.contains(char::is_whitespace) {
        report.error(&item.origin, "an item is a word without spaces", None);
        return None;
    }
    Some(item.value)
}
