//! `tidegate queue`: per target what waits in the store, how old it is, and what was given up.

use std::{path::Path, process::ExitCode};

use anyhow::bail;
use serde_json::Value as Json;

use crate::client::Client;

pub(crate) fn queue(config: &Path) -> anyhow::Result<ExitCode> {
    let answer = Client::of(config)?.get("/api/v1/status")?;
    let Some(targets) = answer.body.get("targets").and_then(Json::as_array) else {
        bail!("the gateway's answer has no targets: {}", answer.body);
    };
    if targets.is_empty() {
        println!("the site has no target");
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    println!(
        "{:<20} {:<12} {:>12} {:>14} {:>12} {:>6}",
        "target", "state", "waiting", "oldest", "acknowledged", "gaps"
    );
    for target in targets {
        let text = |key: &str| target.get(key).and_then(Json::as_str).unwrap_or("?").to_owned();
        let number = |key: &str| target.get(key).and_then(Json::as_u64).unwrap_or_default();
        let oldest = target.get("oldest_waiting").and_then(Json::as_i64);
        let age = oldest.map_or("-".to_owned(), |time| age(now.saturating_sub(time)));
        println!(
            "{:<20} {:<12} {:>12} {:>14} {:>12} {:>6}",
            text("name"),
            text("state"),
            format!("{} rows", number("waiting_rows")),
            age,
            number("acknowledged"),
            number("gaps")
        );
        if let Some(error) = target.get("last_error").and_then(Json::as_str) {
            println!("    last error: {error}");
        }
    }
    Ok(ExitCode::SUCCESS)
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
