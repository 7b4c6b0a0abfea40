//! The figures as a table for people and as JSON for programs.

use std::fs;

use serde_json::json;

use super::load::Measured;

/// The table in Markdown, as it is quoted in the README.
pub(crate) fn text(rows: &[Measured], idle: f64, machine: &str) -> String {
    let mut text = format!("Measured on {machine}; idle: {idle:.1} MiB.\n\n");
    text.push_str(
        "| devices | rows/s | values/s | missed slots | CPU s/min | peak RSS | latency p50 / p99 / max | command p50 / p99 | disk B/value |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for row in rows {
        text.push_str(&format!(
            "| {} | {:.0} | {:.0} | {} | {:.2} | {:.0} MiB | {:.1} / {:.1} / {:.1} ms | {:.1} / {:.1} ms | {:.2} |\n",
            row.devices,
            row.rows_per_second,
            row.values_per_second,
            row.missed_slots,
            row.cpu_seconds_per_minute,
            row.peak_rss_mib,
            row.latency_p50,
            row.latency_p99,
            row.latency_max,
            row.command_p50,
            row.command_p99,
            row.disk_bytes_per_value,
        ));
    }
    text
}

/// All figures.
pub(crate) fn json(rows: &[Measured], idle: f64) -> serde_json::Value {
    json!({ "machine": machine(), "idle_rss_mib": idle, "loads": rows })
}

/// What this machine is.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or_else(|| "an unknown processor".to_owned(), |name| name.trim_start_matches([' ', '\t', ':']).to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores of {processor}, Linux {}", kernel.trim())
}
