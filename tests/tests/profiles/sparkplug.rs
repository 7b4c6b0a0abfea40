//! Profiles of Sparkplug B: a foreign edge node that says what is in the answer at its birth, and what the gateway makes of it.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tidegate_tests::{Gateway, Mosquitto, PATIENCE, Peers, Site, SparkplugNode, Subscriber, publish};

/// What an edge node says, and what has to come out of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// Whether births give aliases.
    #[serde(default = "yes")]
    aliases: bool,
    /// The device whose metrics they are; none with `node_metrics`.
    #[serde(default)]
    device: Option<String>,
    /// Whether they are metrics of the node itself.
    #[serde(default)]
    node_metrics: bool,
    metric: Vec<Metric>,
    /// By tag.
    expected: BTreeMap<String, toml::Value>,
    #[serde(default)]
    write: Vec<Write>,
}

/// A metric of the birth, with a type as pysparkplug calls it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Metric {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    value: toml::Value,
    #[serde(default)]
    writable: bool,
}

/// A value that is written, and the command that has to come.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Write {
    tag: String,
    value: toml::Value,
    command: String,
}

fn yes() -> bool {
    true
}

/// What is wrong with a profile and its answer; nothing when all is well.
pub(crate) fn wrong(peers: &Peers, root: &Path, path: &str) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(root.join("tests/profiles").join(format!("{path}.toml")));
    let answer: Answer = toml::from_str(&text.context("the profile has no answer in tests/profiles")?)?;
    let (mosquitto, site) = (Mosquitto::start(peers)?, Site::new()?);
    let own = match &answer.device {
        Some(device) => format!("device_id = \"{device}\""),
        None => format!("node_metrics = {}", answer.node_metrics),
    };
    let rest = format!(
        "[[link]]\nname = \"link\"\ndriver = \"sparkplug\"\naddress = \"{}\"\ngroup_id = \"plant\"\nedge_node_id = \"node\"\n\
         timeout = \"10s\"\n\n\
         [[device]]\nname = \"device\"\nlink = \"link\"\nprofile = \"{path}\"\n{own}\n",
        mosquitto.address()
    );
    site.write("test", &rest)?;
    let profiles = fs::canonicalize(root.join("profiles"))?;
    let text = fs::read_to_string(site.file())?.replace("\"profiles\"", &format!("{profiles:?}"));
    fs::write(site.file(), text)?;
    let _gateway = Gateway::start(&site)?;
    let said = Subscriber::start(peers, site.broker_address(), "tidegate/test/device/#")?;
    // What it says at its birth comes to somebody who listens.
    let metrics = match &answer.device {
        Some(device) => serde_json::json!({ "aliases": answer.aliases, "devices": { device: answer.metric } }),
        None => serde_json::json!({ "aliases": answer.aliases, "node": answer.metric }),
    };
    let node = SparkplugNode::start(peers, mosquitto.address(), "node", &metrics)?;
    let mut got = BTreeMap::new();
    let all = said.wait_for(PATIENCE, "all values", |messages| {
        for row in messages.iter().filter(|message| message.topic.contains("/data/")).filter_map(|row| row.json().ok())
        {
            got.extend(row["values"].as_object().cloned().unwrap_or_default());
        }
        answer.expected.keys().all(|tag| got.contains_key(tag)).then_some(())
    });
    let mut wrong: Vec<String> = all.err().map(|_| "some tags never came".to_owned()).into_iter().collect();
    for (tag, expected) in &answer.expected {
        if got.get(tag) != Some(&json(expected)) {
            wrong.push(format!("{tag} is {:?} instead of {expected:?}", got.get(tag)));
        }
    }
    let more = got.keys().filter(|tag| !answer.expected.contains_key(*tag));
    wrong.extend(more.map(|tag| format!("{tag} has no answer")));
    for write in &answer.write {
        let command = serde_json::json!({ "id": write.tag, "values": { &write.tag: json(&write.value) } });
        publish(peers, site.broker_address(), "tidegate/test/device/set", &command.to_string())?;
        let reply = said.wait_for(PATIENCE, "the reply", |messages| {
            let replies = messages.iter().filter(|message| message.topic.ends_with("/set/reply"));
            replies.filter_map(|reply| reply.json().ok()).find(|reply| reply["id"] == write.tag.as_str())
        })?;
        let told = node.until_told(&write.command);
        let commands = node.commands()?;
        if reply["ok"] != true || told.is_err() || commands.last() != Some(&write.command) {
            wrong.push(format!("{} = {:?}: {reply}, and the node was told {commands:?}", write.tag, write.value));
        }
    }
    Ok(wrong)
}

fn json(value: &toml::Value) -> serde_json::Value {
    serde_json::to_value(value).expect("what TOML has, JSON has too")
}
