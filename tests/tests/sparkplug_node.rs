//! An edge node that others wrote (pysparkplug, over mosquitto) as a link of the gateway; and a broker that does not take what is large.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without may end it"
)]

use std::{fs, net::SocketAddr};

use serde_json::{Value, json};
use tidegate_tests::{
    Gateway, Mosquitto, PATIENCE, Peers, Site, SparkplugHost, SparkplugNode, Subscriber, publish, tidegate,
};

const PROFILE: &str = r#"
[profile]
manufacturer = "Acme"
model = "Pump"
driver = "sparkplug"
version = 1

[[group]]
name = "all"
interval = "100ms"

[[group]]
name = "notes"
interval = "100ms"

[[tag]]
name = "speed"
group = "all"
metric = "Motor/Speed"
datatype = "Double"
unit = "rpm"

[[tag]]
name = "setpoint"
group = "all"
metric = "Motor/Setpoint"
datatype = "Int16"
access = "read_write"
minimum = 0
maximum = 3000

[[tag]]
name = "running"
group = "all"
metric = "Running"
datatype = "Boolean"

[[tag]]
name = "note"
group = "notes"
metric = "Note"
datatype = "String"
"#;

/// The profile of the node itself.
const NODE_PROFILE: &str = r#"
[profile]
manufacturer = "Acme"
model = "Gateway"
driver = "sparkplug"
version = 1

[[group]]
name = "all"
interval = "100ms"

[[tag]]
name = "uptime"
group = "all"
metric = "Uptime"
datatype = "UInt64"
"#;

fn metrics() -> Value {
    json!({
        "node": [{"name": "Uptime", "type": "UINT64", "value": 17}],
        "devices": {
            "pump": [
                {"name": "Motor/Speed", "type": "DOUBLE", "value": 1499.5, "unit": "rpm"},
                {"name": "Motor/Setpoint", "type": "INT16", "value": -5, "writable": true},
                {"name": "Running", "type": "BOOLEAN", "value": true},
                {"name": "Note", "type": "STRING", "value": "new"},
            ],
        },
    })
}

/// A site with the node `line4` as a link, and its pump.
fn site(broker: SocketAddr, rest: &str) -> anyhow::Result<Site> {
    let site = Site::new()?;
    site.write_file("profiles/acme/pump.toml", PROFILE)?;
    site.write_file("profiles/acme/gateway.toml", NODE_PROFILE)?;
    let link = format!(
        "[[link]]\nname = \"line4\"\ndriver = \"sparkplug\"\naddress = \"{broker}\"\ngroup_id = \"plant\"\n\
         edge_node_id = \"line4\"\ntimeout = \"10s\"\n\n\
         [[device]]\nname = \"pump\"\nlink = \"line4\"\nprofile = \"acme/pump\"\n\n{rest}"
    );
    site.write("line3", &link)?;
    Ok(site)
}

/// The rows of a device, from the first on.
struct Rows(Subscriber);

impl Rows {
    fn of(peers: &Peers, site: &Site, device: &str) -> anyhow::Result<Rows> {
        Ok(Rows(Subscriber::start(peers, site.broker_address(), &format!("tidegate/line3/{device}/data/#"))?))
    }

    /// Waits for a row after the first so many; gives it, and how many there were up to it.
    fn after(&self, first: usize, what: &str, is: impl Fn(&Value) -> bool) -> anyhow::Result<(Value, usize)> {
        self.0.wait_for(PATIENCE, what, |messages| {
            let mut rows =
                messages.iter().enumerate().skip(first).filter_map(|(at, row)| Some((row.json().ok()?, at + 1)));
            rows.find(|(row, _)| is(row))
        })
    }

    fn count(&self) -> usize {
        self.0.messages().len()
    }
}

#[test]
fn a_foreign_edge_node_is_a_device_with_values_qualities_history_and_deaths() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mosquitto = Mosquitto::start(&peers)?;
    let own = "[[device]]\nname = \"gateway-4\"\nlink = \"line4\"\nprofile = \"acme/gateway\"\nnode_metrics = true\n";
    let site = site(mosquitto.address(), own)?;
    let _gateway = Gateway::start(&site)?;
    let (pump, itself) = (Rows::of(&peers, &site, "pump")?, Rows::of(&peers, &site, "gateway-4")?);
    // The gateway is there first, and somebody listens.
    let mut node = SparkplugNode::start(&peers, mosquitto.address(), "line4", &metrics())?;
    let (born, at) = pump.after(0, "the values of the birth", |row| row["values"]["speed"] == 1499.5)?;
    assert_eq!((&born["values"]["setpoint"], &born["values"]["running"]), (&json!(-5), &json!(true)));
    itself.after(0, "what the node says of itself", |row| row["values"]["uptime"] == 17)?;

    node.say("set pump Motor/Speed 1500.25")?;
    let (_, at) = pump.after(at, "data", |row| row["values"]["speed"] == 1500.25)?;
    node.say("set - Uptime 18")?;
    itself.after(0, "data of the node", |row| row["values"]["uptime"] == 18)?;
    node.say("doubt pump Motor/Speed 500")?;
    let (_, at) = pump.after(at, "a doubtful value", |row| {
        row["values"]["speed"] == 1500.25 && row["uncertain"]["speed"] == "stale"
    })?;
    node.say("null pump Motor/Speed")?;
    let (_, at) = pump.after(at, "no value", |row| row["bad"]["speed"] == "device_fault")?;
    node.say("history pump Motor/Speed 1700000000000 12.5")?;
    let (past, at) = pump.after(at, "a value of the past", |row| row["hist"] == true)?;
    assert_eq!((&past["values"]["speed"], &past["device_ts"]), (&json!(12.5), &json!(1_700_000_000_000_u64)));

    let before = itself.count();
    node.say("die pump")?;
    let (dead, at) = pump.after(at, "the death of the pump", |row| row["bad"]["running"] == "disconnected")?;
    assert_eq!(dead["bad"]["setpoint"], "disconnected");
    node.say("born pump")?;
    let (_, at) = pump.after(at, "the pump born again", |row| row["values"]["running"] == true)?;
    let rows = itself.0.messages();
    assert!(rows[before..].iter().all(|row| !row.payload.contains("disconnected")), "the node has not died");
    // Its will.
    node.kill();
    pump.after(at, "the death of the node", |row| row["bad"]["running"] == "disconnected")?;
    itself.after(before, "the same of the node itself", |row| row["bad"]["uptime"] == "disconnected")?;
    Ok(())
}

#[test]
fn a_foreign_edge_node_is_asked_for_births_and_takes_commands() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mosquitto = Mosquitto::start(&peers)?;
    let mut node = SparkplugNode::start(&peers, mosquitto.address(), "line4", &metrics())?;
    let site = site(mosquitto.address(), "")?;
    let _gateway = Gateway::start(&site)?;
    let pump = Rows::of(&peers, &site, "pump")?;
    let replies = Subscriber::start(&peers, site.broker_address(), "tidegate/line3/pump/set/reply")?;
    // Said when somebody listens: what was said before may have been published before.
    node.say("set pump Motor/Speed 1499.75")?;
    pump.after(0, "values", |row| row["values"]["speed"] == 1499.75)?;
    node.until_told("- Node Control/Rebirth true")?;
    assert_eq!(node.commands()?[0], "- Node Control/Rebirth true", "it was born before the gateway came");

    let command = |id: &str, value: &Value| -> anyhow::Result<Value> {
        let payload = json!({"id": id, "values": {"setpoint": value}, "ttl": "20s"});
        publish(&peers, site.broker_address(), "tidegate/line3/pump/set", &payload.to_string())?;
        replies.wait_for(PATIENCE, "the reply", |messages| {
            messages.iter().filter_map(|message| message.json().ok()).find(|reply| reply["id"] == id)
        })
    };
    assert_eq!(command("1", &json!(1200))?, json!({"id": "1", "ok": true}));
    pump.after(0, "the new value", |row| row["values"]["setpoint"] == 1200)?;
    let refused = command("2", &json!(5000))?;
    assert!(refused["errors"]["setpoint"].as_str().is_some_and(|why| why.contains("above maximum 3000")), "{refused}");
    // A node that does not say that it has done it may have done it.
    node.say("deaf")?;
    let unknown = command("3", &json!(1300))?;
    assert!(unknown["errors"]["setpoint"].as_str().is_some_and(|why| why.starts_with("unknown: ")), "{unknown}");
    node.until_told("pump Motor/Setpoint 1300")?;
    let sent: Vec<String> = node.commands()?.into_iter().filter(|command| !command.contains("Rebirth")).collect();
    assert_eq!(sent, ["pump Motor/Setpoint 1200", "pump Motor/Setpoint 1300"]);
    Ok(())
}

#[test]
fn a_profile_of_a_foreign_edge_node_is_browsed_and_runs() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mosquitto = Mosquitto::start(&peers)?;
    let mut node = SparkplugNode::start(&peers, mosquitto.address(), "line4", &metrics())?;
    let site = site(mosquitto.address(), "")?;
    let made = site.path().join("profiles/acme/pump.toml");
    let (file, out) = (site.file().display().to_string(), made.display().to_string());
    fs::remove_file(&made)?;
    // Without a device yet, as the profile is still to be made.
    let text = fs::read_to_string(site.file())?;
    fs::write(site.file(), text.split("[[device]]").next().unwrap())?;
    let (code, said) = tidegate(["browse", "-c", &file, "line4", "pump", "--profile", "--out", &out], &[])?;
    assert_eq!(code, Some(0), "{said}");
    let profile = fs::read_to_string(&made)?;
    for part in ["metric = \"Motor/Speed\"", "unit = \"rpm\"", "datatype = \"Int16\"\naccess = \"read_write\""] {
        assert!(profile.contains(part), "{part} is not in\n{profile}");
    }
    fs::write(site.file(), text)?;
    let _gateway = Gateway::start(&site)?;
    let pump = Rows::of(&peers, &site, "pump")?;
    node.say("set pump Motor/Speed 4711.5")?;
    let named = |row: &Value| row["values"].as_object().is_some_and(|all| all.values().any(|value| *value == 4711.5));
    pump.after(0, "the values of a profile that was browsed", named)?;
    Ok(())
}

#[test]
fn a_text_that_is_too_large_for_the_broker_becomes_one_gap_and_everything_else_goes_on() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let (plant, cloud) = (Mosquitto::start(&peers)?, "allow_anonymous true\nmax_packet_size 20000\n");
    let cloud = Mosquitto::start_with(&peers, cloud)?;
    let mut node = SparkplugNode::start(&peers, plant.address(), "line4", &metrics())?;
    let target = format!(
        "[[target]]\nname = \"scada\"\nkind = \"mqtt\"\nurl = \"mqtt://{}\"\nformat = \"sparkplug_b\"\n\
         group_id = \"plant\"\nretry_longest = \"1s\"\n",
        cloud.address()
    );
    let site = site(plant.address(), &target)?;
    let host = SparkplugHost::start(&peers, cloud.address(), None)?;
    let gateway = Gateway::start(&site)?;
    let value = |message: &Value, name: &str| -> Option<Value> {
        let metrics = message["metrics"].as_array()?;
        metrics.iter().find(|metric| metric["name"] == name).map(|metric| metric["value"].clone())
    };
    let sees = |what: &str, name: &str, wanted: Value| {
        host.until(what, |heard| heard.iter().find(|message| value(message, name).as_ref() == Some(&wanted)).map(drop))
    };
    sees("a value before", "speed", json!(1499.5))?;
    node.say("repeat pump Note 30000")?;
    node.say("set pump Motor/Speed 1")?;
    let gap = |heard: &[Value]| -> Vec<Value> {
        let texts = heard.iter().filter(|message| message["kind"] == "NDATA");
        let texts = texts.filter_map(|message| value(message, "Store/Gap"));
        texts.filter_map(|text| serde_json::from_str(text.as_str()?).ok()).collect()
    };
    let gaps = host.until("the gap", |heard| Some(gap(heard)).filter(|gaps| !gaps.is_empty()))?;
    assert_eq!((&gaps[0]["device"], &gaps[0]["group"]), (&json!("pump"), &json!("notes")), "{gaps:?}");
    assert_eq!(gaps[0]["reason"], "too_large");
    sees("a value of that time", "speed", json!(1.0))?;
    let births = |heard: &[Value]| heard.iter().filter(|message| message["kind"] == "NBIRTH").count();
    let before = births(&host.heard()?);
    node.say("set pump Motor/Speed 2")?;
    sees("a value after", "speed", json!(2.0))?;
    node.say("set pump Note \"short\"")?;
    sees("the next text", "note", json!("short"))?;
    let heard = host.heard()?;
    assert_eq!((gap(&heard).len(), births(&heard)), (1, before), "one gap, and the connection lives on");
    gateway.child().wait_for(PATIENCE, "which tag it is", |lines| {
        let told = |line: &&tidegate_tests::Line| {
            ["too large to be sent", "pump", "note"].iter().all(|word| line.text.contains(word))
        };
        lines.iter().find(told).map(drop)
    })
}
