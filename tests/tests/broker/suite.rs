//! The suite of `tests/peers/mqtt` on mosquitto and on the gateway's broker, side by side.

use std::{collections::BTreeMap, fmt::Write, process::Command, time::Duration};

use anyhow::Context;
use tidegate_tests::{Child, Peers};

use crate::places::{Listeners, Ours, Theirs};

/// Longer than the slowest case on a busy machine.
const LONGEST: Duration = Duration::from_secs(150);

/// What became of a case.
#[derive(Debug, Clone, serde::Deserialize)]
struct Outcome {
    case: String,
    result: String,
    why: String,
}

impl Outcome {
    fn passed(&self) -> bool {
        self.result == "pass"
    }
}

fn start(peers: &Peers, name: &str, listeners: &Listeners) -> anyhow::Result<Child> {
    let mut command = Command::new(peers.python());
    // Nothing is to be written beside the scripts.
    command.arg("-B").arg(peers.script("mqtt/suite.py")).env("NODE_PATH", peers.node_modules());
    for (word, address) in [
        ("--port", listeners.plain),
        ("--users-port", listeners.users),
        ("--tls", listeners.tls),
        ("--websocket", listeners.websocket),
        ("--tls-websocket", listeners.tls_websocket),
    ] {
        command.args([word, &address.port().to_string()]);
    }
    command.arg("--ca").arg(&listeners.ca).arg("--node").arg(peers.program("node"));
    command.arg("--bin").arg(peers.program("").as_os_str());
    Child::start(&format!("the suite on {name}"), &mut command)
}

fn outcomes(mut suite: Child) -> anyhow::Result<BTreeMap<String, Outcome>> {
    suite.wait(LONGEST)?;
    let lines = suite.finish()?;
    let outcomes = lines.iter().filter(|line| line.text.starts_with('{')).map(|line| {
        let outcome: Outcome = serde_json::from_str(&line.text).with_context(|| line.text.clone())?;
        anyhow::Ok((outcome.case.clone(), outcome))
    });
    outcomes.collect()
}

/// Every case with what became of it, and why.
fn table(ours: &BTreeMap<String, Outcome>, theirs: &BTreeMap<String, Outcome>) -> String {
    let mut text = String::from("mosquitto  gateway  case\n");
    for (case, outcome) in ours {
        let other = theirs.get(case).map_or("-", |other| other.result.as_str());
        writeln!(text, "{other:9}  {:7}  {case}", outcome.result).unwrap();
        for (who, outcome) in [("mosquitto", theirs.get(case)), ("the gateway", Some(outcome))] {
            if let Some(outcome) = outcome.filter(|outcome| !outcome.why.is_empty()) {
                writeln!(text, "                      {who}: {}", outcome.why).unwrap();
            }
        }
    }
    text
}

#[test]
fn the_gateway_does_at_least_as_well_as_mosquitto_in_everything_that_clients_rely_on() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let (ours, theirs) = (Ours::start("")?, Theirs::start(&peers)?);
    let suites = [start(&peers, "the gateway", &ours.listeners)?, start(&peers, "mosquitto", &theirs.listeners)?];
    let [ours, theirs] = suites.map(outcomes);
    let (ours, theirs) = (ours?, theirs?);
    println!("{}", table(&ours, &theirs));
    assert!(ours.len() > 140, "{} cases", ours.len());
    let count = |outcomes: &BTreeMap<String, Outcome>| outcomes.values().filter(|outcome| outcome.passed()).count();
    println!("of {} cases mosquitto passes {}, the gateway {}", ours.len(), count(&theirs), count(&ours));
    let worse: Vec<&Outcome> = ours.values().filter(|outcome| !outcome.passed()).collect();
    assert!(worse.is_empty(), "the gateway fails: {worse:#?}");
    Ok(())
}
