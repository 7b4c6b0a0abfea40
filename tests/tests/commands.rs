//! Commands from outside to a device: over MQTT with its reply, and over the command line; checked on the foreign side.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without may end it"
)]

use std::process::Command;

use tidegate_tests::{
    Gateway, ModbusServer, OVEN, PATIENCE, Peers, Site, Subscriber, Table, program, publish, wait_until,
};

struct Oven {
    modbus: ModbusServer,
    site: Site,
    _gateway: Gateway,
}

/// Longer than anything here takes: a device on a busy machine is slow, not silent.
const SLOW: &str = "20s";

/// `timeout` is how long the link waits for an answer of its device.
fn oven(peers: &Peers, timeout: &str) -> anyhow::Result<Oven> {
    let modbus = ModbusServer::start(peers, &[1])?;
    let site = Site::new()?;
    site.write_file("profiles/acme/oven.toml", OVEN)?;
    let rest = format!(
        "[[link]]\nname = \"hall\"\ndriver = \"modbus-tcp\"\naddress = \"{}\"\ntimeout = \"{timeout}\"\n\n\
         [[device]]\nname = \"oven-1\"\nlink = \"hall\"\nprofile = \"acme/oven\"\nunit = 1\n",
        modbus.address()
    );
    site.write("line3", &rest)?;
    let gateway = Gateway::start(&site)?;
    Ok(Oven { modbus, site, _gateway: gateway })
}

/// Sends a command and returns the reply with the same id.
fn command(peers: &Peers, oven: &Oven, replies: &Subscriber, payload: &str) -> anyhow::Result<serde_json::Value> {
    let id = serde_json::from_str::<serde_json::Value>(payload).ok().and_then(|json| json.get("id").cloned());
    publish(peers, oven.site.broker_address(), "tidegate/line3/oven-1/set", payload)?;
    replies.wait_for(PATIENCE, "the reply", |messages| {
        messages.iter().filter_map(|message| message.json().ok()).find(|reply| reply.get("id").cloned() == id)
    })
}

#[test]
fn a_command_over_mqtt_reaches_the_device_and_its_reply_tells_how_it_went() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut oven = oven(&peers, SLOW)?;
    let replies = Subscriber::start(&peers, oven.site.broker_address(), "tidegate/line3/oven-1/set/reply")?;

    let reply =
        command(&peers, &oven, &replies, r#"{"id":"1","values":{"setpoint":42.5,"heating":true},"ttl":"10s"}"#)?;
    assert_eq!(reply, serde_json::json!({ "id": "1", "ok": true }));
    assert_eq!(oven.modbus.get(1, Table::Holding, 100, 1)?, [425]);
    assert_eq!(oven.modbus.get(1, Table::Coil, 3, 1)?, [1]);

    for (payload, tag, why) in [
        (r#"{"id":"2","values":{"setpoint":100.1}}"#, "setpoint", "above maximum 100"),
        (r#"{"id":"3","values":{"setpoint":-1}}"#, "setpoint", "below minimum 0"),
        (r#"{"id":"4","values":{"setpoint":"warm"}}"#, "setpoint", ""),
        (r#"{"id":"5","values":{"setpoint":42.55}}"#, "setpoint", "42.5"),
        (r#"{"id":"6","values":{"temperature":20}}"#, "temperature", "not writable"),
        (r#"{"id":"7","values":{"humidity":20}}"#, "humidity", "unknown tag"),
    ] {
        let reply = command(&peers, &oven, &replies, payload)?;
        assert_eq!(reply.get("ok"), Some(&false.into()), "{payload}: {reply}");
        let error = reply.pointer(&format!("/errors/{tag}")).and_then(serde_json::Value::as_str).unwrap_or_default();
        assert!(error.contains(why) && !error.is_empty(), "{payload}: {reply}");
    }
    // One value that may not be written keeps the others from being sent.
    let reply = command(&peers, &oven, &replies, r#"{"id":"8","values":{"heating":false,"setpoint":1000}}"#)?;
    assert_eq!(reply.get("ok"), Some(&false.into()));
    assert_eq!(oven.modbus.get(1, Table::Coil, 3, 1)?, [1], "nothing of a refused command is sent");
    assert_eq!(oven.modbus.get(1, Table::Holding, 100, 1)?, [425]);
    Ok(())
}

#[test]
fn a_write_to_a_silent_device_is_unknown_and_never_called_failed() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut oven = oven(&peers, "300ms")?;
    let replies = Subscriber::start(&peers, oven.site.broker_address(), "tidegate/line3/oven-1/set/reply")?;
    let data = Subscriber::start(&peers, oven.site.broker_address(), "tidegate/line3/oven-1/data/all")?;
    data.wait_for(PATIENCE, "a row", |messages| messages.first().cloned())?;
    oven.modbus.silent(1, true)?;
    let reply = command(&peers, &oven, &replies, r#"{"id":"1","values":{"setpoint":42.5}}"#)?;
    let error = reply.pointer("/errors/setpoint").and_then(serde_json::Value::as_str).unwrap_or_default();
    // Between two polls that failed the device is asked; afterwards it is left alone and nothing is sent.
    assert!(error.starts_with("unknown: ") || error.starts_with("not sent: "), "{reply}");
    Ok(())
}

#[test]
fn the_command_line_reads_and_writes_through_the_running_gateway() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut oven = oven(&peers, SLOW)?;
    oven.modbus.set(1, Table::Holding, 0, &[215])?;
    let tidegate = |arguments: &[&str]| -> anyhow::Result<(bool, String)> {
        let (verb, rest) = arguments.split_first().unwrap();
        let output =
            Command::new(program("tidegate")?).arg(verb).arg("-c").arg(oven.site.file()).args(rest).output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8(text)?))
    };
    assert!(tidegate(&["write", "oven-1", "setpoint=55.5", "heating=true"])?.0);
    let (ok, text) = tidegate(&["write", "oven-1", "setpoint=555"])?;
    assert!(!ok && text.contains("above maximum 100"), "{text}");
    let (ok, text) = tidegate(&["write", "oven-2", "setpoint=5"])?;
    assert!(!ok && text.contains("oven-2"), "{text}");
    wait_until(PATIENCE, "the temperature to be read", || {
        tidegate(&["read", "oven-1", "temperature"]).ok().filter(|(ok, text)| *ok && text.contains("21.5"))
    })?;
    let (ok, text) = tidegate(&["healthcheck"])?;
    assert!(ok, "{text}");
    assert_eq!(oven.modbus.get(1, Table::Holding, 100, 1)?, [555]);
    Ok(())
}
