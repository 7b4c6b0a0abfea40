//! Values of every type, one that does not exist among them, and writes.

use serde_json::{Value, json};
use tidegate_tests::{OpcuaServerOptions, PATIENCE, Peers, Stack};

use crate::line::{Line, values_profile};

/// Tags that are read, but for the one that does not exist.
const READ: usize = 14;

fn values(stack: Stack) -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut line = Line::start(&peers, stack, &OpcuaServerOptions::default(), &values_profile())?;
    read_everything(&mut line)?;
    write_everything(&peers, &mut line)?;
    call(&peers, &mut line)
}

fn read_everything(line: &mut Line) -> anyhow::Result<()> {
    let tags = line.wait_for(PATIENCE, "all values but one", |tags| {
        (tags.good() == READ && tags.bad("bad_address") == 1).then(|| tags.0.clone())
    })?;
    let value = |tag: &str| tags[tag].clone().unwrap();
    assert_eq!(tags["nowhere"], Err("bad_address".to_owned()), "one node that is not there spoils no other");
    for (tag, expected) in [
        ("switch", json!(false)),
        ("count", json!(0)),
        ("small", json!(7)),
        ("text", json!("tide")),
        ("label", json!("Pumpe läuft")),
        ("time", json!("2026-05-04T03:02:01.500Z")),
        ("mode", json!("auto")),
        ("place", json!("dock")),
    ] {
        assert_eq!(value(tag), expected, "{tag}");
    }
    assert_eq!(value("setpoint").as_f64(), Some(20.0));
    assert_eq!(value("x").as_f64(), Some(1.5));
    assert_eq!(value("seventh").as_f64(), Some(7.0));
    let long = value("long");
    let long: Vec<f64> = long.as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    assert_eq!(long, (0..1_500).map(f64::from).collect::<Vec<f64>>(), "arrays of more than 1,000 items");
    // JavaScript has no integers beyond 2^53: the row says them as text.
    assert!([json!("9223372036854775808"), json!(9_223_372_036_854_775_808_u64)].contains(&value("big")));

    line.server.set("Position", r#"{"x": 3.25, "y": 4, "name": "hall"}"#)?;
    line.wait_for(PATIENCE, "the structure's new fields", |tags| {
        (tags.value("x")?.as_f64() == Some(3.25) && tags.value("place")? == "hall").then_some(())
    })?;
    line.server.ask("status Label BadSensorFailure")?;
    line.wait_for(PATIENCE, "the reason for a bad status", |tags| {
        tags.0["label"].clone().err().filter(|reason| reason != "bad_address")
    })?;
    Ok(())
}

fn write_everything(peers: &Peers, line: &mut Line) -> anyhow::Result<()> {
    let values =
        json!({ "setpoint": 33.5, "switch": true, "count": -7, "small": 200, "text": "ebb", "mode": "manual" });
    let reply = line.command(peers, "all", &values)?;
    assert_eq!(reply, json!({ "id": "all", "ok": true }));
    for (node, held) in [
        ("Setpoint", "33.5"),
        ("Switch", "true"),
        ("Count", "-7"),
        ("Small", "200"),
        ("Text", "\"ebb\""),
        ("Mode", "2"),
    ] {
        assert_eq!(line.server.get(node)?, held, "{node}");
    }
    line.wait_for(PATIENCE, "what was written", |tags| {
        (tags.value("setpoint")?.as_f64() == Some(33.5) && tags.value("mode")? == "manual").then_some(())
    })?;
    // A conversion that would lose something is refused, and nothing is sent.
    for (id, tag, value) in [
        ("1", "count", json!(3.7)),
        ("2", "small", json!(256)),
        ("3", "small", json!(-1)),
        ("4", "setpoint", json!("warm")),
        ("5", "setpoint", json!(150.5)),
        ("6", "label", json!("read only")),
    ] {
        let reply = line.command(peers, id, &json!({ tag: value }))?;
        assert_eq!(reply["ok"], json!(false), "{tag} {value}: {reply}");
        assert!(reply["errors"][tag].as_str().is_some_and(|why| !why.is_empty()), "{reply}");
    }
    assert_eq!((line.server.get("Count")?, line.server.get("Small")?), ("-7".to_owned(), "200".to_owned()));
    Ok(())
}

fn call(peers: &Peers, line: &mut Line) -> anyhow::Result<()> {
    let reply = line.command(peers, "call", &json!({ "add": [2, 3] }))?;
    assert_eq!(reply["ok"], json!(true), "{reply}");
    assert_eq!(line.server.ask("calls")?, "1");
    let reply = line.command(peers, "too few", &json!({ "add": [2] }))?;
    assert_eq!(reply["ok"], json!(false), "{reply}");
    assert_eq!(line.server.ask("calls")?, "1");
    Ok(())
}

#[test]
fn values_of_asyncua_are_read_written_and_called() -> anyhow::Result<()> {
    values(Stack::Asyncua)
}

#[test]
fn values_of_node_opcua_are_read_written_and_called() -> anyhow::Result<()> {
    values(Stack::NodeOpcua)
}
