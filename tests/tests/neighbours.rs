//! A dead machine costs its neighbours nothing: ten units behind one connection, one of them silent.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without may end it"
)]

use std::{collections::BTreeMap, time::Duration};

use tidegate_tests::{Gateway, ModbusServer, PATIENCE, Peers, Site, Subscriber, get, wait_until};

const PROFILE: &str = r#"
[profile]
manufacturer = "Acme"
model = "Meter"
driver = "modbus"
version = 1

[[group]]
name = "all"
interval = "1s"

[[tag]]
name = "level"
group = "all"
table = "holding"
address = 0
type = "u16"
"#;

const UNITS: [u8; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
const SILENT: u8 = 4;
const ROWS: usize = 30;

#[test]
fn with_one_silent_unit_among_ten_the_others_keep_their_rows() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut plant = ModbusServer::start(&peers, &UNITS)?;
    plant.silent(SILENT, true)?;
    let site = Site::new()?;
    site.write_file("profiles/acme/meter.toml", PROFILE)?;
    let mut rest = format!(
        "[[link]]\nname = \"bus\"\ndriver = \"modbus-tcp\"\naddress = \"{}\"\ntimeout = \"300ms\"\nretry = {{ first = \"1s\", longest = \"10s\" }}\n",
        plant.address()
    );
    for unit in UNITS {
        rest.push_str(&format!(
            "\n[[device]]\nname = \"meter-{unit}\"\nlink = \"bus\"\nprofile = \"acme/meter\"\nunit = {unit}\n"
        ));
    }
    site.write("line3", &rest)?;
    let _gateway = Gateway::start(&site)?;
    let rows = Subscriber::start(&peers, site.broker_address(), "tidegate/line3/+/data/all")?;
    let states = Subscriber::start(&peers, site.broker_address(), "tidegate/line3/+/state")?;

    let within = Duration::from_secs(60);
    let first = rows.wait_for(PATIENCE, "the first row", |messages| messages.first().cloned())?;
    let last = rows.wait_for(within, "thirty rows of a neighbour", |messages| {
        messages.iter().filter(|message| message.topic.contains("/meter-3/")).nth(ROWS).cloned()
    })?;
    let seconds = last.at.duration_since(first.at).as_secs_f64();
    let mut good: BTreeMap<String, f64> = BTreeMap::new();
    for message in rows.messages().iter().filter(|message| message.at <= last.at) {
        if message.json()?.pointer("/values/level").is_some() {
            *good.entry(message.topic.clone()).or_default() += 1.0;
        }
    }
    assert_eq!(good.len(), UNITS.len() - 1, "every neighbour has good rows and the silent unit has none: {good:?}");
    // A row more or less lies within the second in which counting began and ended.
    let enough = (seconds * 0.99 - 1.0).floor();
    for (topic, count) in &good {
        assert!(*count >= enough, "{topic} has {count} rows in {seconds:.1} s");
    }
    states.wait_for(PATIENCE, "the word that the silent unit is offline", |messages| {
        let silent = messages.iter().filter(|message| message.topic == format!("tidegate/line3/meter-{SILENT}/state"));
        silent.filter_map(|message| message.json().ok()).find(|state| state["state"] == "offline")
    })?;

    plant.silent(SILENT, false)?;
    wait_until(Duration::from_secs(60), "the silent unit to come back by itself", || {
        let back = |message: &tidegate_tests::Message| {
            message.topic.contains(&format!("/meter-{SILENT}/")) && message.payload.contains("\"values\":{\"level\"")
        };
        rows.messages().iter().any(back).then_some(())
    })?;
    let metrics = get(site.web_address(), "/metrics")?.body;
    let missed = metrics.lines().find(|line| line.starts_with("tidegate_missed_slots_total{link=\"bus\"}"));
    assert!(missed.is_some_and(|line| !line.ends_with(" 0")), "slots of the silent unit are counted: {missed:?}");
    Ok(())
}
