//! Which lane sends next. Pure: the time is an argument.
//!
//! Live rows go first. While they and the backlog both have something to send, the backlog earns credit with each byte of
//! live rows and spends it with its own, so that it gets its share of the bytes, no more and no less. While no live row
//! waits it may send whatever it has. A limit on its rate holds in both cases.

use std::time::Duration;

use tidegate_config::Backfill;
use tokio::time::Instant;

/// Live rows keep a twentieth of the bytes, whatever the configuration says.
const LARGEST_SHARE: f64 = 0.95;
/// The backlog saves at most this many bytes of credit: it must not make live rows wait behind a heap of its own later on.
const MOST_CREDIT: f64 = 256.0 * 1024.0;
/// A backlog with a limited rate that was idle may send as much at once as belongs to this time.
const BURST: Duration = Duration::from_millis(250);

/// One of the two lanes of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneKind {
    /// What was committed after the connection had been made.
    Live,
    /// What had been committed before, and what the live lane could not keep up with.
    Backlog,
}

/// Divides a connection between the lanes.
#[derive(Debug)]
pub(crate) struct Share {
    /// Credit of the backlog for each byte of live rows.
    factor: f64,
    credit: f64,
    bucket: Option<Bucket>,
}

impl Share {
    /// A division for a new connection.
    pub(crate) fn new(options: Backfill, now: Instant) -> Share {
        let share = options.share.clamp(0.0, LARGEST_SHARE);
        let bucket = options.max_rate.map(|rate| Bucket::new(rate.0, now));
        Share { factor: share / (1.0 - share), credit: 0.0, bucket }
    }

    /// The lane whose next message is sent now; of each lane the size of its next message, if it has one.
    pub(crate) fn choose(&self, live: Option<usize>, backlog: Option<usize>, now: Instant) -> Option<LaneKind> {
        let backlog = backlog.filter(|_| self.bucket.as_ref().is_none_or(|bucket| bucket.is_open(now)));
        match (live, backlog) {
            (None, None) => None,
            (Some(_), None) => Some(LaneKind::Live),
            (None, Some(_)) => Some(LaneKind::Backlog),
            (Some(_), Some(bytes)) if self.credit >= as_float(bytes).min(MOST_CREDIT) => Some(LaneKind::Backlog),
            (Some(_), Some(_)) => Some(LaneKind::Live),
        }
    }

    /// A message of this lane was sent. `contested`: the other lane had one to send too.
    pub(crate) fn sent(&mut self, lane: LaneKind, bytes: usize, contested: bool, now: Instant) {
        let bytes = as_float(bytes);
        match lane {
            LaneKind::Live if contested => self.credit = (self.credit + bytes * self.factor).min(MOST_CREDIT),
            LaneKind::Live => {}
            LaneKind::Backlog => {
                self.credit = if contested { self.credit - bytes } else { 0.0 };
                if let Some(bucket) = &mut self.bucket {
                    bucket.take(bytes, now);
                }
            }
        }
    }

    /// When the rate lets the backlog send again, if it does not now.
    pub(crate) fn opens_at(&self, now: Instant) -> Option<Instant> {
        self.bucket.as_ref().filter(|bucket| !bucket.is_open(now)).map(|bucket| bucket.opens_at(now))
    }
}

/// A rate in bytes a second: what a message is too large for is owed by those after it.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    /// Bytes that may be sent; below zero they are owed.
    level: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: u64, now: Instant) -> Bucket {
        let rate = as_float(usize::try_from(rate).unwrap_or(usize::MAX)).max(1.0);
        Bucket { rate, level: rate * BURST.as_secs_f64(), at: now }
    }

    fn level(&self, now: Instant) -> f64 {
        let filled = now.saturating_duration_since(self.at).as_secs_f64() * self.rate;
        (self.level + filled).min(self.rate * BURST.as_secs_f64())
    }

    fn is_open(&self, now: Instant) -> bool {
        self.level(now) > 0.0
    }

    fn opens_at(&self, now: Instant) -> Instant {
        let owed = (-self.level(now)).max(0.0);
        // A little more than nothing has to be in it; a debt of years is looked at again before.
        now + Duration::from_secs_f64((owed / self.rate).min(60.0)) + Duration::from_millis(1)
    }

    fn take(&mut self, bytes: f64, now: Instant) {
        self.level = self.level(now) - bytes;
        self.at = now;
    }
}

/// Sizes are far below what a float holds exactly.
fn as_float(bytes: usize) -> f64 {
    u32::try_from(bytes).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use tidegate_config::ByteRate;

    use super::*;

    fn share(share: f64, now: Instant) -> Share {
        Share::new(Backfill { share, max_rate: None }, now)
    }

    /// Bytes of both lanes after `messages` of these sizes, when both always have one.
    fn contest(mut share: Share, live: usize, backlog: usize, messages: usize) -> (usize, usize) {
        let now = Instant::now();
        let mut sent = (0, 0);
        for _ in 0..messages {
            match share.choose(Some(live), Some(backlog), now) {
                Some(LaneKind::Live) => {
                    share.sent(LaneKind::Live, live, true, now);
                    sent.0 += live;
                }
                Some(LaneKind::Backlog) => {
                    share.sent(LaneKind::Backlog, backlog, true, now);
                    sent.1 += backlog;
                }
                None => panic!("both have something"),
            }
        }
        sent
    }

    #[test]
    fn both_lanes_get_their_shares_whatever_the_sizes_of_their_messages() {
        for wanted in [0.05, 0.25, 0.5, 0.8] {
            for (live, backlog) in [(200, 200), (100, 60_000), (60_000, 100), (5_000, 600_000)] {
                let (live, backlog) = contest(share(wanted, Instant::now()), live, backlog, 50_000);
                let found = as_float(backlog) / as_float(live + backlog);
                assert!((found - wanted).abs() < 0.02, "{found} instead of {wanted}");
            }
        }
    }

    #[test]
    fn live_rows_keep_a_twentieth_of_a_share_of_everything() {
        let (live, backlog) = contest(share(1.0, Instant::now()), 1_000, 1_000, 20_000);
        assert!(live.abs_diff(1_000_000) <= 1_000 && backlog.abs_diff(19_000_000) <= 1_000, "{live} and {backlog}");
    }

    #[test]
    fn a_lane_alone_gets_everything_and_owes_nothing_for_it() {
        let now = Instant::now();
        let mut share = share(0.5, now);
        assert_eq!(share.choose(None, None, now), None);
        for _ in 0..100 {
            assert_eq!(share.choose(None, Some(50_000), now), Some(LaneKind::Backlog));
            share.sent(LaneKind::Backlog, 50_000, false, now);
        }
        assert_eq!(share.choose(Some(100), Some(50_000), now), Some(LaneKind::Live), "live rows go first");
        let (live, backlog) = contest(share, 100, 50_000, 5_000);
        assert!(live.abs_diff(backlog) <= 50_000, "{live} and {backlog}");
    }

    #[test]
    fn live_rows_alone_earn_the_backlog_nothing() {
        let now = Instant::now();
        let mut share = share(0.5, now);
        (0..1_000).for_each(|_| share.sent(LaneKind::Live, 10_000, false, now));
        assert_eq!(share.choose(Some(100), Some(100), now), Some(LaneKind::Live));
    }

    #[test]
    fn a_rate_is_held_over_time_whatever_the_size_of_a_message() {
        for size in [100, 20_000, 300_000] {
            let start = Instant::now();
            let mut share = Share::new(Backfill { share: 0.5, max_rate: Some(ByteRate(100_000)) }, start);
            let (mut now, mut sent) = (start, 0);
            while now < start + Duration::from_secs(60) {
                match share.choose(None, Some(size), now) {
                    Some(_) => {
                        assert_eq!(share.opens_at(now), None);
                        share.sent(LaneKind::Backlog, size, false, now);
                        sent += size;
                    }
                    None => now = share.opens_at(now).unwrap(),
                }
            }
            let rate = sent / 60;
            assert!((99_000..=106_000).contains(&rate), "{rate} bytes a second in messages of {size}");
        }
    }

    #[test]
    fn the_rate_of_the_backlog_does_not_hold_live_rows_back() {
        let now = Instant::now();
        let mut share = Share::new(Backfill { share: 0.5, max_rate: Some(ByteRate(1_024)) }, now);
        share.sent(LaneKind::Backlog, 10_000, false, now);
        assert_eq!(share.choose(Some(10), Some(10), now), Some(LaneKind::Live));
        assert_eq!(share.choose(None, Some(10), now), None);
        let opens = share.opens_at(now).unwrap();
        assert!(opens > now + Duration::from_secs(9) && opens < now + Duration::from_secs(10));
    }
}
