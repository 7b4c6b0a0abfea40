//! Topics, and the ids in them.

use std::{fmt, str::FromStr, sync::Arc};

/// The first level of every topic. Source: Sparkplug 3.0.0 §4.1.1.
pub const NAMESPACE: &str = "spBv1.0";
/// Bytes of an id, at most.
const LONGEST: usize = 256;

/// Id of a group, an edge node, a device or a host: a text that is one level of a topic.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(Arc<str>);

/// Why a text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// It is empty.
    #[error("an id needs at least one character")]
    Empty,
    /// It is longer than 256 bytes.
    #[error("an id has at most {LONGEST} bytes")]
    TooLong,
    /// It has a character that would be something else in a topic.
    #[error("{0:?} may not stand in an id; all but '+', '/', '#' and control characters may")]
    Character(char),
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Id, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() > LONGEST {
            return Err(IdError::TooLong);
        }
        match text.chars().find(|character| matches!(character, '+' | '/' | '#') || character.is_control()) {
            Some(character) => Err(IdError::Character(character)),
            None => Ok(Id(text.into())),
        }
    }
}

impl Id {
    /// The id as a text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl std::borrow::Borrow<str> for Id {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// It says what there is.
    Birth,
    /// It says that it is gone.
    Death,
    /// It says what has changed.
    Data,
    /// It says what is to be changed.
    Command,
}

/// A topic of Sparkplug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic<'a> {
    /// Of an edge node: `NBIRTH`, `NDEATH`, `NDATA`, `NCMD`.
    Node {
        /// What it is about.
        verb: Verb,
        /// The group.
        group: &'a str,
        /// The edge node.
        node: &'a str,
    },
    /// Of a device of an edge node: `DBIRTH`, `DDEATH`, `DDATA`, `DCMD`.
    Device {
        /// What it is about.
        verb: Verb,
        /// The group.
        group: &'a str,
        /// The edge node.
        node: &'a str,
        /// The device.
        device: &'a str,
    },
    /// Of a host application: `STATE`.
    State {
        /// The host.
        host: &'a str,
    },
}

impl<'a> Topic<'a> {
    /// Reads a topic; `None` when it is none of Sparkplug B, or has too many levels or too few.
    pub fn parse(text: &'a str) -> Option<Topic<'a>> {
        let mut levels = text.split('/');
        if levels.next()? != NAMESPACE {
            return None;
        }
        let first = levels.next()?;
        let second = levels.next()?;
        let third = levels.next();
        let fourth = levels.next();
        if levels.next().is_some() || [Some(first), Some(second), third, fourth].contains(&Some("")) {
            return None;
        }
        if first == "STATE" && third.is_none() {
            return Some(Topic::State { host: second });
        }
        let (group, node) = (first, third?);
        let (of, verb) = second.split_at_checked(1)?;
        let verb = match verb {
            "BIRTH" => Verb::Birth,
            "DEATH" => Verb::Death,
            "DATA" => Verb::Data,
            "CMD" => Verb::Command,
            _ => return None,
        };
        match (of, fourth) {
            ("N", None) => Some(Topic::Node { verb, group, node }),
            ("D", Some(device)) => Some(Topic::Device { verb, group, node, device }),
            _ => None,
        }
    }
}

impl fmt::Display for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topic::Node { verb, group, node } => write!(f, "{NAMESPACE}/{group}/N{verb}/{node}"),
            Topic::Device { verb, group, node, device } => write!(f, "{NAMESPACE}/{group}/D{verb}/{node}/{device}"),
            Topic::State { host } => write!(f, "{NAMESPACE}/STATE/{host}"),
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verb::Birth => "BIRTH",
            Verb::Death => "DEATH",
            Verb::Data => "DATA",
            Verb::Command => "CMD",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_comes_back_from_its_text() {
        for verb in [Verb::Birth, Verb::Death, Verb::Data, Verb::Command] {
            let node = Topic::Node { verb, group: "plant", node: "line3" };
            let device = Topic::Device { verb, group: "plant", node: "line3", device: "meter 1" };
            for topic in [node, device] {
                assert_eq!(Topic::parse(&topic.to_string()), Some(topic));
            }
        }
        let state = Topic::State { host: "scada" };
        assert_eq!(state.to_string(), "spBv1.0/STATE/scada");
        assert_eq!(Topic::parse("spBv1.0/STATE/scada"), Some(state));
        let birth = Topic::Node { verb: Verb::Birth, group: "plant", node: "line3" };
        assert_eq!(birth.to_string(), "spBv1.0/plant/NBIRTH/line3");
        let data = Topic::Device { verb: Verb::Data, group: "plant", node: "line3", device: "meter-1" };
        assert_eq!(data.to_string(), "spBv1.0/plant/DDATA/line3/meter-1");
    }

    #[test]
    fn a_topic_has_a_device_where_it_is_about_one_and_nowhere_else() {
        for text in [
            "spBv1.0/plant/NBIRTH/line3/meter-1",
            "spBv1.0/plant/DBIRTH/line3",
            "spBv1.0/plant/NDATA",
            "spBv1.0/plant/DDATA/line3/meter/1",
            "spBv1.0/plant/XDATA/line3",
            "spBv1.0/plant/NSTATE/line3",
            "spBv1.0/plant//line3",
            "spBv1.0//NBIRTH/line3",
            "spBv1.0/plant/NBIRTH/",
            "spBv1.0/STATE/",
            "spBv1.0/STATE",
            "spAv1.0/plant/NBIRTH/line3",
            "STATE/scada",
            "",
        ] {
            assert_eq!(Topic::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_id_is_any_text_that_is_one_level_of_a_topic() {
        for text in ["line 3", "Größe", "a.b:c", "$x"] {
            assert!(text.parse::<Id>().is_ok(), "{text}");
        }
        for (text, character) in [("a+b", '+'), ("a/b", '/'), ("a#", '#'), ("a\0", '\0'), ("a\n", '\n')] {
            assert_eq!(text.parse::<Id>(), Err(IdError::Character(character)));
        }
        assert_eq!("".parse::<Id>(), Err(IdError::Empty));
        assert_eq!("x".repeat(257).parse::<Id>(), Err(IdError::TooLong));
    }
}
