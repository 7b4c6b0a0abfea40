//! `[topics]`.

use tidegate_model::Name;

use super::{names::Names, section};
use crate::{
    At, Broker, Device, Filling, Gateway, HomeAssistant, Link, NamePattern, PayloadForm, Placeholder, Report, Table,
    TopicPattern, TopicTemplate, Topics, pattern::PatternMistake,
};

const DEFAULT_PREFIX: &str = "homeassistant";

/// A template with where its topic stands.
type Placed = At<TopicTemplate>;

/// Reads `[topics]`, and tries each template on the devices there are. The names are those of all templates, also of wrong ones.
pub(super) fn topics(
    root: &Table,
    gateway: &Gateway,
    broker: &Broker,
    links: &[Link],
    report: &mut Report,
) -> (Topics, Names) {
    let table = section(root, "topics", report);
    let mut names = Names::new("template");
    let tables = table.tables("template", "topics.template", report);
    let templates: Vec<Placed> = tables.into_iter().filter_map(|table| template(table, &mut names, report)).collect();
    for template in &templates {
        try_out(template, gateway, broker, links, report);
    }
    let home_assistant = table.table("home_assistant", "topics.home_assistant", report);
    let home_assistant = home_assistant.map(|table| home_assistant_of(&table, broker, report));
    table.finish(report);
    (Topics { templates: templates.into_iter().map(|template| template.value).collect(), home_assistant }, names)
}

fn template(table: Table, names: &mut Names, report: &mut Report) -> Option<Placed> {
    let name = table.require::<Name>("name", "\"uns\"", report);
    if let Some(name) = &name {
        names.add(name, report);
    }
    let path = name.as_ref().map_or("", |name| name.as_str());
    let table = table.named("topics.template", format!("topics.template.{path}"));
    let example = "\"{enterprise}/{site}/{area}/{line}/{cell}/{device}/{tag}\"";
    let topic = table.require::<String>("topic", example, report);
    let pattern = topic.as_ref().and_then(|topic| pattern(topic, report));
    let payload = table.choice("payload", &PayloadForm::ALL, report);
    let payload = payload.map_or(PayloadForm::Tidegate, |payload| payload.value);
    let retain = table.take_or("retain", false, report).value;
    let devices = patterns(&table, "devices", report);
    let groups = patterns(&table, "groups", report);
    table.finish(report);
    let (topic, pattern) = (topic?, pattern?);
    check_form(&topic, &pattern, payload, report);
    let template = TopicTemplate { name: name?.value, topic: pattern, payload, retain, devices, groups };
    Some(At { value: template, origin: topic.origin })
}

fn pattern(topic: &At<String>, report: &mut Report) -> Option<TopicPattern> {
    match TopicPattern::parse(topic) {
        Ok(pattern) => Some(pattern),
        Err(PatternMistake::Unknown(word)) => {
            let words = Placeholder::ALL.map(|(word, _)| word);
            report.unknown_word(&topic.origin, "placeholder", &word, &words);
            None
        }
        Err(PatternMistake::Wrong(why)) => {
            let help = "topics look like \"{enterprise}/{site}/{line}/{device}/{tag}\"".to_owned();
            report.error(&topic.origin, format!("`topic` {why}"), Some(help));
            None
        }
    }
}

/// What a message does not say has to be in its topic.
fn check_form(topic: &At<String>, pattern: &TopicPattern, payload: PayloadForm, report: &mut Report) {
    if payload == PayloadForm::Value && !pattern.is_for_tags() {
        let help = "put `{tag}` into `topic`, or take another `payload`".to_owned();
        report.error(&topic.origin, "a value alone does not say of which tag it is".to_owned(), Some(help));
    }
    if !payload.names_device() && !pattern.has(Placeholder::Device) {
        let help = "put `{device}` into `topic`, or take another `payload`".to_owned();
        let message = "neither the topic nor such a message says of which device it is".to_owned();
        report.error(&topic.origin, message, Some(help));
    }
}

fn patterns(table: &Table, key: &'static str, report: &mut Report) -> Vec<NamePattern> {
    let found: Option<At<Vec<At<String>>>> = table.take(key, report);
    let found = found.map(|found| found.value).unwrap_or_default();
    found.into_iter().map(|pattern| NamePattern(pattern.value)).collect()
}

/// Fills a template in for every device it is for, to find what could not be published.
fn try_out(template: &Placed, gateway: &Gateway, broker: &Broker, links: &[Link], report: &mut Report) {
    let own = format!("{}/{}/", broker.topic_root, gateway.id);
    let mut devices = links.iter().flat_map(|link| link.devices.iter().map(move |device| (link, device))).peekable();
    if devices.peek().is_none() {
        return;
    }
    let mut is_for_any = false;
    for (link, device) in devices {
        let Some(group) = device.profile.groups.iter().find(|group| template.is_for(&device.name, &group.name)) else {
            continue;
        };
        is_for_any = true;
        let filling = Filling {
            root: &broker.topic_root,
            gateway: gateway.id.as_str(),
            location: &device.location.or(&gateway.location),
            link: link.name.as_str(),
            device: device.name.as_str(),
            group: group.name.as_str(),
            tag: "tag",
        };
        if let Some((message, help)) = mistake(template, &filling, &own, device) {
            // One is enough: the next device has the same.
            return report.error(&template.origin, message, Some(help));
        }
    }
    if !is_for_any && !report.is_incomplete() {
        let message = format!("template \"{}\" is for no group of any device", template.name);
        report.warning(&template.origin, message, Some("look at its `devices` and `groups`".to_owned()));
    }
}

fn mistake(template: &TopicTemplate, filling: &Filling<'_>, own: &str, device: &Device) -> Option<(String, String)> {
    match template.topic.fill(filling) {
        Err(word) => Some((
            format!("`{{{word}}}` has no value for device \"{}\"", device.name),
            format!("add `{word}` to `[gateway.location]` or to the device's `location`"),
        )),
        Ok(topic) if topic.starts_with(own) => Some((
            format!("{topic} is among the gateway's own topics"),
            format!("let `topic` begin with something other than {own}"),
        )),
        Ok(topic) if topic.is_empty() || topic.starts_with('$') => Some((
            format!("the topic of device \"{}\" would be \"{topic}\"", device.name),
            "let `topic` begin with a word".to_owned(),
        )),
        Ok(_) => None,
    }
}

fn home_assistant_of(table: &Table, broker: &Broker, report: &mut Report) -> HomeAssistant {
    let table = table.clone().named("topics.home_assistant", "topics.home_assistant");
    let prefix = table.take_or("prefix", DEFAULT_PREFIX.to_owned(), report);
    if prefix.is_empty() || prefix.contains(['+', '#']) || prefix.split('/').any(str::is_empty) {
        let help = "Home Assistant listens to \"homeassistant\" unless told otherwise".to_owned();
        report.error(&prefix.origin, "`prefix` is not the beginning of a topic".to_owned(), Some(help));
    }
    if !broker.tag_topics {
        let message = "Home Assistant reads the topics of the tags, and there are none".to_owned();
        report.missing(table.origin(), message, Some("add `tag_topics = true` to `[broker]`".to_owned()));
    }
    let devices = patterns(&table, "devices", report);
    table.finish(report);
    HomeAssistant { prefix: prefix.value, devices }
}
