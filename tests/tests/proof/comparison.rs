//! What the gateway has committed against what the database has.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde_json::Value as Json;
use tidegate_tests::{Message, Site, tidegate};

use crate::cloud::{Cell, Row};

/// Every row of a device that the gateway has committed, by number, as `tidegate export` gives it.
pub(crate) fn committed(site: &Site, device: &str) -> anyhow::Result<BTreeMap<u64, Row>> {
    let file = site.path().join(format!("{device}.jsonl"));
    let (site_file, output) = (site.file(), file.display().to_string());
    let site_file = site_file.display().to_string();
    let arguments = ["export", "-c", &site_file, "--device", device, "--format", "jsonl", "--output", &output];
    let (code, text) = tidegate(arguments, &[])?;
    ensure!(code == Some(0), "tidegate export failed: {text}");
    let text = std::fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        let (seq, row) = row(&serde_json::from_str(line)?).with_context(|| format!("no row: {line}"))?;
        ensure!(rows.insert(seq, row).is_none(), "row {seq} of {device} is in the gateway twice");
    }
    Ok(rows)
}

/// A row as it is on the topics and in JSON Lines.
fn row(json: &Json) -> Option<(u64, Row)> {
    let mut cells = BTreeMap::new();
    for (tag, value) in json.get("values")?.as_object()? {
        cells.insert(tag.clone(), Cell::Good(value.as_f64()?));
    }
    for (tag, reason) in json.get("bad").and_then(Json::as_object).into_iter().flatten() {
        cells.insert(tag.clone(), Cell::Bad(reason.as_str()?.to_owned()));
    }
    Some((json.get("seq")?.as_u64()?, Row { time: json.get("ts")?.as_i64()?, cells }))
}

/// Where two sides differ, in words; nothing when they are the same.
pub(crate) fn difference(committed: &BTreeMap<u64, Row>, arrived: &BTreeMap<u64, Row>) -> Vec<String> {
    let mut words = Vec::new();
    for (seq, row) in committed {
        match arrived.get(seq) {
            None => words.push(format!("row {seq} is not in the database")),
            Some(other) if other.time != row.time => words.push(format!("row {seq} has another time")),
            Some(other) if !same(row, other) => words.push(format!("row {seq} has other values: {row:?} {other:?}")),
            Some(_) => {}
        }
    }
    let strange = arrived.keys().filter(|seq| !committed.contains_key(seq));
    words.extend(strange.map(|seq| format!("row {seq} is in the database, but the gateway does not have it")));
    words
}

fn same(one: &Row, other: &Row) -> bool {
    one.cells.len() == other.cells.len()
        && one.cells.iter().zip(&other.cells).all(|((tag, cell), (other_tag, other))| tag == other_tag && cell == other)
}

/// What an onlooker at the gateway's own broker has seen of a device and the gateway does not have: rows seen within `slack`
/// milliseconds of a death of the gateway may be such, as they are seen before they are committed.
pub(crate) fn unseen(seen: &[Message], deaths: &[u128], slack: u128, committed: &BTreeMap<u64, Row>) -> Vec<String> {
    let is_excused = |at: u128| deaths.iter().any(|death| at.abs_diff(*death) <= slack);
    let rows = seen.iter().filter(|message| !is_excused(message.unix_ms));
    rows.filter_map(|message| row(&message.json().ok()?))
        .filter(|(seq, row)| committed.get(seq).is_none_or(|there| !same(there, row) || there.time != row.time))
        .map(|(seq, _)| format!("row {seq} was seen on the gateway's broker and is not what was committed"))
        .collect()
}
