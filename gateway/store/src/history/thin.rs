//! Fewer samples that look the same in a chart.
//!
//! Time is cut into buckets of the same width. Of each bucket stay the first, the last, the smallest and the largest value,
//! which is all that a line through a column of pixels shows, and what makes the line doubtful: the first bad sample, and
//! the first that is uncertain or no number. As long as everything fits, nothing is left out; when the buckets hold too much,
//! every two of them become one.

use tidegate_model::{Slot, Timestamp, Value};

use super::Sample;

/// The most that stays of one bucket, so the fewest points that can be asked for.
pub(super) const PER_BUCKET: usize = 6;

/// Thins the samples of one tag while they come in.
pub(super) struct Thin {
    frame: Frame,
    kept: Kept,
    /// Samples so far.
    seen: u64,
    /// Whether something has been left out.
    thinned: bool,
}

enum Kept {
    /// Everything.
    All(Vec<Point>),
    /// What differs from the sample before it; the last of all, changed or not, stands aside.
    Changes {
        changes: Vec<Point>,
        last: Option<Point>,
    },
    Buckets(Buckets),
}

/// A sample, and how many came before it.
#[derive(Clone)]
struct Point {
    number: u64,
    sample: Sample,
}

struct Buckets {
    from: i64,
    width: u64,
    buckets: Vec<Bucket>,
}

#[derive(Default)]
struct Bucket {
    first: Option<Point>,
    last: Option<Point>,
    low: Option<(f64, Point)>,
    high: Option<(f64, Point)>,
    bad: Option<Point>,
    doubtful: Option<Point>,
}

/// What the samples are to be thinned for.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    /// No sample is earlier.
    pub(super) from: i64,
    /// No sample is later.
    pub(super) to: i64,
    /// The most points to keep, at least [`PER_BUCKET`].
    pub(super) most: usize,
}

impl Thin {
    /// Begins with nothing.
    pub(super) fn new(frame: Frame) -> Thin {
        let frame = Frame { most: frame.most.max(PER_BUCKET), ..frame };
        Thin { frame, kept: Kept::All(Vec::new()), seen: 0, thinned: false }
    }

    /// How many samples have come so far.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes a sample in.
    #[inline]
    pub(super) fn add(&mut self, time: Timestamp, slot: Slot) {
        let point = Point { number: self.seen, sample: Sample { time, slot } };
        self.seen += 1;
        self.keep(point);
        if self.is_too_much() {
            self.thinned = true;
            self.keep_less();
        }
    }

    #[inline]
    fn keep(&mut self, point: Point) {
        match &mut self.kept {
            Kept::All(points) => points.push(point),
            Kept::Changes { changes, last } => {
                let before = last.as_ref().or(changes.last());
                if before.is_some_and(|before| same(&before.sample.slot, &point.sample.slot)) {
                    *last = Some(point);
                } else {
                    *last = None;
                    changes.push(point);
                }
            }
            Kept::Buckets(buckets) => buckets.add(point),
        }
    }

    fn is_too_much(&self) -> bool {
        match &self.kept {
            Kept::All(points) => points.len() > self.frame.most,
            // One place is for the last.
            Kept::Changes { changes, .. } => changes.len() >= self.frame.most,
            Kept::Buckets(_) => false,
        }
    }

    /// Goes to the next form: numbers into buckets, everything else first to its changes.
    fn keep_less(&mut self) {
        let kept = std::mem::replace(&mut self.kept, Kept::All(Vec::new()));
        let points = match kept {
            Kept::All(points) if !points.iter().any(|point| is_number(&point.sample.slot)) => {
                self.kept = Kept::Changes { changes: Vec::new(), last: None };
                points
            }
            Kept::All(points) => {
                self.kept = Kept::Buckets(Buckets::new(self.frame));
                points
            }
            Kept::Changes { mut changes, last } => {
                self.kept = Kept::Buckets(Buckets::new(self.frame));
                changes.extend(last);
                changes
            }
            Kept::Buckets(buckets) => return self.kept = Kept::Buckets(buckets),
        };
        points.into_iter().for_each(|point| self.keep(point));
        if self.is_too_much() {
            self.keep_less();
        }
    }

    /// What stays, by time, and whether that is not everything.
    pub(super) fn finish(self) -> (Vec<Sample>, bool) {
        let mut points = match self.kept {
            Kept::All(points) => points,
            Kept::Changes { mut changes, last } => {
                changes.extend(last);
                changes
            }
            Kept::Buckets(mut buckets) => loop {
                let points = buckets.points();
                if points.len() <= self.frame.most {
                    break points;
                }
                buckets.coarsen();
            },
        };
        points.sort_by_key(|point| (point.sample.time, point.number));
        (points.into_iter().map(|point| point.sample).collect(), self.thinned)
    }
}

impl Buckets {
    /// Twice as many as there are places for all that a bucket of good numbers keeps: mostly some of it is the same.
    fn new(frame: Frame) -> Buckets {
        let count = (frame.most / 2).max(1);
        let span = frame.to.abs_diff(frame.from).saturating_add(1);
        let width = span.div_ceil(u64::try_from(count).unwrap_or(u64::MAX)).max(1);
        let mut buckets = Vec::with_capacity(count);
        buckets.resize_with(count, Bucket::default);
        Buckets { from: frame.from, width, buckets }
    }

    fn bucket(&mut self, time: i64) -> Option<&mut Bucket> {
        let since = if time > self.from { time.abs_diff(self.from) } else { 0 };
        let last = self.buckets.len().saturating_sub(1);
        let at = usize::try_from(since / self.width).unwrap_or(usize::MAX).min(last);
        self.buckets.get_mut(at)
    }

    #[inline]
    fn add(&mut self, point: Point) {
        let time = point.sample.time.as_millis();
        if let Some(bucket) = self.bucket(time) {
            bucket.add(point);
        }
    }

    /// Every two neighbours become one.
    fn coarsen(&mut self) {
        let mut fine = std::mem::take(&mut self.buckets).into_iter();
        while let Some(mut bucket) = fine.next() {
            if let Some(next) = fine.next() {
                bucket.merge(next);
            }
            self.buckets.push(bucket);
        }
        self.width = self.width.saturating_mul(2);
    }

    /// All that stays, each once.
    fn points(&self) -> Vec<Point> {
        let mut points = Vec::new();
        for bucket in &self.buckets {
            let extremes = [&bucket.low, &bucket.high].map(|extreme| extreme.as_ref().map(|(_, point)| point));
            let others = [&bucket.first, &bucket.last, &bucket.bad, &bucket.doubtful].map(Option::as_ref);
            let mut of_bucket: Vec<&Point> = extremes.into_iter().chain(others).flatten().collect();
            of_bucket.sort_by_key(|point| point.number);
            of_bucket.dedup_by_key(|point| point.number);
            points.extend(of_bucket.into_iter().cloned());
        }
        points
    }
}

impl Bucket {
    #[inline]
    fn add(&mut self, point: Point) {
        let number = point.sample.slot.value().and_then(Value::as_f64);
        match number {
            Some(number) if !number.is_nan() => self.add_number(number, &point),
            _ => {}
        }
        let doubtful = match &point.sample.slot {
            Slot::Bad(_) => Some(&mut self.bad),
            Slot::Uncertain(..) => Some(&mut self.doubtful),
            _ => number.is_some_and(f64::is_nan).then_some(&mut self.doubtful),
        };
        if let Some(first) = doubtful {
            first.get_or_insert_with(|| point.clone());
        }
        self.add_end(point);
    }

    #[inline]
    fn add_number(&mut self, number: f64, point: &Point) {
        if self.low.as_ref().is_none_or(|(low, _)| number < *low) {
            self.low = Some((number, point.clone()));
        }
        if self.high.as_ref().is_none_or(|(high, _)| number > *high) {
            self.high = Some((number, point.clone()));
        }
    }

    #[inline]
    fn add_end(&mut self, point: Point) {
        if self.first.as_ref().is_none_or(|first| point.is_before(first)) {
            self.first = Some(point.clone());
        }
        if self.last.as_ref().is_none_or(|last| last.is_before(&point)) {
            self.last = Some(point);
        }
    }

    /// Takes in the bucket behind this one.
    fn merge(&mut self, next: Bucket) {
        self.first = self.first.take().or(next.first);
        self.last = next.last.or(self.last.take());
        self.bad = self.bad.take().or(next.bad);
        self.doubtful = self.doubtful.take().or(next.doubtful);
        self.low = smaller(self.low.take(), next.low, |a, b| a <= b);
        self.high = smaller(self.high.take(), next.high, |a, b| a >= b);
    }
}

impl Point {
    fn is_before(&self, other: &Point) -> bool {
        (self.sample.time, self.number) < (other.sample.time, other.number)
    }
}

/// The one of two extremes that comes first in this order.
fn smaller(
    one: Option<(f64, Point)>,
    other: Option<(f64, Point)>,
    is_first: impl Fn(f64, f64) -> bool,
) -> Option<(f64, Point)> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if is_first(one.0, other.0) { one } else { other }),
        (one, other) => one.or(other),
    }
}

/// Whether a line is drawn through such values; a bool is drawn as steps.
fn is_number(slot: &Slot) -> bool {
    matches!(slot.value(), Some(Value::Int(_) | Value::Uint(_) | Value::F32(_) | Value::F64(_)))
}

/// Whether nothing has changed.
fn same(one: &Slot, other: &Slot) -> bool {
    one.quality() == other.quality()
        && match (one.value(), other.value()) {
            (Some(one), Some(other)) => one.same_as(other),
            (one, other) => one.is_none() && other.is_none(),
        }
}

#[cfg(test)]
mod tests {
    use tidegate_model::Reason;

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn thin(most: usize, samples: impl IntoIterator<Item = (i64, Slot)>) -> (Vec<(i64, Slot)>, bool) {
        let mut thin = Thin::new(Frame { from: 0, to: HOUR - 1, most });
        samples.into_iter().for_each(|(time, slot)| thin.add(Timestamp::from_millis(time), slot));
        let (kept, thinned) = thin.finish();
        assert!(kept.len() <= most.max(PER_BUCKET), "{} of {most}", kept.len());
        assert!(kept.is_sorted_by_key(|sample| sample.time));
        (kept.into_iter().map(|sample| (sample.time.as_millis(), sample.slot)).collect(), thinned)
    }

    fn number(value: f64) -> Slot {
        Slot::Good(Value::F64(value))
    }

    fn on(value: bool) -> Slot {
        Slot::Good(Value::Bool(value))
    }

    /// A sample a second.
    fn every_second(value: impl Fn(i64) -> Slot) -> Vec<(i64, Slot)> {
        (0..3600).map(|second| (second * 1000, value(second))).collect()
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let samples = vec![(5, number(1.0)), (6, number(1.0)), (7, Slot::Bad(Reason::Timeout)), (9, number(-3.5))];
        assert_eq!(thin(PER_BUCKET, samples.clone()), (samples, false));
        assert_eq!(thin(100, []), (vec![], false));
    }

    #[test]
    fn the_ends_and_every_single_spike_of_a_noisy_line_stay() {
        let value = |second: i64| match second {
            1234 => 500.0,
            2345 => -500.0,
            _ => f64::from(u32::try_from(second * 7919 % 100).unwrap()),
        };
        for most in [PER_BUCKET, 7, 10, 99, 1000, 3599] {
            let (kept, thinned) = thin(most, every_second(|second| number(value(second))));
            assert!(thinned);
            for second in [0, 1234, 2345, 3599] {
                assert!(kept.contains(&(second * 1000, number(value(second)))), "{second} of {most}");
            }
            assert!(kept.len() * 3 >= most, "no more is left out than has to be: {} of {most}", kept.len());
        }
    }

    #[test]
    fn each_part_of_the_time_keeps_its_smallest_and_largest_value() {
        let values = every_second(|second| number(f64::from(u32::try_from(second * second % 4001).unwrap())));
        let (kept, _) = thin(400, values.clone());
        // At least a hundred buckets are left of two hundred.
        for part in values.chunks(36) {
            let extreme = |larger: bool| {
                let numbers = part.iter().map(|(_, slot)| slot.value().unwrap().as_f64().unwrap());
                numbers.reduce(|a, b| if larger { a.max(b) } else { a.min(b) }).unwrap()
            };
            let times = part[0].0..=part[part.len() - 1].0;
            let near = |number: f64| {
                kept.iter().any(|(time, slot)| times.contains(time) && slot.value().unwrap().as_f64() == Some(number))
            };
            assert!(near(extreme(true)) && near(extreme(false)));
        }
    }

    #[test]
    fn integers_beyond_the_precision_of_floats_come_out_unchanged() {
        let samples = every_second(|second| Slot::Good(Value::Uint(u64::MAX - u64::try_from(second).unwrap())));
        let (kept, _) = thin(10, samples.clone());
        assert!(kept.iter().all(|sample| samples.contains(sample)));
    }

    #[test]
    fn a_short_outage_stays_visible_among_good_values() {
        let samples = every_second(|second| match second {
            1800..1803 => Slot::Bad(Reason::Timeout),
            2700 => Slot::Uncertain(Value::F64(50.0), Reason::OutOfRange),
            3000 => number(f64::NAN),
            second => number(f64::from(u32::try_from(second % 100).unwrap())),
        });
        let (kept, _) = thin(60, samples);
        assert!(kept.contains(&(1_800_000, Slot::Bad(Reason::Timeout))));
        assert!(kept.contains(&(2_700_000, Slot::Uncertain(Value::F64(50.0), Reason::OutOfRange))));
        let nan = |slot: &Slot| slot.value().and_then(Value::as_f64).is_some_and(f64::is_nan);
        assert!(kept.iter().any(|(time, slot)| *time == 3_000_000 && nan(slot)));
    }

    #[test]
    fn a_text_is_thinned_to_its_changes() {
        let text = |text: &str| Slot::Good(Value::Text(text.into()));
        let samples = every_second(|second| match second {
            0..100 => text("idle"),
            100..3000 => text("run"),
            3000..3010 => Slot::Bad(Reason::Timeout),
            _ => text("run"),
        });
        let expected = vec![
            (0, text("idle")),
            (100_000, text("run")),
            (3_000_000, Slot::Bad(Reason::Timeout)),
            (3_010_000, text("run")),
            (3_599_000, text("run")),
        ];
        assert_eq!(thin(10, samples), (expected, true));
    }

    #[test]
    fn a_text_that_changes_too_often_keeps_the_last_of_each_part() {
        let samples = every_second(|second| Slot::Good(Value::Text(second.to_string().into())));
        let (kept, thinned) = thin(50, samples.clone());
        assert!(thinned && kept.len() >= 16);
        assert_eq!((kept.first(), kept.last()), (samples.first(), samples.last()));
    }

    #[test]
    fn the_steps_of_a_bool_stay_and_none_lasts_longer_than_it_did_by_more_than_a_part() {
        let (kept, _) = thin(10, every_second(|second| on((100..200).contains(&second))));
        assert_eq!(kept, [(0, on(false)), (100_000, on(true)), (200_000, on(false)), (3_599_000, on(false))]);
        // On for a second each minute, but only in the first half.
        let (kept, _) = thin(30, every_second(|second| on(second % 60 == 30 && second < 1800)));
        assert!(kept.iter().any(|(_, slot)| *slot == on(true)));
        assert!(kept.iter().rev().take_while(|(time, _)| *time > 2_200_000).all(|(_, slot)| *slot == on(false)));
        let before = kept.iter().rev().find(|(time, _)| *time <= 2_200_000).unwrap();
        assert_eq!(before.1, on(false));
    }

    #[test]
    fn a_clock_that_was_set_back_and_times_beyond_the_frame_do_no_harm() {
        let times = (0..3000).map(|second| second * 1000).chain((1000..4000).map(|second| second * 1000));
        let (kept, _) = thin(20, times.zip(0..).map(|(time, value)| (time, number(f64::from(value)))));
        assert_eq!(kept.last(), Some(&(3_999_000, number(5_999.0))));
        let (kept, _) = thin(PER_BUCKET, [i64::MIN, i64::MAX, -1, 0].repeat(5).into_iter().map(|at| (at, number(0.0))));
        assert_eq!((kept[0].0, kept.last().unwrap().0), (i64::MIN, i64::MAX));
    }
}
