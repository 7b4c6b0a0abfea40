//! What a link task counts while it works. Written by one task, read by whoever asks for the status.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tidegate_driver_api::Cause;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the latency buckets, in microseconds. What is longer goes into one more bucket.
pub const LATENCY_BOUNDS_MICROS: [u64; 12] =
    [250, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];

/// How long something took, as a histogram.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    buckets: [Counter; LATENCY_BOUNDS_MICROS.len() + 1],
    sum_micros: Counter,
}

impl Latency {
    pub(crate) fn observe(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let index = LATENCY_BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.add(1);
        }
        self.sum_micros.add(micros);
    }

    pub(crate) fn snapshot(&self) -> LatencySnapshot {
        LatencySnapshot { buckets: self.buckets.iter().map(Counter::get).collect(), sum_micros: self.sum_micros.get() }
    }
}

/// A histogram at one moment: the counts per bucket of [`LATENCY_BOUNDS_MICROS`], and the sum in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LatencySnapshot {
    /// Observations per bucket, not cumulated; the last is everything longer than the last bound.
    pub buckets: Vec<u64>,
    /// Sum of all observations.
    pub sum_micros: u64,
}

/// The counters of one device.
#[derive(Debug, Default)]
pub(crate) struct DeviceCounters {
    pub(crate) polls: Counter,
    pub(crate) arrivals: Counter,
    pub(crate) failed_polls: Counter,
    pub(crate) missed_slots: Counter,
    pub(crate) rows: Counter,
}

/// The counters of one link, all its devices together.
#[derive(Debug, Default)]
pub(crate) struct LinkCounters {
    pub(crate) connects: Counter,
    pub(crate) connect_failures: Counter,
    pub(crate) requests: Counter,
    pub(crate) polls: Counter,
    pub(crate) arrivals: Counter,
    pub(crate) failed_polls: Counter,
    pub(crate) missed_slots: Counter,
    pub(crate) rows: Counter,
    pub(crate) values: Counter,
    pub(crate) payload_bytes: Counter,
    pub(crate) writes: Counter,
    pub(crate) failed_writes: Counter,
    pub(crate) lost_timeout: Counter,
    pub(crate) lost_closed: Counter,
    pub(crate) lost_mismatch: Counter,
    pub(crate) lost_malformed: Counter,
    pub(crate) latency: Latency,
}

impl LinkCounters {
    /// Counts a session that ended for this cause.
    pub(crate) fn lost(&self, cause: Cause) {
        match cause {
            Cause::Timeout => self.lost_timeout.add(1),
            Cause::Closed => self.lost_closed.add(1),
            Cause::Mismatch => self.lost_mismatch.add(1),
            Cause::Malformed => self.lost_malformed.add(1),
            Cause::Cancelled => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lands_in_the_bucket_whose_bound_it_does_not_exceed() {
        let latency = Latency::default();
        latency.observe(Duration::from_micros(250));
        latency.observe(Duration::from_micros(251));
        latency.observe(Duration::from_secs(7));
        let snapshot = latency.snapshot();
        assert_eq!(snapshot.buckets[0], 1);
        assert_eq!(snapshot.buckets[1], 1);
        assert_eq!(snapshot.buckets.last(), Some(&1));
        assert_eq!(snapshot.sum_micros, 7_000_501);
    }
}
