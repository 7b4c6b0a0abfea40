//! `tidegate queue`: per target where its cursor is, what waits in the store, how old it is, and what was given up.

use std::{path::Path, process::ExitCode};

use anyhow::bail;
use serde_json::Value as Json;

use crate::{client::Client, console::say};

pub(crate) fn queue(config: &Path) -> anyhow::Result<ExitCode> {
    let answer = Client::of(config)?.get("/api/v1/status")?;
    let Some(targets) = answer.body.get("targets").and_then(Json::as_array) else {
        bail!("the gateway's answer has no targets: {}", answer.body);
    };
    // A server has no place in the store: it is asked.
    let targets: Vec<&Json> = targets.iter().filter(|target| target.get("server").is_none()).collect();
    if targets.is_empty() {
        say("the site has no target that rows are sent to");
        return Ok(ExitCode::SUCCESS);
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    say(line(["target", "state", "cursor", "waiting", "about", "oldest", "gaps"].map(str::to_owned)));
    for target in targets {
        say(line(columns(target, now)));
        say(format_args!("    {}", lanes(target, now)));
        if let Some(error) = target.get("last_error").and_then(Json::as_str) {
            let when = target.get("last_error_at").and_then(Json::as_i64).map(|time| age(now.saturating_sub(time)));
            say(format_args!("    last error, {}: {error}", when.unwrap_or("before".to_owned())));
        }
    }
    if let Some(store) = answer.body.get("store") {
        say(stored(store));
    }
    Ok(ExitCode::SUCCESS)
}

/// What the store has, and what it has given up.
fn stored(store: &Json) -> String {
    let number = |key: &str| store.get(key).and_then(Json::as_u64).unwrap_or_default();
    let mut text = format!(
        "store: {} rows, {} in use; {} rows in {} blocks of {} epochs, {} rows not in blocks yet",
        number("rows"),
        size(number("bytes")),
        number("block_rows"),
        number("blocks"),
        number("epochs"),
        number("fresh_rows"),
    );
    let dropped = store.get("dropped").and_then(Json::as_object);
    for (reason, rows) in dropped.into_iter().flatten().filter(|(_, rows)| rows.as_u64() > Some(0)) {
        text.push_str(&format!("; {rows} rows dropped ({reason})"));
    }
    text
}

/// What the line of one target says. Its cursor is told by the time of the row that was acknowledged last.
fn columns(target: &Json, now: i64) -> [String; 7] {
    let text = |key: &str| target.get(key).and_then(Json::as_str).unwrap_or("?").to_owned();
    let number = |key: &str| target.get(key).and_then(Json::as_u64).unwrap_or_default();
    let since = |key: &str| {
        let time = target.get(key).and_then(Json::as_i64);
        time.map_or("-".to_owned(), |time| age(now.saturating_sub(time)))
    };
    [
        text("name"),
        text("state"),
        since("cursor"),
        format!("{} rows", number("waiting_rows")),
        size(number("waiting_bytes")),
        since("oldest_waiting"),
        number("gaps").to_string(),
    ]
}

/// The two lanes of a target, and what went wrong with its messages.
fn lanes(target: &Json, now: i64) -> String {
    let number = |key: &str| target.get(key).and_then(Json::as_u64).unwrap_or_default();
    let oldest = |key: &str| {
        let time = target.get(key).and_then(Json::as_i64);
        time.map_or(String::new(), |time| format!(", the oldest {}", age(now.saturating_sub(time))))
    };
    let mut text = format!(
        "live {} rows{}, {}/s; backlog {} rows{}, {}/s; {} messages ({}) in flight",
        number("live_rows"),
        oldest("oldest_live"),
        size(number("live_rate")),
        number("backlog_rows"),
        oldest("oldest_backlog"),
        size(number("backlog_rate")),
        number("in_flight"),
        size(number("in_flight_bytes")),
    );
    for (key, what) in [
        ("watchdog_resets", "connections without acknowledgements"),
        ("refused", "connections closed over a message"),
        ("left_out", "rows left out"),
    ] {
        if number(key) > 0 {
            text.push_str(&format!("; {} {what}", number(key)));
        }
    }
    text
}

fn line([name, state, cursor, waiting, about, oldest, gaps]: [String; 7]) -> String {
    format!("{name:<20} {state:<12} {cursor:>12} {waiting:>16} {about:>10} {oldest:>12} {gaps:>6}")
}

/// An age as a person says it.
fn age(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        _ => format!("{} h ago", seconds / 3600),
    }
}

/// A number of bytes as a person says it.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_told_with_its_cursor_and_what_waits() {
        let target = serde_json::json!({
            "name": "cloud", "state": "backing_off", "cursor": 1_000, "waiting_rows": 42, "waiting_bytes": 12_345,
            "oldest_waiting": 5_000, "gaps": 1,
        });
        let text = line(columns(&target, 605_000));
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words.join(" "), "cloud backing_off 10 min ago 42 rows 12 kB 10 min ago 1");
    }

    #[test]
    fn both_lanes_are_told_and_only_the_troubles_there_were() {
        let target = serde_json::json!({
            "live_rows": 3, "live_rate": 1_200, "backlog_rows": 40_000, "backlog_rate": 200_000, "in_flight": 7,
            "in_flight_bytes": 64_000, "watchdog_resets": 1, "oldest_backlog": 5_000,
        });
        let text = "live 3 rows, 1200 B/s; backlog 40000 rows, the oldest 10 min ago, 200 kB/s; 7 messages (64 kB) in flight; \
                    1 connections without acknowledgements";
        assert_eq!(lanes(&target, 605_000), text);
    }

    #[test]
    fn the_store_is_told_with_its_blocks_and_only_the_reasons_there_were() {
        let store = serde_json::json!({
            "rows": 9_000, "bytes": 2_500_000, "block_rows": 8_000, "blocks": 20, "epochs": 3, "fresh_rows": 1_000,
            "dropped": { "too_old": 0, "thinned": 77 },
        });
        let text = "store: 9000 rows, 2500 kB in use; 8000 rows in 20 blocks of 3 epochs, 1000 rows not in blocks yet; \
                    77 rows dropped (thinned)";
        assert_eq!(stored(&store), text);
    }

    #[test]
    fn a_target_that_has_acknowledged_nothing_has_no_cursor_to_tell() {
        let text = line(columns(&serde_json::json!({ "name": "cloud", "state": "connecting" }), 0));
        assert_eq!(text.split_whitespace().collect::<Vec<_>>().join(" "), "cloud connecting - 0 rows 0 B - 0");
    }
}
