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

/// Rows wait for their commit a moment, and longer for a disk that is held up; a death loses those of less time than this.
const UNCOMMITTED_MILLIS: i64 = 10_000;

/// What an onlooker at the gateway's own broker has seen of a device and the gateway does not have, in words. Rows are seen before
/// they are committed, so the last ones before a death may be such; none before a committed one is, and none since the last death.
/// `deaths`: when the gateway was killed, in Unix milliseconds. They are compared with the times of rows, which are the gateway's:
/// a system clock that is set back during the proof puts rows into the wrong life, and this complains of them.
pub(crate) fn unseen(seen: &[Message], deaths: &[i64], committed: &BTreeMap<u64, Row>) -> Vec<String> {
    let seen: Vec<(u64, Row)> = seen.iter().filter_map(|message| row(&message.json().ok()?)).collect();
    let deaths_before = |row: &Row| deaths.iter().filter(|death| row.time > **death).count();
    let is_committed =
        |(seq, row): &(u64, Row)| committed.get(seq).is_some_and(|there| same(there, row) && there.time == row.time);
    let mut words = Vec::new();
    let mut lives = 0;
    // A new life begins where the times pass a death, or where a number comes again that was lost with the last life.
    for life in seen.chunk_by(|(seq, row), (next, after)| next > seq && deaths_before(after) == deaths_before(row)) {
        lives += 1;
        let was_killed = life.last().is_some_and(|(_, row)| deaths_before(row) < deaths.len());
        let kept = if was_killed { life.iter().rposition(is_committed).map_or(0, |last| last + 1) } else { life.len() };
        let lost = life.iter().take(kept).filter(|row| !is_committed(row));
        let told =
            |(seq, _): &(u64, Row)| format!("row {seq} was seen on the gateway's broker and is not what was committed");
        words.extend(lost.map(told));
        let excused = life.get(kept).zip(life.last());
        let millis = excused.map_or(0, |((_, first), (_, last))| last.time - first.time);
        if millis >= UNCOMMITTED_MILLIS {
            words.push(format!("a death of the gateway lost the rows of {millis} ms that were seen on its broker"));
        }
    }
    if lives > deaths.len() + 1 {
        words.push(format!(
            "numbers came again {lives} times on the gateway's broker, which died {} times",
            deaths.len()
        ));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(rows: &[(u64, i64)]) -> Vec<Message> {
        let message = |(seq, time): &(u64, i64)| Message {
            topic: String::new(),
            retained: false,
            qos: 1,
            payload: format!(r#"{{"ts":{time},"seq":{seq},"values":{{"tag":1.0}}}}"#),
        };
        rows.iter().map(message).collect()
    }

    fn complaints(rows: &[(u64, i64)], committed: &[(u64, i64)]) -> usize {
        let cells = BTreeMap::from([("tag".to_owned(), Cell::Good(1.0))]);
        let committed = committed.iter().map(|(seq, time)| (*seq, Row { time: *time, cells: cells.clone() }));
        unseen(&seen(rows), &[100, 20_000], &committed.collect()).len()
    }

    #[test]
    fn only_the_last_rows_before_a_death_may_be_lost() {
        let committed = [(1, 10), (2, 20), (3, 110), (4, 120), (5, 130), (6, 20_010), (7, 20_020)];
        assert_eq!(complaints(&committed, &committed), 0);
        // 3 and 4 are lost, and come again; of the second life's 3 nothing was seen, and of the third's 6 neither.
        let lost = [(1, 10), (2, 20), (3, 30), (4, 40), (4, 120), (5, 130), (6, 140), (7, 20_020)];
        assert_eq!(complaints(&lost, &committed), 0);
        assert_eq!(complaints(&[(1, 10), (2, 20), (3, 30), (5, 130)], &committed), 0, "by its time");
        assert_eq!(complaints(&[(1, 11), (2, 20)], &committed), 1, "one after it is committed");
        assert_eq!(complaints(&[(6, 20_010), (7, 20_020), (8, 20_030)], &committed), 1, "since the last death");
        assert_eq!(complaints(&[(5, 130), (6, 140), (7, 10_139)], &committed), 0, "of less than ten seconds");
        assert_eq!(complaints(&[(5, 130), (6, 140), (7, 10_140)], &committed), 1, "of ten seconds");
        assert_eq!(complaints(&[(1, 10), (1, 10), (1, 10), (1, 10)], &committed), 1, "more lives than deaths");
    }
}
