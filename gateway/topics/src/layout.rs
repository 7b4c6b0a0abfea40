//! What a site says about topics, ready to be asked for streams.

use std::collections::HashMap;

use tidegate_config::{Filling, HomeAssistant, Location, Site, TopicTemplate};
use tidegate_model::{Column, Name};

use crate::stream::StreamTopics;

/// What a site says about topics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    root: String,
    gateway: String,
    templates: Vec<TopicTemplate>,
    home_assistant: Option<HomeAssistant>,
    devices: HashMap<Name, Facts>,
    /// Of devices that the site does not have any more; their rows may still be on their way.
    gone: Facts,
}

/// What topics say of a device beside its name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    pub(crate) location: Location,
    pub(crate) link: String,
    pub(crate) profile: String,
}

impl Layout {
    /// The layout of a checked site.
    pub fn new(site: &Site) -> Layout {
        let here = &site.gateway.location;
        let devices = site.links.iter().flat_map(|link| {
            link.devices.iter().map(|device| {
                let location = device.location.or(here);
                let facts = Facts { location, link: link.name.to_string(), profile: device.profile.path.clone() };
                (device.name.clone(), facts)
            })
        });
        Layout {
            root: site.broker.topic_root.clone(),
            gateway: site.gateway.id.to_string(),
            templates: site.topics.templates.clone(),
            home_assistant: site.topics.home_assistant.clone(),
            devices: devices.collect(),
            gone: Facts { location: here.clone(), link: "gone".to_owned(), profile: "gone".to_owned() },
        }
    }

    /// A layout of these templates alone, over no devices.
    pub fn with_templates(templates: Vec<TopicTemplate>) -> Layout {
        Layout { templates, ..Layout::default() }
    }

    /// The topics of one stream, by the templates of which `wanted` is true.
    pub fn stream(
        &self,
        device: &Name,
        group: &Name,
        columns: &[Column],
        wanted: impl Fn(&TopicTemplate) -> bool,
    ) -> StreamTopics {
        let facts = self.devices.get(device).unwrap_or(&self.gone);
        let filling = Filling {
            root: &self.root,
            gateway: &self.gateway,
            location: &facts.location,
            link: &facts.link,
            device: device.as_str(),
            group: group.as_str(),
            tag: "",
        };
        let templates = self.templates.iter().filter(|template| template.is_for(device, group) && wanted(template));
        StreamTopics::new(templates, &filling, columns, &facts.profile)
    }

    /// What is to appear in Home Assistant.
    pub fn home_assistant(&self) -> Option<&HomeAssistant> {
        self.home_assistant.as_ref()
    }

    /// What the layout says of one device, as text: when that is another one, its topics may be others.
    pub fn fingerprint(&self, device: &Name) -> String {
        format!("{:?}{:?}{:?}", self.devices.get(device), self.templates, self.home_assistant)
    }
}
