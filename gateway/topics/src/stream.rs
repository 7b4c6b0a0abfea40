//! One stream: its topics, filled in once, and the messages of its rows.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_config::{Filling, PayloadForm, TopicTemplate};
use tidegate_model::{Column, Row, Slot, Timestamp};

use crate::payload::{self, edgex, neuron, umh};

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it goes.
    pub topic: Bytes,
    /// What it says; empty to take away what is retained.
    pub payload: Bytes,
    /// Whether it is kept for those who come later.
    pub retain: bool,
}

/// The topics of one stream beside the gateway's own. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StreamTopics {
    ways: Arc<[Way]>,
}

/// What one template makes of the stream.
#[derive(Debug)]
struct Way {
    form: PayloadForm,
    retain: bool,
    topics: Topics,
    /// For the forms that name it.
    profile: String,
}

#[derive(Debug)]
enum Topics {
    /// One for whole rows.
    Row(Bytes),
    /// One for each column.
    Tags(Box<[Bytes]>),
}

impl StreamTopics {
    pub(crate) fn new<'a>(
        templates: impl Iterator<Item = &'a TopicTemplate>,
        filling: &Filling<'_>,
        columns: &[Column],
        profile: &str,
    ) -> StreamTopics {
        let way = |template: &TopicTemplate| {
            let topic = |tag: &str| template.topic.fill(&Filling { tag, ..*filling }).ok().map(Bytes::from);
            let topics = if template.topic.is_for_tags() {
                Topics::Tags(columns.iter().map(|column| topic(column.name.as_str())).collect::<Option<_>>()?)
            } else {
                Topics::Row(topic("")?)
            };
            Some(Way { form: template.payload, retain: template.retain, topics, profile: profile.to_owned() })
        };
        StreamTopics { ways: templates.filter_map(way).collect() }
    }

    /// Whether no template is for the stream.
    pub fn is_empty(&self) -> bool {
        self.ways.is_empty()
    }

    /// Gives every message of a row to `each`. A row of the past goes only where it cannot be taken for the present.
    pub fn messages(&self, row: &Row, past: bool, mut each: impl FnMut(Message)) {
        for way in self.ways.iter() {
            if past && (way.retain || way.form == PayloadForm::Value) {
                continue;
            }
            match &way.topics {
                Topics::Row(topic) => each_of_row(way, topic, row, past, &mut each),
                Topics::Tags(topics) => each_of_tags(way, topics, row, past, &mut each),
            }
        }
    }

    /// Every topic that may have something retained.
    pub fn retained(&self) -> impl Iterator<Item = &Bytes> {
        let ways = self.ways.iter().filter(|way| way.retain);
        ways.flat_map(|way| match &way.topics {
            Topics::Row(topic) => std::slice::from_ref(topic),
            Topics::Tags(topics) => topics,
        })
    }
}

fn each_of_row(way: &Way, topic: &Bytes, row: &Row, past: bool, each: &mut impl FnMut(Message)) {
    let mut payload = Vec::new();
    let some = row.stream.columns().iter().zip(&row.slots);
    let says = payload::row(way.form, row, some, &way.profile, past, &mut payload);
    // What is retained must not outlive its values.
    if says || (way.retain && row.slots.iter().any(|slot| *slot != Slot::Unchanged)) {
        each(Message { topic: topic.clone(), payload: payload.into(), retain: way.retain });
    }
}

fn each_of_tags(way: &Way, topics: &[Bytes], row: &Row, past: bool, each: &mut impl FnMut(Message)) {
    for ((column, slot), topic) in row.stream.columns().iter().zip(&row.slots).zip(topics) {
        if *slot == Slot::Unchanged {
            continue;
        }
        let mut payload = Vec::new();
        let says = match way.form {
            PayloadForm::Tidegate => payload::sample(slot, row.time, column, &mut payload),
            PayloadForm::Value => payload::value_alone(slot, &mut payload),
            PayloadForm::Umh => umh::sample(slot, time_of(row, past), &mut payload),
            PayloadForm::Neuron => neuron::row(row, [(column, slot)].into_iter(), time_of(row, past), &mut payload),
            PayloadForm::EdgeX => {
                edgex::row(row, [(column, slot)].into_iter(), &way.profile, time_of(row, past), &mut payload)
            }
        };
        // What is retained must not outlive its value.
        if says || way.retain {
            each(Message { topic: topic.clone(), payload: payload.into(), retain: way.retain });
        }
    }
}

/// The time of a row for a form that has only one: when its values were so.
pub(crate) fn time_of(row: &Row, past: bool) -> Timestamp {
    row.device_time.filter(|_| past).unwrap_or(row.time)
}
