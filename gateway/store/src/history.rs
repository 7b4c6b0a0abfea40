//! The samples of one tag over time, few enough for a chart.

mod line;
mod samples;
mod thin;

use std::sync::Arc;

use sqlx::{Row, SqliteConnection};
use tidegate_model::{Name, Slot, Stream, TagName, Timestamp};

use crate::{
    Missing, Reader, StoreError, Why,
    reader::{Access, Query, Span, Unit, Walk, Window, damage, matching},
    silence,
};
use samples::{Samples, Unpacked, Unpacker, halves};
use thin::{Frame, PER_BUCKET, Thin};

/// Which samples are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Of this device.
    pub device: Name,
    /// Of this tag of it.
    pub tag: TagName,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before this.
    pub to: Option<Timestamp>,
    /// No more than so many, but for the [`HistoryQuery::FEWEST`] that there always can be.
    pub max_points: usize,
    /// What to do about samples that a swinging door left out.
    pub fill: Fill,
}

/// What stands in the place of samples that a swinging door left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fill {
    /// Nothing: what was recorded.
    #[default]
    Nothing,
    /// What lies on the straight line between the samples around them, in the rows that were recorded.
    Lines,
}

impl HistoryQuery {
    /// So many samples can be asked for at least.
    pub const FEWEST: usize = PER_BUCKET;
}

/// The samples of one tag.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// The unit of the values, as the newest columns of the tag's group have it.
    pub unit: Option<String>,
    /// The samples, by time.
    pub samples: Vec<Sample>,
    /// Whether there are more than these.
    pub thinned: bool,
    /// How many there are.
    pub total: u64,
    /// Rows that cannot be read.
    pub missing: Vec<Missing>,
}

/// What a tag was at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When the gateway had the device's answer.
    pub time: Timestamp,
    /// What it was; never [`Slot::Unchanged`].
    pub slot: Slot,
    /// Whether it lies on a line between others ([`Fill::Lines`]), and was not recorded.
    pub drawn: bool,
}

impl Reader {
    /// The samples of a tag, thinned as soon as there are more than `max_points`. `None` when no such tag of such a device has
    /// ever been recorded.
    ///
    /// Of numbers stay, for each stretch of time, the first, the last, the smallest and the largest, and the first that is bad or
    /// doubtful: a spike and an outage stay visible, however short. Of everything else stay the changes, or when they are too many
    /// the first and the last of each stretch (and of bools one of each).
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`], [`StoreError::Closed`].
    pub async fn history(&self, query: &HistoryQuery) -> Result<Option<History>, StoreError> {
        let HistoryQuery { device, tag, from, to, max_points, fill } = query.clone();
        let tags = vec![tag.clone()];
        let groups = matching(&self.access, &Query { tags, from, to, ..Query::of(device) }).await?;
        let newest = groups.iter().flatten().max_by_key(|stream| stream.id());
        let Some(column) = newest.and_then(|stream| stream.columns().iter().find(|column| column.name == tag)) else {
            return Ok(None);
        };
        let unit = column.unit.clone();
        let window = Window::new(from, to);
        let Some((first, last)) = extent(&self.access, window).await? else {
            return Ok(Some(History { unit, samples: Vec::new(), thinned: false, total: 0, missing: Vec::new() }));
        };
        let frame = Frame { from: first.max(window.first), to: last.min(window.last), most: max_points };
        let mut reading =
            Reading { samples: Some(Samples::new(Thin::new(frame))), unpackers: [None, None], missing: Vec::new() };
        for streams in &groups {
            reading.group(&self.access, streams, &tag, (window, fill)).await?;
        }
        let thin = reading.samples.map(Samples::into_thin).ok_or(StoreError::Closed)?;
        let total = thin.seen();
        let (samples, thinned) = thin.finish();
        Ok(Some(History { unit, samples, thinned, total, missing: reading.missing }))
    }
}

/// A history that is being read.
struct Reading {
    /// Away while a batch is being decoded.
    samples: Option<Samples>,
    unpackers: [Option<Unpacker>; 2],
    missing: Vec<Missing>,
}

impl Reading {
    async fn group(
        &mut self,
        access: &Access,
        streams: &[Arc<Stream>],
        tag: &TagName,
        (window, fill): (Window, Fill),
    ) -> Result<(), StoreError> {
        let Some(first) = streams.first() else { return Ok(()) };
        let silence = streams.iter().filter_map(|stream| silence::of_tag(stream, tag)).max();
        let lines = silence.filter(|_| fill == Fill::Lines);
        // A line may begin before what is wanted, and end behind it.
        let wanted = window;
        let window = window.widened(lines.unwrap_or(0));
        let mut walk = Walk::begin(access.clone(), streams.iter().map(|stream| stream.id()).collect(), window).await?;
        if let Some(samples) = &mut self.samples {
            samples.begin_group(lines.map(|_| wanted));
        }
        self.unpackers = [0, 1].map(|_| Some(Unpacker::new(streams, tag, window, lines.is_some())));
        let mut units = walk.next(None).await?;
        while let Some(these) = units {
            // What comes next is read while this is decoded, as long as its numbers are known beforehand.
            let last = these.iter().try_fold(0, |last: u64, unit| unit.span.map(|span| last.max(span.last)));
            let decoding = self.decode(these);
            if last.is_some() {
                let (next, unreadable) = tokio::join!(walk.next(last), decoding);
                units = next?;
                self.note(first, unreadable?);
            } else {
                let unreadable = decoding.await;
                self.note(first, unreadable?);
                let done = self.samples.as_ref().and_then(Samples::done);
                units = walk.next(done).await?;
            }
        }
        Ok(())
    }

    /// Decodes in threads where that keeps nobody waiting: two, of which each has a half, as columns before the tag's may have
    /// to be decoded as well.
    fn decode(&mut self, units: Vec<Unit>) -> impl Future<Output = Result<Decoded, StoreError>> + use<> {
        let (samples, [one, other]) = (self.samples.take(), self.unpackers.each_mut().map(Option::take));
        async move {
            let mut samples = samples.ok_or(StoreError::Closed)?;
            let (first, second) = halves(units);
            let (first, second) = tokio::join!(unpack(one, first), unpack(other, second));
            let ((one, first), (other, second)) = (first?, second?);
            let taking = tokio::task::spawn_blocking(move || {
                let unreadable = samples.take(first.into_iter().chain(second));
                Decoded { samples, unpackers: [one, other], unreadable }
            });
            // Only a runtime that ends, or a fault in the program, ends such a task.
            taking.await.map_err(|_| StoreError::Closed)
        }
    }

    fn note(&mut self, stream: &Stream, decoded: Decoded) {
        self.samples = Some(decoded.samples);
        self.unpackers = decoded.unpackers.map(Some);
        for (span, why) in decoded.unreadable {
            self.missing.push(Missing {
                device: stream.device().clone(),
                group: stream.group().clone(),
                first: span.map(|span| span.first),
                last: span.map(|span| span.last),
                why: Why::Damaged(why),
            });
        }
    }
}

struct Decoded {
    samples: Samples,
    unpackers: [Unpacker; 2],
    unreadable: Vec<(Option<Span>, String)>,
}

/// Unpacks units in a thread where that keeps nobody waiting.
async fn unpack(unpacker: Option<Unpacker>, units: Vec<Unit>) -> Result<(Unpacker, Vec<Unpacked>), StoreError> {
    let mut unpacker = unpacker.ok_or(StoreError::Closed)?;
    if units.is_empty() {
        return Ok((unpacker, Vec::new()));
    }
    let unpacking = tokio::task::spawn_blocking(move || {
        let unpacked = unpacker.unpack(&units);
        (unpacker, unpacked)
    });
    unpacking.await.map_err(|_| StoreError::Closed)
}

/// The times of the first and the last row in the window, of whatever device, or a little beyond; `None` when there is none.
async fn extent(access: &Access, window: Window) -> Result<Option<(i64, i64)>, StoreError> {
    let mut snapshot = access.snapshot().await?;
    let has_blocks = snapshot.has_blocks();
    let found = times(snapshot.connection(), has_blocks, window).await;
    snapshot.end().await;
    found.map_err(|error| access.error(error))
}

async fn times(
    connection: &mut SqliteConnection,
    has_blocks: bool,
    window: Window,
) -> Result<Option<(i64, i64)>, sqlx::Error> {
    let log = "SELECT min(time_min), max(time_max) FROM log WHERE time_max >= ? AND time_min <= ?";
    let epochs = "SELECT min(time_min), max(time_max) FROM epoch WHERE time_max >= ? AND time_min <= ?";
    let mut found: Option<(i64, i64)> = None;
    for select in [Some(log), has_blocks.then_some(epochs)].into_iter().flatten() {
        let query = sqlx::query(select).bind(window.first).bind(window.last);
        match damage(query.fetch_one(&mut *connection).await)? {
            Ok(row) => {
                if let (Some(first), Some(last)) =
                    (row.try_get::<Option<i64>, _>(0)?, row.try_get::<Option<i64>, _>(1)?)
                {
                    found = Some(found.map_or((first, last), |known| (known.0.min(first), known.1.max(last))));
                }
            }
            // The walk says what is missing; the buckets are as wide as the window then.
            Err(_) => return Ok(Some((window.first, window.last))),
        }
    }
    Ok(found)
}
