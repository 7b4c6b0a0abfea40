//! What a large address space costs: a gateway over devices in memory with an OPC UA server, and the memory it takes.
//!
//! ```text
//! cargo run --release -p tidegate-opcua --example opcua_memory [DEVICES] [TAGS] [SECONDS]
//! ```
//!
//! 100 devices of 1000 tags unless told otherwise; every tag has a unit, a range and a description, and all change each second.
//! It then serves for so many seconds on the port it prints, so that a client can browse and subscribe, and tells the memory every
//! second.

use std::{env, error::Error, fs, sync::Arc, time::Duration};

use async_trait::async_trait;
use tidegate_broker::Broker;
use tidegate_config::{self as config, OpcUaServer, Profiles};
use tidegate_driver_api::{
    Capabilities, Compiled, CompiledDevice, ConnectFault, Cx, Driver, GroupPlan, Link, Lost, Next, Poll, Readings,
    Session, Step,
    config::{Profile, Report},
    model::{Value, ValueKind, ValueType},
};
use tidegate_opcua::Server;
use tidegate_runtime::{Gateway, Options, assemble};
use tidegate_store::Store;
use tidegate_trust::Trust;

/// A driver whose tags count up.
struct Counting;

struct CountingLink(Vec<usize>);

struct CountingSession<'link>(&'link CountingLink, f32);

impl Driver for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn family(&self) -> &'static str {
        "counting"
    }

    fn summary(&self) -> &'static str {
        "Tags that count up"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { poll: true, ..Capabilities::default() }
    }

    fn plan(&self, profile: &Arc<Profile>, _report: &mut Report) -> Option<Arc<[GroupPlan]>> {
        let plan = |group: &config::Group| GroupPlan {
            kinds: vec![Some(ValueType::single(ValueKind::F32)); group.tags.len()].into(),
            requests: 1,
            bytes: 1,
            ..GroupPlan::default()
        };
        Some(profile.groups.iter().map(plan).collect())
    }

    fn compile(&self, link: &config::Link, report: &mut Report) -> Option<Compiled> {
        let plans = link.devices.iter().map(|device| self.plan(&device.profile, report));
        let devices = plans.map(|groups| Some(CompiledDevice { groups: groups? })).collect::<Option<_>>()?;
        let tags = link.devices.iter().map(|device| device.profile.groups.iter().map(|group| group.tags.len()).sum());
        Some(Compiled { link: Box::new(CountingLink(tags.collect())), devices })
    }
}

#[async_trait]
impl Link for CountingLink {
    async fn connect<'link>(&'link mut self, _cx: &Cx) -> Result<Box<dyn Session + 'link>, ConnectFault> {
        Ok(Box::new(CountingSession(self, 0.0)))
    }
}

#[async_trait]
impl Session for CountingSession<'_> {
    async fn read(&mut self, _cx: &Cx, poll: Poll, _step: Step, out: &mut Readings) -> Result<Next, Lost> {
        self.1 += 0.25;
        for column in 0..self.0.0.get(poll.device).copied().unwrap_or(0) {
            out.set(column, Value::F32(self.1));
        }
        Ok(Next::Done)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1).map(|text| text.parse::<usize>());
    let mut next = |default| arguments.next().unwrap_or(Ok(default));
    let (devices, tags, seconds) = (next(100)?, next(1000)?, next(0)?);
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("profiles"))?;
    fs::write(folder.path().join("profiles/counter.toml"), profile(tags))?;
    let file = folder.path().join("tidegate.toml");
    fs::write(&file, site(devices))?;
    println!("start              {:>8}", memory());
    let (site, mut report) = config::load(&file, [], Profiles::Used);
    let site = site.ok_or_else(|| report.render())?;
    let assembly = assemble(&site, &[&Counting], &mut report);
    if report.has_errors() {
        return Err(report.render().into());
    }
    let broker = Broker::start(&config::Broker { listen: ([127, 0, 0, 1], 0).into(), ..site.broker.clone() }).await?;
    let store = Store::open(&site.gateway.data_dir, &site.store).await?.store;
    let id = site.gateway.id.clone();
    let trust = Trust::open(&site.gateway.data_dir.join("opcua"), id.as_str())?;
    let topic_root = site.broker.topic_root.clone();
    drop((site, report));
    let options = Options { id, version: "0", topic_root, tag_topics: false, store, broker };
    let gateway = Gateway::start(options, assembly).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    println!("gateway            {:>8}", memory());
    let server = Server::start("memory", &OpcUaServer::on_loopback(0), trust, gateway.handle()).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    println!("with OPC UA server {:>8}  opc.tcp://{}/ {} variables", memory(), server.address(), devices * tags);
    let probe = server.probe();
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = probe();
        println!(
            "serving            {:>8}  {} sessions, {} items, {} values",
            memory(),
            now.sessions,
            now.monitored_items,
            now.values
        );
    }
    server.stop().await;
    gateway.stop().await;
    Ok(())
}

fn profile(tags: usize) -> String {
    let mut text = "[profile]\nmanufacturer = \"M\"\nmodel = \"Counter\"\ndriver = \"counting\"\n[[group]]\nname = \"all\"\ninterval = \"1s\"\n".to_owned();
    for tag in 0..tags {
        text += &format!(
            "[[tag]]\nname = \"counter_{tag:05}\"\ngroup = \"all\"\nunit = \"kWh\"\ndescription = \"energy of outlet {tag}\"\n\
             range = {{ low = 0.0, high = 1000000.0 }}\n"
        );
    }
    text
}

fn site(devices: usize) -> String {
    let mut text =
        "[gateway]\nid = \"memory\"\nprofiles = [\"profiles\"]\n[[link]]\nname = \"l\"\ndriver = \"counting\"\n"
            .to_owned();
    for device in 0..devices {
        text += &format!("[[device]]\nname = \"outlets-{device:04}\"\nlink = \"l\"\nprofile = \"counter\"\n");
    }
    text
}

/// The resident memory of this process, in MiB.
fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0);
    format!("{} MiB", kib / 1024)
}
