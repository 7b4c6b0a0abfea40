//! How many bytes of backlog may be on their way, so that a live row does not wait long behind them. Pure.
//!
//! What has been handed to the network cannot be called back: on a link of 50 KB/s a live row behind 4 MiB of backlog is 80
//! seconds late. So the backlog keeps the time that its messages wait on their way small. The least time that any
//! message took is that of the link itself; what is above it was spent in line. Below the aim the room grows, above it shrinks
//! (the idea is LEDBAT's, RFC 6817, with messages and acknowledgements in the place of segments). A single late acknowledgement says
//! little on a radio link: of the last few the earliest counts.
//!
//! A broker that acknowledges when its receiver has taken a message, or the receiver itself, is held at what it really takes by the same
//! means. One that acknowledges at once and keeps what its subscribers have not read tells nothing: for that there is the limit on values
//! (`share.rs`).

use std::time::Duration;

/// How long a message may wait in line, about.
const AIM: Duration = Duration::from_millis(150);
/// Acknowledgements of which the earliest counts.
const LATEST: usize = 4;
/// The least room; one message may always travel, whatever its size.
const LEAST_BYTES: usize = 8 * 1024;
/// Room at the start of the first connection.
const FIRST_BYTES: usize = 128 * 1024;
/// The most room.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// The room of the backlog on one connection.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes: usize,
    /// The least time that a message took on this connection.
    least: Option<Duration>,
    /// The times of the latest messages.
    latest: [Duration; LATEST],
    next: usize,
    /// Bytes to be acknowledged before the room changes again: they were sent before it shrank.
    settle: usize,
    /// Whether this connection has not yet met its limit.
    probing: bool,
}

impl Pace {
    pub(crate) fn new() -> Pace {
        Pace::with_room(FIRST_BYTES)
    }

    /// A new connection, perhaps over another link. What the last one has taught about a thin link still holds.
    pub(crate) fn begin(&mut self) {
        *self = Pace::with_room(self.bytes.min(FIRST_BYTES));
    }

    fn with_room(bytes: usize) -> Pace {
        Pace { bytes, least: None, latest: [Duration::MAX; LATEST], next: 0, settle: 0, probing: true }
    }

    /// Whether one more message of backlog may be sent while so many bytes of it are on their way.
    pub(crate) fn has_room(&self, in_flight: usize) -> bool {
        in_flight < self.bytes
    }

    /// A message of `bytes` was acknowledged this long after it was sent. `full`: the backlog had used its room.
    pub(crate) fn acknowledged(&mut self, bytes: usize, after: Duration, full: bool) {
        self.settle = self.settle.saturating_sub(bytes);
        let least = self.least.map_or(after, |least| least.min(after));
        self.least = Some(least);
        if let Some(latest) = self.latest.get_mut(self.next) {
            *latest = after;
        }
        self.next = (self.next + 1) % LATEST;
        let waited = self.latest.iter().copied().fold(after, Duration::min).saturating_sub(least);
        if waited > AIM {
            if self.settle == 0 {
                self.settle = self.bytes;
                self.probing = false;
                self.bytes = (self.bytes / 2).max(LEAST_BYTES);
            }
        } else if full && self.settle == 0 {
            // Twice as much with each round trip until the limit has been met once; then carefully, and more so near the aim.
            let more = match waited < AIM / 4 {
                true if self.probing => bytes,
                true => bytes / 8,
                false => bytes / 32,
            };
            self.bytes = self.bytes.saturating_add(more).min(MOST_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a link of `rate` bytes a second and a round trip of `trip` for `messages` of `size` bytes, with as many on their way as
    /// the pace allows. Returns the longest time in line of the second half of the messages, and the bytes a second.
    fn link(rate: f64, trip: f64, size: usize, messages: u32) -> (f64, f64) {
        let mut pace = Pace::new();
        let bytes = f64::from(u32::try_from(size).unwrap());
        // When each message on its way is acknowledged, and when it was sent.
        let mut line: std::collections::VecDeque<(f64, f64)> = std::collections::VecDeque::new();
        let (mut now, mut free, mut longest) = (0.0_f64, 0.0_f64, 0.0_f64);
        for message in 0..messages {
            while !pace.has_room(line.len() * size) {
                let full = !pace.has_room((line.len() + 1) * size);
                let (back, sent) = line.pop_front().unwrap();
                now = now.max(back);
                pace.acknowledged(size, Duration::from_secs_f64(back - sent), full);
            }
            let start = free.max(now);
            free = start + bytes / rate;
            if message > messages / 2 {
                longest = longest.max(start - now);
            }
            line.push_back((free + trip, now));
        }
        (longest, f64::from(messages) * bytes / free)
    }

    #[test]
    fn on_a_thin_link_nothing_waits_long_and_the_link_is_still_used() {
        for (rate, trip) in [(50_000.0, 0.05), (20_000.0, 0.3), (200_000.0, 0.6)] {
            let (longest, used) = link(rate, trip, 4_000, 4_000);
            assert!(longest < 0.7, "{longest} s in line at {rate} bytes a second");
            assert!(used > 0.5 * rate, "{used} of {rate} bytes a second were used");
        }
    }

    #[test]
    fn on_a_fast_link_the_room_grows_until_the_link_is_used() {
        let (longest, used) = link(10_000_000.0, 0.1, 60_000, 4_000);
        assert!(longest < 0.7, "{longest} s in line");
        assert!(used > 7_000_000.0, "{used} bytes a second");
    }

    #[test]
    fn a_message_larger_than_the_room_still_travels() {
        let mut pace = Pace::new();
        pace.acknowledged(1_000, Duration::ZERO, true);
        (0..100).for_each(|_| pace.acknowledged(1 << 20, Duration::from_secs(5), true));
        assert!(pace.has_room(0) && !pace.has_room(LEAST_BYTES));
    }

    #[test]
    fn a_new_connection_finds_its_own_least_time() {
        let mut pace = Pace::new();
        pace.acknowledged(1_000, Duration::from_millis(1), true);
        pace.begin();
        (0..100).for_each(|_| pace.acknowledged(1_000, Duration::from_secs(2), true));
        assert!(pace.has_room(FIRST_BYTES), "two seconds are this link's own time");
    }
}
