//! What the kernel says about a process: processor time, memory and what it writes.

use std::{fs, time::Duration};

use anyhow::Context;

/// Processor time of all threads of a process that are alive, from the scheduler's accounting.
pub(crate) fn processor_time(process: u32) -> anyhow::Result<Duration> {
    let folder = format!("/proc/{process}/task");
    let mut total = 0;
    for thread in fs::read_dir(&folder).with_context(|| format!("failed to read {folder}"))? {
        let Ok(thread) = thread else { continue };
        // A thread may end between the listing and the reading.
        let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
        let nanos: u64 = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
        total += nanos;
    }
    Ok(Duration::from_nanos(total))
}

/// A line of `/proc/PID/status` in kibibytes: `VmHWM` is the peak of the resident memory, `VmRSS` what it is now.
pub(crate) fn memory_kib(process: u32, key: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("{path} has no {key}"))?;
    let number = line.trim_start_matches(':').split_whitespace().next().and_then(|word| word.parse().ok());
    number.with_context(|| format!("{path} has no number at {key}"))
}

/// Bytes that a process has given to the disk so far, from `/proc/PID/io`.
pub(crate) fn written_bytes(process: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{process}/io");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    let number =
        text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).and_then(|word| word.trim().parse().ok());
    number.with_context(|| format!("{path} does not say how much was written"))
}
