//! Topics of the user's own, seen by mosquitto_sub: a unified namespace, EdgeX events, and what Home Assistant is told.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use serde_json::json;
use tidegate_tests::{
    Gateway, Message, ModbusServer, Mosquitto, PATIENCE, Peers, Site, Subscriber, Table, publish, wait_until,
};

const PROFILE: &str = r#"
[profile]
manufacturer = "Acme"
model = "Oven"
driver = "modbus"
version = 1

[[group]]
name = "all"
interval = "50ms"

[[tag]]
name = "zone.setpoint"
group = "all"
table = "holding"
address = 100
type = "i16"
scale = 0.1
unit = "°C"
access = "read_write"
minimum = 0.0
maximum = 300.0

[[tag]]
name = "missing"
group = "all"
table = "holding"
address = 5000
type = "u16"
"#;

const TOPICS: &str = r#"
[[topics.template]]
name = "uns"
topic = "umh/v1/{enterprise}/{site}/{area}/{line}/_raw/{device}/{tag_path}"
payload = "umh"
retain = true

[[topics.template]]
name = "edgex"
topic = "edgex/events/{device}/{group}"
payload = "edgex"

[topics.home_assistant]
"#;

fn oven(modbus: &ModbusServer) -> anyhow::Result<Site> {
    let site = Site::new()?;
    site.write_file("profiles/acme/oven.toml", PROFILE)?;
    let link = format!(
        "[[link]]\nname = \"hall\"\ndriver = \"modbus-tcp\"\naddress = \"{}\"\ntimeout = \"20s\"\n\n\
         [[device]]\nname = \"oven-1\"\nlink = \"hall\"\nprofile = \"acme/oven\"\nunit = 1\nlocation = {{ line = \"4\" }}\n",
        modbus.address()
    );
    site.write("line3", &(link + TOPICS))?;
    let text = fs::read_to_string(site.file())?
        .replace("[broker]\n", "[broker]\ntag_topics = true\n")
        .replace("[gateway]\n", "[gateway]\nlocation = { enterprise = \"acme\", site = \"wien\" }\n");
    fs::write(site.file(), text)?;
    Ok(site)
}

fn retained(messages: &[Message], topic: &str) -> Option<Message> {
    messages.iter().find(|message| message.retained && message.topic == topic).cloned()
}

#[test]
fn rows_come_in_every_form_at_once_and_go_with_the_template() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut modbus = ModbusServer::start(&peers, &[1])?;
    modbus.set(1, Table::Holding, 100, &[215])?;
    let site = oven(&modbus)?;
    let gateway = Gateway::start(&site)?;

    let events = Subscriber::start(&peers, site.broker_address(), "edgex/#")?;
    let event = events.wait_for(PATIENCE, "an event", |messages| messages.first().cloned())?;
    let told = event.json()?;
    assert_eq!((event.topic.as_str(), &told["sourceName"]), ("edgex/events/oven-1/all", &json!("all")));
    let readings = told["readings"].as_array().unwrap();
    assert_eq!(readings.len(), 1, "what is not there has no reading: {told}");
    let reading = |key: &str| readings[0][key].as_str();
    assert_eq!((reading("resourceName"), reading("value")), (Some("zone.setpoint"), Some("21.5")));

    let uns = "umh/v1/acme/wien/4/_raw/oven-1/zone/setpoint";
    let namespace = Subscriber::start(&peers, site.broker_address(), "umh/#")?;
    let first = namespace.wait_for(PATIENCE, "the retained value", |messages| retained(messages, uns))?;
    assert_eq!(first.json()?["value"], 21.5);
    assert!(
        namespace.messages().iter().all(|message| !message.topic.ends_with("missing") || message.payload.is_empty())
    );

    let config = "homeassistant/number/line3-oven-1/zone__setpoint/config";
    let home = Subscriber::start(&peers, site.broker_address(), "homeassistant/#")?;
    let told = home.wait_for(PATIENCE, "the setpoint", |messages| retained(messages, config))?.json()?;
    assert_eq!(
        (&told["min"], &told["max"], &told["device_class"]),
        (&json!(0.0), &json!(300.0), &json!("temperature"))
    );
    let command = told["command_template"].as_str().unwrap().replace("{{ value }}", "42.5");
    publish(&peers, site.broker_address(), told["command_topic"].as_str().unwrap(), &command)?;
    wait_until(PATIENCE, "the command in the device", || {
        (modbus.get(1, Table::Holding, 100, 1).ok()? == [425]).then_some(())
    })?;

    // Without the templates nothing of them stays.
    let text = fs::read_to_string(site.file())?.replace(TOPICS, "");
    fs::write(site.file(), text)?;
    gateway.reload()?;
    wait_until(PATIENCE, "what was retained to be gone", || {
        let gone = |subscriber: &Subscriber, topic: &str| {
            subscriber
                .messages()
                .iter()
                .rev()
                .find(|message| message.topic == topic)
                .is_some_and(|m| m.payload.is_empty())
        };
        (gone(&namespace, uns) && gone(&home, config)).then_some(())
    })?;
    Ok(())
}

#[test]
fn a_target_gets_the_templates_it_names_and_a_reload_gives_it_others() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let cloud = Mosquitto::start(&peers)?;
    let mut modbus = ModbusServer::start(&peers, &[1])?;
    modbus.set(1, Table::Holding, 100, &[215])?;
    let site = oven(&modbus)?;
    let target = format!(
        "[[target]]\nname = \"cloud\"\nkind = \"mqtt\"\nurl = \"mqtt://{}\"\ntopics = [\"uns\"]\n",
        cloud.address()
    );
    let text = fs::read_to_string(site.file())? + "\n" + &target;
    fs::write(site.file(), &text)?;
    let gateway = Gateway::start(&site)?;

    let all = Subscriber::start(&peers, cloud.address(), "#")?;
    let uns = "umh/v1/acme/wien/4/_raw/oven-1/zone/setpoint";
    let value = |messages: &[Message]| messages.iter().find(|message| message.topic == uns).cloned();
    assert_eq!(all.wait_for(PATIENCE, "a value", value)?.json()?["value"], 21.5);
    modbus.set(1, Table::Holding, 100, &[216])?;
    let newer = |messages: &[Message]| messages.iter().any(|message| message.payload.contains("21.6")).then_some(());
    all.wait_for(PATIENCE, "the next value", newer)?;
    let late = Subscriber::start(&peers, cloud.address(), "umh/#")?;
    let kept = late.wait_for(PATIENCE, "the retained value", |messages| retained(messages, uns))?;
    assert_eq!(kept.json()?["value"], 21.6);
    let others = all.messages().into_iter().filter(|it| it.topic.starts_with("edgex/") || it.topic.contains("/data/"));
    assert_eq!(others.count(), 0, "nothing that was not asked for");

    fs::write(site.file(), text.replace("_raw", "_historian").replace("[\"uns\"]", "[\"standard\", \"uns\"]"))?;
    gateway.reload()?;
    let moved = uns.replace("_raw", "_historian");
    let both = |messages: &[Message]| {
        let has = |topic: &str| messages.iter().any(|message| message.topic == topic);
        (has(&moved) && has("tidegate/line3/oven-1/data/all")).then_some(())
    };
    all.wait_for(PATIENCE, "the other topics", both)?;
    gateway.stop()?;
    Ok(())
}
