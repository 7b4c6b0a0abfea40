//! The topics of blocks, schemas and rows. Pure.

use tidegate_codec::block::SchemaId;
use tidegate_model::Name;

use crate::{Format, json::Group};

/// The topics below one root.
#[derive(Debug, Clone)]
pub(crate) struct Topics {
    root: String,
    format: Format,
    share: Option<String>,
}

/// What is published on a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Blocks.
    Block,
    /// The schema with this identity.
    Schema(SchemaId),
    /// Rows of a group as JSON.
    Rows(Group),
    /// Gap records of a group as JSON.
    Gaps(Group),
}

impl Topics {
    /// The topics below `root` of what is published in this format; blocks and rows are shared by the ingests of the group `share`.
    pub(crate) fn new(root: &str, format: Format, share: Option<&str>) -> Topics {
        Topics { root: root.to_owned(), format, share: share.map(str::to_owned) }
    }

    /// What to subscribe to for what is acknowledged: blocks, or rows and gap records.
    pub(crate) fn counted(&self) -> Vec<String> {
        let share = self.share.as_ref().map(|share| format!("$share/{share}/")).unwrap_or_default();
        let below: &[&str] = match self.format {
            Format::Block => &["block"],
            Format::Json => &["+/data/+", "+/gap/+"],
            // Its host subscribes to what it wants itself.
            Format::SparkplugB => &[],
        };
        below.iter().map(|below| format!("{share}{}/+/{below}", self.root)).collect()
    }

    /// What to subscribe to for the schemas, if there are any: every ingest needs all of them.
    pub(crate) fn schemas(&self) -> Option<String> {
        (self.format == Format::Block).then(|| format!("{}/+/schema/+", self.root))
    }

    /// The topic of one schema.
    pub(crate) fn schema(&self, gateway: &Name, id: SchemaId) -> String {
        format!("{}/{gateway}/schema/{id}", self.root)
    }

    /// Whose topic it is, and what is on it. `None` when it is none of ours.
    pub(crate) fn read(&self, topic: &[u8]) -> Option<(Name, Kind)> {
        let rest = std::str::from_utf8(topic).ok()?.strip_prefix(&self.root)?.strip_prefix('/')?;
        let mut levels = rest.split('/');
        let gateway: Name = levels.next()?.parse().ok()?;
        let kind = match (levels.next()?, levels.next(), levels.next(), levels.next()) {
            ("block", None, None, None) => Kind::Block,
            ("schema", Some(id), None, None) => Kind::Schema(id.parse().ok()?),
            (device, Some(kind @ ("data" | "gap")), Some(group), None) => {
                let (device, group) = (device.parse().ok()?, group.parse().ok()?);
                let group = Group { gateway: gateway.clone(), device, group };
                if kind == "data" { Kind::Rows(group) } else { Kind::Gaps(group) }
            }
            _ => return None,
        };
        Some((gateway, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_schemas_are_shared() {
        let topics = Topics::new("plant/tide", Format::Block, Some("writers"));
        assert_eq!(topics.counted(), ["$share/writers/plant/tide/+/block"]);
        assert_eq!(topics.schemas().as_deref(), Some("plant/tide/+/schema/+"));
        assert_eq!(Topics::new("tidegate", Format::Block, None).counted(), ["tidegate/+/block"]);
        let topics = Topics::new("tidegate", Format::Json, Some("writers"));
        assert_eq!(topics.counted(), ["$share/writers/tidegate/+/+/data/+", "$share/writers/tidegate/+/+/gap/+"]);
        assert_eq!(topics.schemas(), None);
    }

    #[test]
    fn topics_say_whose_they_are() {
        let topics = Topics::new("plant/tide", Format::Block, None);
        let line3: Name = "line3".parse().unwrap();
        assert_eq!(topics.read(b"plant/tide/line3/block"), Some((line3.clone(), Kind::Block)));
        let id = SchemaId(0xab);
        let topic = topics.schema(&line3, id);
        assert_eq!(topic, "plant/tide/line3/schema/000000ab");
        assert_eq!(topics.read(topic.as_bytes()), Some((line3.clone(), Kind::Schema(id))));
        let group = Group { gateway: line3.clone(), device: "block".parse().unwrap(), group: "fast".parse().unwrap() };
        assert_eq!(topics.read(b"plant/tide/line3/block/data/fast"), Some((line3.clone(), Kind::Rows(group.clone()))));
        assert_eq!(topics.read(b"plant/tide/line3/block/gap/fast"), Some((line3, Kind::Gaps(group))));
        for topic in [
            "plant/tide/line 3/block",
            "plant/tide/line3",
            "plant/tide/line3/blocks",
            "plant/tide/line3/block/1",
            "plant/tide/line3/schema",
            "plant/tide/line3/oven/data",
            "plant/tide/line3/oven/set/reply",
            "plant/tide/line3/oven/data/fast/1",
            "plant/tide/line3/schema/AB",
            "plant/tides/line3/block",
            "tide/line3/block",
        ] {
            assert_eq!(topics.read(topic.as_bytes()), None, "{topic}");
        }
        assert_eq!(topics.read(b"plant/tide/\xff/block"), None);
    }
}
