//! Rows as JSON into the database.

use std::fs;

use tidegate_config::Format;
use tidegate_tests::{Mosquitto, PATIENCE, Peers, Postgres, publish, tidegate, wait_until};

use crate::{
    ingest::{everything_is_there_once, start, until_written},
    sender::Sender,
};

#[test]
fn rows_of_a_target_with_json_are_written_once_and_their_gaps_are_known() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let (broker, database) = (Mosquitto::start(&peers)?, Postgres::start(&peers)?);
    let begin = || start(broker.address(), &database.url(), &["--format", "json", "--client-id", "one"]);
    let mut ingest = begin()?;
    let mut sender = Sender::new(2, 5);
    sender.rows(300);
    sender.start(broker.address(), Format::Json);
    sender.rows(200);
    wait_until(PATIENCE, "some rows", || {
        database.sql("select 1 from tidegate.stream where rows > 50").ok().filter(|rows| !rows.is_empty())
    })?;
    ingest.kill();
    sender.finish();
    let mut ingest = begin()?;
    until_written(&database, sender.total())?;
    everything_is_there_once(&database, sender.total(), 5)?;

    // A row again, a gap that is announced, a hole, and what is no row.
    let topic = "tidegate/line3/machine-0/data/fast";
    for payload in [
        r#"{"ts":1,"seq":500,"values":{"tag-0":7}}"#,
        r#"{"ts":2,"seq":511,"values":{"tag-0":7.5,"name":"oven"},"bad":{"tag-1":"timeout"}}"#,
        "no row",
    ] {
        publish(&peers, broker.address(), topic, payload)?;
    }
    let gap = r#"{"gap":{"from":501,"to":508,"reason":"too_old"}}"#;
    publish(&peers, broker.address(), "tidegate/line3/machine-0/gap/fast", gap)?;
    let quarantine = "select fault, convert_from(frame, 'UTF8') from tidegate.quarantine";
    wait_until(PATIENCE, "what is no row", || database.sql(quarantine).ok().filter(|rows| *rows == ["json|no row"]))?;
    let gaps = "select first_seq, last_seq, reason from tidegate.gap";
    wait_until(PATIENCE, "the gap", || database.sql(gaps).ok().filter(|rows| *rows == ["501|508|too_old"]))?;
    let last = "select tag, value, text, quality, reason from tidegate.samples where seq = 511 order by tag";
    assert_eq!(database.sql(last)?, ["name||oven|good|", "tag-0|7.5||good|", "tag-1|||bad|timeout"]);
    assert!(ingest.terminate(PATIENCE)?.success());
    let (code, text) = tidegate(["ingest", "--verify", "--to", &database.url()], &[])?;
    assert!(code == Some(1) && text.contains("hole 509 to 510: 2 rows"), "{code:?}: {text}");
    assert!(text.contains("machine-0  fast   0000000000000000"), "{text}");
    Ok(())
}

#[test]
fn rows_of_a_target_with_json_come_as_lines_and_files_too() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let broker = Mosquitto::start(&peers)?;
    let folder = tempfile::tempdir()?;
    let files = format!("parquet:{}", folder.path().join("lake").display());
    let mut ingest = start(broker.address(), &files, &["--format", "json", "--client-id", "files"])?;
    let ledger = folder.path().join("ledger").display().to_string();
    let lines = ["--format", "json", "--client-id", "lines", "--ledger", &ledger];
    let mut printing = start(broker.address(), "jsonl:-", &lines)?;
    let mut sender = Sender::new(1, 3);
    sender.start(broker.address(), Format::Json);
    sender.rows(50);
    sender.finish();
    printing.wait_for(PATIENCE, "the last row", |lines| {
        lines.iter().any(|line| line.text.contains("\"seq\":50,")).then_some(())
    })?;
    assert!(printing.terminate(PATIENCE)?.success());
    assert!(fs::metadata(&ledger)?.len() > 0);
    wait_until(PATIENCE, "all rows in the ledger of the files", || {
        ingest.terminate(PATIENCE).ok()?;
        let (_, text) = tidegate(["ingest", "--verify", "--to", &files], &[]).ok()?;
        if text.contains("  50 ") {
            return Some(());
        }
        ingest = start(broker.address(), &files, &["--format", "json", "--client-id", "files"]).ok()?;
        None
    })
}
