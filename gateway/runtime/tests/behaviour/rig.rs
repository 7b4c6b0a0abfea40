//! A gateway over a plant in memory, with a real store and a real broker.

use std::{fs, time::Duration};

use serde_json::{Map, Value as Json};
use tempfile::TempDir;
use tidegate_broker::Broker;
use tidegate_config::{self as config, Profiles, Report};
use tidegate_driver_api::Driver;
use tidegate_model::{Quality, Reason};
use tidegate_runtime::{
    Assembly, CommandError, DeviceStatus, Gateway, Handle, LinkStatus, Options, Reloaded, WriteError, assemble,
};
use tidegate_store::{Store, StoreError};

use crate::{observer::Observer, plant::Plant, plant_driver::PlantDriver};

/// What every site here begins with.
const SITE: &str = "[gateway]\nid = \"line3\"\nprofiles = [\"profiles\"]\n";

/// A meter: two tags that are read one after the other, one of which can be written, and one that is only written.
pub(crate) const METER: &str = r#"
[profile]
manufacturer = "Acme"
model = "Meter"
driver = "plant"
version = 1
[[group]]
name = "fast"
interval = "20ms"
[[tag]]
name = "level"
group = "fast"
unit = "m"
[[tag]]
name = "setpoint"
group = "fast"
access = "read_write"
maximum = 100.0
[[tag]]
name = "reset"
group = "fast"
access = "write"
"#;

/// A link with these keys, and meters behind it.
pub(crate) fn link(name: &str, keys: &str, devices: &[&str]) -> String {
    let mut text = format!("[[link]]\nname = \"{name}\"\ndriver = \"plant\"\n{keys}\n");
    for device in devices {
        text.push_str(&format!("[[device]]\nname = \"{device}\"\nlink = \"{name}\"\nprofile = \"meter\"\n"));
    }
    text
}

/// Keys of a link whose devices fail quickly and are left alone for a fifth of a second at most.
pub(crate) const QUICK: &str = "timeout = \"40ms\"\nretry = { first = \"20ms\", longest = \"200ms\" }";

/// Keys of a link whose answers may take long.
pub(crate) const PATIENT: &str = "timeout = \"10s\"";

/// A running gateway.
pub(crate) struct Rig {
    pub(crate) gateway: Gateway,
    pub(crate) plant: Plant,
    pub(crate) broker: Broker,
    pub(crate) store: Store,
    pub(crate) seen: Observer,
    /// Rows that were in the store at the start.
    pub(crate) rows_before: u64,
    driver: &'static dyn Driver,
    folder: TempDir,
}

impl Rig {
    /// A gateway over meters.
    pub(crate) async fn start(site: &str) -> Rig {
        Rig::start_with(site, METER, Plant::default(), false).await
    }

    pub(crate) async fn start_with(site: &str, profile: &str, plant: Plant, tag_topics: bool) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("profiles")).unwrap();
        fs::write(folder.path().join("profiles/meter.toml"), profile).unwrap();
        Rig::run(site, plant, tag_topics, folder).await
    }

    /// Stops and starts again on the same data, with a new broker as after a start of the program.
    pub(crate) async fn restart(self, site: &str) -> Rig {
        self.gateway.stop().await;
        self.broker.stop().await;
        self.store.close().await;
        Rig::run(site, self.plant, false, self.folder).await
    }

    async fn run(site: &str, plant: Plant, tag_topics: bool, folder: TempDir) -> Rig {
        let driver: &'static dyn Driver = Box::leak(Box::new(PlantDriver(plant.clone())));
        let options = config::Broker { tag_topics, ..config::Broker::on_loopback() };
        let broker = Broker::start(&options).await.unwrap();
        let seen = Observer::start(&broker, "tidegate/#").await;
        let (assembly, store) = load(&folder, driver, site);
        let store = Store::open(&folder.path().join("data"), &store).await.unwrap().store;
        let rows_before = store.status().rows;
        let options = Options {
            id: "line3".parse().unwrap(),
            version: "1.2.3",
            topic_root: "tidegate".to_owned(),
            tag_topics,
            store: store.clone(),
            broker: broker.clone(),
        };
        let gateway = Gateway::start(options, assembly).await.unwrap();
        Rig { gateway, plant, broker, store, seen, rows_before, driver, folder }
    }

    /// Goes over to another site.
    pub(crate) async fn reload(&mut self, site: &str) -> Result<Reloaded, StoreError> {
        let (assembly, _) = load(&self.folder, self.driver, site);
        self.gateway.reload(assembly).await
    }

    /// Replaces the profile of the meters.
    pub(crate) fn write_profile(&self, profile: &str) {
        fs::write(self.folder.path().join("profiles/meter.toml"), profile).unwrap();
    }

    pub(crate) fn handle(&self) -> Handle {
        self.gateway.handle()
    }

    pub(crate) fn link(&self, name: &str) -> LinkStatus {
        self.handle().status().links.into_iter().find(|link| link.name == name).unwrap()
    }

    pub(crate) fn device(&self, name: &str) -> DeviceStatus {
        let mut devices = self.handle().status().links.into_iter().flat_map(|link| link.devices);
        devices.find(|device| device.name == name).unwrap()
    }

    /// The latest quality of a tag.
    pub(crate) async fn quality(&self, device: &str, tag: &str) -> Quality {
        let latest = self.handle().latest(device).await.unwrap();
        let sample = latest.into_iter().find(|sample| sample.tag.as_str() == tag).unwrap();
        sample.slot.quality().unwrap_or(Quality::Bad(Reason::NotYetRead))
    }

    /// Writes the tag that is never read.
    pub(crate) async fn reset(&self, device: &str) -> Result<Vec<(String, WriteError)>, CommandError> {
        let values = [("reset".to_owned(), 1.into())].into_iter().collect();
        self.handle().write(device, &values, None).await
    }

    /// Writes the set point as the interface does.
    pub(crate) async fn write(&self, device: &str, value: f64) -> Result<Vec<(String, WriteError)>, CommandError> {
        self.handle().write(device, &setpoint(value), None).await
    }
}

/// The values of a command.
pub(crate) fn setpoint(value: f64) -> Map<String, Json> {
    [("setpoint".to_owned(), value.into())].into_iter().collect()
}

/// What is wrong with the one tag of a command.
pub(crate) fn only_error(result: Result<Vec<(String, WriteError)>, CommandError>) -> WriteError {
    let mut errors = result.unwrap();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0).1
}

fn load(folder: &TempDir, driver: &'static dyn Driver, site: &str) -> (Assembly, config::Store) {
    let file = folder.path().join("tidegate.toml");
    fs::write(&file, format!("{SITE}{site}")).unwrap();
    let (site, mut report): (_, Report) = config::load(&file, [], Profiles::Used);
    let site = site.unwrap_or_else(|| panic!("{}", report.render()));
    let assembly = assemble(&site, &[driver], &mut report);
    assert!(!report.has_errors(), "{}", report.render());
    (assembly, config::Store { commit: Duration::from_millis(10), ..site.store })
}
