//! The whole road with parts that nobody here wrote: a pymodbus server's registers, a mosquitto_sub on the local broker,
//! a mosquitto as the cloud and a mosquitto_sub on that.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without may end it"
)]

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use tidegate_tests::{
    Gateway, Message, ModbusServer, Mosquitto, PATIENCE, Peers, Site, Subscriber, SubscriberOptions, Table, wait_until,
};

/// Two groups: one tells of changes alone, the other of every poll.
const PROFILE: &str = r#"
[profile]
manufacturer = "Acme"
model = "Counter"
driver = "modbus"
version = 1

[[group]]
name = "changes"
interval = "20ms"
report = "on_change"

[[group]]
name = "polls"
interval = "50ms"

[[tag]]
name = "count"
group = "changes"
table = "holding"
address = 0
type = "u32"

[[tag]]
name = "level"
group = "polls"
table = "holding"
address = 10
type = "i16"
scale = 0.1
"#;

struct Plant {
    modbus: ModbusServer,
    cloud: Mosquitto,
    site: Site,
}

impl Plant {
    fn build(peers: &Peers) -> anyhow::Result<Plant> {
        let modbus = ModbusServer::start(peers, &[1])?;
        let cloud = Mosquitto::start(peers)?;
        let site = Site::new()?;
        site.write_file("profiles/acme/counter.toml", PROFILE)?;
        let rest = format!(
            "[[link]]\nname = \"press\"\ndriver = \"modbus-tcp\"\naddress = \"{}\"\ntimeout = \"20s\"\n\n\
             [[device]]\nname = \"counter\"\nlink = \"press\"\nprofile = \"acme/counter\"\nunit = 1\n\n\
             [[target]]\nname = \"cloud\"\nkind = \"mqtt\"\nurl = \"mqtt://{}\"\nformat = \"json\"\n",
            modbus.address(),
            cloud.address()
        );
        site.write("line3", &rest)?;
        Ok(Plant { modbus, cloud, site })
    }

    /// A subscriber on the cloud whose session outlives its broker.
    fn cloud_subscriber(&self, peers: &Peers, filter: &str) -> anyhow::Result<Subscriber> {
        let options = SubscriberOptions { session: Some("office".to_owned()), ..SubscriberOptions::default() };
        Subscriber::start_with(peers, self.cloud.address(), filter, &options)
    }

    fn count_to(&mut self, number: u16) -> anyhow::Result<()> {
        self.modbus.set(1, Table::Holding, 0, &[0, number])
    }
}

fn number(message: &Message, path: &str) -> u64 {
    message.json().unwrap().pointer(path).and_then(serde_json::Value::as_u64).unwrap()
}

#[test]
fn each_value_arrives_once_in_order_and_with_its_time_here_and_in_the_cloud() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut plant = Plant::build(&peers)?;
    let _gateway = Gateway::start(&plant.site)?;
    let filter = "tidegate/line3/counter/data/changes";
    let local = Subscriber::start(&peers, plant.site.broker_address(), filter)?;
    let cloud = plant.cloud_subscriber(&peers, filter)?;
    let mut before = 0;
    for number_set in 1..=25 {
        plant.count_to(number_set)?;
        let seen = local.wait_for(PATIENCE, "the value on the local broker", |messages| {
            messages.iter().find(|message| number(message, "/values/count") == u64::from(number_set)).cloned()
        })?;
        let time = number(&seen, "/ts");
        // Each was set when the one before had arrived.
        assert!(time >= before, "value {number_set} of {time} was set after {before}");
        before = time;
    }
    // The gateway's clock follows this one slowly when it is set.
    assert!(before.abs_diff(now_ms()) < 60_000, "{before} is about now");
    let expected: Vec<u64> = (1..=25).collect();
    let counts = |messages: &[Message]| -> Vec<u64> {
        let all = messages.iter().map(|message| number(message, "/values/count"));
        all.filter(|count| *count > 0).collect()
    };
    cloud.wait_for(PATIENCE, "the last value in the cloud", |messages| counts(messages).contains(&25).then_some(()))?;
    assert_eq!(counts(&local.messages()), expected);
    assert_eq!(counts(&cloud.messages()), expected);
    Ok(())
}

#[test]
fn an_outage_and_a_kill_in_the_middle_of_it_cost_no_row() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut plant = Plant::build(&peers)?;
    let filter = "tidegate/line3/counter/data/polls";
    let cloud = plant.cloud_subscriber(&peers, filter)?;
    let gateway = Gateway::start(&plant.site)?;
    wait_for_rows(&cloud, 10)?;

    plant.cloud.stop()?;
    let local = Subscriber::start(&peers, plant.site.broker_address(), filter)?;
    wait_for_rows(&local, 40)?;
    gateway.kill();
    let killed_at = local.messages().last().map(|message| number(message, "/seq")).unwrap_or(0);
    let gateway = Gateway::start(&plant.site)?;
    let local = Subscriber::start(&peers, plant.site.broker_address(), filter)?;
    wait_for_rows(&local, 40)?;
    let last = local.wait_for(PATIENCE, "the numbering to go on after the kill", |messages| {
        messages.last().map(|message| number(message, "/seq")).filter(|last| *last > killed_at)
    })?;
    plant.cloud.resume()?;

    // What is new may come before what waited.
    let missing = |rows: &BTreeMap<u64, Message>| (1..=last).filter(|seq| !rows.contains_key(seq)).collect::<Vec<_>>();
    let rows = wait_until(PATIENCE, "the rows of the outage in the cloud", || {
        Some(by_seq(&cloud.messages())).filter(|rows| missing(rows).is_empty())
    })
    .with_context(|| format!("rows {:?} of 1 to {last} are missing", missing(&by_seq(&cloud.messages()))))?;
    let times: Vec<u64> = (1..=last).filter_map(|seq| rows.get(&seq)).map(|row| number(row, "/ts")).collect();
    assert!(times.is_sorted(), "rows are in the order of their times: {times:?}");
    let history = rows.values().filter(|row| row.json().unwrap().get("hist") == Some(&true.into())).count();
    assert!(history >= 40, "rows that are older than the connection say so: {history}");
    gateway.stop()?;
    Ok(())
}

/// Rows by number. A row that was delivered twice (QoS 1 may) has to be the same both times.
fn by_seq(messages: &[Message]) -> BTreeMap<u64, Message> {
    let mut rows: BTreeMap<u64, Message> = BTreeMap::new();
    for message in messages {
        let seq = number(message, "/seq");
        if let Some(before) = rows.get(&seq) {
            assert_eq!(number(before, "/ts"), number(message, "/ts"), "row {seq} came twice with different content");
        }
        rows.entry(seq).or_insert_with(|| message.clone());
    }
    rows
}

fn wait_for_rows(subscriber: &Subscriber, count: usize) -> anyhow::Result<()> {
    subscriber.wait_for(PATIENCE, "rows", |messages| (messages.len() >= count).then_some(()))
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap()
}
