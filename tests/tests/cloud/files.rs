//! Parquet files of an ingest, read by programs that others wrote.

use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value as Json;
use tidegate_config::Format;
use tidegate_tests::{Mosquitto, PATIENCE, Peers, tidegate, wait_until};

use crate::{ingest::start, sender::Sender};

/// Reads all files below a folder with pandas and with DuckDB; of each device the numbers of its rows and what is wrong with the values.
const READ: &str = r#"
import duckdb, glob, json, pandas, sys
files = glob.glob(sys.argv[1] + "/**/*.parquet", recursive=True)
frames = [pandas.read_parquet(file).assign(file=file) for file in files]
frame = pandas.concat(frames)
wrong = sum(int((frame[f"tag-{tag}"] != tag * 1000000 + frame["seq"] / 2).sum()) for tag in range(5))
print(json.dumps({"files": len(files), "rows": len(frame), "wrong": wrong, "columns": sorted(frame.columns),
                  "distinct": len(frame.drop_duplicates(["device", "seq"])) if "device" in frame else None,
                  "first": int(frame["seq"].min()), "last": int(frame["seq"].max())}))
wrong = " or ".join(f'"tag-{tag}" is distinct from {tag} * 1000000 + seq / 2' for tag in range(5))
query = f"select count(*), min(seq), max(seq), count(*) filter (where {wrong}) from read_parquet(?, union_by_name=true)"
rows, first, last, wrong = duckdb.execute(query, [files]).fetchone()
print(json.dumps({"rows": rows, "first": first, "last": last, "wrong": wrong}))
"#;

fn read(peers: &Peers, folder: &str) -> anyhow::Result<[Json; 2]> {
    let output = Command::new(peers.python()).args(["-c", READ, folder]).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    let mut lines = text.lines().map(serde_json::from_str);
    Ok([lines.next().context("nothing of pandas")??, lines.next().context("nothing of DuckDB")??])
}

#[test]
fn files_of_an_ingest_are_read_by_pandas_and_duckdb_and_have_each_row_once() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let broker = Mosquitto::start(&peers)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("lake").display().to_string();
    let to = format!("parquet:{path}");
    let begin = || start(broker.address(), &to, &["--client-id", "one", "--rotate", "1s"]);
    let mut ingest = begin()?;
    let mut sender = Sender::new(3, 5);
    sender.rows(700);
    sender.start(broker.address(), Format::Block);
    // Killed in between: what had no file yet gets one at the next start, and what had one gets no second.
    for _ in 0..3 {
        sender.rows(100);
        wait_until(PATIENCE, "another file", || {
            sender.rows(1);
            let (_, text) = tidegate(["ingest", "--verify", "--to", &to], &[]).ok()?;
            text.contains("machine-2").then_some(())
        })?;
        ingest.kill();
        ingest = begin()?;
    }
    sender.finish();
    let each = sender.last;
    wait_until(PATIENCE, "all rows in the ledger", || {
        ingest.terminate(PATIENCE).ok()?;
        let (_, text) = tidegate(["ingest", "--verify", "--json", "--log", "error", "--to", &to], &[]).ok()?;
        let report: Json = serde_json::from_str(&text).ok()?;
        let streams = report["streams"].as_array()?;
        if streams.len() == 3 && streams.iter().all(|stream| stream["rows"] == each) && report["missing"] == 0 {
            return Some(());
        }
        ingest = begin().ok()?;
        None
    })?;
    for found in read(&peers, &path)? {
        let expected = (Json::from(sender.total()), Json::from(1), Json::from(each), Json::from(0));
        let said = (&found["rows"], &found["first"], &found["last"], &found["wrong"]);
        assert_eq!(said, (&expected.0, &expected.1, &expected.2, &expected.3), "{found}");
        if let Some(distinct) = found["distinct"].as_u64() {
            assert_eq!(distinct, sender.total(), "{found}");
        }
    }
    Ok(())
}
