//! A server that dies, hangs, and comes back as somebody else while 1,000 items are subscribed.

use std::time::{Duration, Instant};

use tidegate_tests::{OpcuaServerOptions, PATIENCE, Peers, Stack};

use crate::line::{Line, items_profile};

const ITEMS: usize = 1_000;
/// Values flow again so soon after the server is back: 5 s are meant, with two pauses of at most 2 s in them, and the rest is for a
/// machine that runs tests, which may stand still for a while.
const SOON: Duration = Duration::from_secs(20);

fn outages(stack: Stack) -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let usual = OpcuaServerOptions { items: ITEMS, ..OpcuaServerOptions::default() };
    let mut line = Line::start(&peers, stack, &usual, &items_profile(ITEMS))?;
    line.wait_for(PATIENCE, "all items", |tags| (tags.good() == ITEMS).then_some(()))?;

    line.server.kill();
    line.wait_for(PATIENCE, "the loss of all items", |tags| (tags.bad("disconnected") == ITEMS).then_some(()))?;
    // The plant's namespace has another index now, and other nodes have the old one.
    line.server.start_again(&OpcuaServerOptions { padding: 3, ..usual })?;
    all_again(&line, "after a restart with other namespaces")?;

    line.server.freeze(true)?;
    line.wait_for(PATIENCE, "the silence of all items", |tags| (tags.bad("timeout") == ITEMS).then_some(()))?;
    line.server.freeze(false)?;
    all_again(&line, "after the server has hung")?;

    // What it sends is what the server has, not what a lost session had kept.
    let written = line.server.get("T7")?.parse::<f64>()?;
    line.wait_for(PATIENCE, "the value that the server has", |tags| {
        tags.value("t7")?.as_f64().filter(|value| *value >= written)
    })?;
    Ok(())
}

/// Every item is good again soon, and then moves again. How soon is told by a clock only roughly, and exactly by how often the gateway
/// has paused.
fn all_again(line: &Line, when: &str) -> anyhow::Result<()> {
    let back = Instant::now();
    let before = line.troubles()?;
    line.wait_for(PATIENCE, &format!("all items {when}"), |tags| (tags.good() == ITEMS).then_some(()))?;
    let took = back.elapsed();
    let troubles = line.troubles()? - before;
    // The try that was under way when the server came back may have gone wrong. No other may, and so there was one pause after it at most.
    assert!(troubles <= 1, "{troubles} troubles in {took:?} {when}");
    assert!(took < SOON, "{took:?} {when}");
    let before = line.said.messages().len();
    line.said.wait_for(PATIENCE, &format!("changes of all items {when}"), |messages| {
        let tags = crate::line::Tags::of("plant", &messages[before.min(messages.len())..]);
        (tags.good() == ITEMS).then_some(())
    })
}

#[test]
fn a_thousand_items_of_asyncua_come_back_after_a_kill_and_after_a_freeze() -> anyhow::Result<()> {
    outages(Stack::Asyncua)
}

#[test]
fn a_thousand_items_of_node_opcua_come_back_after_a_kill_and_after_a_freeze() -> anyhow::Result<()> {
    outages(Stack::NodeOpcua)
}
