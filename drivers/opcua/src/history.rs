//! The hole of an outage, filled from the server's own history.

use std::time::Duration;

use opcua::types::{
    ByteString, DateTime, ExtensionObject, HistoryData, HistoryReadResult, HistoryReadValueId,
    MonitoredItemNotification, NumericRange, QualifiedName, ReadRawModifiedDetails, StatusCode,
};
use tidegate_driver_api::model::Timestamp;

use crate::{channel::Channel, convert, fault::Fault, plan::Place, status};

/// Values of one item in one answer.
const AT_ONCE: u32 = 1000;
/// Items of one question, unless the server takes fewer.
const MOST_ITEMS: usize = 100;
/// Answers about one item: what a server has beyond that stays there.
const MOST_ROUNDS: u16 = 200;
/// How often a question that the server does not answer at all is asked with fewer items.
const MOST_SILENCES: u8 = 8;
/// How often an item is asked for of which the server cannot tell now.
const MOST_FAILURES: u8 = 8;
/// 100 nanoseconds from 1601 to 1970.
const EPOCH_TICKS: i64 = 116_444_736_000_000_000;

/// An item whose history is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    number: usize,
    /// What is newer than that is not known yet, as OPC UA counts time.
    after: i64,
    /// Where the server goes on.
    point: ByteString,
    rounds: u16,
    /// Answers in a row by which the server could not tell of it now.
    failures: u8,
}

impl Asked {
    /// Everything that is newer than that.
    pub(crate) fn new(number: usize, after: i64) -> Asked {
        Asked { number, after, point: ByteString::null(), rounds: 0, failures: 0 }
    }
}

/// What items were between two times, as far as it has not been asked for.
#[derive(Debug, Clone)]
pub(crate) struct Hole {
    items: Vec<Asked>,
    /// Decided when it is first asked for.
    to: Option<i64>,
    silences: u8,
    /// Whether the log says that the server does not tell of some of them.
    warned: bool,
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
    /// The hole of these items. Those that have been known for alike times are asked for together.
    pub(crate) fn new(mut items: Vec<Asked>) -> Hole {
        items.sort_by_key(|item| item.after);
        Hole { items, to: None, silences: 0, warned: false }
    }

    /// It ends now, unless it has an end: what is newer comes by itself.
    pub(crate) fn ends(mut self, now: i64) -> Hole {
        self.to.get_or_insert(now);
        self
    }

    /// The question for the first of the items that the server has, at most so many; `None` when it has none of them now.
    pub(crate) fn question(&self, places: &[Place], limit: usize) -> Option<Question> {
        let node = |item: &Asked| {
            let node = HistoryReadValueId {
                node_id: places.get(item.number)?.clone()?,
                index_range: NumericRange::None,
                data_encoding: QualifiedName::null(),
                continuation_point: item.point.clone(),
            };
            Some(node)
        };
        let found = self.items.iter().filter_map(|item| Some((item, node(item)?))).take(limit.min(MOST_ITEMS));
        let (asked, nodes): (Vec<&Asked>, Vec<_>) = found.unzip();
        let details = ReadRawModifiedDetails {
            is_read_modified: false,
            start_time: DateTime::from(asked.iter().map(|item| item.after).min()?),
            end_time: DateTime::from(self.to?),
            num_values_per_node: AT_ONCE,
            return_bounds: false,
        };
        let numbers = asked.into_iter().map(|item| item.number).collect();
        Some(Question { numbers, nodes, details: ExtensionObject::from_message(details) })
    }

    /// How many items one question is about, at most.
    pub(crate) fn most_asked(&self, limit: usize) -> usize {
        limit.min(MOST_ITEMS).min(self.items.len())
    }

    /// The values that came, and what still has to be asked for.
    pub(crate) fn take(mut self, piece: Piece) -> (Vec<MonitoredItemNotification>, Option<Hole>) {
        let (mut values, mut open, mut last) = (Vec::new(), Vec::new(), Vec::new());
        self.silences = 0;
        for (number, answer) in piece.answers {
            let Some(place) = self.items.iter().position(|item| item.number == number) else { continue };
            let mut item = self.items.remove(place);
            item.rounds += 1;
            let status = answer.status_code;
            let again = is_interrupted(status);
            if status.is_bad() && !again {
                item.failures += 1;
                item.point = ByteString::null();
                if is_passing(status) && item.failures < MOST_FAILURES {
                    last.push(item);
                } else if !status::same(status, StatusCode::BadNoData) {
                    self.warn(number, status);
                }
                continue;
            }
            item.failures = 0;
            if answer.status_code.is_good() || answer.status_code.is_uncertain() {
                let data = answer.history_data.into_inner_as::<HistoryData>();
                let after = item.after;
                for value in data.and_then(|data| data.data_values).unwrap_or_default() {
                    // What the server gives beyond what it was asked for has been told.
                    let Some(time) = convert::ticks(&value).filter(|time| *time > after) else { continue };
                    item.after = item.after.max(time);
                    let Ok(client_handle) = u32::try_from(number) else { continue };
                    values.push(MonitoredItemNotification { client_handle, value });
                }
            }
            let goes_on = !answer.continuation_point.is_null_or_empty();
            item.point = answer.continuation_point;
            if !(goes_on || again) {
                continue;
            }
            if item.rounds < MOST_ROUNDS {
                open.push(item);
            } else {
                tracing::warn!(
                    number,
                    "the server has more history of a node than is taken; the rest of the outage is missing"
                );
            }
        }
        // Items with more go first, so that a continuation point is not kept waiting.
        open.append(&mut self.items);
        open.append(&mut last);
        self.items = open;
        let rest = (!self.items.is_empty()).then_some(self);
        (values, rest)
    }

    /// Says once that the server does not tell of items.
    fn warn(&mut self, number: usize, status: StatusCode) {
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                number,
                %status,
                "the server does not tell the history of a node, perhaps of others too; what they were while it was away stays missing: \
                 check in the server that their history is kept, and that the user may read it"
            );
        }
    }

    /// The same over another session: its continuation points are others.
    pub(crate) fn over_another_session(mut self) -> Hole {
        self.items.iter_mut().for_each(|item| item.point = ByteString::null());
        self
    }

    /// The server has not answered. The same once more, unless that has happened too often.
    pub(crate) fn not_answered(mut self) -> Option<Hole> {
        self.silences += 1;
        (self.silences < MOST_SILENCES).then(|| self.over_another_session())
    }
}

/// Whether an item has to be asked for again from where it is: the server keeps few continuation points, or has dropped this one.
fn is_interrupted(code: StatusCode) -> bool {
    [StatusCode::BadNoContinuationPoints, StatusCode::BadContinuationPointInvalid]
        .into_iter()
        .any(|known| status::same(code, known))
}

/// Whether the server may tell of an item when it is asked again.
fn is_passing(code: StatusCode) -> bool {
    [
        StatusCode::BadTimeout,
        StatusCode::BadRequestTimeout,
        StatusCode::BadTooManyOperations,
        StatusCode::BadResourceUnavailable,
        StatusCode::BadOutOfMemory,
        StatusCode::BadTcpServerTooBusy,
        StatusCode::BadServerTooBusy,
        StatusCode::BadNoCommunication,
        StatusCode::BadCommunicationError,
        StatusCode::BadRequestInterrupted,
    ]
    .into_iter()
    .any(|known| status::same(code, known))
}

impl Question {
    /// How many items it is about.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

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

#[cfg(test)]
mod tests {
    use opcua::types::{DataValue, NodeId};

    use super::*;

    fn places(found: &[bool]) -> Vec<Place> {
        let node = |(number, found): (u32, &bool)| found.then(|| NodeId::new(2, number));
        (0..).zip(found).map(node).collect()
    }

    fn answer(times: &[i64], point: &[u8]) -> HistoryReadResult {
        let value = |time: &i64| DataValue { source_timestamp: Some(DateTime::from(*time)), ..DataValue::default() };
        let data = HistoryData { data_values: Some(times.iter().map(value).collect()) };
        HistoryReadResult {
            status_code: StatusCode::Good,
            continuation_point: if point.is_empty() { ByteString::null() } else { ByteString::from(point) },
            history_data: ExtensionObject::from_message(data),
        }
    }

    fn came(values: &[MonitoredItemNotification]) -> Vec<(u32, i64)> {
        values.iter().map(|value| (value.client_handle, convert::ticks(&value.value).unwrap())).collect()
    }

    const BEGIN: i64 = 134_000_000_000_000_000;

    #[test]
    fn items_without_a_place_are_neither_asked_for_twice_nor_forgotten() {
        let hole = Hole::new((0..4).map(|number| Asked::new(number, BEGIN)).collect()).ends(BEGIN + 100);
        let some = places(&[false, true, false, true]);
        let question = hole.question(&some, 10).unwrap();
        assert_eq!(question.numbers, [1, 3]);
        let piece = Piece { answers: vec![(1, answer(&[BEGIN + 1], b"")), (3, answer(&[BEGIN + 2], b"more"))] };
        let (values, rest) = hole.take(piece);
        assert_eq!(came(&values), [(1, BEGIN + 1), (3, BEGIN + 2)]);
        let rest = rest.unwrap();
        assert_eq!(rest.question(&some, 10).unwrap().numbers, [3], "it has more to tell");
        let (values, rest) = rest.take(Piece { answers: vec![(3, answer(&[BEGIN + 2, BEGIN + 3], b""))] });
        assert_eq!(came(&values), [(3, BEGIN + 3)], "nothing comes twice");
        let rest = rest.unwrap();
        assert!(rest.question(&some, 10).is_none());
        assert_eq!(rest.question(&places(&[true, true, true, true]), 10).unwrap().numbers, [0, 2], "they are back");
    }

    #[test]
    fn an_item_of_which_the_server_cannot_tell_now_is_asked_for_again_behind_the_others() {
        let all = places(&[true; 4]);
        let refused = |number, status_code| (number, HistoryReadResult { status_code, ..answer(&[], b"") });
        let hole = Hole::new((0..4).map(|number| Asked::new(number, BEGIN)).collect()).ends(BEGIN + 100);
        let busy = refused(0, StatusCode::BadResourceUnavailable);
        let answers = vec![busy, refused(1, StatusCode::BadNoData), refused(2, StatusCode::BadUserAccessDenied)];
        let (_, rest) = hole.take(Piece { answers });
        let mut rest = rest.unwrap();
        assert!(rest.warned, "of the third it never tells");
        assert_eq!(rest.question(&all, 10).unwrap().numbers, [3, 0]);
        let (values, hole) = rest.take(Piece { answers: vec![(3, answer(&[BEGIN + 1], b""))] });
        assert_eq!(came(&values), [(3, BEGIN + 1)]);
        rest = hole.unwrap();
        for _ in 2..MOST_FAILURES {
            rest = rest.take(Piece { answers: vec![refused(0, StatusCode::BadTimeout)] }).1.unwrap();
        }
        let (values, none) = rest.clone().take(Piece { answers: vec![(0, answer(&[BEGIN + 5], b""))] });
        assert_eq!(came(&values), [(0, BEGIN + 5)]);
        assert!(none.is_none());
        assert!(rest.take(Piece { answers: vec![refused(0, StatusCode::BadTimeout)] }).1.is_none(), "not for ever");
    }

    #[test]
    fn a_hole_goes_on_over_another_session_from_where_it_was() {
        let hole = Hole::new(vec![Asked::new(0, BEGIN)]).ends(BEGIN + 100);
        let (_, rest) = hole.take(Piece { answers: vec![(0, answer(&[BEGIN + 7], b"more"))] });
        let rest = rest.unwrap().over_another_session();
        let question = rest.question(&places(&[true]), 10).unwrap();
        assert!(question.nodes[0].continuation_point.is_null_or_empty());
        let details = question.details.into_inner_as::<ReadRawModifiedDetails>().unwrap();
        assert_eq!(details.start_time.ticks(), BEGIN + 7);
    }
}
