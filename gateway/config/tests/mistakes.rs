//! What a person reads about each mistake: `tests/mistakes/<case>/` holds a site and, in `expected.txt`, the report on it.
//!
//! An `environment` file in a case holds `NAME=value` lines. `UPDATE_EXPECTED=1 cargo test -p tidegate-config --test mistakes`
//! writes `expected.txt` anew; read the difference before it is committed.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use tidegate_config::{Profiles, load};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn report_on(case: &Path) -> String {
    let variables = fs::read_to_string(case.join("environment")).unwrap_or_default();
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    let environment = variables.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let (_, report) = load(&case.join("tidegate.toml"), environment, Profiles::All);
    report.render().replace(&format!("{}/", case.display()), "")
}

#[test]
fn every_mistake_is_reported_as_expected() {
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut different = BTreeMap::new();
    for case in cases() {
        let found = report_on(&case);
        let file = case.join("expected.txt");
        if update {
            fs::write(&file, &found).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if found != expected {
            different.insert(case, format!("expected:\n{expected}\nfound:\n{found}"));
        }
    }
    let text: Vec<String> = different.iter().map(|(case, text)| format!("{}\n{text}", case.display())).collect();
    assert!(different.is_empty(), "{}", text.join("\n----\n"));
}

#[test]
fn there_are_at_least_forty_cases_and_each_finds_something() {
    let cases = cases();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    for case in cases {
        assert!(!report_on(&case).is_empty(), "{} reports nothing", case.display());
    }
}

#[test]
fn no_report_shows_a_secret() {
    for case in cases() {
        assert!(!report_on(&case).contains("hunter2"), "{}", case.display());
    }
}
