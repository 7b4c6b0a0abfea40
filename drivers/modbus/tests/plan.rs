//! What the runtime is told before anything is connected, and that devices of one profile share it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use std::{fmt::Write, sync::Arc};

use rig::{PROFILE, links, site_with};
use tidegate_driver_api::{
    Driver,
    config::{self, Report},
    model::{ValueKind, ValueType},
};
use tidegate_driver_modbus::ModbusTcp;

/// Two links: `line` with the devices a and b, `two` with the device c.
fn two_links(profile: &str) -> Vec<config::Link> {
    let second = "[[link]]\nname = \"two\"\ndriver = \"modbus-tcp\"\naddress = \"[::1]:1502\"\n\
        [[device]]\nname = \"c\"\nlink = \"two\"\nprofile = \"test\"\n";
    links(&(site_with(&[("a", 1), ("b", 2)]) + second), profile)
}

/// A thousand floats beside each other, one constant, one command.
fn profile() -> String {
    let mut text = PROFILE.to_owned();
    text += r#"
[defaults]
table = "input"
type = "f32"
[[tag]]
name = "site"
group = "all"
value = "north"
[[tag]]
name = "reset"
group = "all"
table = "holding"
type = "bcd32"
address = 0
access = "write"
"#;
    for tag in 0..1000 {
        write!(text, "[[tag]]\nname = \"t{tag}\"\ngroup = \"all\"\naddress = {}\n", tag * 2).unwrap();
    }
    text
}

#[test]
fn the_forecast_counts_requests_and_bytes() {
    let links = two_links(&profile());
    let mut report = Report::new();
    let compiled = ModbusTcp::new().compile(&links[0], &mut report).unwrap();
    let group = &compiled.devices[0].groups[0];
    // 62 floats fit into 125 registers: 16 requests of them and one of the last 8.
    assert_eq!(group.requests, 17);
    // 12 bytes for a request, 9 and the registers for its answer.
    assert_eq!(group.bytes, 17 * (12 + 9) + 4000);
    assert_eq!(group.kinds[0], None, "a constant is not read");
    assert_eq!(group.kinds[1], Some(ValueType::single(ValueKind::Uint)));
    assert_eq!(group.kinds[2], Some(ValueType::single(ValueKind::F32)));
}

#[test]
fn devices_of_a_profile_share_its_plan_across_links() {
    let links = two_links(&profile());
    let driver = ModbusTcp::new();
    let mut report = Report::new();
    let compiled: Vec<_> = links.iter().map(|link| driver.compile(link, &mut report).unwrap()).collect();
    let first = &compiled[0].devices[0].groups;
    assert!(Arc::ptr_eq(first, &compiled[0].devices[1].groups));
    assert!(Arc::ptr_eq(first, &compiled[1].devices[0].groups));
    let others = two_links(&profile());
    let other = driver.compile(&others[0], &mut report).unwrap();
    assert!(!Arc::ptr_eq(first, &other.devices[0].groups), "a profile that was read anew is planned anew");
}

#[test]
fn a_profile_with_mistakes_has_them_in_every_report() {
    let links = two_links(&profile().replace("bcd32", "bcd31"));
    let driver = ModbusTcp::new();
    for link in &links {
        let mut report = Report::new();
        assert!(driver.compile(link, &mut report).is_none());
        assert!(report.render().contains("\"bcd31\""));
    }
}
