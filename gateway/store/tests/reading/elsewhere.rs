//! A second program reads the store while the gateway runs, after it was stopped and after it was killed.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tidegate_store::{Query, Reader, StoreError};

use crate::{archive::*, plant::*};

fn itself(what: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", what, "--nocapture"]).env("STORE_DIR", dir);
    command
}

fn dir() -> PathBuf {
    PathBuf::from(std::env::var("STORE_DIR").expect("the directory"))
}

/// What a program of its own reads there: how many rows.
fn read_elsewhere(dir: &Path) -> usize {
    let done = itself("elsewhere::a_program_that_reads", dir).output().unwrap();
    let output = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{output}{}", String::from_utf8_lossy(&done.stderr));
    let told = output.lines().find_map(|line| line.split_once("rows: ")).unwrap_or_else(|| panic!("{output}"));
    told.1.parse().unwrap()
}

#[tokio::test]
#[ignore = "run by other tests as a program of its own"]
async fn a_program_that_reads() {
    let reader = Reader::open(&dir()).await.unwrap();
    let given = everything(&reader, &Query::of(name("press"))).await;
    assert_eq!(given.missing, []);
    let seqs = given.of("g");
    assert_eq!(seqs, (1..=seqs.len()).map(|seq| u64::try_from(seq).unwrap()).collect::<Vec<_>>());
    println!("rows: {}", seqs.len());
}

#[tokio::test]
#[ignore = "run by a_gateway_that_was_killed_is_read"]
async fn a_gateway_that_will_be_killed() {
    let store = open(&dir()).await;
    let mut press = group(&store, "press", "g", 3).await;
    produce(&store, &mut [&mut press], 10).await;
    println!("committed");
    std::future::pending::<()>().await;
}

/// The files of a store, but for the shared memory that every reader has a part of.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let file = |name: &str| Some((name.to_owned(), std::fs::read(dir.join(name)).ok()?));
    ["store.db", "store.db-wal"].into_iter().filter_map(file).filter(|(_, bytes)| !bytes.is_empty()).collect()
}

#[tokio::test]
async fn a_gateway_that_runs_is_read_and_does_not_notice() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = group(&store, "press", "g", 3).await;
    for tens in 1..=3 {
        produce(&store, &mut [&mut press], 1).await;
        assert_eq!(read_elsewhere(dir.path()), tens * 10);
    }
    let reader = Reader::open(dir.path()).await.unwrap();
    let scan = reader.scan(&Query::of(name("press"))).await.unwrap();
    produce(&store, &mut [&mut press], 1).await;
    assert_eq!(store.status().failing, None);
    store.close().await;
    assert_eq!(rest(scan).await.of("g").len(), 30, "and goes on when the gateway stops");
    open(dir.path()).await;
}

#[tokio::test]
async fn a_gateway_that_was_stopped_is_read_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = group(&store, "press", "g", 3).await;
    produce(&store, &mut [&mut press], 5).await;
    store.close().await;
    let before = files(dir.path());
    assert_eq!(read_elsewhere(dir.path()), 50);
    assert!(files(dir.path()) == before);
    let store = open(dir.path()).await;
    assert_eq!(group(&store, "press", "g", 3).await.next, 51);
}

#[test]
fn a_gateway_that_was_killed_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = itself("elsewhere::a_gateway_that_will_be_killed", dir.path());
    let mut gateway = gateway.stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(gateway.stdout.take().unwrap());
    let committed = output.lines().map_while(Result::ok).any(|line| line.contains("committed"));
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    assert!(committed);
    let before = files(dir.path());
    assert!(before.contains_key("store.db-wal"), "everything is in the write-ahead log");
    assert_eq!(read_elsewhere(dir.path()), 100);
    assert!(files(dir.path()) == before);
    // Without the index of the write-ahead log it is made anew.
    std::fs::remove_file(dir.path().join("store.db-shm")).unwrap();
    assert_eq!(read_elsewhere(dir.path()), 100);
}

#[tokio::test]
async fn a_copy_on_a_write_protected_disk_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mount = |arguments: &[&str]| {
        let done = Command::new("mount").args(arguments).arg(dir.path()).output();
        done.is_ok_and(|done| done.status.success())
    };
    if !mount(&["-t", "tmpfs", "none"]) {
        return println!("skipped: a file system can only be mounted as root");
    }
    let store = open(dir.path()).await;
    let mut press = group(&store, "press", "g", 3).await;
    produce(&store, &mut [&mut press], 2).await;
    store.close().await;
    let protected = mount(&["-o", "remount,ro"]);
    let read = protected.then(|| read_elsewhere(dir.path()));
    let _ = Command::new("umount").arg("--lazy").arg(dir.path()).status();
    assert_eq!(read, Some(20));
}

#[tokio::test]
async fn what_is_no_store_is_refused_by_name_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let refused = Reader::open(dir.path()).await.unwrap_err();
    assert!(matches!(refused, StoreError::NoStore { .. }));
    assert!(refused.to_string().contains("store.db"), "{refused}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

    std::fs::write(dir.path().join("store.db"), "this is no database".repeat(1000)).unwrap();
    let refused = Reader::open(dir.path()).await.unwrap_err();
    assert!(refused.to_string().contains("damaged"), "{refused}");
}

#[tokio::test]
async fn a_store_of_a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).await.close().await;
    run(dir.path(), "PRAGMA user_version = 99").await;
    let refused = Reader::open(dir.path()).await.unwrap_err();
    assert!(matches!(refused, StoreError::NewerFormat { found: 99, .. }), "{refused}");
}
