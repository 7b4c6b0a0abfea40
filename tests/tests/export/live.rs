//! An export as a person sees it, and one beside a gateway that runs.

use std::process::Command;

use anyhow::Context;
use tidegate_tests::{Gateway, ModbusServer, PATIENCE, Peers, Site, Table, program, tidegate, wait_until};

use super::{Plant, ROWS, now, read};

const PROFILE: &str = "[profile]\nmanufacturer = \"Acme\"\nmodel = \"Meter\"\ndriver = \"modbus\"\nversion = 1\n\n\
                       [[group]]\nname = \"all\"\ninterval = \"50ms\"\n\n\
                       [[tag]]\nname = \"level\"\ngroup = \"all\"\ntable = \"holding\"\naddress = 0\ntype = \"u16\"\n";

#[test]
fn a_running_gateway_does_not_mind_and_what_it_has_recorded_is_read_by_pandas_and_duckdb() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut modbus = ModbusServer::start(&peers, &[1])?;
    modbus.set(1, Table::Holding, 0, &[7])?;
    let site = Site::new()?;
    site.write_file("profiles/acme/meter.toml", PROFILE)?;
    let rest = format!(
        "[[link]]\nname = \"bus\"\ndriver = \"modbus-tcp\"\naddress = \"{}\"\n\n\
         [[device]]\nname = \"meter\"\nlink = \"bus\"\nprofile = \"acme/meter\"\nunit = 1\n",
        modbus.address()
    );
    site.write("line3", &rest)?;
    let _gateway = Gateway::start(&site)?;
    let plant = Plant { site, rows: Vec::new() };
    let rows = |more_than: usize| {
        wait_until(PATIENCE, "rows in the store", || {
            let (code, text) = plant.export("--format jsonl").ok()?;
            let of_meter = text.lines().all(|line| line.contains("\"device\":\"meter\",\"group\":\"all\""));
            let count = text.lines().filter(|line| line.ends_with("\"values\":{\"level\":7}}")).count();
            (code == Some(0) && of_meter && count > more_than).then_some(count)
        })
    };
    let before = rows(rows(0)?)?;
    // The same rows in each file, while more of them are recorded: all before this moment, as soon as there are later ones.
    let until = now();
    wait_until(PATIENCE, "later rows", || {
        let (code, _) = plant.export(&format!("--format jsonl --from {until}")).ok()?;
        (code == Some(0)).then_some(())
    })?;
    for format in ["csv", "jsonl", "parquet"] {
        let file = plant.path(&format!("out.{format}"));
        let (code, said) = plant.export(&format!("--format {format} --to {until} -o {file}"))?;
        assert_eq!(code, Some(0), "{said}");
    }
    let found = read(&peers, &plant.path("out"))?;
    let all = found["csv"]["rows"].as_array().context("no rows")?;
    assert!(all.len() >= before && all.iter().all(|row| row["seq"].is_string()), "{all:?}");
    for reader in ["pandas", "duckdb", "jsonl"] {
        assert_eq!(found[reader]["rows"], found["csv"]["rows"], "{reader}");
    }
    Ok(())
}

#[tokio::test]
async fn how_far_it_is_shows_on_a_terminal_and_nowhere_else() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let plant = Plant::filled().await?;
    let (site, file) = (plant.site.file().display().to_string(), plant.path("out.csv"));
    let export = ["export", "-c", &site, "--device", "meter", "--group", "fast", "--format", "csv"];
    let on_terminal = |more: &[&str]| -> anyhow::Result<String> {
        let mut command = Command::new(peers.python());
        let output =
            command.arg(peers.script("on_terminal.py")).arg(program("tidegate")?).args(export).args(more).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        Ok(said)
    };
    let said = on_terminal(&["-o", &file])?;
    let shown: Vec<(&str, &str)> = said.split('\r').filter_map(|line| line.split_once(" %  ")).collect();
    let numbers: Vec<u64> = shown.iter().filter_map(|(_, rows)| rows.strip_suffix(" rows")?.parse().ok()).collect();
    let parts: Vec<u64> = shown.iter().filter_map(|(percent, _)| percent.trim().parse().ok()).collect();
    assert_eq!((numbers.len(), parts.len()), (shown.len(), shown.len()), "{said:?}");
    assert!(numbers.is_sorted() && parts.is_sorted(), "{said:?}");
    assert_eq!((numbers.last(), parts.last()), (Some(&ROWS), Some(&100)), "{said:?}");
    // The line is taken away before something else is said.
    let told = format!("{ROWS} rows in {file}\r\n");
    assert!(said.ends_with(&told) && said.trim_end_matches(&told).ends_with(" \r"), "{said:?}");

    let rows_alone = on_terminal(&[])?;
    assert!(!rows_alone.contains('%'), "rows are not torn apart by it");
    assert!(rows_alone.starts_with("time,device_time,seq,"), "{rows_alone:.100}");
    let (code, said) = tidegate(export.into_iter().chain(["-o", &file]), &[])?;
    assert_eq!((code, said), (Some(0), format!("{ROWS} rows in {file}\n")));
    Ok(())
}
