//! What the kernel says about a process.

use std::fs;

use anyhow::Context;

/// Resident memory in KiB.
pub(crate) fn memory_kib(process: u32) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no resident memory")?;
    line.split_whitespace().next().context("no number")?.parse().context("no number")
}

/// Open files, sockets among them.
pub(crate) fn open_files(process: u32) -> anyhow::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{process}/fd"))?.count())
}
