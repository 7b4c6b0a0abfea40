//! A scripted device, a site with a link of the driver to it, and what a test does with the two.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part")]

mod chance;
mod device;
pub(crate) mod thirty;

use std::{net::SocketAddr, time::Duration};

use tidegate_driver_api::{
    Compiled, Cx, Driver, Link, Lost, Next, Poll, Readings, Session, Step,
    config::{self, Kind, Node, Origin, Profiles},
};
use tidegate_driver_modbus::ModbusTcp;

pub(crate) use chance::Chance;
pub(crate) use device::{Asked, Device, Reply, coil, register};
pub(crate) use tidegate_driver_api::testkit::within;

/// The first group of the first device.
pub(crate) const ALL: Poll = Poll { device: 0, group: 0 };

/// How long a device that works may take.
pub(crate) const PATIENT: Duration = Duration::from_secs(10);
/// The timeout where an answer never comes; long enough for a busy machine to give the answers that do.
pub(crate) const SHORT: Duration = Duration::from_millis(400);

/// The head of a profile with one group, `all`. Tags can be added.
pub(crate) const PROFILE: &str = r#"
[profile]
manufacturer = "Test"
model = "Test"
driver = "modbus"
version = 1
[[group]]
name = "all"
interval = "1s"
"#;

/// A site with one link, `line`, and these devices of the profile `test` behind it, each with its unit. Tables can be added.
pub(crate) fn site_with(devices: &[(&str, u8)]) -> String {
    let mut text = "[gateway]\nid = \"test\"\nprofiles = [\"profiles\"]\n[[link]]\nname = \"line\"\n\
        driver = \"modbus-tcp\"\naddress = \"127.0.0.1:502\"\n"
        .to_owned();
    for (name, unit) in devices {
        text += &format!("[[device]]\nname = \"{name}\"\nlink = \"line\"\nprofile = \"test\"\nunit = {unit}\n");
    }
    text
}

/// The links of a site with this profile, named `test`.
pub(crate) fn links(site: &str, profile: &str) -> Vec<config::Link> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("profiles")).unwrap();
    std::fs::write(folder.path().join("profiles/test.toml"), profile).unwrap();
    std::fs::write(folder.path().join("tidegate.toml"), site).unwrap();
    let (site, report) = config::load(&folder.path().join("tidegate.toml"), [], Profiles::Used);
    assert_eq!(report.render(), "");
    site.unwrap().links
}

/// The first link of such a site, with another address.
pub(crate) fn link(site: &str, profile: &str, address: SocketAddr) -> config::Link {
    at(links(site, profile).remove(0), address)
}

/// A link to one device, `meter-1` with the unit 17, of this profile.
pub(crate) fn link_to(address: SocketAddr, profile: &str) -> config::Link {
    link(&site_with(&[("meter-1", 17)]), profile, address)
}

/// The link with another address.
pub(crate) fn at(mut link: config::Link, address: impl ToString) -> config::Link {
    link.table.set("address", Node { origin: Origin::Default, kind: Kind::Text(address.to_string()) });
    link
}

/// The link, compiled; there must be no mistake in it.
pub(crate) fn compile(link: &config::Link) -> Compiled {
    let mut report = config::Report::new();
    let compiled = ModbusTcp::default().compile(link, &mut report);
    assert_eq!(report.render(), "");
    compiled.unwrap()
}

/// Opens a session.
pub(crate) async fn connect(link: &mut dyn Link) -> Box<dyn Session + '_> {
    link.connect(&within(PATIENT)).await.unwrap()
}

/// Waits until it is so, as long as a device that works may take.
pub(crate) async fn until(what: &str, so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENT, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Polls [`ALL`]; each request may take `timeout`. Returns how many there were.
pub(crate) async fn poll(session: &mut dyn Session, timeout: Duration, out: &mut Readings) -> Result<usize, Lost> {
    poll_with(session, ALL, || within(timeout), out).await
}

/// Polls a group from its first request to its last, each in a context of its own. Returns how many there were.
pub(crate) async fn poll_with(
    session: &mut dyn Session,
    poll: Poll,
    context: impl Fn() -> Cx,
    out: &mut Readings,
) -> Result<usize, Lost> {
    let mut step = Step::FIRST;
    for requests in 1..10_000 {
        match session.read(&context(), poll, step, out).await? {
            Next::Request(next) => step = next,
            Next::Done => return Ok(requests),
        }
    }
    panic!("the poll does not end");
}
