//! Events and conditions: rows, and the alarm topics.

use serde_json::json;
use tidegate_tests::{OpcuaServerOptions, PATIENCE, Peers, Stack};

use crate::line::{Line, values_profile};

fn events(stack: Stack) -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut line = Line::start(&peers, stack, &OpcuaServerOptions::default(), &values_profile())?;
    line.wait_for(PATIENCE, "values", |tags| tags.value("count").cloned())?;
    // Nothing says when the server has taken the subscription to events: it is asked again until the first one comes.
    tidegate_tests::wait_until(PATIENCE, "the event", || {
        line.server.ask("event 500 pump started").ok()?;
        let wait = std::time::Duration::from_millis(500);
        line.wait_for(wait, "the event", |tags| tags.value("event_message").cloned()).ok()
    })?;
    line.wait_for(PATIENCE, "the event", |tags| {
        (tags.value("event_message")? == "pump started" && tags.value("event_severity")? == &json!(500)).then_some(())
    })?;

    line.server.ask("alarm on 700 level too high")?;
    let raised = alarm(&line, true)?;
    assert_eq!((&raised["severity"], &raised["message"]), (&json!(700), &json!("level too high")), "{raised}");
    assert_eq!(raised["condition"], json!("Level"), "{raised}");
    line.server.ask("alarm off 700 level fine")?;
    alarm(&line, false)?;
    Ok(())
}

/// The alarm's message when it is active, or the first one after that when it is not any more.
fn alarm(line: &Line, active: bool) -> anyhow::Result<serde_json::Value> {
    line.said.wait_for(PATIENCE, "the alarm's topic", |messages| {
        let last = messages.iter().rev().find(|message| message.topic.starts_with("tidegate/line3/plant/alarm/"))?;
        if last.payload.is_empty() || last.payload == "(null)" {
            // A condition that is over is taken off its topic.
            return (!active).then_some(serde_json::Value::Null);
        }
        last.json().ok().filter(|alarm| alarm["active"] == json!(active))
    })
}

#[test]
fn events_and_alarms_of_asyncua_have_their_topics() -> anyhow::Result<()> {
    events(Stack::Asyncua)
}

#[test]
fn events_and_alarms_of_node_opcua_have_their_topics() -> anyhow::Result<()> {
    events(Stack::NodeOpcua)
}
