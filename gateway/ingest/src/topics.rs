//! The topics of blocks and schemas. Pure.

use tidegate_codec::block::SchemaId;
use tidegate_model::Name;

/// The topics below one root.
#[derive(Debug, Clone)]
pub(crate) struct Topics {
    root: String,
    share: Option<String>,
}

/// What is published on a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Blocks.
    Block,
    /// The schema with this identity.
    Schema(SchemaId),
}

impl Topics {
    /// The topics below `root`; blocks are shared by the ingests of the group `share`.
    pub(crate) fn new(root: &str, share: Option<&str>) -> Topics {
        Topics { root: root.to_owned(), share: share.map(str::to_owned) }
    }

    /// What to subscribe to for the blocks.
    pub(crate) fn blocks(&self) -> String {
        let Topics { root, share } = self;
        match share {
            Some(share) => format!("$share/{share}/{root}/+/block"),
            None => format!("{root}/+/block"),
        }
    }

    /// What to subscribe to for the schemas: every ingest needs all of them.
    pub(crate) fn schemas(&self) -> String {
        format!("{}/+/schema/+", self.root)
    }

    /// The topic of one schema.
    pub(crate) fn schema(&self, gateway: &Name, id: SchemaId) -> String {
        format!("{}/{gateway}/schema/{id}", self.root)
    }

    /// Whose topic it is, and what is on it. `None` when it is none of ours.
    pub(crate) fn read(&self, topic: &[u8]) -> Option<(Name, Kind)> {
        let rest = std::str::from_utf8(topic).ok()?.strip_prefix(&self.root)?.strip_prefix('/')?;
        let mut levels = rest.split('/');
        let gateway = levels.next()?.parse().ok()?;
        match (levels.next()?, levels.next(), levels.next()) {
            ("block", None, None) => Some((gateway, Kind::Block)),
            ("schema", Some(id), None) => Some((gateway, Kind::Schema(id.parse().ok()?))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_blocks_are_shared() {
        let topics = Topics::new("plant/tide", Some("writers"));
        assert_eq!(topics.blocks(), "$share/writers/plant/tide/+/block");
        assert_eq!(topics.schemas(), "plant/tide/+/schema/+");
        assert_eq!(Topics::new("tidegate", None).blocks(), "tidegate/+/block");
    }

    #[test]
    fn topics_say_whose_they_are() {
        let topics = Topics::new("plant/tide", None);
        let line3: Name = "line3".parse().unwrap();
        assert_eq!(topics.read(b"plant/tide/line3/block"), Some((line3.clone(), Kind::Block)));
        let id = SchemaId(0xab);
        let topic = topics.schema(&line3, id);
        assert_eq!(topic, "plant/tide/line3/schema/000000ab");
        assert_eq!(topics.read(topic.as_bytes()), Some((line3, Kind::Schema(id))));
        for topic in [
            "plant/tide/line 3/block",
            "plant/tide/line3",
            "plant/tide/line3/blocks",
            "plant/tide/line3/block/1",
            "plant/tide/line3/schema",
            "plant/tide/line3/schema/AB",
            "plant/tides/line3/block",
            "tide/line3/block",
        ] {
            assert_eq!(topics.read(topic.as_bytes()), None, "{topic}");
        }
        assert_eq!(topics.read(b"plant/tide/\xff/block"), None);
    }
}
