//! Which lane sends next. Pure: the time is an argument.
//!
//! Live rows go first. While they and the backlog both have something to send, the backlog earns credit with each byte of
//! live rows and spends it with its own, so that it gets its share of the bytes, no more and no less. That holds also
//! where the pace (`pace.rs`) would hold it back: live rows that wait for a link that they fill themselves do not wait for the backlog. While
//! no live row waits it may send whatever the pace allows. Two limits hold in both cases: one on its bytes, for a link that others use too, and one
//! on its values, for those who unpack and write them. A broker acknowledges what its subscribers have not read yet, so the gateway
//! cannot see that they are behind, and what is behind them in the broker's line are the live rows.

use std::time::Duration;

use tidegate_config::Backfill;
use tokio::time::Instant;

/// Live rows keep a twentieth of the bytes, whatever the configuration says.
const LARGEST_SHARE: f64 = 0.95;
/// The backlog saves at most this many bytes of credit: it must not make live rows wait behind a heap of its own later on.
const MOST_CREDIT: f64 = 256.0 * 1024.0;
/// A backlog that was idle may send as much at once as its rate gives in this time: bytes, and values.
const BYTES_BURST: Duration = Duration::from_millis(250);
const VALUES_BURST: Duration = Duration::from_millis(50);

/// One of the two lanes of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneKind {
    /// What was committed after the connection had been made.
    Live,
    /// What had been committed before, and what the live lane could not keep up with.
    Backlog,
}

/// What a message costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Bytes of its topic and payload.
    pub(crate) bytes: usize,
    /// Values in it, about.
    pub(crate) values: usize,
}

/// Divides a connection between the lanes.
#[derive(Debug)]
pub(crate) struct Share {
    /// Credit of the backlog for each byte of live rows.
    factor: f64,
    credit: f64,
    bytes: Option<Bucket>,
    values: Bucket,
}

impl Share {
    /// A division for a new connection.
    pub(crate) fn new(options: Backfill, now: Instant) -> Share {
        let share = options.share.clamp(0.0, LARGEST_SHARE);
        let bytes = options.max_rate.map(|rate| Bucket::new(rate.0, BYTES_BURST, now));
        let values = Bucket::new(u64::from(options.max_values), VALUES_BURST, now);
        Share { factor: share / (1.0 - share), credit: 0.0, bytes, values }
    }

    /// The lane whose next message is sent now; of each lane the size of its next message, if it has one.
    pub(crate) fn choose(&self, live: Option<usize>, backlog: Option<usize>, now: Instant) -> Option<LaneKind> {
        self.choose_paced(live, backlog, false, now)
    }

    /// The same. `paced`: the pace has no room for the backlog, which then sends against live rows that wait, and not on its own.
    pub(crate) fn choose_paced(
        &self,
        live: Option<usize>,
        backlog: Option<usize>,
        paced: bool,
        now: Instant,
    ) -> Option<LaneKind> {
        let backlog = backlog.filter(|_| self.buckets().all(|bucket| bucket.is_open(now)));
        match (live, backlog) {
            (None, None) => None,
            (Some(_), None) => Some(LaneKind::Live),
            (None, Some(_)) => Some(LaneKind::Backlog).filter(|_| !paced),
            (Some(_), Some(bytes)) if self.credit >= as_float(bytes).min(MOST_CREDIT) => Some(LaneKind::Backlog),
            (Some(_), Some(_)) => Some(LaneKind::Live),
        }
    }

    /// A message of this lane was sent. `contested`: the other lane had one to send too.
    pub(crate) fn sent(&mut self, lane: LaneKind, load: Load, contested: bool, now: Instant) {
        let bytes = as_float(load.bytes);
        match lane {
            LaneKind::Live if contested => self.credit = (self.credit + bytes * self.factor).min(MOST_CREDIT),
            LaneKind::Live => {}
            LaneKind::Backlog => {
                self.credit = if contested { self.credit - bytes } else { 0.0 };
                if let Some(bucket) = &mut self.bytes {
                    bucket.take(bytes, now);
                }
                self.values.take(as_float(load.values), now);
            }
        }
    }

    /// When the limits let the backlog send again, if they do not now.
    pub(crate) fn opens_at(&self, now: Instant) -> Option<Instant> {
        self.buckets().filter(|bucket| !bucket.is_open(now)).map(|bucket| bucket.opens_at(now)).max()
    }

    fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.bytes.iter().chain([&self.values])
    }
}

/// A rate in bytes or values a second: what a message is too large for is owed by those after it.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    /// What may be sent at once after a rest.
    most: f64,
    /// What may be sent; below zero it is owed.
    level: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: u64, burst: Duration, now: Instant) -> Bucket {
        let rate = as_float(usize::try_from(rate).unwrap_or(usize::MAX)).max(1.0);
        let most = rate * burst.as_secs_f64();
        Bucket { rate, most, level: most, at: now }
    }

    fn level(&self, now: Instant) -> f64 {
        let filled = now.saturating_duration_since(self.at).as_secs_f64() * self.rate;
        (self.level + filled).min(self.most)
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
        Share::new(Backfill { share, max_rate: None, max_values: u32::MAX }, now)
    }

    fn bytes(bytes: usize) -> Load {
        Load { bytes, values: 0 }
    }

    /// Bytes and values of backlog that a minute gets across in messages of this kind, when there is always one.
    fn minute(limits: Backfill, load: Load) -> Load {
        let start = Instant::now();
        let (mut share, mut now, mut sent) = (Share::new(limits, start), start, Load::default());
        while now < start + Duration::from_secs(60) {
            match share.choose(None, Some(load.bytes), now) {
                Some(_) => {
                    assert_eq!(share.opens_at(now), None);
                    share.sent(LaneKind::Backlog, load, false, now);
                    (sent.bytes, sent.values) = (sent.bytes + load.bytes, sent.values + load.values);
                }
                None => now = share.opens_at(now).unwrap(),
            }
        }
        sent
    }

    /// Bytes of both lanes after `messages` of these sizes, when both always have one.
    fn contest(mut share: Share, live: usize, backlog: usize, messages: usize) -> (usize, usize) {
        let now = Instant::now();
        let mut sent = (0, 0);
        for _ in 0..messages {
            match share.choose(Some(live), Some(backlog), now) {
                Some(LaneKind::Live) => {
                    share.sent(LaneKind::Live, bytes(live), true, now);
                    sent.0 += live;
                }
                Some(LaneKind::Backlog) => {
                    share.sent(LaneKind::Backlog, bytes(backlog), true, now);
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
            share.sent(LaneKind::Backlog, bytes(50_000), false, now);
        }
        assert_eq!(share.choose(Some(100), Some(50_000), now), Some(LaneKind::Live), "live rows go first");
        let (live, backlog) = contest(share, 100, 50_000, 5_000);
        assert!(live.abs_diff(backlog) <= 50_000, "{live} and {backlog}");
    }

    #[test]
    fn live_rows_alone_earn_the_backlog_nothing() {
        let now = Instant::now();
        let mut share = share(0.5, now);
        (0..1_000).for_each(|_| share.sent(LaneKind::Live, bytes(10_000), false, now));
        assert_eq!(share.choose(Some(100), Some(100), now), Some(LaneKind::Live));
    }

    #[test]
    fn a_rate_is_held_over_time_whatever_the_size_of_a_message() {
        let limits = Backfill { share: 0.5, max_rate: Some(ByteRate(100_000)), max_values: u32::MAX };
        for size in [100, 20_000, 300_000] {
            let rate = minute(limits, bytes(size)).bytes / 60;
            assert!((99_000..=106_000).contains(&rate), "{rate} bytes a second in messages of {size}");
        }
    }

    #[test]
    fn values_have_a_limit_whatever_the_size_of_a_message_and_however_few_bytes_they_take() {
        let limits = Backfill { share: 0.5, max_rate: None, max_values: 1_000_000 };
        for load in [
            Load { bytes: 2_000, values: 100 },
            Load { bytes: 10_000, values: 60_000 },
            Load { bytes: 900, values: 3_000_000 },
        ] {
            let rate = minute(limits, load).values / 60;
            assert!((980_000..=1_060_000).contains(&rate), "{rate} values a second in messages of {load:?}");
        }
    }

    #[test]
    fn of_two_limits_the_narrower_one_holds() {
        let load = Load { bytes: 10_000, values: 60_000 };
        let limits = |bytes, values| Backfill { share: 0.5, max_rate: Some(ByteRate(bytes)), max_values: values };
        let sent = minute(limits(1_000_000, 120_000), load);
        assert!((115_000..=125_000).contains(&(sent.values / 60)), "{sent:?}");
        let sent = minute(limits(20_000, 1_000_000), load);
        assert!((19_000..=21_000).contains(&(sent.bytes / 60)), "{sent:?}");
    }

    #[test]
    fn after_a_rest_no_heap_of_values_is_sent_at_once() {
        let start = Instant::now();
        let mut share = Share::new(Backfill { share: 0.5, max_rate: None, max_values: 1_000_000 }, start);
        let now = start + Duration::from_secs(3600);
        let mut values = 0;
        while share.choose(None, Some(10), now).is_some() {
            share.sent(LaneKind::Backlog, Load { bytes: 10, values: 1_000 }, false, now);
            values += 1_000;
        }
        assert!(values <= 51_000, "{values} values at once");
    }

    #[test]
    fn the_rate_of_the_backlog_does_not_hold_live_rows_back() {
        let now = Instant::now();
        let mut share = Share::new(Backfill { share: 0.5, max_rate: Some(ByteRate(1_024)), max_values: 1 }, now);
        share.sent(LaneKind::Backlog, Load { bytes: 10_000, values: 5 }, false, now);
        assert_eq!(share.choose(Some(10), Some(10), now), Some(LaneKind::Live));
        assert_eq!(share.choose(None, Some(10), now), None);
        let opens = share.opens_at(now).unwrap();
        assert!(opens > now + Duration::from_secs(9) && opens < now + Duration::from_secs(10));
    }
}
