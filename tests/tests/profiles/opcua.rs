//! Profiles of OPC UA: a foreign server with the nodes of the answer, and what the gateway makes of them.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tidegate_tests::{Gateway, OpcuaServer, OpcuaServerOptions, PATIENCE, Peers, Site, Stack, Subscriber, publish};

/// What a server holds, and what has to come out of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// Who serves it: `node-opcua`, which takes no nodes; asyncua unless set.
    #[serde(default)]
    stack: Option<String>,
    #[serde(default)]
    node: Vec<Node>,
    /// By tag; `"*"` is any value that is good.
    expected: BTreeMap<String, toml::Value>,
    #[serde(default)]
    write: Vec<Write>,
}

/// A variable with a string as its identifier.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Node {
    namespace: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    value: toml::Value,
    #[serde(default)]
    writable: bool,
}

/// A value that is written, and what the node has to hold then.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Write {
    tag: String,
    value: toml::Value,
    node: String,
    holds: toml::Value,
}

/// What is wrong with a profile and its answer; nothing when all is well.
pub(crate) fn wrong(peers: &Peers, root: &Path, path: &str) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(root.join("tests/profiles").join(format!("{path}.toml")));
    let answer: Answer = toml::from_str(&text.context("the profile has no answer in tests/profiles")?)?;
    let (mut server, site) = (serve(peers, &answer)?, Site::new()?);
    let profiles = fs::canonicalize(root.join("profiles"))?;
    let rest = format!(
        "[[link]]\nname = \"link\"\ndriver = \"opcua\"\nendpoint = \"{}\"\nsecurity = \"none\"\ntimeout = \"10s\"\n\n\
         [[device]]\nname = \"device\"\nlink = \"link\"\nprofile = \"{path}\"\n",
        server.url()
    );
    site.write("test", &rest)?;
    let text = fs::read_to_string(site.file())?.replace("\"profiles\"", &format!("{profiles:?}"));
    fs::write(site.file(), text)?;
    // The server answers when somebody listens: what never changes is said once.
    server.freeze(true)?;
    let _gateway = Gateway::start(&site)?;
    let said = Subscriber::start(peers, site.broker_address(), "tidegate/test/device/#")?;
    server.freeze(false)?;
    let mut got = BTreeMap::new();
    // A tag that never comes is named; the others need not wait for it.
    let all = said.wait_for(PATIENCE, "all values", |messages| {
        for row in messages.iter().filter(|message| message.topic.contains("/data/")).filter_map(|row| row.json().ok())
        {
            got.extend(row["values"].as_object().cloned().unwrap_or_default());
        }
        answer.expected.keys().all(|tag| got.contains_key(tag)).then_some(())
    });
    let mut wrong: Vec<String> = all.err().map(|_| "some tags never came".to_owned()).into_iter().collect();
    for (tag, expected) in &answer.expected {
        let fits = got.get(tag).is_some_and(|value| *expected == toml::Value::from("*") || *value == json(expected));
        if !fits {
            wrong.push(format!("{tag} is {:?} instead of {expected:?}", got.get(tag)));
        }
    }
    wrong
        .extend(got.keys().filter(|tag| !answer.expected.contains_key(*tag)).map(|tag| format!("{tag} has no answer")));
    for write in &answer.write {
        let command = serde_json::json!({ "id": write.tag, "values": { &write.tag: json(&write.value) } });
        publish(peers, site.broker_address(), "tidegate/test/device/set", &command.to_string())?;
        let reply = said.wait_for(PATIENCE, "the reply", |messages| {
            let replies = messages.iter().filter(|message| message.topic.ends_with("/set/reply"));
            replies.filter_map(|reply| reply.json().ok()).find(|reply| reply["id"] == write.tag.as_str())
        })?;
        let (held, holds) = (server.get(&write.node)?, json(&write.holds).to_string());
        if reply["ok"] != true || held != holds {
            wrong.push(format!("{} = {:?}: {reply}, and the server has {held}", write.tag, write.value));
        }
    }
    Ok(wrong)
}

/// A server with the nodes of the answer beside its own.
fn serve(peers: &Peers, answer: &Answer) -> anyhow::Result<OpcuaServer> {
    if answer.stack.as_deref() == Some(Stack::NodeOpcua.as_str()) {
        return OpcuaServer::start(peers, Stack::NodeOpcua, &OpcuaServerOptions::default());
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("nodes.json");
    fs::write(&file, serde_json::to_string(&answer.node)?)?;
    let words = vec!["--nodes".to_owned(), file.display().to_string(), "--no-security".to_owned()];
    OpcuaServer::start(peers, Stack::Asyncua, &OpcuaServerOptions { words, ..OpcuaServerOptions::default() })
}

fn json(value: &toml::Value) -> serde_json::Value {
    serde_json::to_value(value).expect("what TOML has, JSON has too")
}
