//! One stream: its topics, filled in once, and the messages of its rows.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

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

/// A message on its way to somebody who is to get all rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// The message.
    pub message: Message,
    /// How many values it has, about.
    pub values: usize,
    /// Whether it is of no use, or could be taken for one of now, unless it is retained.
    pub only_retained: bool,
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
    /// Of each topic, whether something may be retained there.
    retained: Box<[AtomicBool]>,
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
            let count = if let Topics::Tags(topics) = &topics { topics.len() } else { 1 };
            // Of a gateway that ran before, or of what was there before a reload.
            let retained = (0..count).map(|_| AtomicBool::new(template.retain)).collect();
            let (form, retain, profile) = (template.payload, template.retain, profile.to_owned());
            Some(Way { form, retain, topics, retained, profile })
        };
        StreamTopics { ways: templates.filter_map(way).collect() }
    }

    /// Whether no template is for the stream.
    pub fn is_empty(&self) -> bool {
        self.ways.is_empty()
    }

    /// Gives every message of a row to `each`. A row of the past goes only where it cannot be taken for the present, and what takes away what is
    /// retained only where something may be.
    pub fn messages(&self, row: &Row, past: bool, mut each: impl FnMut(Message)) {
        let time = time_of(row, past);
        for way in self.ways.iter().filter(|way| !past || way.dates()) {
            way.messages(row, Telling { past, time }, &mut |at, dispatch: Dispatch| {
                if way.changes(at, &dispatch) {
                    each(dispatch.message);
                }
            });
        }
    }

    /// Gives every message of a row to `each` for somebody who is to get all rows, of whatever time and in whatever order. `past`: it is
    /// not of now.
    pub fn dispatches(&self, row: &Row, past: bool, mut each: impl FnMut(Dispatch)) {
        for way in self.ways.iter() {
            way.messages(row, Telling { past, time: row.time }, &mut |_, dispatch: Dispatch| {
                let could_be_of_now = past && way.form == PayloadForm::Value;
                let dispatch = Dispatch { only_retained: dispatch.only_retained || could_be_of_now, ..dispatch };
                if dispatch.message.retain || !dispatch.only_retained {
                    each(dispatch);
                }
            });
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

/// How a row is told.
#[derive(Debug, Clone, Copy)]
struct Telling {
    /// Whether it is said not to be of now, where the form has a word for that.
    past: bool,
    /// Its time, where the form has only one.
    time: Timestamp,
}

impl Way {
    /// Whether a message cannot be taken for one of now by those who come later or do not look at its time.
    fn dates(&self) -> bool {
        !self.retain && self.form != PayloadForm::Value
    }

    /// Whether a message to the topic in that place says something, or takes something away.
    fn changes(&self, at: usize, dispatch: &Dispatch) -> bool {
        let retained = self.retained.get(at).filter(|_| self.retain);
        let before = retained.is_none_or(|retained| retained.swap(!dispatch.message.payload.is_empty(), Relaxed));
        before || !dispatch.only_retained
    }

    fn messages(&self, row: &Row, telling: Telling, each: &mut impl FnMut(usize, Dispatch)) {
        match &self.topics {
            Topics::Row(topic) => self.row(topic, row, telling, each),
            Topics::Tags(topics) => {
                let samples = row.stream.columns().iter().zip(&row.slots);
                for ((at, topic), sample) in topics.iter().enumerate().zip(samples) {
                    self.tag((at, topic), row, sample, telling, each);
                }
            }
        }
    }

    fn row(&self, topic: &Bytes, row: &Row, telling: Telling, each: &mut impl FnMut(usize, Dispatch)) {
        let mut payload = Vec::new();
        let some = row.stream.columns().iter().zip(&row.slots);
        let says = payload::row(self.form, row, some, &self.profile, (telling.past, telling.time), &mut payload);
        if says || row.slots.iter().any(|slot| *slot != Slot::Unchanged) {
            self.dispatch((0, topic), payload, says, row.slots.len(), each);
        }
    }

    fn tag(
        &self,
        topic: (usize, &Bytes),
        row: &Row,
        (column, slot): (&Column, &Slot),
        Telling { time, .. }: Telling,
        each: &mut impl FnMut(usize, Dispatch),
    ) {
        if *slot == Slot::Unchanged {
            return;
        }
        let (mut payload, alone) = (Vec::new(), [(column, slot)].into_iter());
        let says = match self.form {
            PayloadForm::Tidegate => payload::sample(slot, row.time, column, &mut payload),
            PayloadForm::Value => payload::value_alone(slot, &mut payload),
            PayloadForm::Umh => umh::sample(slot, time, &mut payload),
            PayloadForm::Neuron => neuron::row(row, alone, time, &mut payload),
            PayloadForm::EdgeX => edgex::row(row, alone, &self.profile, time, &mut payload),
        };
        self.dispatch(topic, payload, says, 1, each);
    }

    /// Gives a message to `each`; one that says nothing takes away what is retained, which must not outlive its values.
    fn dispatch(
        &self,
        (at, topic): (usize, &Bytes),
        payload: Vec<u8>,
        says: bool,
        values: usize,
        each: &mut impl FnMut(usize, Dispatch),
    ) {
        if says || self.retain {
            let message = Message { topic: topic.clone(), payload: payload.into(), retain: self.retain };
            each(at, Dispatch { message, values, only_retained: !says });
        }
    }
}

/// The time of a row for a form that has only one: when its values were so.
fn time_of(row: &Row, past: bool) -> Timestamp {
    row.device_time.filter(|_| past).unwrap_or(row.time)
}
