//! Names of gateways, links, devices, groups, targets and tags.
//!
//! A name becomes a level of an MQTT topic, a label of a metric and a file name, so its alphabet is small.

use std::{fmt, str::FromStr, sync::Arc};

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text has no character.
    #[error("a name needs at least one character")]
    Empty,
    /// The text is longer than `limit` characters.
    #[error("a name has at most {limit} characters, this one has {length}")]
    TooLong {
        /// Characters found.
        length: usize,
        /// Characters allowed.
        limit: usize,
    },
    /// The text has a character that may not stand in a name.
    #[error("{character:?} may not stand in a name; allowed are {allowed}")]
    Character {
        /// The first offending character.
        character: char,
        /// The alphabet, for the message.
        allowed: &'static str,
    },
}

/// The name of a gateway, link, device, group or target: `[A-Za-z0-9_-]{1,64}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// The name of a tag: `[A-Za-z0-9_.-]{1,128}`; dots separate the fields of a structure (`axis.position.x`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TagName(Arc<str>);

fn check(text: &str, limit: usize, dots: bool) -> Result<Arc<str>, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || (dots && c == '.');
    if let Some(character) = text.chars().find(|c| !allowed(*c)) {
        let allowed = if dots { "letters, digits, '_', '-' and '.'" } else { "letters, digits, '_' and '-'" };
        return Err(NameError::Character { character, allowed });
    }
    if text.len() > limit {
        return Err(NameError::TooLong { length: text.len(), limit });
    }
    Ok(text.into())
}

macro_rules! name_traits {
    ($name:ident, $limit:literal, $dots:literal) => {
        impl $name {
            /// A stand-in for a name that could not be read, so that the rest of a configuration can still be checked.
            pub fn placeholder() -> Self {
                Self("unnamed".into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text, $limit, $dots).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name_traits!(Name, 64, false);
name_traits!(TagName, 128, true);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_letters_digits_underscores_and_dashes() {
        assert_eq!("line-3_A".parse::<Name>().map(|n| n.to_string()), Ok("line-3_A".to_owned()));
    }

    #[test]
    fn a_name_that_would_break_a_topic_is_refused() {
        for text in ["a/b", "a+b", "a#", "é", "a b", "a.b", "$SYS"] {
            assert!(matches!(text.parse::<Name>(), Err(NameError::Character { .. })), "{text}");
        }
        assert_eq!("".parse::<Name>(), Err(NameError::Empty));
        assert_eq!("x".repeat(65).parse::<Name>(), Err(NameError::TooLong { length: 65, limit: 64 }));
    }

    #[test]
    fn a_tag_name_may_have_dots() {
        assert!("axis.position.x".parse::<TagName>().is_ok());
        assert!("axis/position".parse::<TagName>().is_err());
    }
}
