//! Structures taken apart: nested ones, unions and those of OPC UA itself; and a server that lets nobody subscribe, which is polled.

use std::fs;

use serde_json::json;
use tidegate_tests::{OpcuaServer, OpcuaServerOptions, PATIENCE, Peers, Site, Stack, tidegate};

use crate::line::{Line, Tags, link, listening};

/// Fields of structures: tag, node, field, type.
const FIELDS: [(&str, &str, &str, &str); 8] = [
    ("position_x", "Axis", "position.x", "f64"),
    ("position_name", "Axis", "position.name", "string"),
    ("speed", "Axis", "speed", "f32"),
    ("text", "Either", "text", "string"),
    ("number", "Either", "number", "f64"),
    ("product", "", "BuildInfo.ProductName", "string"),
    ("started", "", "StartTime", "string"),
    ("state", "", "State", "i32"),
];

fn profile() -> String {
    let mut text = "[profile]\nmanufacturer = \"Acme\"\nmodel = \"Plant\"\ndriver = \"opcua\"\nversion = 1\n\n\
                    [[group]]\nname = \"fields\"\ninterval = \"100ms\"\n"
        .to_owned();
    for (tag, node, field, kind) in FIELDS {
        let node = match node {
            "" => "i=2256".to_owned(),
            node => format!("nsu={};s={node}", OpcuaServer::NAMESPACE),
        };
        let keys = format!("node = \"{node}\"\nfield = \"{field}\"\ntype = \"{kind}\"\n");
        text += &format!("\n[[tag]]\nname = \"{tag}\"\ngroup = \"fields\"\n{keys}");
    }
    text
}

fn taken_apart(words: &[&str]) -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    let options = OpcuaServerOptions { words, ..OpcuaServerOptions::default() };
    let mut line = Line::start(&peers, Stack::Asyncua, &options, &profile())?;
    let tags = line.wait_for(PATIENCE, "all fields but that of the union", |tags| {
        (tags.good() == 7 && tags.bad("invalid_value") == 1).then(|| tags.0.clone())
    })?;
    let value = |tag: &str| tags[tag].clone();
    for (tag, expected) in [
        ("position_x", json!(7.5)),
        ("position_name", json!("hall")),
        ("speed", json!(0.5)),
        ("text", json!("tide")),
        ("product", json!("FreeOpcUa Python Server")),
        ("state", json!(0)),
    ] {
        assert_eq!(value(tag), Ok(expected), "{tag}");
    }
    assert_eq!(value("number"), Err("invalid_value".to_owned()), "the union holds a text");
    line.server.set("Axis", r#"{"x": 8.5, "y": 0, "name": "dock"}"#)?;
    line.wait_for(PATIENCE, "the field's new value", |tags| {
        (tags.value("position_x")?.as_f64() == Some(8.5) && tags.value("position_name")? == "dock").then_some(())
    })
}

#[test]
fn structures_in_structures_unions_and_those_of_opc_ua_itself_are_taken_apart() -> anyhow::Result<()> {
    taken_apart(&[])
}

#[test]
fn a_server_that_lets_nobody_subscribe_is_polled_and_brings_the_same() -> anyhow::Result<()> {
    taken_apart(&["--no-subscriptions"])
}

#[test]
fn structures_of_a_server_are_flattened_to_tags_when_it_is_browsed() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let server = OpcuaServer::start(&peers, Stack::Asyncua, &OpcuaServerOptions::default())?;
    let site = Site::new()?;
    let links = link("plant", &server.url(), "security = \"none\"");
    let (bare, device) = links.split_once("[[device]]").unwrap();
    site.write("line3", bare)?;
    let (file, made) = (site.file().display().to_string(), site.path().join("profiles/acme/plant.toml"));
    fs::create_dir_all(made.parent().unwrap())?;
    let start = format!("nsu={};s=Plant", OpcuaServer::NAMESPACE);
    let out = made.display().to_string();
    let (code, text) = tidegate(["browse", "-c", &file, "plant", &start, "--profile", "--out", &out], &[])?;
    assert_eq!(code, Some(0), "{text}");
    let profile = fs::read_to_string(&made)?;
    for part in [
        "name = \"axis.position.x\"",
        "field = \"position.x\"",
        "name = \"either.text\"",
        "field = \"text\"",
        "field = \"levels\"\ntype = \"f64\"\ncount = 3\n",
        "name = \"rack.places_1.name\"",
        "field = \"places[1].name\"",
        "Rack/spare (nsu=urn:tidegate:tests:plant;s=Rack) is left out",
    ] {
        assert!(profile.contains(part), "{part} is not in\n{profile}");
    }
    site.write("line3", &format!("{bare}[[device]]{device}"))?;
    let (_gateway, said) = listening(&peers, &site, &server)?;
    said.wait_for(PATIENCE, "the fields of a profile that was browsed", |messages| {
        let tags = Tags::of("plant", messages);
        let rack = (tags.value("rack.levels")?, tags.value("rack.places_1.name")?);
        let is_told = tags.value("axis.position.x")?.as_f64() == Some(7.5) && tags.value("either.text")? == "tide";
        (is_told && rack == (&json!([0.5, 1.5, 2.5]), &json!("right"))).then_some(())
    })
}
