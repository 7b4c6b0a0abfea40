//! Rows on the topics of the site's templates: one row becomes several messages.
//!
//! The messages of a row arrive together: what the store gave counts as acknowledged when all of them are (`Session::settle`). They are sent again
//! together, too.
//!
//! What a broker keeps for those who come later must end with the newest value, in whatever order rows come: live rows go before the backlog.
//! So a message is retained only when nothing newer has been sent to its topic since the gateway began, which is looked at when it is sent.
//! A target that is started anew has to know what the one before has sent ([`SentSoFar`]).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tidegate_config as config;
use tidegate_model::{Row, Stream, StreamId, Timestamp};
use tidegate_topics::{Dispatch, Layout, StreamTopics};

use super::share::LaneKind;

/// Which topics the rows of a target go to.
#[derive(Debug, Clone)]
pub struct RowTopics {
    layout: Arc<Layout>,
    topics: config::RowTopics,
    sent: SentSoFar,
}

/// What has been sent so far to the topics of a target. Who starts targets anew, and hands this from one to the next, keeps a
/// backlog that still waits from taking the place of newer values that the broker retains.
#[derive(Debug, Clone, Default)]
pub struct SentSoFar(Arc<Mutex<Memory>>);

#[derive(Debug, Default)]
struct Memory {
    /// The newest row that was sent to each topic that retains.
    newest: HashMap<(StreamId, Bytes), Newest>,
    /// The latest time of a row of each stream.
    latest: HashMap<StreamId, Timestamp>,
}

/// The rows of all streams on their way to their topics.
#[derive(Debug)]
pub(crate) struct Fan {
    of: RowTopics,
    streams: HashMap<StreamId, Fanned>,
}

/// What was sent last to a topic that retains.
#[derive(Debug, Default)]
struct Newest {
    seq: u64,
    /// Whether it took away what was retained.
    is_empty: bool,
}

/// One stream.
#[derive(Debug)]
struct Fanned {
    stream: Arc<Stream>,
    topics: StreamTopics,
}

/// What is to be known of a message that is to be retained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    stream: StreamId,
    topic: Bytes,
    seq: u64,
    is_empty: bool,
    /// Whether it is not to be sent at all unless it is retained.
    pub(crate) or_not_sent: bool,
}

impl RowTopics {
    /// Those that a target names, of the templates that the layout of the site has.
    pub fn new(layout: Arc<Layout>, topics: config::RowTopics) -> RowTopics {
        RowTopics { layout, topics, sent: SentSoFar::default() }
    }

    /// Says what has been sent so far by the target that was there before.
    #[must_use]
    pub fn after(mut self, sent: SentSoFar) -> RowTopics {
        self.sent = sent;
        self
    }
}

impl SentSoFar {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fan {
    pub(crate) fn new(of: RowTopics) -> Fan {
        Fan { of, streams: HashMap::new() }
    }

    /// Whether rows go to the gateway's own topics too.
    pub(crate) fn has_standard(&self) -> bool {
        self.of.topics.standard
    }

    /// The messages of a row on the topics of the templates, and what is to be known of those to be retained.
    pub(crate) fn messages(&mut self, row: &Row, lane: LaneKind, mut each: impl FnMut(Dispatch, Option<Kept>)) {
        let (id, of) = (row.stream.id(), &self.of);
        let fanned = self.streams.entry(id).or_insert_with(|| Fanned::new(of, &row.stream));
        // The columns of a stream may change.
        if *fanned.stream != *row.stream {
            *fanned = Fanned::new(of, &row.stream);
        }
        let is_late = of.sent.lock().is_late(row);
        fanned.topics.dispatches(row, is_late || lane == LaneKind::Backlog, |dispatch| {
            let or_not_sent = dispatch.only_retained;
            if dispatch.message.retain && !is_late {
                let (topic, is_empty) = (dispatch.message.topic.clone(), dispatch.message.payload.is_empty());
                each(dispatch, Some(Kept { stream: id, topic, seq: row.seq, is_empty, or_not_sent }));
            } else if !or_not_sent {
                each(dispatch, None);
            }
        });
    }

    /// There is a new connection: what was to be taken away may still be there.
    pub(crate) fn begin(&mut self) {
        self.of.sent.lock().newest.values_mut().for_each(|newest| newest.is_empty = false);
    }

    /// A message is sent now: whether it is the newest of its topic, and does not take away what is gone.
    pub(crate) fn is_newest(&mut self, kept: &Kept) -> bool {
        let mut sent = self.of.sent.lock();
        let newest = sent.newest.entry((kept.stream, kept.topic.clone())).or_default();
        if kept.seq < newest.seq {
            return false;
        }
        let is_gone = newest.is_empty && kept.is_empty;
        *newest = Newest { seq: kept.seq, is_empty: kept.is_empty };
        !is_gone
    }
}

impl Memory {
    /// Whether a device has handed a row over late: it has its own time, and a number after those of later rows.
    fn is_late(&mut self, row: &Row) -> bool {
        let latest = self.latest.entry(row.stream.id()).or_insert(row.time);
        let is_late = row.device_time == Some(row.time) && row.time < *latest;
        *latest = row.time.max(*latest);
        is_late
    }
}

impl Fanned {
    fn new(of: &RowTopics, stream: &Arc<Stream>) -> Fanned {
        let wanted = |template: &config::TopicTemplate| of.topics.templates.contains(&template.name);
        let topics = of.layout.stream(stream.device(), stream.group(), stream.columns(), wanted);
        Fanned { stream: Arc::clone(stream), topics }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_config::{PayloadForm, TopicTemplate};
    use tidegate_model::{Column, Slot, Value, ValueKind, ValueType};

    use super::*;

    fn template(name: &str, topic: &str, payload: PayloadForm, retain: bool) -> TopicTemplate {
        TopicTemplate { payload, retain, ..TopicTemplate::new(name.parse().unwrap(), topic).unwrap() }
    }

    /// A fan over these templates, of which a target names those that are not called `other`.
    fn fan(templates: Vec<TopicTemplate>) -> Fan {
        fan_after(&SentSoFar::default(), templates)
    }

    /// Another one after this has been sent.
    fn fan_after(sent: &SentSoFar, templates: Vec<TopicTemplate>) -> Fan {
        let names = templates.iter().map(|template| template.name.clone()).filter(|name| name.as_str() != "other");
        let topics = config::RowTopics { standard: false, templates: names.collect() };
        Fan::new(RowTopics::new(Layout::with_templates(templates).into(), topics).after(sent.clone()))
    }

    fn stream() -> Arc<Stream> {
        let column = |name: &str| Column::new(name.parse().unwrap(), ValueType::single(ValueKind::Text));
        let columns = vec![column("a"), column("b")];
        Arc::new(Stream::new(StreamId(4), "meter".parse().unwrap(), "fast".parse().unwrap(), columns))
    }

    fn row(seq: u64, values: [Option<&str>; 2]) -> Row {
        let slot = |value: Option<&str>| value.map_or(Slot::Unchanged, |text| Slot::Good(Value::Text(text.into())));
        let time = Timestamp::from_millis(i64::try_from(seq).unwrap());
        Row { stream: stream(), seq, time, device_time: None, slots: values.map(slot).into() }
    }

    /// Of what is sent at once: topic, whether it is kept, and what is said.
    fn told(fan: &mut Fan, row: &Row, lane: LaneKind) -> Vec<(String, bool, String)> {
        let mut found = Vec::new();
        fan.messages(row, lane, |dispatch, kept| found.push((dispatch.message, kept)));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let told = found.into_iter().filter_map(|(message, kept)| {
            let is_newest = kept.as_ref().is_some_and(|kept| fan.is_newest(kept));
            let is_sent = is_newest || kept.is_none_or(|kept| !kept.or_not_sent);
            is_sent.then(|| (text(&message.topic), is_newest, text(&message.payload)))
        });
        told.collect()
    }

    fn is(found: &[(String, bool, String)], wanted: &[(&str, bool, &str)]) {
        let found: Vec<_> =
            found.iter().map(|(topic, retain, text)| (topic.as_str(), *retain, text.as_str())).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_row_goes_to_the_topics_of_the_templates_that_the_target_names() {
        let mut fan = fan(vec![
            template("uns", "uns/{device}/{tag}", PayloadForm::Umh, false),
            template("other", "other/{device}", PayloadForm::Tidegate, false),
            template("rows", "rows/{device}", PayloadForm::Tidegate, false),
        ]);
        is(
            &told(&mut fan, &row(1, [Some("x"), None]), LaneKind::Backlog),
            &[
                ("uns/meter/a", false, r#"{"timestamp_ms":1,"value":"x"}"#),
                ("rows/meter", false, r#"{"ts":1,"seq":1,"hist":true,"values":{"a":"x"}}"#),
            ],
        );
    }

    #[test]
    fn what_is_kept_ends_with_the_newest_value_of_each_tag_whatever_came_before_it() {
        let mut fan = fan(vec![template("uns", "{device}/{tag}", PayloadForm::Value, true)]);
        // The backlog tells a while before there is anything newer.
        is(
            &told(&mut fan, &row(3, [Some("3"), Some("3")]), LaneKind::Backlog),
            &[("meter/a", true, "3"), ("meter/b", true, "3")],
        );
        is(&told(&mut fan, &row(9, [Some("9"), None]), LaneKind::Live), &[("meter/a", true, "9")]);
        // What says nothing of its time goes only where it is the newest.
        is(&told(&mut fan, &row(4, [Some("4"), Some("4")]), LaneKind::Backlog), &[("meter/b", true, "4")]);
        // Sent again on the next connection.
        is(&told(&mut fan, &row(9, [Some("9"), None]), LaneKind::Backlog), &[("meter/a", true, "9")]);
    }

    #[test]
    fn a_target_that_is_started_anew_goes_on_with_what_is_kept() {
        let (sent, template) =
            (SentSoFar::default(), || vec![template("uns", "{device}/{tag}", PayloadForm::Umh, true)]);
        told(&mut fan_after(&sent, template()), &row(9, [Some("9"), None]), LaneKind::Live);
        let mut fan = fan_after(&sent, template());
        let found = told(&mut fan, &row(4, [Some("4"), Some("4")]), LaneKind::Backlog);
        let kept: Vec<_> = found.iter().map(|(topic, retain, _)| (topic.as_str(), *retain)).collect();
        assert_eq!(kept, [("meter/a", false), ("meter/b", true)]);
        let time = Timestamp::from_millis(5);
        let late = Row { time, device_time: Some(time), ..row(10, [Some("then"), None]) };
        assert!(!told(&mut fan, &late, LaneKind::Live)[0].1, "what is late is known to be so");
        assert!(
            told(&mut fan, &row(9, [Some("9"), None]), LaneKind::Live)[0].1,
            "what was not acknowledged is sent again"
        );
    }

    #[test]
    fn what_is_kept_is_taken_away_once_on_a_connection() {
        let mut fan = fan(vec![template("uns", "{device}/{tag}", PayloadForm::Umh, true)]);
        let dark = |seq| Row {
            slots: [Slot::Bad(tidegate_model::Reason::Timeout), Slot::Unchanged].into(),
            ..row(seq, [None, None])
        };
        is(&told(&mut fan, &dark(1), LaneKind::Live), &[("meter/a", true, "")]);
        is(&told(&mut fan, &dark(2), LaneKind::Live), &[]);
        fan.begin();
        is(&told(&mut fan, &dark(3), LaneKind::Live), &[("meter/a", true, "")]);
        told(&mut fan, &row(4, [Some("x"), None]), LaneKind::Live);
        is(&told(&mut fan, &dark(5), LaneKind::Live), &[("meter/a", true, "")]);
    }

    #[test]
    fn what_a_device_hands_over_late_is_not_kept_in_the_place_of_later_values() {
        let mut fan = fan(vec![template("uns", "{device}/{tag}", PayloadForm::Umh, true)]);
        told(&mut fan, &row(5, [Some("now"), None]), LaneKind::Live);
        let time = Timestamp::from_millis(2);
        let late = Row { time, device_time: Some(time), ..row(6, [Some("then"), None]) };
        is(&told(&mut fan, &late, LaneKind::Live), &[("meter/a", false, r#"{"timestamp_ms":2,"value":"then"}"#)]);
        let again = row(5, [Some("now"), None]);
        assert!(told(&mut fan, &again, LaneKind::Backlog)[0].1, "it is still the newest");
    }

    #[test]
    fn a_row_of_other_columns_has_other_topics() {
        let mut fan = fan(vec![template("uns", "{device}/{tag}", PayloadForm::Value, true)]);
        told(&mut fan, &row(5, [Some("x"), Some("x")]), LaneKind::Live);
        let column = Column::new("c".parse().unwrap(), ValueType::single(ValueKind::Text));
        let other = Stream::new(StreamId(4), "meter".parse().unwrap(), "fast".parse().unwrap(), vec![column]);
        let slots = [Slot::Good(Value::Text("y".into()))].into();
        let row = Row { stream: other.into(), slots, ..row(6, [None, None]) };
        is(&told(&mut fan, &row, LaneKind::Live), &[("meter/c", true, "y")]);
    }
}
