//! The history of a tag, out of the store, page by page (OPC UA Part 11 §6.4.3, raw values).

use opcua::types::{BinaryEncodable, ContextOwned, DataValue, ReadRawModifiedDetails, StatusCode, TimestampsToReturn};
use tidegate_model::{Name, Timestamp};
use tidegate_runtime::{Fill, Handle, HistoryError, HistoryQuery, Sample, TagInfo};

use crate::values;

/// Values of one answer for one node, at most; more come with the next question.
const PAGE: usize = 10_000;
/// Bytes that a value takes at least: what it is made of, a status, two times and a bool.
const LEAST_BYTES: usize = 20;
/// Fewer cannot be asked of the store without the risk of a thinned answer.
const FEWEST: usize = 100;
/// Questions to the store for one answer. Each halves the time at least, so that half of them come from centuries to an hour.
const QUESTIONS: usize = 64;

/// What of a tag's history is still to be read. Times are milliseconds; `to` is not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rest {
    from: Option<i64>,
    to: i64,
    /// From the newest to the oldest.
    backward: bool,
    /// Values that the client wants still, at most.
    wanted: Option<usize>,
}

/// One answer for one node.
pub(crate) struct Page {
    pub(crate) values: Vec<DataValue>,
    pub(crate) rest: Option<Rest>,
    /// Whether there were more values than fitted.
    cut: bool,
    /// Whether rows of this time cannot be read any more.
    pub(crate) lost: bool,
}

impl Page {
    /// Whether there are values of which not even the first fitted.
    pub(crate) fn is_stuck(&self) -> bool {
        self.values.is_empty() && self.cut
    }

    /// What the answer is worth (OPC UA Part 11 §6.8): lost rows are never left out without a word.
    pub(crate) fn status(&self) -> StatusCode {
        match (self.lost, self.values.is_empty()) {
            (true, true) => StatusCode::BadDataLost,
            (true, false) => StatusCode::UncertainDataSubNormal,
            (false, true) if self.rest.is_none() => StatusCode::GoodNoData,
            (false, _) => StatusCode::Good,
        }
    }
}

/// The tag whose history is read.
pub(crate) struct Of<'a> {
    pub(crate) device: &'a Name,
    pub(crate) tag: &'a TagInfo,
}

impl Rest {
    /// What a client asks for. `now`: the present time, up to which history without an end goes.
    pub(crate) fn new(details: &ReadRawModifiedDetails, now: Timestamp) -> Result<Rest, StatusCode> {
        let [start, end] =
            [&details.start_time, &details.end_time].map(|time| values::timestamp(time).map(Timestamp::as_millis));
        let wanted = usize::try_from(details.num_values_per_node).ok().filter(|count| *count > 0);
        let (from, to, backward) = match (start, end) {
            (Some(start), Some(end)) if start == end => (Some(start), start.saturating_add(1), false),
            (Some(start), Some(end)) if start < end => (Some(start), end, false),
            // The start is included and the end is not, in this direction too.
            (Some(start), Some(end)) => (Some(end.saturating_add(1)), start.saturating_add(1), true),
            (Some(start), None) if wanted.is_some() => (Some(start), now.as_millis().saturating_add(1), false),
            (None, Some(end)) if wanted.is_some() => (None, end.saturating_add(1), true),
            // Two of the three should be given; clients that give a count alone want the last values.
            (None, None) if wanted.is_some() => (None, now.as_millis().saturating_add(1), true),
            _ => return Err(StatusCode::BadInvalidTimestampArgument),
        };
        Ok(Rest { from, to, backward, wanted })
    }

    /// Reads the next page, of so many bytes at most but for what has the same time; without values when not even one fits.
    pub(crate) async fn read(
        mut self,
        handle: &Handle,
        of: &Of<'_>,
        times: TimestampsToReturn,
        bytes: usize,
    ) -> Result<Page, StatusCode> {
        let before = self;
        let fits = PAGE.min(bytes / LEAST_BYTES).max(1);
        let most = self.wanted.map_or(fits, |wanted| wanted.min(fits));
        let Part { samples: mut kept, whole, lost } = self.part(handle, of, most).await?;
        let value = |sample: &Sample| {
            let time = values::date_time(sample.time);
            let value = values::from_slot(of.tag, &sample.slot, Some(time));
            values::with_times(DataValue { server_timestamp: Some(time), ..value }, times)
        };
        let mut values: Vec<DataValue> = kept.iter().map(value).collect();
        let fit = fitting(&values, bytes);
        let cut = kept.len() > most.min(fit);
        if cut {
            keep(&mut kept, most.min(fit));
            values.truncate(kept.len());
        }
        let Some(last) = kept.last().map(|sample| sample.time.as_millis()) else {
            let rest = if cut { Some(before) } else { (!whole).then_some(self) };
            return Ok(Page { values, rest, cut, lost });
        };
        if cut {
            match self.backward {
                true => self.to = last,
                false => self.from = Some(last.saturating_add(1)),
            }
        }
        self.wanted = self.wanted.map(|wanted| wanted.saturating_sub(kept.len()));
        let over = (whole && !cut) || self.wanted == Some(0);
        Ok(Page { values, rest: (!over).then_some(self), cut, lost })
    }

    /// All samples between two times, part by part, from the oldest on.
    pub(crate) fn between(from: i64, to: i64) -> Rest {
        Rest { from: Some(from), to, backward: false, wanted: None }
    }

    /// Samples from the beginning of the rest, every one of them, in its direction; and moves the rest behind them.
    pub(crate) async fn part(&mut self, handle: &Handle, of: &Of<'_>, most: usize) -> Result<Part, StatusCode> {
        let (mut from, mut to) = (self.from, self.to);
        let mut lost = false;
        for _ in 0..QUESTIONS {
            let query = HistoryQuery {
                device: of.device.clone(),
                tag: of.tag.name.clone(),
                from: from.map(Timestamp::from_millis),
                to: Some(Timestamp::from_millis(to)),
                max_points: most.max(FEWEST),
                fill: Fill::Nothing,
            };
            let history = handle.history(&query).await.map_err(|error| failed(&error))?;
            let mut samples = history.samples;
            if !history.thinned {
                lost |= !history.missing.is_empty();
                let whole = if self.backward { from == self.from } else { to == self.to };
                if self.backward {
                    samples.reverse();
                }
                // An empty stretch says nothing about the next one.
                let empty = samples.is_empty() && !whole;
                match self.backward {
                    true => self.to = from.unwrap_or(self.to),
                    false => self.from = Some(to),
                }
                if empty {
                    (from, to) = (self.from, self.to);
                    continue;
                }
                return Ok(Part { samples, whole, lost });
            }
            let oldest = samples.first().map_or(to, |sample| sample.time.as_millis());
            let length = nearer(to.saturating_sub(from.unwrap_or(oldest).max(oldest)), most, history.total);
            match self.backward {
                true => from = Some(to.saturating_sub(length)),
                false => {
                    from = Some(from.unwrap_or(oldest).max(oldest));
                    to = from.unwrap_or(oldest).saturating_add(length);
                }
            }
        }
        Err(StatusCode::BadTimeout)
    }
}

/// Samples one after the other.
pub(crate) struct Part {
    pub(crate) samples: Vec<Sample>,
    /// Whether nothing comes after these.
    pub(crate) whole: bool,
    /// Whether rows of this time cannot be read.
    pub(crate) lost: bool,
}

/// Bytes that these values take in a message.
pub(crate) fn size(values: &[DataValue]) -> usize {
    let context = ContextOwned::default();
    let context = context.context();
    values.iter().map(|value| value.byte_len(&context)).sum()
}

/// How many of these values take no more than so many bytes.
fn fitting(values: &[DataValue], bytes: usize) -> usize {
    let context = ContextOwned::default();
    let context = context.context();
    let mut left = bytes;
    let fits = |value: &&DataValue| {
        let size = value.byte_len(&context);
        let fits = size <= left;
        left = left.saturating_sub(size);
        fits
    };
    values.iter().take_while(fits).count()
}

/// A length of time in which as many samples as are wanted would be if they were spread evenly: half of what it was, at most.
fn nearer(length: i64, wanted: usize, total: u64) -> i64 {
    let wanted = i128::try_from(wanted).unwrap_or(i128::MAX);
    let even = i128::from(length).saturating_mul(wanted) / i128::from(total.max(1));
    i64::try_from(even).unwrap_or(i64::MAX).min(length / 2).max(1)
}

/// Cuts after so many, and not between two of the same time: the next page begins at a time.
fn keep(samples: &mut Vec<Sample>, most: usize) {
    if most == 0 {
        return samples.clear();
    }
    let same = |at: usize| {
        samples.get(at).map(|sample| sample.time) == samples.get(at.wrapping_sub(1)).map(|sample| sample.time)
    };
    let before = (1..=most).rev().find(|at| !same(*at));
    let after = (most..samples.len()).find(|at| !same(*at));
    samples.truncate(before.or(after).unwrap_or(samples.len()));
}

fn failed(error: &HistoryError) -> StatusCode {
    match error {
        HistoryError::UnknownDevice(_) | HistoryError::UnknownTag { .. } => StatusCode::BadNodeIdUnknown,
        HistoryError::TooSlow => StatusCode::BadTimeout,
        HistoryError::Store(_) => StatusCode::BadResourceUnavailable,
    }
}
