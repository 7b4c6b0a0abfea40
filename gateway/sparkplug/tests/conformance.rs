//! `CONFORMANCE.md` names no test that does not exist, and no id twice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test fails by panicking, and its numbers are small"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Where tests are that the table may name, from this crate's folder.
const FOLDERS: [&str; 3] = ["src", "tests", "../north/tests/sparkplug"];
/// Statements about edge nodes and payloads in version 3.0.0 that the table has at least.
const AT_LEAST: usize = 230;

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// The names of all functions that are tests.
fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    FOLDERS.iter().for_each(|folder| sources(&root.join(folder), &mut files));
    let mut found = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some(name) = line.trim_start_matches("async ").strip_prefix("fn ")
                && std::mem::take(&mut is_test)
            {
                found.insert(name.split('(').next().unwrap().to_owned());
            }
        }
    }
    found
}

#[test]
fn every_test_that_the_table_names_exists_and_no_statement_stands_twice() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("CONFORMANCE.md")).unwrap();
    let tests = tests();
    let mut rows: BTreeMap<String, u32> = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, place, test] = cells.as_slice() else { panic!("{line}") };
        *rows.entry(id.trim_matches('`').to_owned()).or_default() += 1;
        let name = test.trim_matches('`');
        if *test == "–" {
            // Then the place says why.
            if place.len() < 20 {
                wrong.push(format!("{id} has no test and no reason"));
            }
        } else if !tests.contains(name) {
            wrong.push(format!("{id}: there is no test {name}"));
        }
    }
    wrong.extend(rows.iter().filter(|(_, count)| **count > 1).map(|(id, count)| format!("{id} stands {count} times")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows.len() >= AT_LEAST, "only {} statements", rows.len());
}
