//! `tidegate ingest` as a child process.

use std::{net::SocketAddr, process::Command};

use tidegate_tests::{Child, PATIENCE, Postgres, program, tidegate, wait_until};

/// An ingest that has subscribed.
pub(crate) fn start(broker: SocketAddr, to: &str, arguments: &[&str]) -> anyhow::Result<Child> {
    let mut command = Command::new(program("tidegate")?);
    command.args(["ingest", "--from", &format!("mqtt://{broker}"), "--to", to]).args(arguments);
    let ingest = Child::start("the ingest", &mut command)?;
    ingest.wait_for(PATIENCE, "the word that it has subscribed", |lines| {
        lines.iter().any(|line| line.text.contains("subscribed")).then_some(())
    })?;
    Ok(ingest)
}

/// Waits until the ledger has so many rows.
pub(crate) fn until_written(database: &Postgres, rows: u64) -> anyhow::Result<()> {
    let ledger = || database.sql("select coalesce(sum(rows), 0) from tidegate.stream").ok();
    let written = wait_until(PATIENCE, "all rows", || ledger().filter(|found| *found == [rows.to_string()]));
    written.map(drop).map_err(|error| anyhow::anyhow!("{error}: {:?} of {rows}", ledger()))
}

/// Each sample is in the table once, with the value that it was sent with, and `--verify` says that none is missing.
pub(crate) fn everything_is_there_once(database: &Postgres, rows: u64, tags: u64) -> anyhow::Result<()> {
    let wrong = "value is distinct from substr(tag, 5)::float8 * 1000000 + seq / 2.0";
    let counts = database.sql(&format!(
        "select count(*), count(distinct (device, tag, seq)), count(*) filter (where {wrong}) from tidegate.samples"
    ))?;
    assert_eq!(counts, [format!("{0}|{0}|0", rows * tags)]);
    let (code, text) = tidegate(["ingest", "--verify", "--to", &database.url()], &[])?;
    assert!(code == Some(0) && text.contains("no holes\n"), "{code:?}: {text}");
    Ok(())
}
