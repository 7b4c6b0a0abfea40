//! Rows and gaps from the store as messages.

use std::sync::Arc;

use tidegate_model::{Name, Row, Slot, Stream, Timestamp};

use super::{
    EdgeNode, Message, Now, What,
    device::{Entry, Life, MetricEntry},
    millis,
};
use crate::{
    QualityCode, Verb, to_wire,
    wire::{Metric, MetricValue, PropertySet},
};

/// A message is full at about this size. It is larger only when one value is.
const FULL: usize = 48 * 1024;
/// Metrics of one message, at most.
const MOST_METRICS: usize = 4_000;
/// Why rows are missing whose message is larger than may be sent.
const TOO_LARGE: &str = "too_large";

/// Metrics of one device on the way into a message.
struct Gathered {
    device: Name,
    metrics: Vec<Metric>,
    bytes: usize,
    /// The row of the last metric. Of a metric too large to be sent it is the only one.
    stream: Arc<Stream>,
    seq: u64,
}

impl Gathered {
    fn new(row: &Row) -> Gathered {
        let stream = Arc::clone(&row.stream);
        Gathered { device: stream.device().clone(), metrics: Vec::new(), bytes: 0, stream, seq: row.seq }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.metrics.is_empty() || (self.bytes + bytes <= FULL && self.metrics.len() < MOST_METRICS)
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
            return self.row_left_out(&row.stream, row.seq, 0, now, out);
        }
        if let Life::Passing { .. } = entry.life() {
            entry.passing(now.at);
        }
        for (slot, place) in row.slots.iter().zip(columns.iter()) {
            let entry = self.entries.get_mut(device).and_then(|entry| entry.metric(*place));
            let Some(metric) = entry.and_then(|entry| metric(entry, slot, row.time, past, now)) else { continue };
            let properties = if metric.properties.is_some() { 64 } else { 0 };
            let bytes = 32 + properties + slot.value().map_or(0, tidegate_model::Value::heap_bytes);
            if gathered.as_ref().is_some_and(|gathered| !gathered.has_room(bytes)) {
                self.flush(gathered.take(), now, out);
            }
            let into = gathered.get_or_insert_with(|| Gathered::new(row));
            into.metrics.push(metric);
            into.bytes += bytes;
            (into.stream, into.seq) = (Arc::clone(&row.stream), row.seq);
        }
    }

    /// A gap in the place of a row that cannot be sent, or not all of it.
    fn row_left_out(&mut self, stream: &Stream, seq: u64, bytes: usize, now: Now, out: &mut Vec<Message>) {
        self.leave_out(stream.device(), What::Row(seq), bytes);
        self.gap(stream, seq, seq, TOO_LARGE, now, out);
    }

    fn flush(&mut self, gathered: Option<Gathered>, now: Now, out: &mut Vec<Message>) {
        let Some(Gathered { device, mut metrics, stream, seq, .. }) = gathered else { return };
        if metrics.is_empty() {
            return;
        }
        // Rows of several groups, each in its order.
        metrics.sort_by_key(|metric| metric.timestamp);
        match self.fitting(Verb::Data, &device, metrics, now) {
            Ok(data) => out.push(data),
            // Many small metrics never are: this is one large one.
            Err(bytes) => self.row_left_out(&stream, seq, bytes, now, out),
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
