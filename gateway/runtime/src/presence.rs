//! What is retained on the local broker about a device beside its state, its tags and its alarms: the topics of the site's
//! templates, and what Home Assistant is told.

use std::collections::HashSet;

use bytes::Bytes;
use tidegate_topics::{Discovery, Entity, Layout, Message, StreamTopics, discovery};

use crate::{assembly::AssembledDevice, outputs::Outputs};

/// What is retained about a device.
#[derive(Debug)]
pub(crate) struct Presence {
    /// By group.
    topics: Vec<StreamTopics>,
    announced: Vec<Bytes>,
}

impl Presence {
    /// Tells Home Assistant about a device, if the site wants that, and notes what is retained about it from now on.
    pub(crate) fn begin(
        device: &AssembledDevice,
        topics: Vec<StreamTopics>,
        layout: &Layout,
        outputs: &Outputs,
    ) -> Presence {
        let messages = announcements(device, layout, outputs);
        let announced = messages.iter().map(|message| message.topic.clone()).collect();
        for Message { topic, payload, retain } in messages {
            outputs.publisher.publish(topic, payload, retain);
        }
        Presence { topics, announced }
    }

    /// Every topic that may have something retained.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &Bytes> {
        self.topics.iter().flat_map(StreamTopics::retained).chain(&self.announced)
    }
}

/// Takes what was retained about devices that are `gone` off the local broker, but for what is `kept` about others.
pub(crate) fn forget<'a>(
    gone: impl Iterator<Item = &'a Presence>,
    kept: impl Iterator<Item = &'a Presence>,
    outputs: &Outputs,
) {
    let mut gone = gone.flat_map(Presence::topics).peekable();
    if gone.peek().is_none() {
        return;
    }
    let kept: HashSet<&Bytes> = kept.flat_map(Presence::topics).collect();
    gone.filter(|topic| !kept.contains(topic)).for_each(|topic| outputs.forget_topic(topic));
}

fn announcements(device: &AssembledDevice, layout: &Layout, outputs: &Outputs) -> Vec<Message> {
    let Some(wanted) = layout.home_assistant().filter(|wanted| wanted.is_for(&device.name)) else { return Vec::new() };
    let about = Discovery {
        prefix: &wanted.prefix,
        own: outputs.topics.prefix(),
        gateway: &outputs.gateway,
        device: &device.name,
        manufacturer: &device.profile.manufacturer,
        model: &device.profile.model,
        version: outputs.version,
    };
    // What comes and goes is an alarm, not a value that somebody can look at.
    let groups = device.groups.iter().filter(|group| group.alarm.is_none());
    let tags = groups.flat_map(|group| group.info.tags.iter()).filter(|tag| !tag.takes_arguments);
    let entities = tags.map(|tag| Entity {
        name: &tag.name,
        value_type: tag.value_type,
        unit: tag.unit.as_deref(),
        access: tag.access,
        minimum: tag.minimum,
        maximum: tag.maximum,
        texts: tag.texts.as_deref(),
    });
    entities.filter_map(|entity| discovery(&about, &entity)).collect()
}
