//! Walks `tests/cases/`: each folder is a site with a profile, and what is reported about its mistakes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use tidegate_driver_api::{
    Driver,
    config::{Profiles, load},
};
use tidegate_driver_opcua::OpcUa;

#[test]
fn every_mistake_is_reported_with_its_place_and_what_to_do() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert!(names.len() >= 5, "the cases are missing");
    let mut wrong = String::new();
    for name in names {
        let case = folder.join(&name);
        let expected = fs::read_to_string(case.join("expected.txt")).unwrap_or_default();
        let found = reported(&case);
        if found.trim() != expected.trim() {
            wrong += &format!("=== {name}: expected\n{}\n=== {name}: found\n{}\n", expected.trim(), found.trim());
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn reported(case: &Path) -> String {
    let (site, mut report) = load(&case.join("tidegate.toml"), [], Profiles::Used);
    assert!(!report.has_errors(), "{}", report.render());
    let link = site.unwrap().links.remove(0);
    let compiled = OpcUa::new().compile(&link, &mut report);
    assert!(compiled.is_some() || report.has_errors(), "a link that cannot be built has no mistake");
    report.render().replace(&format!("{}/", case.display()), "")
}
