//! Rows and gaps from the store as messages.

use std::sync::Arc;

use tidegate_model::{Name, Row, Slot, Stream, Timestamp};

use super::{
    EdgeNode, Message, Now, What,
    device::{Entry, Life, MetricEntry},
    left_out::TooLarge,
    millis,
};
use crate::{
    QualityCode, Verb, to_wire,
    wire::{Metric, MetricValue, PropertySet},
};

/// Metrics of one message, at most.
const MOST_METRICS: usize = 4_000;
/// Why rows are missing whose message is larger than may be sent.
const TOO_LARGE: &str = "too_large";

/// A metric, and of what it is.
struct Told {
    metric: Metric,
    from: From,
}

/// A value of a row: the row's place among those gathered, the column.
#[derive(Clone, Copy)]
struct From {
    row: usize,
    column: usize,
}

/// Metrics of one device on the way into a message.
struct Gathered {
    device: Name,
    told: Vec<Told>,
    bytes: usize,
    rows: Vec<(Arc<Stream>, u64)>,
}

impl Gathered {
    fn new(device: &Name) -> Gathered {
        Gathered { device: device.clone(), told: Vec::new(), bytes: 0, rows: Vec::new() }
    }

    fn has_room(&self, bytes: usize, full: usize) -> bool {
        self.told.is_empty() || (self.bytes + bytes <= full && self.told.len() < MOST_METRICS)
    }

    fn add(&mut self, metric: Metric, row: &Row, column: usize, bytes: usize) {
        if self.rows.last().is_none_or(|(stream, seq)| (stream.id(), *seq) != (row.stream.id(), row.seq)) {
            self.rows.push((Arc::clone(&row.stream), row.seq));
        }
        let from = From { row: self.rows.len().saturating_sub(1), column };
        self.told.push(Told { metric, from });
        self.bytes += bytes;
    }
}

impl EdgeNode {
    /// Publishes rows, in this order; those of one device that follow each other share messages. `past`: they are of the backlog.
    ///
    /// To be called only when [`EdgeNode::may_publish`].
    pub fn rows(&mut self, rows: &[Arc<Row>], past: bool, now: Now, out: &mut Vec<Message>) {
        let mut gathered: Option<Gathered> = None;
        for row in rows {
            let device = row.stream.device();
            if gathered.as_ref().is_some_and(|gathered| gathered.device != *device) {
                self.flush(gathered.take(), now, out);
            }
            self.row(row, past, now, &mut gathered, out);
        }
        self.flush(gathered, now, out);
    }

    fn row(&mut self, row: &Row, past: bool, now: Now, gathered: &mut Option<Gathered>, out: &mut Vec<Message>) {
        let device = row.stream.device();
        if !self.entries.contains_key(device) {
            let entry = Entry::new(device.clone(), None, &mut self.aliases);
            self.entries.insert(device.clone(), entry);
        }
        let Some(entry) = self.entries.get_mut(device) else { return };
        let columns = entry.columns(&row.stream, &mut self.aliases);
        let there = entry.is_there() == Some(true);
        // Its death has said that for all of its metrics; or nobody has heard of it yet.
        let is_silent = matches!(entry.life(), Life::Dead | Life::Unborn);
        if !past && !there && is_silent && row.slots.iter().all(|slot| slot.value().is_none()) {
            return;
        }
        if !entry.takes_rows() && !entry.is_too_large() {
            self.flush(gathered.take(), now, out);
            match there {
                true => self.device_birth(device, now, out),
                false => self.passing_birth(device, now, out),
            }
        }
        let Some(entry) = self.entries.get_mut(device) else { return };
        if entry.is_too_large() {
            return self.row_left_out(&row.stream, row.seq, None, 0, now, out);
        }
        if let Life::Passing { .. } = entry.life() {
            entry.passing(now.at);
        }
        let full = self.limits.full;
        for (column, (slot, place)) in row.slots.iter().zip(columns.iter()).enumerate() {
            let entry = self.entries.get_mut(device).and_then(|entry| entry.metric(*place));
            let Some(metric) = entry.and_then(|entry| metric(entry, slot, row.time, past, now)) else { continue };
            let properties = if metric.properties.is_some() { 64 } else { 0 };
            let bytes = 32 + properties + slot.value().map_or(0, tidegate_model::Value::heap_bytes);
            if gathered.as_ref().is_some_and(|gathered| !gathered.has_room(bytes, full)) {
                self.flush(gathered.take(), now, out);
            }
            gathered.get_or_insert_with(|| Gathered::new(device)).add(metric, row, column, bytes);
        }
    }

    /// A gap in the place of a row that cannot be sent, or not all of it.
    fn row_left_out(
        &mut self,
        stream: &Stream,
        seq: u64,
        column: Option<usize>,
        bytes: usize,
        now: Now,
        out: &mut Vec<Message>,
    ) {
        let tag = column.and_then(|column| stream.columns().get(column)).map(|column| column.name.clone());
        self.leave_out(stream.device(), What::Row { seq, tag }, bytes);
        self.gap(stream, seq, seq, TOO_LARGE, now, out);
    }

    fn flush(&mut self, gathered: Option<Gathered>, now: Now, out: &mut Vec<Message>) {
        let Some(Gathered { device, mut told, rows, .. }) = gathered else { return };
        if told.is_empty() {
            return;
        }
        // Rows of several groups, each in its order.
        told.sort_by_key(|told| told.metric.timestamp);
        let (metrics, from) = told.into_iter().map(|told| (told.metric, told.from)).unzip();
        self.tell(&device, metrics, from, &rows, now, out);
    }

    /// One message, or more where that is too large; and gaps for metrics that are too large by themselves.
    fn tell(
        &mut self,
        device: &Name,
        metrics: Vec<Metric>,
        mut from: Vec<From>,
        rows: &[(Arc<Stream>, u64)],
        now: Now,
        out: &mut Vec<Message>,
    ) {
        let TooLarge { bytes, mut metrics } = match self.fitting(Verb::Data, device, metrics, now) {
            Ok(data) => return out.push(data),
            Err(too_large) => too_large,
        };
        let half = metrics.len() / 2;
        if half > 0 {
            let (last_metrics, last_from) = (metrics.split_off(half), from.split_off(half));
            self.tell(device, metrics, from, rows, now, out);
            return self.tell(device, last_metrics, last_from, rows, now, out);
        }
        let Some(from) = from.first() else { return };
        if let Some((stream, seq)) = rows.get(from.row) {
            self.row_left_out(stream, *seq, Some(from.column), bytes, now, out);
        }
    }

    /// Says which rows will never come, as a metric of the node.
    pub fn gap(&mut self, stream: &Stream, from: u64, to: u64, reason: &str, now: Now, out: &mut Vec<Message>) {
        let text = serde_json::json!({
            "device": stream.device().as_str(), "group": stream.group().as_str(), "from": from, "to": to, "reason": reason,
        });
        let metric = Metric {
            alias: Some(self.gap_alias),
            timestamp: Some(millis(now.time)),
            value: Some(MetricValue::String(text.to_string())),
            ..Metric::default()
        };
        out.push(self.message(Verb::Data, None, vec![metric], now));
    }
}

/// The sample of a metric in a row; `None` when there is no news.
fn metric(entry: &mut MetricEntry, slot: &Slot, time: Timestamp, past: bool, now: Now) -> Option<Metric> {
    if *slot == Slot::Unchanged {
        return None;
    }
    // Older than what a host takes for the present value: of the past, whatever lane it came by. Live rows come in their order, so that
    // of two of one time the later is the present. A present value later than now is from before the clock was set back.
    let past = match entry.shown {
        Some(shown) if shown <= now.time => time < shown || (past && time == shown),
        _ => past,
    };
    if !past {
        entry.shown = Some(time);
    }
    let quality = QualityCode::of(slot);
    let doubtful = quality != QualityCode::Good;
    // Whoever keeps properties until others come has to hear that a value is good again.
    let tell = doubtful || (!past && entry.doubtful);
    if !past {
        entry.doubtful = doubtful;
    }
    let properties = tell.then(|| {
        let mut set = PropertySet::default();
        set.add_quality(slot);
        set
    });
    let value = slot.value().and_then(|value| to_wire(value, entry.info.datatype).ok());
    Some(Metric {
        alias: Some(entry.alias),
        timestamp: Some(millis(time)),
        is_historical: past.then_some(true),
        is_null: value.is_none().then_some(true),
        properties,
        value,
        ..Metric::default()
    })
}
