//! A dead machine costs its neighbours nothing: ten units behind one connection, one of them silent.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without may end it"
)]

use std::{collections::BTreeMap, time::Duration};

use tidegate_tests::{Gateway, Message, ModbusServer, PATIENCE, Peers, Site, Subscriber, wait_until};

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
/// As many as answer among the ten, behind a connection of their own where all do. A busy machine costs them what it costs the others.
const CONTROL: [u8; 9] = [11, 12, 13, 14, 15, 16, 17, 18, 19];
const ROWS: usize = 30;
/// So many rows a single meter may have less than the others: a fifth, for a machine that runs tests is not fair.
const UNEVEN: usize = 6;

/// A link to the server with a meter for each of these units.
fn link(name: &str, plant: &ModbusServer, units: &[u8]) -> String {
    let mut text = format!(
        "[[link]]\nname = \"{name}\"\ndriver = \"modbus-tcp\"\naddress = \"{}\"\ntimeout = \"300ms\"\nretry = {{ first = \"1s\", longest = \"10s\" }}\n\n",
        plant.address()
    );
    for unit in units {
        text.push_str(&format!(
            "[[device]]\nname = \"meter-{unit}\"\nlink = \"{name}\"\nprofile = \"acme/meter\"\nunit = {unit}\n\n"
        ));
    }
    text
}

/// Rows with a value, by the unit they are from.
fn good(messages: &[Message]) -> BTreeMap<u8, usize> {
    let mut good = BTreeMap::new();
    for message in messages.iter().filter(|message| message.payload.contains("\"values\":{\"level\"")) {
        let unit = message.topic.split('/').find_map(|level| level.strip_prefix("meter-")?.parse().ok());
        *good.entry(unit.unwrap()).or_default() += 1;
    }
    good
}

#[test]
fn with_one_silent_unit_among_ten_the_others_keep_their_rows() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut plant = ModbusServer::start(&peers, &[&UNITS[..], &CONTROL[..]].concat())?;
    plant.silent(SILENT, true)?;
    let site = Site::new()?;
    site.write_file("profiles/acme/meter.toml", PROFILE)?;
    site.write("line3", &(link("bus", &plant, &UNITS) + &link("control", &plant, &CONTROL)))?;
    let _gateway = Gateway::start(&site)?;
    let rows = Subscriber::start(&peers, site.broker_address(), "tidegate/line3/+/data/all")?;
    let states = Subscriber::start(&peers, site.broker_address(), "tidegate/line3/+/state")?;

    // Counting begins when both links are there and have been round once.
    let begun = rows.wait_for(PATIENCE, "a row of everybody who answers", |messages| {
        (good(messages).len() == UNITS.len() - 1 + CONTROL.len()).then_some(messages.len())
    })?;
    // A gateway that waits for the silent unit with all its links would cost both alike: that shows in how long thirty seconds last.
    let counted = rows.wait_for(PATIENCE, "thirty rows of a meter of the other link", |messages| {
        let since = &messages[begun..];
        let (nth, _) = since.iter().enumerate().filter(|(_, row)| row.topic.contains("/meter-13/")).nth(ROWS)?;
        Some(since[..=nth].to_vec())
    })?;
    let (bus, control): (BTreeMap<u8, usize>, _) =
        good(&counted).into_iter().partition(|(unit, _)| UNITS.contains(unit));
    assert_eq!(bus.len(), UNITS.len() - 1, "every neighbour has good rows: {bus:?}");
    assert!(!bus.contains_key(&SILENT), "the silent unit has none: {bus:?}");
    // A row more or less of each lies within the second in which counting began and ended.
    let (kept, usual) = (bus.values().sum::<usize>(), control.values().sum::<usize>());
    assert!(
        kept + 2 * CONTROL.len() >= usual,
        "{kept} rows beside the silent unit, {usual} without: {bus:?} {control:?}"
    );
    // Nor may one of them pay for the others.
    let least = control.values().min().unwrap();
    assert!(bus.values().all(|rows| rows + UNEVEN >= *least), "rows of each: {bus:?} {control:?}");
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
    let missed = site.metric("tidegate_missed_slots_total", &["link=\"bus\""]);
    assert!(missed.is_some_and(|missed| missed > 0), "slots of the silent unit are counted: {missed:?}");
    Ok(())
}
