//! The rules of the house that a program can check: who may use whom, how long a file is, what a crate says it is for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without may end it"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Each crate of the workspace, by its folder, and the folders of the crates that it may use. What is not here is
/// forbidden.
const ARROWS: [(&str, &[&str]); 25] = [
    ("gateway/model", &[]),
    ("gateway/config", &["gateway/model"]),
    ("gateway/pipeline", &["gateway/config", "gateway/model"]),
    ("gateway/codec", &["gateway/model"]),
    ("gateway/store", &["gateway/codec", "gateway/config", "gateway/model"]),
    ("gateway/export", &["gateway/codec", "gateway/model"]),
    ("gateway/topics", &["gateway/codec", "gateway/config", "gateway/model"]),
    ("gateway/mqtt", &[]),
    ("gateway/ingest", &["gateway/codec", "gateway/export", "gateway/model", "gateway/mqtt", "gateway/sparkplug"]),
    ("gateway/trust", &["gateway/model"]),
    ("gateway/sparkplug", &["gateway/model"]),
    ("gateway/broker", &["gateway/config", "gateway/model"]),
    ("gateway/bridge", &["gateway/broker", "gateway/config", "gateway/model", "gateway/mqtt"]),
    (
        "gateway/north",
        &[
            "gateway/codec",
            "gateway/config",
            "gateway/model",
            "gateway/mqtt",
            "gateway/sparkplug",
            "gateway/store",
            "gateway/topics",
        ],
    ),
    ("drivers/api", &["gateway/config", "gateway/model"]),
    ("drivers/modbus", &["drivers/api"]),
    ("drivers/opcua", &["drivers/api", "gateway/trust"]),
    ("drivers/sparkplug", &["drivers/api", "gateway/mqtt", "gateway/sparkplug"]),
    ("drivers/template", &["drivers/api"]),
    ("drivers/all", &["drivers/api", "drivers/modbus", "drivers/opcua", "drivers/sparkplug", "drivers/template"]),
    (
        "gateway/runtime",
        &[
            "drivers/api",
            "gateway/broker",
            "gateway/codec",
            "gateway/config",
            "gateway/model",
            "gateway/pipeline",
            "gateway/store",
            "gateway/topics",
        ],
    ),
    ("gateway/web", &["gateway/config", "gateway/model", "gateway/runtime"]),
    ("gateway/opcua", &["gateway/config", "gateway/model", "gateway/runtime", "gateway/trust"]),
    ("simulators", &["drivers/modbus", "drivers/opcua", "gateway/config", "gateway/model"]),
    ("xtask", &[]),
];

/// The binary builds everything, the tests look at everything.
const USE_ALL: [&str; 2] = ["gateway/app", "tests"];

/// Longer than this and a file is more than one room.
const LONGEST: usize = 450;

const NO_NAMES: [&str; 4] = ["common", "utils", "helpers", "core"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in a folder of the workspace").to_owned()
}

fn metadata() -> Metadata {
    MetadataCommand::new().current_dir(root()).no_deps().exec().expect("cargo tells about the workspace")
}

/// The folder of a crate, from the workspace's root.
fn folder(package: &Package) -> String {
    let folder = package.manifest_path.parent().expect("a manifest is in a folder");
    folder.as_std_path().strip_prefix(root()).expect("a crate is in the workspace").display().to_string()
}

/// All Rust files under a folder of the workspace.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace can be read") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

#[test]
fn crates_use_only_whom_they_may() {
    let metadata = metadata();
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let folders: BTreeMap<String, String> =
        metadata.workspace_packages().iter().map(|package| (package.name.to_string(), folder(package))).collect();
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let from = folder(package);
        if USE_ALL.contains(&from.as_str()) {
            continue;
        }
        let Some(may) = arrows.get(from.as_str()) else {
            wrong.push(format!("{from} has no arrows in this test: say whom it may use"));
            continue;
        };
        // What only tests use does not shape the product.
        let used = package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
        for to in used.filter_map(|dependency| folders.get(&dependency.name)) {
            if !may.contains(&to.as_str()) {
                wrong.push(format!("{from} may not use {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_arrow_starts_and_ends_at_a_crate() {
    let folders: BTreeSet<String> = metadata().workspace_packages().iter().map(|package| folder(package)).collect();
    let named = ARROWS.iter().flat_map(|(from, to)| std::iter::once(from).chain(*to)).chain(&USE_ALL);
    let gone: BTreeSet<&&str> = named.filter(|name| !folders.contains(**name)).collect();
    assert!(gone.is_empty(), "no crate is at {gone:?}");
}

#[test]
fn no_file_is_longer_than_a_room() {
    let mut long = Vec::new();
    for file in ["gateway", "drivers", "simulators"].into_iter().flat_map(sources) {
        let lines = fs::read_to_string(&file).expect("a source file can be read").lines().count();
        if lines > LONGEST {
            long.push(format!("{} has {lines} lines", file.display()));
        }
    }
    assert!(long.is_empty(), "longer than {LONGEST} lines:\n{}", long.join("\n"));
}

#[test]
fn nothing_is_named_after_having_no_name() {
    let crates = metadata().workspace_packages().iter().map(|package| package.name.to_string()).collect::<Vec<_>>();
    let files = ["gateway", "drivers", "simulators", "tests", "xtask"].into_iter().flat_map(sources);
    let modules = files.flat_map(|file| {
        let module = file.file_stem().map(|stem| stem.display().to_string());
        let folder = file.parent().and_then(Path::file_name).map(|name| name.display().to_string());
        module.into_iter().chain(folder)
    });
    let nameless: BTreeSet<String> = crates
        .into_iter()
        .chain(modules)
        .filter(|name| name.split(['-', '_']).any(|word| NO_NAMES.contains(&word)))
        .collect();
    assert!(nameless.is_empty(), "say what is in it: {nameless:?}");
}

#[test]
fn every_crate_says_what_it_is_for() {
    let mut silent = Vec::new();
    for package in metadata().workspace_packages() {
        for target in &package.targets {
            if !target.is_lib() && !target.is_bin() {
                continue;
            }
            let text = fs::read_to_string(&target.src_path).expect("the source of a crate can be read");
            let first = text.lines().next().unwrap_or_default();
            // A sentence, not a mark that something is to come.
            if !first.starts_with("//! ") || first.split_whitespace().count() < 5 {
                silent.push(target.src_path.to_string());
            }
        }
    }
    assert!(silent.is_empty(), "these have no `//!` documentation at the top:\n{}", silent.join("\n"));
}
