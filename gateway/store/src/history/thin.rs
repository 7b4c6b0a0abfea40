//! Fewer samples that look the same in a chart.
//!
//! Time is cut into buckets of the same width. Of each bucket stay the first, the last, the smallest and the largest value,
//! which is all that a line through a column of pixels shows, and what makes the line doubtful: the first bad sample, and
//! the first that is uncertain or no number. As long as everything fits, nothing is left out; when the buckets hold too much,
//! every two of them become one.

use tidegate_model::{Slot, Value};

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
    /// What differs from the sample before it: of the samples that come by time, and of those that come late, such as what a
    /// device has handed over of an outage.
    Changes(Box<[Track; 2]>),
    Buckets(Buckets),
}

/// A sample, and how many came before it.
#[derive(Clone)]
struct Point {
    number: u64,
    sample: Sample,
}

/// The changes among samples that come by time.
#[derive(Default)]
struct Track {
    changes: Vec<Point>,
    /// The last of all, when it is no change.
    last: Option<Point>,
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
    pub(super) fn add(&mut self, sample: Sample) {
        let point = Point { number: self.seen, sample };
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
            Kept::Changes(tracks) => {
                let [in_time, late] = tracks.as_mut();
                if in_time.newest().is_some_and(|newest| point.sample.time < newest.sample.time) {
                    late.add(point);
                } else {
                    in_time.add(point);
                }
            }
            Kept::Buckets(buckets) => buckets.add(point),
        }
    }

    fn is_too_much(&self) -> bool {
        match &self.kept {
            Kept::All(points) => points.len() > self.frame.most,
            // One place is for the last.
            Kept::Changes(tracks) => tracks.iter().map(Track::most).sum::<usize>() > self.frame.most,
            Kept::Buckets(_) => false,
        }
    }

    /// Goes to the next form: numbers into buckets, everything else first to its changes.
    fn keep_less(&mut self) {
        let kept = std::mem::replace(&mut self.kept, Kept::All(Vec::new()));
        let points = match kept {
            Kept::All(points) if !points.iter().any(|point| is_number(&point.sample.slot)) => {
                self.kept = Kept::Changes(Box::default());
                points
            }
            Kept::All(points) => {
                self.kept = Kept::Buckets(Buckets::new(self.frame));
                points
            }
            Kept::Changes(tracks) => {
                self.kept = Kept::Buckets(Buckets::new(self.frame));
                tracks.into_iter().flat_map(Track::points).collect()
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
            Kept::Changes(tracks) => tracks.into_iter().flat_map(Track::points).collect(),
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

impl Track {
    fn newest(&self) -> Option<&Point> {
        self.last.as_ref().or(self.changes.last())
    }

    fn add(&mut self, point: Point) {
        let newest = self.newest();
        // What goes back in time goes on from nothing.
        let follows = newest.is_some_and(|newest| newest.sample.time <= point.sample.time);
        if follows && newest.is_some_and(|newest| same(&newest.sample.slot, &point.sample.slot)) {
            self.last = Some(point);
        } else {
            // What ended somewhere else has lasted until there.
            if !follows {
                self.changes.extend(self.last.take());
            }
            self.last = None;
            self.changes.push(point);
        }
    }

    /// How many points there can be.
    fn most(&self) -> usize {
        self.changes.len() + usize::from(!self.changes.is_empty())
    }

    fn points(self) -> impl Iterator<Item = Point> {
        self.changes.into_iter().chain(self.last)
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
        if let Some(first) = doubtful
            && first.as_ref().is_none_or(|first| point.is_before(first))
        {
            *first = Some(point.clone());
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
mod tests;
