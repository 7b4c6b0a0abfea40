//! The history of a foreign server fills the hole of an outage between it and the gateway, each value once.

use std::collections::BTreeSet;

use tidegate_tests::{
    Cut, Fault, FaultProxy, Gateway, Message, OpcuaServer, OpcuaServerOptions, PATIENCE, Peers, Site, Stack,
    Subscriber, wait_until,
};

use crate::line::{link, listening};

/// So many values come while nobody hears of them, at least: more than a server keeps of an item for a subscription.
const MISSED: i64 = 20;

/// A profile of the value with a history, which counts up, in a group that is read so.
fn profile(mode: &str) -> String {
    format!(
        "[profile]\nmanufacturer = \"Acme\"\nmodel = \"Plant\"\ndriver = \"opcua\"\nversion = 1\n\n\
         [[group]]\nname = \"past\"\ninterval = \"100ms\"\nmode = \"{mode}\"\n\n\
         [[tag]]\nname = \"hist\"\ngroup = \"past\"\nnode = \"nsu={ns};s=Hist\"\ntype = \"f64\"\n\n\
         [[tag]]\nname = \"without_history\"\ngroup = \"past\"\nnode = \"nsu={ns};s=Setpoint\"\ntype = \"f64\"\n\n\
         [[tag]]\nname = \"nowhere\"\ngroup = \"past\"\nnode = \"nsu=urn:nowhere;s=Nowhere\"\ntype = \"f64\"\n",
        ns = OpcuaServer::NAMESPACE
    )
}

/// A row about the value that counts up: the value, its own time, and whether it is of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    value: i64,
    own_time: i64,
    past: bool,
}

fn told(messages: &[Message]) -> Vec<Told> {
    let rows = messages.iter().filter(|message| message.topic == "tidegate/line3/plant/data/past");
    let told = |row: serde_json::Value| {
        #[expect(clippy::as_conversions, reason = "the plant counts in whole numbers")]
        let value = row["values"]["hist"].as_f64()? as i64;
        Some(Told { value, own_time: row["device_ts"].as_i64()?, past: row["hist"] == true })
    };
    rows.filter_map(|message| message.json().ok()).filter_map(told).collect()
}

/// Whether what was last said of the device is that it is away.
fn is_away(messages: &[Message]) -> bool {
    let last = messages.iter().rev().find(|message| message.topic.ends_with("/plant/state"));
    last.and_then(|last| last.json().ok()).is_some_and(|last| last["state"] == "offline")
}

/// Waits until the plant has counted on from `last` far enough; what it holds then. It keeps what it counted.
fn counted_on(server: &mut OpcuaServer, last: i64) -> anyhow::Result<i64> {
    wait_until(PATIENCE, "values that nobody hears of", || {
        #[expect(clippy::as_conversions, reason = "the plant counts in whole numbers")]
        let now = server.get("Hist").ok()?.parse::<f64>().ok()? as i64;
        (now - last > MISSED).then_some(now)
    })
}

/// Up to which value none may lack after an outage, at whose end the plant held one and of which another was the first of now. Between
/// the end of the hole and the first value of now there may be some that are nobody's where they are polled: a poll is not every value.
fn seam(mode: &str, held: i64, first: i64) -> i64 {
    if mode == "subscribe" { first.max(held) } else { held }
}

/// A site with a link to the server, which fills what is missing.
fn site(url: &str, mode: &str) -> anyhow::Result<Site> {
    let site = Site::new()?;
    site.write_file("profiles/acme/plant.toml", &profile(mode))?;
    site.write("line3", &link("plant", url, "security = \"none\"\nbackfill = true"))?;
    Ok(site)
}

fn backfill(stack: Stack, mode: &str) -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut server = OpcuaServer::start(&peers, stack, &OpcuaServerOptions::default())?;
    let way = FaultProxy::start(server.address(), 7)?;
    let site = site(&format!("opc.tcp://{}/plant", way.address()), mode)?;
    let _gateway = Gateway::start(&site)?;
    let said = Subscriber::start(&peers, site.broker_address(), "tidegate/line3/#")?;
    said.wait_for(PATIENCE, "values", |messages| (told(messages).len() > 3).then_some(()))?;
    assert!(
        said.messages().iter().all(|message| !message.payload.contains("\"hist\":true")),
        "nothing was missing yet"
    );

    for outage in 1..=2 {
        // The state is said behind the row that it comes from.
        said.wait_for(PATIENCE, "the device", |messages| (!is_away(messages)).then_some(()))?;
        way.fault(Fault::Refused)?;
        way.cut(Cut::Closed);
        let before = said.wait_for(PATIENCE, "the loss", |messages| is_away(messages).then(|| told(messages)))?;
        let last = before.iter().map(|told| told.value).max().unwrap();
        let held = counted_on(&mut server, last)?;
        assert_eq!(told(&said.messages()), before, "the link is away");
        way.heal()?;
        let first = said.wait_for(PATIENCE, "a value after the outage", |messages| {
            told(messages).get(before.len()..)?.iter().find(|told| !told.past).map(|told| told.value)
        })?;
        let whole = last..=seam(mode, held, first);
        said.wait_for(PATIENCE, "the values of the outage", |messages| {
            let known: BTreeSet<i64> = told(messages).iter().map(|told| told.value).collect();
            whole.clone().all(|value| known.contains(&value)).then_some(())
        })
        .map_err(|error| error.context(format!("outage {outage}, {whole:?}: {:?}", told(&said.messages()))))?;
    }
    let told = told(&said.messages());
    let mut past: Vec<Told> = told.iter().copied().filter(|told| told.past).collect();
    assert!(past.len() >= 2, "{told:?}");
    let in_order = past.clone();
    past.sort();
    assert_eq!(past, in_order, "as they happened");
    past.dedup_by_key(|told| told.value);
    assert_eq!(past.len(), in_order.len(), "each once: {in_order:?}");
    let present =
        |past: &Told| told.iter().any(|told| !told.past && (told.value, told.own_time) == (past.value, past.own_time));
    let twice: Vec<&Told> = past.iter().filter(|past| present(past)).collect();
    // A value of the moment in which the outage ends may be of the past, and then be what is so now.
    assert!(twice.len() <= 2, "told with its own time already: {twice:?}");
    Ok(())
}

#[test]
fn the_history_of_asyncua_fills_the_hole_of_an_outage_of_what_was_subscribed_to() -> anyhow::Result<()> {
    backfill(Stack::Asyncua, "subscribe")
}

#[test]
fn the_history_of_node_opcua_fills_the_hole_of_an_outage_of_what_was_polled() -> anyhow::Result<()> {
    backfill(Stack::NodeOpcua, "poll")
}

/// The gateway itself is away.
fn restart(stack: Stack, mode: &str) -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut server = OpcuaServer::start(&peers, stack, &OpcuaServerOptions::default())?;
    let site = site(&server.url(), mode)?;
    let (gateway, said) = listening(&peers, &site, &server)?;
    said.wait_for(PATIENCE, "values", |messages| (told(messages).len() > 3).then_some(()))?;
    // What comes before the loss has been heard when that has.
    server.freeze(true)?;
    said.wait_for(PATIENCE, "the loss", |messages| is_away(messages).then_some(()))?;
    gateway.stop()?;
    server.freeze(false)?;
    let before = told(&said.messages());
    let last = before.iter().map(|told| told.value).max().unwrap();
    let held = counted_on(&mut server, last)?;
    let (_gateway, said) = listening(&peers, &site, &server)?;
    let first = said.wait_for(PATIENCE, "a value of now", |messages| {
        told(messages).iter().find(|told| !told.past).map(|told| told.value)
    })?;
    // The last of them may be of now: the plant held it when the gateway was started again. The others can only be of the past.
    let whole = last + 1..=seam(mode, held, first);
    let missed = said.wait_for(PATIENCE, "what was missed", |messages| {
        let mut told = told(messages);
        let is_whole = whole.clone().all(|value| told.iter().any(|told| told.value == value));
        told.retain(|told| told.past);
        is_whole.then_some(told)
    });
    let missed = missed.map_err(|error| error.context(format!("{whole:?}: {:?}", told(&said.messages()))))?;
    let mut once = missed.clone();
    once.sort();
    once.dedup_by_key(|told| told.value);
    assert_eq!(once, missed, "as they happened, and each once");
    let twice: Vec<&Told> =
        missed.iter().filter(|missed| before.iter().any(|told| told.value == missed.value)).collect();
    assert!(twice.is_empty(), "told before the gateway was stopped: {twice:?}");
    Ok(())
}

#[test]
fn what_asyncua_counted_while_the_gateway_was_stopped_is_filled_when_it_is_back() -> anyhow::Result<()> {
    restart(Stack::Asyncua, "subscribe")
}

#[test]
fn what_node_opcua_counted_while_the_gateway_was_stopped_is_filled_when_it_is_back() -> anyhow::Result<()> {
    restart(Stack::NodeOpcua, "poll")
}
