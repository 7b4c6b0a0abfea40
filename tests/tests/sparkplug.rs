//! The gateway as an edge node of Sparkplug B, before a host application that others wrote (pysparkplug), over mosquitto and over its own
//! broker.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without may end it"
)]

use std::{collections::BTreeSet, net::SocketAddr};

use serde_json::Value;
use tidegate_tests::{
    Cut, FaultProxy, Gateway, Message, ModbusServer, Mosquitto, OVEN, PATIENCE, Peers, Site, SparkplugHost, Subscriber,
    Table,
};

struct Oven {
    modbus: ModbusServer,
    site: Site,
}

impl Oven {
    /// An oven behind a gateway, which is not started yet; `keys` are more of those of the target.
    fn new(peers: &Peers, broker: Option<SocketAddr>, keys: &str) -> anyhow::Result<Oven> {
        let mut modbus = ModbusServer::start(peers, &[1])?;
        modbus.set(1, Table::Holding, 0, &[215])?;
        let site = Site::new()?;
        site.write_file("profiles/acme/oven.toml", OVEN)?;
        let rest = format!(
            "[store]\ncommit = \"50ms\"\n\n\
             [[link]]\nname = \"hall\"\ndriver = \"modbus-tcp\"\naddress = \"{}\"\ntimeout = \"5s\"\n\
             retry = {{ first = \"200ms\", longest = \"1s\" }}\n\n\
             [[device]]\nname = \"oven-1\"\nlink = \"hall\"\nprofile = \"acme/oven\"\nunit = 1\n\n\
             [[target]]\nname = \"scada\"\nkind = \"mqtt\"\nurl = \"mqtt://{}\"\nformat = \"sparkplug_b\"\n\
             group_id = \"plant\"\nretry_longest = \"1s\"\n{keys}\n",
            modbus.address(),
            broker.unwrap_or_else(|| site.broker_address()),
        );
        site.write("line3", &rest)?;
        Ok(Oven { modbus, site })
    }
}

/// The messages of that kind.
fn of<'a>(messages: &'a [Value], kind: &str) -> Vec<&'a Value> {
    messages.iter().filter(|message| message["kind"] == kind).collect()
}

/// Whether a message has that metric of that time as history.
fn has_history(message: &Value, name: &str, time: u64) -> bool {
    let is = |metric: &Value| metric["name"] == name && metric["timestamp"] == time && metric["historical"] == true;
    message["metrics"].as_array().is_some_and(|metrics| metrics.iter().any(is))
}

/// The times of the rows that have a temperature, in their order.
fn times(rows: &[Message]) -> Vec<u64> {
    let rows = rows.iter().map(|row| row.json().unwrap());
    rows.filter(|row| row["values"]["temperature"].is_number()).map(|row| row["ts"].as_u64().unwrap()).collect()
}

/// The first metric of that name in a message.
fn metric<'a>(message: &'a Value, name: &str) -> Option<&'a Value> {
    message["metrics"].as_array()?.iter().find(|metric| metric["name"] == name)
}

#[test]
fn a_foreign_host_sees_births_data_and_deaths_and_writes_tags() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mosquitto = Mosquitto::start(&peers)?;
    let mut oven = Oven::new(&peers, Some(mosquitto.address()), "")?;
    let mut host = SparkplugHost::start(&peers, mosquitto.address(), None)?;
    let gateway = Gateway::start(&oven.site)?;

    let birth = host.until("the births", |heard| of(heard, "DBIRTH").first().map(|birth| (*birth).clone()))?;
    assert_eq!(birth["topic"], "spBv1.0/plant/DBIRTH/line3/oven-1");
    let types =
        ["setpoint", "temperature", "heating", "counter"].map(|name| metric(&birth, name).unwrap()["type"].clone());
    assert_eq!(types, ["DOUBLE", "DOUBLE", "BOOLEAN", "UINT64"].map(Value::from));
    let heard = host.heard()?;
    let node = of(&heard, "NBIRTH")[0];
    assert_eq!((&node["seq"], &metric(node, "bdSeq").unwrap()["value"]), (&Value::from(0), &Value::from(0)));
    assert_eq!(metric(node, "Node Control/Rebirth").unwrap()["value"], false);
    assert!(heard.iter().all(|message| message["retain"] == false && message["qos"] == 0), "{heard:#?}");

    oven.modbus.set(1, Table::Holding, 0, &[231])?;
    oven.modbus.set(1, Table::Holding, 10, &[0xFFFF, 0xFFFE])?;
    host.until("the new values", |heard| {
        of(heard, "DDATA").into_iter().find(|data| {
            metric(data, "temperature").is_some_and(|metric| metric["value"] == 23.1)
                && metric(data, "counter").is_some_and(|metric| metric["value"] == 0xFFFF_FFFE_u32)
        })?;
        Some(())
    })?;

    host.say("write plant line3 oven-1 setpoint 42.5")?;
    host.say("write plant line3 oven-1 heating true")?;
    tidegate_tests::wait_until(PATIENCE, "the setpoint in the oven", || {
        let setpoint = oven.modbus.get(1, Table::Holding, 100, 1).ok()?;
        let heating = oven.modbus.get(1, Table::Coil, 3, 1).ok()?;
        (setpoint == [425] && heating == [1]).then_some(())
    })?;
    // The profile says no; what is said about it is in the log.
    host.say("write plant line3 oven-1 setpoint 1000")?;
    gateway.child().wait_for(PATIENCE, "what is said of a refused command", |lines| {
        let refused = |line: &&tidegate_tests::Line| {
            line.text.contains("a command over Sparkplug was not carried out")
                && line.text.contains("above maximum 100")
        };
        lines.iter().find(refused).map(drop)
    })?;
    assert_eq!(oven.modbus.get(1, Table::Holding, 100, 1)?, [425]);

    host.say("rebirth plant line3")?;
    host.until("births after a rebirth", |heard| (of(heard, "NBIRTH").len() >= 2).then_some(()))?;

    let deaths = of(&host.heard()?, "DDEATH").len();
    oven.modbus.silent(1, true)?;
    host.until("the death of the oven", |heard| (of(heard, "DDEATH").len() > deaths).then_some(()))?;
    let births = of(&host.heard()?, "DBIRTH").len();
    oven.modbus.silent(1, false)?;
    host.until("the oven born again", |heard| (of(heard, "DBIRTH").len() > births).then_some(()))?;

    gateway.kill();
    host.until("the will of the gateway", |heard| {
        of(heard, "NDEATH").into_iter().find(|death| death["bdSeq"] == 0).map(drop)
    })?;
    let gateway = Gateway::start(&oven.site)?;
    host.until("births under the next number", |heard| {
        let births = of(heard, "NBIRTH");
        births.into_iter().find(|birth| metric(birth, "bdSeq").is_some_and(|metric| metric["value"] == 1)).map(drop)
    })?;
    assert!(gateway.stop()?.success());
    host.until("the farewell of the gateway", |heard| {
        of(heard, "NDEATH").into_iter().find(|death| death["bdSeq"] == 1).map(drop)
    })?;
    let numbers = numbers_between_births(&host.heard()?);
    assert!(numbers.iter().all(|numbers| numbers.windows(2).all(|two| (two[0] + 1) % 256 == two[1])), "{numbers:?}");
    Ok(())
}

/// The numbers of the messages of each session, from a birth of the node to before the next.
fn numbers_between_births(heard: &[Value]) -> Vec<Vec<u64>> {
    let mut sessions: Vec<Vec<u64>> = Vec::new();
    for message in heard {
        let Some(seq) = message["seq"].as_u64() else { continue };
        if message["kind"] == "NBIRTH" {
            sessions.push(Vec::new());
        }
        if ["NBIRTH", "DBIRTH", "NDATA", "DDATA", "DDEATH"].contains(&message["kind"].as_str().unwrap()) {
            sessions.last_mut().unwrap().push(seq);
        }
    }
    sessions
}

#[test]
fn rows_wait_for_the_primary_host_and_come_as_history_when_it_is_there() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mosquitto = Mosquitto::start(&peers)?;
    let oven = Oven::new(&peers, Some(mosquitto.address()), "primary_host = \"scada\"\nstart = \"oldest\"\n")?;
    let witness = SparkplugHost::start(&peers, mosquitto.address(), None)?;
    let _gateway = Gateway::start(&oven.site)?;
    let own = Subscriber::start(&peers, oven.site.broker_address(), "tidegate/line3/oven-1/data/all")?;
    let rows = own.wait_for(PATIENCE, "rows", |all| Some(times(all)).filter(|rows| rows.len() >= 20))?;
    assert!(witness.heard()?.is_empty(), "nothing is said without the primary host");
    let mut host = SparkplugHost::start(&peers, mosquitto.address(), Some("scada"))?;
    let first = rows[3];
    host.until("a row from before it came", |heard| {
        of(heard, "DDATA").into_iter().find(|data| has_history(data, "temperature", first)).map(drop)
    })?;
    host.kill();
    witness.until("the death of the node", |heard| of(heard, "NDEATH").first().map(drop))?;
    let births = of(&witness.heard()?, "NBIRTH").len();
    let before = times(&own.messages()).len();
    let rows = own.wait_for(PATIENCE, "more rows", |all| Some(times(all)).filter(|rows| rows.len() >= before + 20))?;
    assert_eq!(of(&witness.heard()?, "NBIRTH").len(), births, "no births without the primary host");
    let away = rows[before + 10];
    let host = SparkplugHost::start(&peers, mosquitto.address(), Some("scada"))?;
    host.until("a row from while it was away", |heard| {
        of(heard, "DDATA").into_iter().find(|data| has_history(data, "temperature", away)).map(drop)
    })?;
    Ok(())
}

#[test]
fn the_gateways_own_broker_carries_sparkplug_too() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut oven = Oven::new(&peers, None, "")?;
    let _gateway = Gateway::start(&oven.site)?;
    let mut host = SparkplugHost::start(&peers, oven.site.broker_address(), Some("scada"))?;
    host.say("rebirth plant line3")?;
    host.until("births and data", |heard| {
        (!of(heard, "NBIRTH").is_empty() && !of(heard, "DBIRTH").is_empty() && of(heard, "DDATA").len() > 3)
            .then_some(())
    })?;
    host.say("write plant line3 oven-1 setpoint 42.5")?;
    tidegate_tests::wait_until(PATIENCE, "the setpoint in the oven", || {
        (oven.modbus.get(1, Table::Holding, 100, 1).ok()? == [425]).then_some(())
    })
}

#[test]
fn a_connection_that_is_cut_again_and_again_loses_no_row() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mosquitto = Mosquitto::start(&peers)?;
    let proxy = FaultProxy::start(mosquitto.address(), 7)?;
    let oven = Oven::new(&peers, Some(proxy.address()), "start = \"oldest\"\n")?;
    let host = SparkplugHost::start(&peers, mosquitto.address(), None)?;
    let _gateway = Gateway::start(&oven.site)?;
    let own = Subscriber::start(&peers, oven.site.broker_address(), "tidegate/line3/oven-1/data/all")?;
    for round in 0..10 {
        let births = of(&host.heard()?, "NBIRTH").len();
        let before = own.messages().len();
        own.wait_for(PATIENCE, "some rows", |all| (all.len() > before + 3).then_some(()))?;
        proxy.cut(if round % 2 == 0 { Cut::Reset } else { Cut::Closed });
        host.until("births after a cut", |heard| (of(heard, "NBIRTH").len() > births).then_some(()))?;
    }
    let times = BTreeSet::from_iter(times(&own.messages()));
    host.until("every row that the gateway has published on its own broker", |heard| {
        let data = of(heard, "DDATA");
        let found: BTreeSet<u64> = data
            .iter()
            .filter_map(|data| data["metrics"].as_array())
            .flatten()
            .filter(|metric| metric["name"] == "temperature")
            .filter_map(|metric| metric["timestamp"].as_u64())
            .collect();
        times.is_subset(&found).then_some(())
    })
}
