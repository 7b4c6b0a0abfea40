//! Window, pace and share together over links and receivers that a program plays: the time is an argument of theirs, so that these tests
//! give the same on a machine with nothing to do and on one with too much.

use std::{collections::VecDeque, time::Duration};

use tidegate_config::{Backfill, ByteRate};
use tokio::time::Instant;

use super::{
    pace::Pace,
    share::{LaneKind, Load, Share},
    window::Window,
};

const SECOND: Duration = Duration::from_secs(1);

/// A link and the receiver behind it: takes one message after the other, and acknowledges each when it has unpacked it.
struct Receiver {
    /// Bytes a second that the link carries.
    bytes: f64,
    /// Values a second that the receiver unpacks.
    values: f64,
    /// From the target to the receiver and back.
    trip: Duration,
    /// When it has done what has been sent to it.
    free: Instant,
}

struct Sent {
    lane: LaneKind,
    load: Load,
    /// When the message was ready to be sent.
    ready: Instant,
    sent: Instant,
    acknowledged: Instant,
}

/// A target that sends, and what became of it.
struct Play {
    now: Instant,
    window: Window,
    pace: Pace,
    share: Share,
    receiver: Receiver,
    line: VecDeque<Sent>,
    /// Live messages that wait to be sent.
    live: VecDeque<(Load, Instant)>,
    /// The backlog has messages of this size without end.
    backlog: Load,
    /// What has arrived of both lanes.
    arrived: [Load; 2],
    /// How long each live message took from being ready to its acknowledgement.
    ages: Vec<(Instant, Duration)>,
}

impl Play {
    fn new(limits: Backfill, backlog: Load, receiver: impl Fn(Instant) -> Receiver) -> Play {
        let now = Instant::now();
        Play {
            now,
            window: Window::new(100, 30 * SECOND),
            pace: Pace::new(),
            share: Share::new(limits, now),
            receiver: receiver(now),
            line: VecDeque::new(),
            live: VecDeque::new(),
            backlog,
            arrived: [Load::default(); 2],
            ages: Vec::new(),
        }
    }

    /// Goes on until then. `live`: a message of this size is ready every so often.
    fn until(&mut self, end: Instant, live: Option<(Load, Duration)>) {
        let mut next = self.now;
        while self.now < end {
            while let Some((load, every)) = live
                && next <= self.now
            {
                self.live.push_back((load, next));
                next += every;
            }
            self.send();
            // What happens next: an acknowledgement, a live row, or a limit that opens.
            let acknowledged = self.line.front().map(|sent| sent.acknowledged);
            let happens = [acknowledged, live.map(|_| next), self.share.opens_at(self.now)].into_iter().flatten().min();
            self.now = happens.unwrap_or(end).max(self.now).min(end);
            while self.line.front().is_some_and(|sent| sent.acknowledged <= self.now) {
                self.acknowledged();
            }
        }
    }

    fn send(&mut self) {
        loop {
            let bytes = self.line.iter().map(|sent| sent.load.bytes).sum();
            if !self.window.has_room(self.line.len(), bytes) {
                return;
            }
            let backlog: Vec<usize> =
                self.line.iter().filter(|sent| sent.lane == LaneKind::Backlog).map(|sent| sent.load.bytes).collect();
            let room = self.window.has_room_for_backlog(backlog.len());
            let paced = !self.pace.has_room(backlog.iter().sum());
            let live = self.live.front().map(|(load, _)| load.bytes);
            let offered = Some(self.backlog.bytes).filter(|_| room);
            let Some(lane) = self.share.choose_paced(live, offered, paced, self.now) else { return };
            let (load, ready) = match lane {
                LaneKind::Live => self.live.pop_front().unwrap(),
                LaneKind::Backlog => (self.backlog, self.now),
            };
            self.share.sent(lane, load, live.is_some() && offered.is_some(), self.now);
            let cost = (float(load.bytes) / self.receiver.bytes).max(float(load.values) / self.receiver.values);
            self.receiver.free = self.receiver.free.max(self.now) + Duration::from_secs_f64(cost);
            let acknowledged = self.receiver.free + self.receiver.trip;
            self.line.push_back(Sent { lane, load, ready, sent: self.now, acknowledged });
        }
    }

    fn acknowledged(&mut self) {
        let backlog: usize =
            self.line.iter().filter(|sent| sent.lane == LaneKind::Backlog).map(|sent| sent.load.bytes).sum();
        let Sent { lane, load, ready, sent, .. } = self.line.pop_front().unwrap();
        let after = self.now - sent;
        self.window.acknowledged(after);
        self.pace.acknowledged(load.bytes, after, !self.pace.has_room(backlog) && lane == LaneKind::Backlog);
        let arrived = &mut self.arrived[usize::from(lane == LaneKind::Backlog)];
        (arrived.bytes, arrived.values) = (arrived.bytes + load.bytes, arrived.values + load.values);
        if lane == LaneKind::Live {
            self.ages.push((self.now, self.now - ready));
        }
    }

    /// The longest that a live message took which arrived after `from`.
    fn longest(&self, from: Instant) -> f64 {
        let ages = self.ages.iter().filter(|(at, _)| *at >= from).map(|(_, age)| age.as_secs_f64());
        ages.fold(0.0, f64::max)
    }
}

fn float(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

fn limits(share: f64, max_rate: Option<u64>) -> Backfill {
    Backfill { share, max_rate: max_rate.map(ByteRate), max_values: 1_000_000_000 }
}

/// A live message of a plant of 10,000 tags at 1 s, 250 ms of it; and one of its backlog.
const LIVE: (Load, Duration) = (Load { bytes: 6_000, values: 2_500 }, Duration::from_millis(250));
const BACKLOG: Load = Load { bytes: 60_000, values: 100_000 };

#[test]
fn while_both_lanes_have_rows_the_backlog_gets_its_share_on_any_link() {
    for share in [0.2, 0.5, 0.8] {
        for (bytes, trip) in [(20_000.0, 0.3), (200_000.0, 0.05), (2_000_000.0, 0.002)] {
            // Rows of the backlog are five times as large.
            let (live, backlog) = (Load { bytes: 100, values: 1 }, Load { bytes: 570, values: 1 });
            let receiver = |free| Receiver { bytes, values: 1e9, trip: Duration::from_secs_f64(trip), free };
            let mut play = Play::new(limits(share, None), backlog, receiver);
            let start = play.now;
            (0..200_000).for_each(|_| play.live.push_back((live, start)));
            play.until(start + 5 * SECOND, None);
            let [live, backlog] = play.arrived;
            let found = float(backlog.bytes) / float(live.bytes + backlog.bytes);
            assert!((found - share).abs() < 0.05, "{found} instead of {share} at {bytes} bytes a second");
            assert!(float(live.bytes + backlog.bytes) > 0.7 * bytes * 5.0 || trip > 0.2, "the link was used");
        }
    }
}

#[test]
fn the_rate_of_the_backlog_is_held_and_does_not_hold_live_rows_back() {
    let rate = 100 * 1024;
    let receiver = |free| Receiver { bytes: 20e6, values: 1e9, trip: Duration::from_millis(2), free };
    let mut play = Play::new(limits(0.95, Some(rate)), Load { bytes: 990, values: 1 }, receiver);
    let start = play.now;
    play.until(start + SECOND / 2, None);
    let begin = play.now;
    (0..5_000).for_each(|_| play.live.push_back((Load { bytes: 80, values: 1 }, begin)));
    play.until(start + 2 * SECOND, None);
    let [live, backlog] = play.arrived;
    let (found, rate) = (float(backlog.bytes) / 2.0, float(usize::try_from(rate).unwrap()));
    assert!(found < rate * 1.2 && found > rate * 0.7, "{found} bytes a second");
    assert_eq!(live.bytes, 5_000 * 80);
    assert!(play.longest(start) < 0.5, "{} s", play.longest(start));
}

#[test]
fn live_rows_do_not_wait_long_behind_the_backlog_however_slow_the_receiver_is() {
    for values in [20e6, 5e6, 2e6, 1e6, 0.5e6] {
        let receiver = |free| Receiver { bytes: 50e6, values, trip: Duration::from_millis(2), free };
        let mut play = Play::new(limits(0.5, None), BACKLOG, receiver);
        let start = play.now;
        play.until(start + 60 * SECOND, Some(LIVE));
        let longest = play.longest(start + 2 * SECOND);
        // Twice the time of one message of the backlog has to be borne: it is not cut.
        let one = float(BACKLOG.values) / values;
        assert!(longest < 0.3 + 2.0 * one, "{longest} s at {values} values a second");
        let used = float(play.arrived[1].values + play.arrived[0].values) / 60.0;
        assert!(used > 0.9 * values.min(15e6), "{used} of {values} values a second");
    }
}

#[test]
fn when_a_receiver_becomes_slow_the_backlog_yields_and_takes_its_room_back_later() {
    let receiver = |free| Receiver { bytes: 50e6, values: 10e6, trip: Duration::from_millis(2), free };
    let mut play = Play::new(limits(0.5, None), BACKLOG, receiver);
    let start = play.now;
    play.until(start + 10 * SECOND, Some(LIVE));
    play.receiver.values = 1e6;
    let slow = play.now;
    play.until(slow + 20 * SECOND, Some(LIVE));
    // What was on its way when it became slow cannot be called back; live rows wait for that once.
    let (first, then) = (play.longest(slow), play.longest(slow + 5 * SECOND));
    assert!(first < 1.0 && then < 0.4, "{first} s, then {then} s");
    play.receiver.values = 10e6;
    let (fast, before) = (play.now, play.arrived[1].values);
    play.until(fast + 20 * SECOND, Some(LIVE));
    let used = float(play.arrived[1].values - before) / 20.0;
    assert!(used > 7e6, "{used} values a second after it is fast again");
    assert!(play.longest(fast + SECOND) < 0.4, "{} s", play.longest(fast + SECOND));
}
