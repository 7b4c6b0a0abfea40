//! The hole of an outage, filled from the server's own history.

use std::time::{Duration, Instant};

use opcua::types::{
    ByteString, DateTime, ExtensionObject, HistoryData, HistoryReadResult, HistoryReadValueId,
    MonitoredItemNotification, NumericRange, QualifiedName, ReadRawModifiedDetails, StatusCode,
};
use tidegate_driver_api::model::Timestamp;

use crate::{channel::Channel, fault::Fault, plan::Place, status, told::Last};

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
/// How long such an item waits the first time; twice as long each time after that.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The same at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// 100 nanoseconds from 1601 to 1970.
const EPOCH_TICKS: i64 = 116_444_736_000_000_000;

/// An item whose history is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    number: usize,
    /// What is not newer has been told; of that very time, what this says.
    told: Last,
    /// Where the server goes on.
    point: ByteString,
    rounds: u16,
    /// Answers in a row by which the server could not tell of it now.
    failures: u8,
}

impl Asked {
    /// Everything that is newer than what was told last, or of the same time and another value.
    pub(crate) fn new(number: usize, told: Last) -> Asked {
        Asked { number, told, point: ByteString::null(), rounds: 0, failures: 0 }
    }
}

/// What items were between two times, as far as it has not been asked for.
#[derive(Debug, Clone)]
pub(crate) struct Hole {
    items: Vec<Asked>,
    /// Decided when it is first asked for.
    to: Option<i64>,
    /// It ends no earlier.
    at_least: i64,
    silences: u8,
    /// Refusals in a row of whole questions by a server that cannot tell now.
    refusals: u8,
    /// Not to be asked for before that.
    waits: Option<Instant>,
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
        items.sort_by_key(|item| item.told.time());
        Hole { items, to: None, at_least: i64::MIN, silences: 0, refusals: 0, waits: None, warned: false }
    }

    /// Since when something is missing, as OPC UA counts it.
    pub(crate) fn since(&self) -> Option<i64> {
        self.items.iter().map(|item| item.told.time()).min()
    }

    /// The items of which something is missing.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = usize> {
        self.items.iter().map(|item| item.number)
    }

    /// Whether it may be asked for now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.waits.is_none_or(|waits| waits <= now)
    }

    /// The same, and it ends then or later.
    pub(crate) fn not_before(self, end: i64) -> Hole {
        Hole { at_least: end, ..self }
    }

    /// It ends now, unless it has an end: what is newer comes by itself.
    pub(crate) fn ends(mut self, now: i64) -> Hole {
        self.to.get_or_insert(now.max(self.at_least));
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
            start_time: DateTime::from(asked.iter().map(|item| item.told.time()).min()?),
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

    /// The values that came, and what still has to be asked for: at once, and later.
    pub(crate) fn take(mut self, piece: Piece, now: Instant) -> (Vec<MonitoredItemNotification>, Vec<Hole>) {
        let (mut values, mut open, mut later) = (Vec::new(), Vec::new(), Vec::new());
        (self.silences, self.refusals, self.waits) = (0, 0, None);
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
                    later.push(item);
                } else if !status::same(status, StatusCode::BadNoData) {
                    self.warn(number, status);
                }
                continue;
            }
            item.failures = 0;
            if !status.is_bad() {
                let data = answer.history_data.into_inner_as::<HistoryData>();
                let client_handle = u32::try_from(number).unwrap_or(u32::MAX);
                let new = item.told.news(data.and_then(|data| data.data_values).unwrap_or_default());
                values.extend(new.into_iter().map(|value| MonitoredItemNotification { client_handle, value }));
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
        let failures = later.iter().map(|item| item.failures).max().unwrap_or(0);
        let later = Hole { items: later, waits: Some(now + pause(failures)), ..self.clone() };
        self.items = open;
        (values, [self, later].into_iter().filter(|hole| !hole.items.is_empty()).collect())
    }

    /// The server has refused the whole question and may answer it another time. `None` when that has happened too often.
    pub(crate) fn refused(mut self, now: Instant) -> Option<Hole> {
        self.refusals += 1;
        self.waits = Some(now + pause(self.refusals));
        (self.refusals < MOST_FAILURES).then(|| self.over_another_session())
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

/// How long what could not be told so often waits.
fn pause(failures: u8) -> Duration {
    let doublings = u32::from(failures.saturating_sub(1)).min(16);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}

/// Whether an item has to be asked for again from where it is: the server keeps few continuation points, or has dropped this one.
fn is_interrupted(code: StatusCode) -> bool {
    [StatusCode::BadNoContinuationPoints, StatusCode::BadContinuationPointInvalid]
        .into_iter()
        .any(|known| status::same(code, known))
}

/// Whether the server may tell when it is asked again.
pub(crate) fn is_passing(code: StatusCode) -> bool {
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
    use crate::convert;

    fn places(found: &[bool]) -> Vec<Place> {
        let node = |(number, found): (u32, &bool)| found.then(|| NodeId::new(2, number));
        (0..).zip(found).map(node).collect()
    }

    fn answer(times: &[i64], point: &[u8]) -> HistoryReadResult {
        let values: Vec<(i64, i32)> = times.iter().map(|time| (*time, 0)).collect();
        told(&values, point)
    }

    /// Values with their times.
    fn told(values: &[(i64, i32)], point: &[u8]) -> HistoryReadResult {
        let value = |(time, value): &(i64, i32)| DataValue {
            value: Some((*value).into()),
            source_timestamp: Some(DateTime::from(*time)),
            ..DataValue::default()
        };
        let data = HistoryData { data_values: Some(values.iter().map(value).collect()) };
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

    /// What came, and the one hole that is left.
    fn taken(hole: Hole, answers: Vec<(usize, HistoryReadResult)>) -> (Vec<MonitoredItemNotification>, Option<Hole>) {
        let (values, mut rest) = hole.take(Piece { answers }, Instant::now());
        assert!(rest.len() <= 1, "{rest:?}");
        (values, rest.pop())
    }

    #[test]
    fn items_without_a_place_are_neither_asked_for_twice_nor_forgotten() {
        let hole = Hole::new((0..4).map(|number| Asked::new(number, Last::until(BEGIN))).collect()).ends(BEGIN + 100);
        let some = places(&[false, true, false, true]);
        let question = hole.question(&some, 10).unwrap();
        assert_eq!(question.numbers, [1, 3]);
        let answers = vec![(1, answer(&[BEGIN + 1], b"")), (3, answer(&[BEGIN + 2], b"more"))];
        let (values, rest) = taken(hole, answers);
        assert_eq!(came(&values), [(1, BEGIN + 1), (3, BEGIN + 2)]);
        let rest = rest.unwrap();
        assert_eq!(rest.question(&some, 10).unwrap().numbers, [3], "it has more to tell");
        let (values, rest) = taken(rest, vec![(3, answer(&[BEGIN + 2, BEGIN + 3], b""))]);
        assert_eq!(came(&values), [(3, BEGIN + 3)], "nothing comes twice");
        let rest = rest.unwrap();
        assert!(rest.question(&some, 10).is_none());
        assert_eq!(rest.question(&places(&[true, true, true, true]), 10).unwrap().numbers, [0, 2], "they are back");
    }

    #[test]
    fn of_values_with_the_same_time_each_is_told_also_where_an_answer_ends_between_them() {
        let value =
            DataValue { value: Some(1.into()), source_timestamp: Some(DateTime::from(BEGIN)), ..DataValue::default() };
        let mut last = Last::until(BEGIN - 1);
        last.news(vec![value]);
        let asked = Asked::new(0, last);
        let (values, rest) = taken(
            Hole::new(vec![asked]).ends(BEGIN + 100),
            vec![(0, told(&[(BEGIN - 1, 9), (BEGIN, 1), (BEGIN, 2), (BEGIN + 5, 3)], b"more"))],
        );
        assert_eq!(came(&values), [(0, BEGIN), (0, BEGIN + 5)], "the second of those that were so at the beginning");
        assert_eq!(values[0].value.value, Some(2.into()));
        let (values, rest) = taken(rest.unwrap(), vec![(0, told(&[(BEGIN + 5, 4), (BEGIN + 6, 5)], b"more"))]);
        assert_eq!(came(&values), [(0, BEGIN + 5), (0, BEGIN + 6)]);
        // The point was lost, and the server tells everything of that time once more.
        let again = rest.unwrap().over_another_session();
        let (values, none) = taken(again, vec![(0, told(&[(BEGIN + 6, 5), (BEGIN + 6, 6)], b""))]);
        assert_eq!((came(&values), values[0].value.value.clone()), (vec![(0, BEGIN + 6)], Some(6.into())));
        assert!(none.is_none());
    }

    #[test]
    fn an_item_of_which_the_server_cannot_tell_now_is_asked_for_again_later_and_ever_more_slowly() {
        let all = places(&[true; 4]);
        let refused = |number, status_code| (number, HistoryReadResult { status_code, ..answer(&[], b"") });
        let hole = Hole::new((0..4).map(|number| Asked::new(number, Last::until(BEGIN))).collect()).ends(BEGIN + 100);
        let busy = refused(0, StatusCode::BadResourceUnavailable);
        let answers = vec![busy, refused(1, StatusCode::BadNoData), refused(2, StatusCode::BadUserAccessDenied)];
        let mut now = Instant::now();
        let (_, rest) = hole.take(Piece { answers }, now);
        let [rest, mut later]: [Hole; 2] = rest.try_into().unwrap();
        assert!(rest.warned, "of the third it never tells");
        assert!(rest.is_due(now) && !later.is_due(now));
        assert_eq!(rest.question(&all, 10).unwrap().numbers, [3]);
        assert_eq!(later.question(&all, 10).unwrap().numbers, [0]);
        let (values, none) = taken(later.clone(), vec![(0, answer(&[BEGIN + 5], b""))]);
        assert_eq!(came(&values), [(0, BEGIN + 5)]);
        assert!(none.is_none());
        let mut pauses = Vec::new();
        while pauses.len() < usize::from(MOST_FAILURES) - 1 {
            let pause = (0..100).find(|seconds| later.is_due(now + Duration::from_secs(*seconds))).unwrap();
            now += Duration::from_secs(pause);
            pauses.push(pause);
            let (_, mut rest) = later.clone().take(Piece { answers: vec![refused(0, StatusCode::BadTimeout)] }, now);
            later = rest.pop().unwrap_or(later);
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
        let (_, rest) = later.take(Piece { answers: vec![refused(0, StatusCode::BadTimeout)] }, now);
        assert!(rest.is_empty(), "not for ever");
    }

    #[test]
    fn a_question_that_is_refused_as_a_whole_waits_too() {
        let now = Instant::now();
        let mut hole = Some(Hole::new(vec![Asked::new(0, Last::until(BEGIN))]));
        for _ in 1..MOST_FAILURES {
            let refused = hole.unwrap().refused(now).unwrap();
            assert!(!refused.is_due(now) && refused.is_due(now + LONGEST_PAUSE));
            hole = Some(refused);
        }
        assert!(hole.unwrap().refused(now).is_none(), "not for ever");
    }

    #[test]
    fn a_hole_goes_on_over_another_session_from_where_it_was() {
        let hole = Hole::new(vec![Asked::new(0, Last::until(BEGIN))]).ends(BEGIN + 100);
        let (_, rest) = taken(hole, vec![(0, answer(&[BEGIN + 7], b"more"))]);
        let rest = rest.unwrap().over_another_session();
        let question = rest.question(&places(&[true]), 10).unwrap();
        assert!(question.nodes[0].continuation_point.is_null_or_empty());
        let details = question.details.into_inner_as::<ReadRawModifiedDetails>().unwrap();
        assert_eq!(details.start_time.ticks(), BEGIN + 7);
    }
}
