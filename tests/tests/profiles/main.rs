//! Every profile of the repository against the answer it must give.
//!
//! `tests/profiles/<vendor>/<model>.toml` beside `profiles/<vendor>/<model>.toml`: what the registers of such a device hold,
//! what the device refuses, what has to come out, and the bytes of its writes; or the nodes of an OPC UA server, or what an edge node of
//! Sparkplug says at its birth.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without may end it"
)]

mod answer;
mod machine;
mod opcua;
mod sparkplug;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use answer::Answer;
use machine::Machine;
use tidegate_driver_api::Written;
use tidegate_model::Slot;
use tidegate_tests::{Device, Peers};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The paths of all profiles, or answers, in a folder (`eastron/sdm630`).
fn paths(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for vendor in fs::read_dir(folder).expect("the folder can be read").map(|entry| entry.expect("an entry").path()) {
        for file in fs::read_dir(&vendor).expect("a vendor is a folder").map(|entry| entry.expect("an entry").path()) {
            let path = file.strip_prefix(folder).expect("a file of the folder").with_extension("");
            found.insert(path.display().to_string());
        }
    }
    found
}

/// The paths of all profiles of a protocol.
fn of_driver(driver: &str) -> Vec<String> {
    let line = format!("driver = \"{driver}\"");
    let text = |path: &String| fs::read_to_string(root().join("profiles").join(format!("{path}.toml")));
    let is = |path: &String| text(path).expect("a profile can be read").lines().any(|found| found == line);
    paths(&root().join("profiles")).into_iter().filter(is).collect()
}

/// What is wrong with a profile and its answer; nothing when all is well.
fn wrong(path: &str) -> anyhow::Result<Vec<String>> {
    let answer = Answer::read(&root().join("tests/profiles").join(format!("{path}.toml")))?;
    let machine = Machine::start(&answer)?;
    let mut device = Device::open(&root().join("profiles"), path, machine.address(), answer.unit)?;
    let mut wrong = Vec::new();
    let groups: Vec<String> = device.profile().groups.iter().map(|group| group.name.to_string()).collect();
    for group in &groups {
        let got = device.poll(group)?;
        compare(&answer.expected_of(group), &got, &mut wrong);
    }
    for group in answer.groups().filter(|group| !groups.iter().any(|known| known == group)) {
        wrong.push(format!("the profile has no group {group}"));
    }
    for write in answer.writes() {
        let written = device.write(&write.tag, &write.value())?;
        let sent = machine.last_write();
        if written != Written::Confirmed || sent != write.request() {
            wrong.push(format!("{} = {:?}: sent {sent}, which was {written:?}", write.tag, write.value));
        }
    }
    wrong.extend(untried_writes(&device, &answer));
    wrong.extend(machine.complaints());
    Ok(wrong)
}

fn compare(expected: &BTreeMap<String, toml::Value>, got: &BTreeMap<String, Slot>, wrong: &mut Vec<String>) {
    for (tag, slot) in got {
        match expected.get(tag) {
            None => wrong.push(format!("{tag} has no answer; it gave {slot:?}")),
            Some(value) if !answer::fits(value, slot) => wrong.push(format!("{tag} is {slot:?} instead of {value:?}")),
            Some(_) => {}
        }
    }
    for tag in expected.keys().filter(|tag| !got.contains_key(*tag)) {
        wrong.push(format!("the profile has no tag {tag}"));
    }
}

/// A profile with tags that can be written has to show at least one such write.
fn untried_writes(device: &Device, answer: &Answer) -> Option<String> {
    let mut tags = device.profile().groups.iter().flat_map(|group| &group.tags);
    let writable = tags.any(|tag| tag.access != tidegate_config::Access::Read);
    (writable && answer.writes().next().is_none()).then(|| "it can be written, but no answer says how".to_owned())
}

#[test]
fn every_profile_gives_its_answer() {
    let mut failures = Vec::new();
    for path in of_driver("modbus") {
        match wrong(&path) {
            Ok(wrong) if wrong.is_empty() => {}
            Ok(wrong) => failures.push(format!("{path}:\n    {}", wrong.join("\n    "))),
            Err(error) => failures.push(format!("{path}: {error:#}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_profile_of_opc_ua_gives_its_answer() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let profiles = of_driver("opcua");
    assert!(profiles.len() >= 2, "the profiles have gone: {profiles:?}");
    for path in profiles {
        let wrong = opcua::wrong(&peers, &root(), &path)?;
        assert!(wrong.is_empty(), "{path}:\n    {}", wrong.join("\n    "));
    }
    Ok(())
}

#[test]
fn every_profile_of_sparkplug_gives_its_answer() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let profiles = of_driver("sparkplug");
    assert!(profiles.len() >= 2, "the profiles have gone: {profiles:?}");
    for path in profiles {
        let wrong = sparkplug::wrong(&peers, &root(), &path)?;
        assert!(wrong.is_empty(), "{path}:\n    {}", wrong.join("\n    "));
    }
    Ok(())
}

#[test]
fn every_answer_is_to_a_profile() {
    let profiles = paths(&root().join("profiles"));
    assert!(profiles.len() >= 15, "the profiles have gone: {profiles:?}");
    let answers = paths(&root().join("tests/profiles"));
    assert_eq!(answers.difference(&profiles).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn every_profile_says_which_public_document_it_is_from() {
    for path in paths(&root().join("profiles")) {
        let text = fs::read_to_string(root().join("profiles").join(format!("{path}.toml"))).expect("a profile");
        let comment = text.lines().map_while(|line| line.strip_prefix('#')).collect::<String>() + " ";
        for word in ["Source: ", "Checked against ", "Left out: "] {
            assert!(comment.contains(word), "{path} does not say {word:?} in the comment at its top");
        }
        let head = text.lines().find(|line| line.starts_with("source = "));
        assert!(head.is_some_and(|line| line.len() > 30), "{path} has no `source` in [profile]");
    }
}

/// The words that a quantity begins with, so that one and the same is called alike in all profiles.
#[test]
fn electrical_quantities_are_called_alike() {
    let units = [
        ("V", "voltage"),
        ("A", "current"),
        ("W", "power"),
        ("kW", "power"),
        ("VA", "power_apparent"),
        ("kVA", "power_apparent"),
        ("var", "power_reactive"),
        ("kvar", "power_reactive"),
        ("Hz", "frequency"),
        ("Wh", "energy_active"),
        ("kWh", "energy_active"),
        ("kvarh", "energy_reactive"),
        ("°C", ""),
        ("%", ""),
        ("min", ""),
    ];
    for path in of_driver("modbus") {
        let machine = "127.0.0.1:9".parse().expect("an address");
        let device = Device::open(&root().join("profiles"), &path, machine, 1).expect("a profile without mistakes");
        for tag in device.profile().groups.iter().flat_map(|group| &group.tags) {
            let Some(unit) = &tag.unit else { continue };
            let word = units.iter().find(|(known, _)| known == unit).unwrap_or_else(|| panic!("{path}: unit {unit}")).1;
            let name = tag.name.as_str();
            // A battery or the grid may stand before the quantity.
            let plain = name.trim_start_matches("battery_").trim_start_matches("grid_");
            assert!(plain.starts_with(word) || name == "grid_setpoint", "{path}: {name} in {unit}");
        }
    }
}
