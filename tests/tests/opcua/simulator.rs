//! Our own simulated server, seen by foreign clients.

use serde_json::json;
use std::{net::TcpStream, time::Duration};

use tidegate_config::{Report, Source, parse_profile};
use tidegate_model::Value;
use tidegate_simulators::opcua::{Fault, OpcuaOptions, OpcuaSimulator, parse_fault};
use tidegate_tests::{OpcuaClient, OpcuaLogin, PATIENCE, Peers, Port, Stack, wait_until};

const PROFILE: &str = r#"
[profile]
manufacturer = "Acme"
model = "Press"
driver = "opcua"

[[group]]
name = "fast"
interval = "1s"

[[tag]]
name = "force"
group = "fast"
node = "nsu=urn:acme:press;s=Force"
type = "f32"
unit = "kN"
description = "Force on the die"

[[tag]]
name = "setpoint"
group = "fast"
path = "/Objects/nsu=urn:acme:press;Line/Setpoint"
type = "i16"
access = "read_write"

[[tag]]
name = "axes"
group = "fast"
node = "ns=2;i=7"
type = "f64"
count = 3
"#;

fn press(change: impl FnOnce(&mut OpcuaOptions)) -> anyhow::Result<OpcuaSimulator> {
    let mut report = Report::new();
    let profile = parse_profile(&Source::new("press", PROFILE), &mut report);
    let mut options = OpcuaOptions::new(profile);
    change(&mut options);
    Ok(OpcuaSimulator::start(options)?)
}

fn fault(words: &str) -> Fault {
    parse_fault(words).unwrap()
}

#[test]
fn a_simulated_server_is_browsed_read_subscribed_and_written() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    for stack in Stack::ALL {
        let simulator = press(|options| options.all_change = true)?;
        let mut client = OpcuaClient::connected(&peers, stack, &simulator.url(), &OpcuaLogin::default())?;
        let found = client.browse()?;
        let force = found.keys().find(|path| path.ends_with("/Force")).cloned().unwrap();
        let axes = found.keys().find(|path| path.ends_with("axes")).cloned().unwrap();
        assert!(found["Line/Setpoint"].contains("Setpoint"), "{found:?}");
        let read = client.read(&force)?;
        assert_eq!((&read["status"], &read["unit"], &read["times"]), (&json!("Good"), &json!("kN"), &json!(true)));
        assert_eq!(client.read(&axes)?["value"].as_array().map(Vec::len), Some(3));

        assert_eq!(client.subscribe(&[&force, "Line/Setpoint"])?, 2);
        client.wait_for_notified(PATIENCE, "a moving value", |seen| (seen[&force][0].as_u64()? > 3).then_some(()))?;
        assert_eq!(client.write("Line/Setpoint", "1234")?, "Good");
        client.wait_for_notified(PATIENCE, "what was written", |seen| {
            (seen["Line/Setpoint"][1].as_f64()? == 1234.0).then_some(())
        })?;
        assert_ne!(client.write(&force, "1.5")?, "Good", "what is only read cannot be written");
        simulator.set_raw("force", &Value::F64(9.5))?;
        client.wait_for_notified(PATIENCE, "what the machine does", |seen| {
            (seen[&force][1].as_f64()? == 9.5).then_some(())
        })?;
    }
    Ok(())
}

#[test]
fn the_faults_of_a_simulated_server_are_what_they_are_called() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    // A port that is closed for a while, and that nobody else is given meanwhile.
    let port = Port::reserve()?;
    let simulator = press(|options| options.listen = port.address())?;
    let connect = || OpcuaClient::connect(&peers, Stack::Asyncua, &simulator.url(), &OpcuaLogin::default());
    let mut client = connect()?.unwrap();
    assert_eq!(client.subscribe(&["Line/Setpoint"])?, 1);

    client.wait_for_notified(PATIENCE, "a value", |seen| (seen["Line/Setpoint"][2] == "Good").then_some(()))?;
    simulator.set_faults([fault("status code=BadSensorFailure tag=setpoint")]);
    assert_eq!(client.read("Line/Setpoint")?["status"], json!("BadSensorFailure"));
    client.wait_for_notified(PATIENCE, "the status", |seen| {
        (seen["Line/Setpoint"][2] == "BadSensorFailure").then_some(())
    })?;
    simulator.set_faults([]);
    client.wait_for_notified(PATIENCE, "its end", |seen| (seen["Line/Setpoint"][2] == "Good").then_some(()))?;

    simulator.set_faults([fault("no-items")]);
    assert_eq!(client.subscribe(&["Line/Setpoint"])?, 0);

    let began = std::time::Instant::now();
    simulator.set_faults([fault("silence for=700ms")]);
    client.read("Line/Setpoint")?;
    assert!(began.elapsed() > Duration::from_millis(600), "{:?}", began.elapsed());

    let is_open = |open: bool| {
        wait_until(PATIENCE, "the port to open or close", || {
            (TcpStream::connect(simulator.address()).is_ok() == open).then_some(())
        })
    };
    simulator.set_faults([fault("refuse")]);
    is_open(false)?;
    assert!(connect()?.is_err());
    assert!(client.read("Line/Setpoint").is_err(), "a port that closes drops its connections");
    simulator.set_faults([]);
    is_open(true)?;
    assert!(connect()?.is_ok());
    simulator.set_faults([fault("close")]);
    assert!(connect()?.is_err());
    Ok(())
}
