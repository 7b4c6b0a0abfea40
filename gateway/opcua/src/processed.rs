//! Values made of a tag's history: one for each stretch of time (OPC UA Part 11 §6.4.4, Part 13).

use opcua::types::{
    DataValue, NodeId, ObjectId, ReadProcessedDetails, StatusCode, StatusCodeInfoType, StatusCodeValueType,
    TimestampsToReturn, Variant,
};
use tidegate_model::{Slot, Timestamp, Value};
use tidegate_runtime::{Handle, Sample};

use crate::{
    history::{Of, Rest},
    values,
};

/// Samples that are asked of the store at a time.
const PART: usize = 50_000;
/// Stretches of one answer for one node, at most; more come with the next question.
const PAGE: usize = 10_000;
/// Stretches of one question, at most: a year of minutes.
const MOST_STRETCHES: i64 = 600_000;
/// Bytes that a value takes at most.
const BYTES: usize = 40;

/// What is made of the values of a stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregate {
    Minimum,
    Maximum,
    Average,
    Count,
    Start,
    End,
}

impl Aggregate {
    /// The aggregate that the standard calls so.
    pub(crate) fn find(id: &NodeId) -> Option<Aggregate> {
        let known = [
            (ObjectId::AggregateFunction_Minimum, Aggregate::Minimum),
            (ObjectId::AggregateFunction_Maximum, Aggregate::Maximum),
            (ObjectId::AggregateFunction_Average, Aggregate::Average),
            (ObjectId::AggregateFunction_Count, Aggregate::Count),
            (ObjectId::AggregateFunction_Start, Aggregate::Start),
            (ObjectId::AggregateFunction_End, Aggregate::End),
        ];
        known.into_iter().find(|(object, _)| id == object).map(|(_, aggregate)| aggregate)
    }
}

/// What of a tag is still to be made. Times are milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretches {
    aggregate: Aggregate,
    /// Where the next stretch begins: its earlier end, or its later one when time goes backward.
    next: i64,
    /// Where the last one ends.
    end: i64,
    /// The length of each; the last may be shorter.
    length: i64,
    /// Whether what is uncertain counts as if it were bad.
    strict: bool,
}

/// One answer for one node.
pub(crate) struct Page {
    pub(crate) values: Vec<DataValue>,
    pub(crate) rest: Option<Stretches>,
    /// Whether rows of this time cannot be read any more.
    pub(crate) lost: bool,
}

/// What is known of one stretch.
#[derive(Default)]
struct Made {
    good: i32,
    other: bool,
    sum: f64,
    least: Option<(f64, Value)>,
    most: Option<(f64, Value)>,
    first: Option<Sample>,
    last: Option<Sample>,
}

impl Stretches {
    /// What a client asks for.
    pub(crate) fn new(details: &ReadProcessedDetails, aggregate: &NodeId) -> Result<Stretches, StatusCode> {
        let aggregate = Aggregate::find(aggregate).ok_or(StatusCode::BadAggregateNotSupported)?;
        let ends =
            [&details.start_time, &details.end_time].map(|time| values::timestamp(time).map(Timestamp::as_millis));
        let [Some(start), Some(end)] = ends else { return Err(StatusCode::BadInvalidTimestampArgument) };
        let span = end.abs_diff(start);
        let length = match details.processing_interval {
            0.0 => span,
            length if length >= 1.0 && length.is_finite() => whole(length),
            _ => return Err(StatusCode::BadAggregateInvalidInputs),
        };
        let length = i64::try_from(length).unwrap_or(i64::MAX).max(1);
        if start == end || i64::try_from(span).map_or(true, |span| span / length > MOST_STRETCHES) {
            return Err(StatusCode::BadInvalidTimestampArgument);
        }
        let rules = &details.aggregate_configuration;
        let strict = rules.use_server_capabilities_defaults || rules.treat_uncertain_as_bad;
        Ok(Stretches { aggregate, next: start, end, length, strict })
    }

    fn backward(&self) -> bool {
        self.end < self.next
    }

    /// Makes the next values, of so many bytes at most.
    pub(crate) async fn read(
        mut self,
        handle: &Handle,
        of: &Of<'_>,
        times: TimestampsToReturn,
        bytes: usize,
    ) -> Result<Page, StatusCode> {
        let count = PAGE.min(bytes / BYTES);
        let step = if self.backward() { -self.length } else { self.length };
        let bound = if self.backward() { i64::max } else { i64::min };
        let mut starts = Vec::new();
        while self.next != self.end && starts.len() < count {
            let end = bound(self.next.saturating_add(step), self.end);
            starts.push((self.next, end));
            self.next = end;
        }
        let (Some(&(first, _)), Some(&(_, last))) = (starts.first(), starts.last()) else {
            return Ok(Page { values: Vec::new(), rest: (self.next != self.end).then_some(self), lost: false });
        };
        let mut made: Vec<Made> = std::iter::repeat_with(Made::default).take(starts.len()).collect();
        // A stretch has its earlier end and not its later one; backward it is the other way round (Part 13 §4.2.2).
        let (from, to) = if last < first { (last.saturating_add(1), first.saturating_add(1)) } else { (first, last) };
        let mut raw = Rest::between(from, to);
        let mut lost = false;
        loop {
            let part = raw.part(handle, of, PART).await?;
            lost |= part.lost;
            for sample in part.samples {
                let at = sample.time.as_millis().abs_diff(first) / self.length.unsigned_abs();
                if let Some(made) = usize::try_from(at).ok().and_then(|at| made.get_mut(at)) {
                    made.add(sample, self.strict);
                }
            }
            if part.whole {
                break;
            }
        }
        let values = starts.iter().zip(made).map(|(&(start, end), made)| {
            let partial = end.abs_diff(start) < self.length.unsigned_abs();
            values::with_times(self.value(of, start, partial, made), times)
        });
        Ok(Page { values: values.collect(), rest: (self.next != self.end).then_some(self), lost })
    }

    /// The value of one stretch.
    fn value(&self, of: &Of<'_>, start: i64, partial: bool, made: Made) -> DataValue {
        let time = Some(values::date_time(Timestamp::from_millis(start)));
        let raw = match self.aggregate {
            Aggregate::Start => made.first.as_ref(),
            Aggregate::End => made.last.as_ref(),
            _ => None,
        };
        if let Some(sample) = raw {
            let time = Some(values::date_time(sample.time));
            return DataValue { server_timestamp: time, ..values::from_slot(of.tag, &sample.slot, time) };
        }
        let of_value = |value: Value| values::from_slot(of.tag, &Slot::Good(value), None).value;
        let value = match self.aggregate {
            Aggregate::Minimum => made.least.and_then(|(_, value)| of_value(value)),
            Aggregate::Maximum => made.most.and_then(|(_, value)| of_value(value)),
            Aggregate::Average => (made.good > 0).then(|| Variant::Double(made.sum / f64::from(made.good))),
            Aggregate::Count => made.first.as_ref().map(|_| Variant::Int32(made.good)),
            Aggregate::Start | Aggregate::End => None,
        };
        let status = match (&value, made.other) {
            (None, _) => StatusCode::BadNoData,
            (Some(_), false) => StatusCode::Good,
            (Some(_), true) => StatusCode::UncertainDataSubNormal,
        };
        let mut status = status.set_info_type(StatusCodeInfoType::DataValue);
        if value.is_some() {
            status = status.set_value_type(StatusCodeValueType::Calculated).set_partial(partial);
        }
        DataValue {
            value,
            status: Some(status),
            source_timestamp: time,
            server_timestamp: time,
            ..DataValue::default()
        }
    }
}

impl Made {
    fn add(&mut self, sample: Sample, strict: bool) {
        let value = match &sample.slot {
            Slot::Good(value) => Some(value),
            Slot::Uncertain(value, _) if !strict => Some(value),
            Slot::Uncertain(..) | Slot::Bad(_) | Slot::Unchanged => None,
        };
        self.other |= value.is_none();
        if let Some(value) = value {
            self.good = self.good.saturating_add(1);
            if let Some(number) = value.as_f64().filter(|number| !number.is_nan()) {
                self.sum += number;
                if self.least.as_ref().is_none_or(|(least, _)| number < *least) {
                    self.least = Some((number, value.clone()));
                }
                if self.most.as_ref().is_none_or(|(most, _)| number > *most) {
                    self.most = Some((number, value.clone()));
                }
            }
        }
        if self.first.as_ref().is_none_or(|first| sample.time < first.time) {
            self.first = Some(sample.clone());
        }
        if self.last.as_ref().is_none_or(|last| sample.time >= last.time) {
            self.last = Some(sample);
        }
    }
}

/// The whole milliseconds of a length that is at least one.
#[expect(clippy::as_conversions, reason = "there is no `From`; what is too large becomes the largest")]
fn whole(milliseconds: f64) -> u64 {
    milliseconds as u64
}
