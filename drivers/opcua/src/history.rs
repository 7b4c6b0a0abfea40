//! The hole of an outage, filled from the server's own history.

use std::time::Duration;

use opcua::types::{
    ByteString, DateTime, ExtensionObject, HistoryData, HistoryReadResult, HistoryReadValueId,
    MonitoredItemNotification, NumericRange, QualifiedName, ReadRawModifiedDetails,
};
use tidegate_driver_api::model::Timestamp;

use crate::{channel::Channel, fault::Fault, plan::Place, rows::Items};

/// Values of one item in one answer.
const AT_ONCE: u32 = 1000;
/// Items of one question, unless the server takes fewer.
const MOST_ITEMS: usize = 100;
/// Answers for one set of items: what a server has beyond that stays there.
const MOST_ROUNDS: u32 = 200;
/// 100 nanoseconds from 1601 to 1970.
const EPOCH_TICKS: i64 = 116_444_736_000_000_000;

/// What items were between two times, as far as it has not been asked for.
#[derive(Debug, Clone)]
pub(crate) struct Hole {
    items: Vec<(usize, ByteString)>,
    from: Timestamp,
    to: Timestamp,
    rounds: u32,
}

/// A question for history, ready to be asked.
pub(crate) struct Question {
    numbers: Vec<usize>,
    nodes: Vec<HistoryReadValueId>,
    details: ExtensionObject,
}

/// What was answered, by item.
#[derive(Debug)]
pub(crate) struct Piece {
    answers: Vec<(usize, HistoryReadResult)>,
}

impl Hole {
    /// The hole of these items, from behind `from` up to `to`.
    pub(crate) fn new(items: impl Iterator<Item = usize>, from: Timestamp, to: Timestamp) -> Hole {
        Hole { items: items.map(|item| (item, ByteString::null())).collect(), from, to, rounds: 0 }
    }

    /// The question for the first of the items.
    pub(crate) fn question(&self, items: &Items<'_>, places: &[Place], limit: usize) -> Option<Question> {
        let node = |(number, point): &(usize, ByteString)| {
            items.item(*number)?;
            let node = HistoryReadValueId {
                node_id: places.get(*number)?.clone()?,
                index_range: NumericRange::None,
                data_encoding: QualifiedName::null(),
                continuation_point: point.clone(),
            };
            Some((*number, node))
        };
        let asked = self.items.iter().take(limit.min(MOST_ITEMS));
        let (numbers, nodes): (Vec<usize>, Vec<_>) = asked.filter_map(node).unzip();
        let details = ReadRawModifiedDetails {
            is_read_modified: false,
            start_time: date_time(Timestamp::from_millis(self.from.as_millis().saturating_add(1))),
            end_time: date_time(self.to),
            num_values_per_node: AT_ONCE,
            return_bounds: false,
        };
        (!nodes.is_empty()).then(|| Question { numbers, nodes, details: ExtensionObject::from_message(details) })
    }

    /// The values that came, and what still has to be asked for.
    pub(crate) fn take(mut self, piece: Piece) -> (Vec<MonitoredItemNotification>, Option<Hole>) {
        let mut values = Vec::new();
        let answered = self.items.len().min(piece.answers.len().max(1));
        let mut unasked = self.items.split_off(answered);
        self.items.clear();
        for (number, answer) in piece.answers {
            if !answer.continuation_point.is_null_or_empty() {
                self.items.push((number, answer.continuation_point));
            }
            if answer.status_code.is_bad() {
                continue;
            }
            let data = answer.history_data.into_inner_as::<HistoryData>();
            let data = data.and_then(|data| data.data_values).unwrap_or_default();
            let Ok(client_handle) = u32::try_from(number) else { continue };
            values.extend(data.into_iter().map(|value| MonitoredItemNotification { client_handle, value }));
        }
        // Items with more go first, so that a continuation point is not kept waiting.
        self.items.append(&mut unasked);
        self.rounds += 1;
        let rest = (!self.items.is_empty() && self.rounds < MOST_ROUNDS).then_some(self);
        (values, rest)
    }
}

impl Question {
    /// Asks the server.
    pub(crate) async fn ask(self, channel: &Channel, timeout: Duration) -> Result<Piece, Fault> {
        let answers = channel.history(self.details, self.nodes, timeout).await?;
        Ok(Piece { answers: self.numbers.into_iter().zip(answers).collect() })
    }
}

/// A time as OPC UA counts it.
pub(crate) fn date_time(time: Timestamp) -> DateTime {
    DateTime::from(time.as_millis().saturating_mul(10_000).saturating_add(EPOCH_TICKS))
}
