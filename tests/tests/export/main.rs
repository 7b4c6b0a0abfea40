//! The history as files: what the store has been given comes out to the last bit, read by programs that others wrote, and blocks of
//! it are decoded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without may end it"
)]

mod block_decode;
mod content;
mod live;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use serde_json::{Value as Json, json};
use tidegate_config::Profiles;
use tidegate_model::{Column, Loss, Row, Slot, Timestamp, Value, ValueKind};
use tidegate_store::Store;
use tidegate_tests::{Peers, Site, tidegate};

use content::{column, columns, mixed, seqs, slot};

/// Longer than the store joins rows for.
const ROWS: u64 = 5_000;

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A site whose store has been filled as a gateway fills it.
struct Plant {
    site: Site,
    rows: Vec<Row>,
}

impl Plant {
    /// `meter` with all types in `fast` and one tag in `slow`.
    async fn filled() -> anyhow::Result<Plant> {
        let site = Site::new()?;
        site.write("line3", "")?;
        let mut plant = Plant { site, rows: Vec::new() };
        let rows = plant.fill("fast", &columns(), ROWS, now() - 3_600_000).await?;
        plant.fill("slow", &[column("level", ValueKind::Int)], 10, now() - 3_600_000).await?;
        plant.rows = rows;
        Ok(plant)
    }

    async fn fill(&self, group: &str, columns: &[Column], count: u64, start: i64) -> anyhow::Result<Vec<Row>> {
        let (site, report) = tidegate_config::load(&self.site.file(), [], Profiles::Used);
        let site = site.with_context(|| report.render())?;
        let store = Store::open(&site.gateway.data_dir, &site.store).await?.store;
        let (stream, last) = store.stream(&"meter".parse()?, &group.parse()?, columns.to_vec()).await?;
        let mut rows = Vec::new();
        for number in 1..=count {
            let seq = last + number;
            let random = |column: usize| mixed(seq * 64 + u64::try_from(column).unwrap());
            let row = Row {
                stream: Arc::clone(&stream),
                seq,
                time: Timestamp::from_millis(start + 500 * i64::try_from(number).unwrap()),
                device_time: random(63).is_multiple_of(3).then(|| Timestamp::from_millis(start)),
                slots: columns.iter().enumerate().map(|(index, column)| slot(column, random(index))).collect(),
            };
            store.append(Arc::new(row.clone()), Bytes::from_static(b"{}"));
            rows.push(row);
        }
        store.close().await;
        Ok(rows)
    }

    /// `tidegate export` of the meter.
    fn export(&self, arguments: &str) -> anyhow::Result<(Option<i32>, String)> {
        let file = self.site.file().display().to_string();
        tidegate(["export", "-c", &file, "--device", "meter"].into_iter().chain(arguments.split_whitespace()), &[])
    }

    fn path(&self, name: &str) -> String {
        self.site.path().join(name).display().to_string()
    }
}

/// A cell as `tests/peers/read_exports.py` shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::Bool(on) => format!("b:{on}"),
        Value::Int(number) => format!("i:{number}"),
        Value::Uint(number) => format!("i:{number}"),
        Value::F32(number) => format!("f32:{:08x}", number.to_bits()),
        Value::F64(number) => format!("f64:{:016x}", number.to_bits()),
        Value::Text(text) => format!("t:{text}"),
        Value::Bytes(bytes) => format!("x:{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
    }
}

/// What every reader has to find of a row.
fn expected(row: &Row) -> Json {
    let mut cells = BTreeMap::from([
        ("time".to_owned(), json!(format!("i:{}", row.time))),
        ("device_time".to_owned(), row.device_time.map_or(Json::Null, |time| json!(format!("i:{time}")))),
        ("seq".to_owned(), json!(format!("i:{}", row.seq))),
    ]);
    for (column, slot) in row.stream.columns().iter().zip(&row.slots) {
        let name = column.name.as_str();
        let value_name = if name == "time" { "tag:time" } else { name };
        cells.insert(value_name.to_owned(), slot.value().map_or(Json::Null, |value| json!(shown(value))));
        let quality = match slot {
            Slot::Good(_) => Json::Null,
            Slot::Unchanged => json!("t:unchanged"),
            Slot::Uncertain(_, reason) => json!(format!("t:uncertain:{reason}")),
            Slot::Bad(reason) => json!(format!("t:bad:{reason}")),
        };
        cells.insert(format!("{name}:quality"), quality);
    }
    json!(cells)
}

/// What foreign programs find in `<base>.parquet`, `.csv` and `.jsonl`, by reader.
fn read(peers: &Peers, base: &str) -> anyhow::Result<BTreeMap<String, Json>> {
    let output = Command::new(peers.python()).arg(peers.script("read_exports.py")).arg(base).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut found = BTreeMap::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let said: Json = serde_json::from_str(line)?;
        found.insert(said["reader"].as_str().unwrap_or_default().to_owned(), said);
    }
    Ok(found)
}

#[tokio::test]
async fn every_value_comes_out_to_the_last_bit_for_pandas_and_duckdb_and_in_the_text_files() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let plant = Plant::filled().await?;
    for format in ["csv", "jsonl", "parquet"] {
        let file = plant.path(&format!("out.{format}"));
        let (code, said) = plant.export(&format!("--group fast --format {format} -o {file}"))?;
        assert_eq!((code, said), (Some(0), format!("{ROWS} rows in {file}\n")));
    }
    let found = read(&peers, &plant.path("out"))?;
    for reader in ["pandas", "duckdb", "csv", "jsonl"] {
        let rows = found[reader]["rows"].as_array().context("no rows")?;
        assert_eq!(rows.len(), plant.rows.len(), "{reader}");
        for (row, found) in plant.rows.iter().zip(rows) {
            let expected = expected(row);
            assert!(*found == expected, "{reader}, row {}:\n{found}\ninstead of\n{expected}", row.seq);
        }
    }
    for reader in ["read_csv_auto", "read_json_auto"] {
        assert_eq!(found[reader]["count"], ROWS, "{reader}");
    }
    Ok(())
}

#[tokio::test]
async fn blocks_in_a_file_are_read_with_nothing_else() -> anyhow::Result<()> {
    let plant = Plant::filled().await?;
    let file = plant.path("out.tgb");
    let (code, said) = plant.export(&format!("--format block -o {file}"))?;
    assert_eq!((code, said), (Some(0), format!("{} rows in {file}\n", ROWS + 10)));
    let (code, decoded) = tidegate(["block", "decode", &file], &[])?;
    assert_eq!(code, Some(0), "{decoded}");
    let (_, lines) = plant.export("--format jsonl")?;
    for (decoded, line) in decoded.lines().zip(lines.lines()) {
        assert_eq!(decoded, line.replacen("\"gateway\":\"line3\",", "", 1));
    }
    assert_eq!(decoded.lines().count(), lines.lines().count());

    let some = plant.path("some.tgb");
    let (code, said) = plant.export(&format!("--tag voltage --tag count --format block -o {some}"))?;
    assert_eq!(code, Some(0), "{said}");
    let (_, decoded) = tidegate(["block", "decode", &some], &[])?;
    let (_, lines) = plant.export("--tag voltage --tag count --format jsonl")?;
    assert_eq!(decoded, lines.replace("\"gateway\":\"line3\",", ""));

    let Some(peers) = Peers::find()? else { return Ok(()) };
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/codec/python");
    let mut python = Command::new(peers.python());
    python.args(["-m", "tidegate_block", &file]).env("PYTHONPATH", package).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = python.output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(seqs(&String::from_utf8(output.stdout)?), (1..=ROWS).chain(1..=10).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn what_a_swinging_door_left_out_is_drawn_on_wish_but_not_across_a_start() -> anyhow::Result<()> {
    let site = Site::new()?;
    site.write("line3", "")?;
    let mut level = column("level", ValueKind::F64);
    level.loss = Some(Loss::SwingingDoor { error: "0.5".to_owned(), max_silence: 900_000 });
    let (loaded, report) = tidegate_config::load(&site.file(), [], Profiles::Used);
    let loaded = loaded.with_context(|| report.render())?;
    let start = now() - 3_600_000;
    for levels in [[Some(1.0), None, Some(2.0), None], [Some(5.0), None, None, Some(6.5)]] {
        let store = Store::open(&loaded.gateway.data_dir, &loaded.store).await?.store;
        let (stream, last) = store.stream(&"meter".parse()?, &"fast".parse()?, vec![level.clone()]).await?;
        for (seq, level) in (last + 1..).zip(levels) {
            let slot = level.map_or(Slot::Unchanged, |level| Slot::Good(Value::F64(level)));
            let time = Timestamp::from_millis(start + 1000 * i64::try_from(seq).unwrap());
            let row = Row { stream: Arc::clone(&stream), seq, time, device_time: None, slots: [slot].into() };
            store.append(Arc::new(row), Bytes::from_static(b"{}"));
        }
        store.close().await;
    }
    let plant = Plant { site, rows: Vec::new() };
    let cells = |arguments: &str| -> anyhow::Result<Vec<String>> {
        let (code, text) = plant.export(arguments)?;
        assert_eq!(code, Some(0), "{text}");
        Ok(text.lines().skip(1).map(|line| line.splitn(4, ',').nth(3).unwrap().to_owned()).collect())
    };
    let (none, drawn) = (",unchanged", |value: &str| format!("{value},interpolated"));
    assert_eq!(cells("--format csv")?, ["1.0,", none, "2.0,", none, "5.0,", none, none, "6.5,"]);
    let filled = cells("--format csv --fill")?;
    assert_eq!(filled, ["1.0,", &drawn("1.5"), "2.0,", none, "5.0,", &drawn("5.5"), &drawn("6.0"), "6.5,"]);
    // The line begins before what is asked for, and ends behind it.
    let (from, to) = (start + 6_000, start + 7_500);
    let part = cells(&format!("--format csv --fill --from {from} --to {to}"))?;
    assert_eq!(part, [drawn("5.5"), drawn("6.0")]);
    let (code, said) = plant.export("--format block --fill")?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--fill is for csv, jsonl and parquet"), "{said}");
    Ok(())
}

#[tokio::test]
async fn rows_that_are_missing_are_a_gap_record_between_the_blocks_of_a_file() -> anyhow::Result<()> {
    let site = Site::new()?;
    site.write("line3", "")?;
    let (loaded, report) = tidegate_config::load(&site.file(), [], Profiles::Used);
    let loaded = loaded.with_context(|| report.render())?;
    let store = Store::open(&loaded.gateway.data_dir, &loaded.store).await?.store;
    let (stream, _) = store.stream(&"meter".parse()?, &"fast".parse()?, vec![column("level", ValueKind::F64)]).await?;
    for seq in (1..=5).chain(9..=12) {
        let time = Timestamp::from_millis(now() - 60_000 + i64::try_from(seq)?);
        let slots = [Slot::Good(Value::F64(1.5))].into();
        let row = Row { stream: Arc::clone(&stream), seq, time, device_time: None, slots };
        store.append(Arc::new(row), Bytes::from_static(b"{}"));
    }
    store.close().await;
    let plant = Plant { site, rows: Vec::new() };
    let file = plant.path("holes.tgb");
    let (code, said) = plant.export(&format!("--format block -o {file}"))?;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("rows 6 to 8 of meter fast are not in the store"), "{said}");
    let (code, decoded) = tidegate(["block", "decode", &file], &[])?;
    assert_eq!(code, Some(0), "{decoded}");
    let lines: Vec<&str> = decoded.lines().collect();
    assert_eq!(seqs(&decoded), (1..=5).chain(9..=12).collect::<Vec<_>>());
    let gap = r#"{"device":"meter","group":"fast","gap":{"from":6,"to":8,"reason":"dropped"}}"#;
    assert_eq!(lines[5], gap, "{decoded}");
    Ok(())
}

#[tokio::test]
async fn a_range_and_tags_cut_out_a_part_and_each_group_has_a_file() -> anyhow::Result<()> {
    let plant = Plant::filled().await?;
    let (from, to) = (plant.rows[1000].time, plant.rows[1010].time);
    let (code, text) =
        plant.export(&format!("--tag voltage --tag count --from {from} --to {} --format csv", to.rfc3339()))?;
    assert_eq!(code, Some(0), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "time,device_time,seq,voltage,count,voltage:quality,count:quality");
    let seqs: Vec<&str> = lines[1..].iter().filter_map(|line| line.split(',').nth(2)).collect();
    assert_eq!(seqs, (1001..1011).map(|seq: u64| seq.to_string()).collect::<Vec<_>>());

    let (code, text) = plant.export("--format csv")?;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("here are fast, slow; choose one with --group"), "{text}");
    let (code, text) = plant.export("--format jsonl")?;
    assert_eq!((code, text.lines().count()), (Some(0), 5010));
    let folder = plant.path("out/");
    let (code, text) = plant.export(&format!("--format csv --output {folder}"))?;
    assert_eq!(code, Some(0), "{text}");
    let mut files: Vec<String> =
        fs::read_dir(&folder)?.map(|file| file.unwrap().file_name().display().to_string()).collect();
    files.sort();
    assert_eq!(files, ["meter.fast.csv", "meter.slow.csv"]);
    assert_eq!(fs::read_to_string(Path::new(&folder).join("meter.slow.csv"))?.lines().count(), 11);
    Ok(())
}

#[tokio::test]
async fn columns_that_change_stay_one_table_until_a_type_changes() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let site = Site::new()?;
    site.write("line3", "")?;
    let plant = Plant { site, rows: Vec::new() };
    let start = now() - 3_600_000;
    let (level, speed) = (column("level", ValueKind::Int), column("speed", ValueKind::F64));
    plant.fill("fast", std::slice::from_ref(&level), 10, start).await?;
    plant.fill("fast", &[speed, level], 10, start + 600_000).await?;
    plant.fill("fast", &[column("level", ValueKind::Bool)], 10, start + 1_200_000).await?;
    for format in ["csv", "jsonl", "parquet"] {
        let (code, text) = plant.export(&format!("--format {format} -o {}", plant.path(&format!("out.{format}"))))?;
        assert_eq!(code, Some(0), "{text}");
    }
    let text = fs::read_to_string(plant.path("out.csv"))?;
    assert_eq!(text.lines().next(), Some("time,device_time,seq,level,speed,level:quality,speed:quality"));
    assert_eq!((text.lines().count(), text.lines().filter(|line| line.ends_with(",absent")).count()), (31, 20));
    // The first twenty rows are in one file; the rest is in a second one.
    fs::copy(plant.path("out.2.parquet"), plant.path("second.parquet"))?;
    for name in ["out", "second"] {
        let lines = text.lines().take(if name == "out" { 21 } else { 1 }).map(|line| format!("{line}\r\n"));
        fs::write(plant.path(&format!("{name}.csv")), lines.collect::<String>())?;
        fs::write(plant.path(&format!("{name}.jsonl")), "")?;
    }
    fs::write(plant.path("second.csv"), "time,device_time,seq,level,level:quality\r\n")?;
    let (first, second) = (read(&peers, &plant.path("out"))?, read(&peers, &plant.path("second"))?);
    assert_eq!(first["duckdb"]["rows"], first["csv"]["rows"]);
    let rows = |found: &BTreeMap<String, Json>| found["pandas"]["rows"].as_array().map_or(0, Vec::len);
    assert_eq!((rows(&first), rows(&second)), (20, 10));
    let (code, said) = plant.export("--format parquet")?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the type of a tag has changed"), "{said}");
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_said_with_what_may_have_been_meant() -> anyhow::Result<()> {
    let plant = Plant::filled().await?;
    let file = plant.site.file().display().to_string();
    let output = plant.path("none.csv");
    let export =
        |arguments: &str| tidegate(["export", "-c", &file].into_iter().chain(arguments.split_whitespace()), &[]);
    for (arguments, code, said) in [
        ("--device metre --format csv", 1, "nothing has been recorded of a device \"metre\"; did you mean \"meter\"?"),
        ("--device meter --group fats --format csv", 1, "did you mean \"fast\"?"),
        ("--device meter --tag voltag --format csv", 1, "did you mean \"voltage\"?"),
        (
            "--device meter --from 2001-01-01 --to 2001-01-02 --format csv",
            1,
            "nothing of meter was recorded in this range",
        ),
        ("--device meter --from -1h --to -2h --format csv", 1, "is not before --to"),
        ("--device meter --from yesterday --format csv", 2, "write a date or a time"),
        ("--device meter --format xlsx", 2, "csv, jsonl, parquet, block"),
    ] {
        let (found, text) = export(&format!("{arguments} -o {output}"))?;
        assert_eq!(found, Some(code), "{arguments}: {text}");
        assert!(text.contains(said), "{arguments}: {text}");
        assert!(!Path::new(&output).exists(), "{arguments} left a file");
    }
    let empty = Site::new()?;
    empty.write("line3", "")?;
    let (code, text) =
        tidegate(["export", "-c", &empty.file().display().to_string(), "--device", "x", "--format", "csv"], &[])?;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("the gateway has run once"), "{text}");
    Ok(())
}
