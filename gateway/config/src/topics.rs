//! What a site says about topics beside those that every gateway has.

use tidegate_model::Name;

use crate::{NamePattern, TopicPattern};

/// Where something stands, by the levels of ISA-95; a level that nobody has named is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Location {
    /// The company.
    pub enterprise: Option<String>,
    /// The plant.
    pub site: Option<String>,
    /// The hall or department.
    pub area: Option<String>,
    /// The line.
    pub line: Option<String>,
    /// The cell of the line.
    pub cell: Option<String>,
}

impl Location {
    /// This location, with the levels that it does not name from another one.
    pub fn or(&self, other: &Location) -> Location {
        let either = |own: &Option<String>, other: &Option<String>| own.clone().or_else(|| other.clone());
        Location {
            enterprise: either(&self.enterprise, &other.enterprise),
            site: either(&self.site, &other.site),
            area: either(&self.area, &other.area),
            line: either(&self.line, &other.line),
            cell: either(&self.cell, &other.cell),
        }
    }
}

/// `[topics]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topics {
    /// `[[topics.template]]`.
    pub templates: Vec<TopicTemplate>,
    /// `[topics.home_assistant]`.
    pub home_assistant: Option<HomeAssistant>,
}

/// `[[topics.template]]`: rows once more, under other topics and in another form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicTemplate {
    /// The template.
    pub name: Name,
    /// The topics.
    pub topic: TopicPattern,
    /// What the messages are.
    pub payload: PayloadForm,
    /// Whether the last message of each topic is kept for those who come later.
    pub retain: bool,
    /// Whose rows; those of all devices when empty.
    pub devices: Vec<NamePattern>,
    /// Of which groups; of all when empty.
    pub groups: Vec<NamePattern>,
}

impl TopicTemplate {
    /// A template for the rows of all devices in the gateway's own form, retaining nothing. `None` when `topic` is no pattern of a topic.
    pub fn new(name: Name, topic: &str) -> Option<TopicTemplate> {
        let topic = TopicPattern::parse(topic).ok()?;
        let (devices, groups) = (Vec::new(), Vec::new());
        Some(TopicTemplate { name, topic, payload: PayloadForm::Tidegate, retain: false, devices, groups })
    }

    /// Whether the rows of this group are meant.
    pub fn is_for(&self, device: &Name, group: &Name) -> bool {
        let fits = |patterns: &[NamePattern], name: &Name| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.fits(name.as_str()))
        };
        fits(&self.devices, device) && fits(&self.groups, group)
    }
}

/// `payload`: what the messages of a template are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadForm {
    /// The gateway's own: rows, or samples where there is a topic for each tag.
    Tidegate,
    /// The value alone.
    Value,
    /// That of the United Manufacturing Hub.
    Umh,
    /// The values format of Neuron.
    Neuron,
    /// Events of EdgeX.
    EdgeX,
}

impl PayloadForm {
    /// Every form with its word in the file.
    pub(crate) const ALL: [(&'static str, PayloadForm); 5] = [
        ("tidegate", PayloadForm::Tidegate),
        ("value", PayloadForm::Value),
        ("umh", PayloadForm::Umh),
        ("neuron", PayloadForm::Neuron),
        ("edgex", PayloadForm::EdgeX),
    ];

    /// Whether a message says which device it is from.
    pub fn names_device(self) -> bool {
        matches!(self, PayloadForm::Neuron | PayloadForm::EdgeX)
    }
}

/// `[topics.home_assistant]`: tags appear in Home Assistant by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeAssistant {
    /// What the topics begin with that Home Assistant listens to.
    pub prefix: String,
    /// Which devices; all when empty.
    pub devices: Vec<NamePattern>,
}

impl HomeAssistant {
    /// Whether this device is to appear.
    pub fn is_for(&self, device: &Name) -> bool {
        self.devices.is_empty() || self.devices.iter().any(|pattern| pattern.fits(device.as_str()))
    }
}
