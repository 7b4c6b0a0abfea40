//! A gateway with a store and an OPC UA server.

use std::{fs, time::Duration};

use tempfile::TempDir;
use tidegate_broker::Broker;
use tidegate_config::{self as config, OpcUaRole, OpcUaServer, OpcUaUser, Profiles, Secret};
use tidegate_driver_api::Driver;
use tidegate_opcua::{Server, ServerStatus};
use tidegate_runtime::{Assembly, Gateway, Options, assemble};
use tidegate_store::Store;
use tidegate_trust::Trust;

use crate::plant::{Plant, PlantDriver};

/// Nothing that is waited for takes as long, also on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(20);

const SITE: &str =
    "[gateway]\nid = \"line3\"\nprofiles = [\"profiles\"]\n[[link]]\nname = \"hall\"\ndriver = \"plant\"\n";

/// A press with a tag of each kind.
const PRESS: &str = r#"
[profile]
manufacturer = "Acme"
model = "Press 7"
description = "bends sheets"
driver = "plant"
version = 1
[[group]]
name = "fast"
interval = "20ms"
[[group]]
name = "slow"
interval = "100ms"
[[tag]]
name = "pressure"
group = "fast"
unit = "bar"
description = "of the main cylinder"
range = { low = 0.0, high = 200.0 }
[[tag]]
name = "axis.x"
group = "fast"
unit = "furlong"
[[tag]]
name = "mode"
group = "slow"
access = "read_write"
texts = { 0 = "stopped", 1 = "setting up", 2 = "running" }
[[tag]]
name = "program"
group = "slow"
texts = { 10 = "small", 20 = "large" }
[[tag]]
name = "setpoint"
group = "slow"
access = "read_write"
minimum = 0.0
maximum = 100.0
[[tag]]
name = "reset"
group = "slow"
access = "write"
"#;

pub(crate) struct Rig {
    pub(crate) gateway: Gateway,
    pub(crate) server: Server,
    pub(crate) plant: Plant,
    pub(crate) trust: Trust,
    _broker: Broker,
    _store: Store,
    driver: &'static dyn Driver,
    pub(crate) folder: TempDir,
}

/// A viewer and an operator.
pub(crate) fn users() -> Vec<OpcUaUser> {
    let user = |name: &str, role| OpcUaUser {
        name: name.to_owned(),
        password: Some(Secret::literal(format!("{name} word"))),
        certificate: None,
        role,
    };
    vec![user("eye", OpcUaRole::Viewer), user("hand", OpcUaRole::Operator)]
}

/// The presses behind one link.
pub(crate) fn presses(names: &[&str]) -> String {
    let device = |name: &&str| format!("[[device]]\nname = \"{name}\"\nlink = \"hall\"\nprofile = \"press\"\n");
    names.iter().map(device).collect()
}

impl Rig {
    /// One press, and a server on loopback for everybody.
    pub(crate) async fn start() -> Rig {
        Rig::start_with(&presses(&["press"]), OpcUaServer::on_loopback(0)).await
    }

    pub(crate) async fn start_with(devices: &str, options: OpcUaServer) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("profiles")).unwrap();
        fs::write(folder.path().join("profiles/press.toml"), PRESS).unwrap();
        let plant = Plant::default();
        plant.set("press", "mode", 0.0);
        plant.set("press", "program", 20.0);
        plant.set("press", "pressure", 99.5);
        let driver: &'static dyn Driver = Box::leak(Box::new(PlantDriver(plant.clone())));
        let broker = Broker::start(&config::Broker::on_loopback()).await.unwrap();
        let (assembly, store) = load(&folder, driver, devices);
        let store = Store::open(&folder.path().join("data"), &store).await.unwrap().store;
        let gateway = Gateway::start(
            Options {
                id: "line3".parse().unwrap(),
                version: "1.2.3",
                topic_root: "tidegate".to_owned(),
                tag_topics: false,
                store: store.clone(),
                broker: broker.clone(),
            },
            assembly,
        )
        .await
        .unwrap();
        let trust = Trust::open(&folder.path().join("data/opcua"), "line3").unwrap();
        let server = Server::start("scada", &options, trust.clone(), gateway.handle()).await.unwrap();
        let rig = Rig { gateway, server, plant, trust, _broker: broker, _store: store, driver, folder };
        rig.first_rows().await;
        rig
    }

    /// Waits until every group has been read.
    async fn first_rows(&self) {
        let catalog = self.gateway.handle().catalog();
        until("the first rows", || {
            let mut groups = catalog.iter().flat_map(|device| &device.groups);
            groups.all(|group| group.version() > 0).then_some(())
        })
        .await;
    }

    /// Goes over to other devices.
    pub(crate) async fn reload(&mut self, devices: &str) {
        let (assembly, _) = load(&self.folder, self.driver, devices);
        self.gateway.reload(assembly).await.unwrap();
    }

    pub(crate) fn url(&self) -> String {
        format!("opc.tcp://{}/", self.server.address())
    }

    pub(crate) fn status(&self) -> ServerStatus {
        self.server.probe()()
    }
}

/// Looks again and again until there is something.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, found).await.unwrap_or_else(|_| panic!("{what} did not come"))
}

fn load(folder: &TempDir, driver: &'static dyn Driver, devices: &str) -> (Assembly, config::Store) {
    let file = folder.path().join("tidegate.toml");
    fs::write(&file, format!("{SITE}{devices}")).unwrap();
    let (site, mut report) = config::load(&file, [], Profiles::Used);
    let site = site.unwrap_or_else(|| panic!("{}", report.render()));
    let assembly = assemble(&site, &[driver], &mut report);
    assert!(!report.has_errors(), "{}", report.render());
    (assembly, config::Store { commit: Duration::from_millis(10), ..site.store })
}
