//! `tidegate browse`: a profile made from what a foreign server offers, with which the gateway then runs.

use std::fs;

use tidegate_tests::{Gateway, OpcuaServer, OpcuaServerOptions, PATIENCE, Peers, Site, Stack, Subscriber, tidegate};

use crate::line::{Tags, link};

fn browsed(stack: Stack) -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let options = OpcuaServerOptions { items: 200, ..OpcuaServerOptions::default() };
    let mut server = OpcuaServer::start(&peers, stack, &options)?;
    let site = Site::new()?;
    let file = site.file().display().to_string();
    let links = link("plant", &server.url(), "security = \"none\"");
    let (bare, device) = links.split_once("[[device]]").unwrap();
    site.write("line3", bare)?;
    let start = format!("nsu={};s=Plant", OpcuaServer::NAMESPACE);
    let made = site.path().join("profiles/acme/plant.toml");
    fs::create_dir_all(made.parent().unwrap())?;
    let out = made.display().to_string();
    let (code, text) = tidegate(["browse", "-c", &file, "plant", &start, "--profile", "--out", &out], &[])?;
    assert_eq!(code, Some(0), "{text}");
    let profile = fs::read_to_string(&made)?;
    for part in [
        "manufacturer",
        "Setpoint",
        "°C",
        "Temperature wanted",
        "high = 150",
        "access = \"read_write\"",
        "field = \"x\"",
        "name = \"position.name\"",
    ] {
        assert!(profile.contains(part), "{part} is not in\n{profile}");
    }
    site.write("line3", &format!("{bare}[[device]]{device}"))?;
    let _gateway = Gateway::start(&site)?;
    let said = Subscriber::start(&peers, site.broker_address(), "tidegate/line3/#")?;
    server.set("Count", "4711")?;
    said.wait_for(PATIENCE, "the values of a profile that was browsed", |messages| {
        let tags = Tags::of("plant", messages);
        (tags.good() > 200 && tags.0.values().any(|known| known.as_ref().is_ok_and(|value| value == 4711)))
            .then_some(())
    })
}

#[test]
fn a_profile_of_asyncua_is_browsed_and_runs() -> anyhow::Result<()> {
    browsed(Stack::Asyncua)
}

#[test]
fn a_profile_of_node_opcua_is_browsed_and_runs() -> anyhow::Result<()> {
    browsed(Stack::NodeOpcua)
}
