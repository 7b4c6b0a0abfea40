//! Topics and names with a part that is filled in later.

use crate::Location;

/// A topic with placeholders: `{enterprise}/{site}/{device}/{tag}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPattern {
    levels: Vec<Vec<Piece>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Placeholder),
}

/// What a placeholder of a topic stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// `{root}`: what the topics of the gateway begin with.
    Root,
    /// `{gateway}`: the gateway's id.
    Gateway,
    /// `{enterprise}` of the location.
    Enterprise,
    /// `{site}` of the location.
    Site,
    /// `{area}` of the location.
    Area,
    /// `{line}` of the location.
    Line,
    /// `{cell}` of the location.
    Cell,
    /// `{link}`: the device's link.
    Link,
    /// `{device}`.
    Device,
    /// `{group}`.
    Group,
    /// `{tag}`: the tag's name as it is.
    Tag,
    /// `{tag_path}`: the tag's name with a level for each of its parts (`axis/position/x`).
    TagPath,
}

/// Why a text is no [`TopicPattern`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PatternMistake {
    /// There is no placeholder of this name.
    Unknown(String),
    /// Anything else, as the end of a sentence that begins with the key.
    Wrong(&'static str),
}

/// What the placeholders of a topic are filled with.
#[derive(Debug, Clone, Copy)]
pub struct Filling<'a> {
    /// What the topics of the gateway begin with.
    pub root: &'a str,
    /// The gateway's id.
    pub gateway: &'a str,
    /// Where the device stands.
    pub location: &'a Location,
    /// The device's link.
    pub link: &'a str,
    /// The device.
    pub device: &'a str,
    /// The group.
    pub group: &'a str,
    /// The tag; empty in topics for whole groups.
    pub tag: &'a str,
}

impl Placeholder {
    /// Every placeholder with the word that stands for it.
    pub(crate) const ALL: [(&'static str, Placeholder); 12] = [
        ("root", Placeholder::Root),
        ("gateway", Placeholder::Gateway),
        ("enterprise", Placeholder::Enterprise),
        ("site", Placeholder::Site),
        ("area", Placeholder::Area),
        ("line", Placeholder::Line),
        ("cell", Placeholder::Cell),
        ("link", Placeholder::Link),
        ("device", Placeholder::Device),
        ("group", Placeholder::Group),
        ("tag", Placeholder::Tag),
        ("tag_path", Placeholder::TagPath),
    ];

    fn fill(self, filling: &Filling<'_>) -> Option<String> {
        let location = filling.location;
        let of_location = |level: &Option<String>| level.clone();
        match self {
            Placeholder::Root => Some(filling.root.to_owned()),
            Placeholder::Gateway => Some(filling.gateway.to_owned()),
            Placeholder::Enterprise => of_location(&location.enterprise),
            Placeholder::Site => of_location(&location.site),
            Placeholder::Area => of_location(&location.area),
            Placeholder::Line => of_location(&location.line),
            Placeholder::Cell => of_location(&location.cell),
            Placeholder::Link => Some(filling.link.to_owned()),
            Placeholder::Device => Some(filling.device.to_owned()),
            Placeholder::Group => Some(filling.group.to_owned()),
            Placeholder::Tag => Some(filling.tag.to_owned()),
            Placeholder::TagPath => Some(filling.tag.replace('.', "/")),
        }
    }
}

impl TopicPattern {
    /// Reads a pattern.
    pub(crate) fn parse(text: &str) -> Result<TopicPattern, PatternMistake> {
        let wrong = |why| Err(PatternMistake::Wrong(why));
        match () {
            () if text.is_empty() => return wrong("is empty"),
            () if text.len() > 1024 => return wrong("is too long"),
            () if text.contains(['+', '#']) => return wrong("has a wildcard"),
            () if text.starts_with('$') => return wrong("begins with `$`, which belongs to brokers"),
            () if text.chars().any(char::is_control) => return wrong("has a control character"),
            () if text.split('/').any(str::is_empty) => return wrong("has an empty level"),
            () => {}
        }
        let levels = text.split('/').map(level).collect::<Result<_, _>>()?;
        Ok(TopicPattern { levels })
    }

    /// Whether the placeholder is in it.
    pub fn has(&self, placeholder: Placeholder) -> bool {
        self.levels.iter().flatten().any(|piece| *piece == Piece::Place(placeholder))
    }

    /// Whether there is a topic for each tag; otherwise there is one for each group, or for several of them.
    pub fn is_for_tags(&self) -> bool {
        self.has(Placeholder::Tag) || self.has(Placeholder::TagPath)
    }

    /// The topic. A level that is nothing but a part of a location which nobody has named is left out.
    ///
    /// # Errors
    ///
    /// The word of a placeholder that has no value, and stands in a level with other characters.
    pub fn fill(&self, filling: &Filling<'_>) -> Result<String, &'static str> {
        let mut topic = String::new();
        for level in &self.levels {
            let alone = level.len() == 1;
            let mut text = String::new();
            let mut is_left_out = false;
            for piece in level {
                match piece {
                    Piece::Text(piece) => text.push_str(piece),
                    Piece::Place(place) => match place.fill(filling) {
                        Some(value) => text.push_str(&value),
                        None if alone => is_left_out = true,
                        None => return Err(word_of(*place)),
                    },
                }
            }
            if is_left_out {
                continue;
            }
            if !topic.is_empty() {
                topic.push('/');
            }
            topic.push_str(&text);
        }
        Ok(topic)
    }
}

fn word_of(place: Placeholder) -> &'static str {
    Placeholder::ALL.iter().find(|(_, other)| *other == place).map_or("", |(word, _)| word)
}

fn level(text: &str) -> Result<Vec<Piece>, PatternMistake> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(['{', '}']) {
        let (before, braced) = rest.split_at(start);
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let Some((word, after)) = braced.strip_prefix('{').and_then(|braced| braced.split_once('}')) else {
            return Err(PatternMistake::Wrong("has a brace without its other half"));
        };
        let place = Placeholder::ALL.iter().find(|(known, _)| *known == word);
        let place = place.ok_or_else(|| PatternMistake::Unknown(word.to_owned()))?;
        pieces.push(Piece::Place(place.1));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

/// A name, or several, with `*` for any characters: `press-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(pub(crate) String);

impl NamePattern {
    /// Whether the name is one of those meant.
    pub fn fits(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            let Some((_, after)) = rest.split_once(part) else { return false };
            rest = after;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filling<'a>(location: &'a Location) -> Filling<'a> {
        Filling {
            root: "tidegate",
            gateway: "line3",
            location,
            link: "hall",
            device: "oven-1",
            group: "fast",
            tag: "axis.position.x",
        }
    }

    #[test]
    fn placeholders_are_filled_and_levels_without_a_value_are_left_out() {
        let location = Location { enterprise: Some("acme".into()), line: Some("3".into()), ..Location::default() };
        let pattern = TopicPattern::parse("umh/v1/{enterprise}/{site}/{line}/_raw/{device}/{tag_path}").unwrap();
        assert!(pattern.is_for_tags());
        assert_eq!(pattern.fill(&filling(&location)).unwrap(), "umh/v1/acme/3/_raw/oven-1/axis/position/x");
        let pattern = TopicPattern::parse("{root}/{gateway}-{device}/{group}").unwrap();
        assert!(!pattern.is_for_tags());
        assert_eq!(pattern.fill(&filling(&location)).unwrap(), "tidegate/line3-oven-1/fast");
    }

    #[test]
    fn a_part_of_a_level_may_not_be_left_out() {
        let pattern = TopicPattern::parse("{site}-plant/{device}").unwrap();
        assert_eq!(pattern.fill(&filling(&Location::default())), Err("site"));
    }

    #[test]
    fn what_is_no_topic_is_refused() {
        for text in ["", "a//b", "/a", "a/+", "a/#", "$SYS/{device}", "a/{device", "a/device}", "a\n"] {
            assert!(matches!(TopicPattern::parse(text), Err(PatternMistake::Wrong(_))), "{text}");
        }
        assert_eq!(TopicPattern::parse("a/{devise}"), Err(PatternMistake::Unknown("devise".into())));
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        let fits = |pattern: &str, name: &str| NamePattern(pattern.to_owned()).fits(name);
        assert!(fits("*", "oven") && fits("oven", "oven") && fits("ov*", "oven") && fits("*en", "oven"));
        assert!(fits("o*e*", "oven") && fits("o*v*n", "oven") && fits("**", ""));
        assert!(!fits("oven", "oven-1") && !fits("ov*x", "oven") && !fits("", "oven") && !fits("*vex*", "oven"));
        assert!(!fits("ab*ba", "aba"), "a character counts once");
    }
}
