//! Where a tag is in the address space, from its keys `node` or `path`.

use std::str::FromStr;

use opcua::types::{ByteString, Guid, Identifier, UAString};

/// A namespace as a profile names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Namespace {
    /// By its index, which is the server's own business.
    Index(u16),
    /// By its name.
    Uri(String),
}

/// Where a tag is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Place {
    /// A node of its own name.
    Node(Namespace, Identifier),
    /// Browse names from the objects folder on.
    Path(Vec<(Namespace, String)>),
}

impl Place {
    /// From the key `node`: `nsu=urn:plant;s=T1`, `ns=2;i=5`, `i=2258`.
    pub(crate) fn of_node(text: &str) -> Option<Place> {
        let (namespace, identifier) = match text.rsplit_once(';') {
            Some((namespace, identifier)) => (namespace_of(namespace)?, identifier),
            None => (Namespace::Index(0), text),
        };
        let (kind, value) = identifier.split_once('=')?;
        let identifier = match kind {
            "i" => Identifier::Numeric(value.parse().ok()?),
            "s" => Identifier::String(UAString::from(value)),
            "g" => Identifier::Guid(Guid::from_str(value).ok()?),
            "b" => Identifier::ByteString(ByteString::from_base64(value)?),
            _ => return None,
        };
        Some(Place::Node(namespace, identifier))
    }

    /// From the key `path`: `/Objects/2:Plant/nsu=urn:plant;T1`.
    pub(crate) fn of_path(text: &str) -> Option<Place> {
        let mut names = names(text)?.into_iter().peekable();
        if names.peek().is_some_and(|(_, name)| name == "Objects") {
            names.next();
        }
        let names: Vec<(Namespace, String)> = names.collect();
        (!names.is_empty()).then_some(Place::Path(names))
    }

    /// Every namespace in it.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        let (one, many) = match self {
            Place::Node(namespace, _) => (Some(namespace), None),
            Place::Path(names) => (None, Some(names.iter().map(|(namespace, _)| namespace))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

fn namespace_of(text: &str) -> Option<Namespace> {
    match text.split_once('=')? {
        ("ns", index) => Some(Namespace::Index(index.parse().ok()?)),
        ("nsu", uri) => Some(Namespace::Uri(uri.to_owned())),
        _ => None,
    }
}

/// The browse names of a path; one without a namespace is in that of the one before.
fn names(text: &str) -> Option<Vec<(Namespace, String)>> {
    let mut names: Vec<(Namespace, String)> = Vec::new();
    let mut rest = text.strip_prefix('/').unwrap_or(text);
    loop {
        let before = names.last().map_or(Namespace::Index(0), |(namespace, _)| namespace.clone());
        let named = rest.starts_with("nsu=") || rest.starts_with("ns=");
        let (namespace, behind) = match (named, rest.split_once(':')) {
            (true, _) => rest.split_once(';').and_then(|(namespace, behind)| Some((namespace_of(namespace)?, behind)))?,
            (false, Some((index, behind))) if index.parse::<u16>().is_ok() => {
                (Namespace::Index(index.parse().unwrap_or_default()), behind)
            }
            (false, _) => (before, rest),
        };
        let (name, after) = name(behind);
        names.push((namespace, name));
        match after {
            Some(after) => rest = after,
            None => return Some(names),
        }
    }
}

/// A name up to the next slash, and what is behind that; `&` takes its meaning from the character behind it.
fn name(text: &str) -> (String, Option<&str>) {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '/' => return (name, text.get(place + 1..)),
            '&' => name.extend(characters.next().map(|(_, character)| character)),
            character => name.push(character),
        }
    }
    (name, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_uri_or_index() {
        let uri = Namespace::Uri("urn:x".to_owned());
        let text = Identifier::String(UAString::from("Temp"));
        assert_eq!(Place::of_node("nsu=urn:x;s=Temp"), Some(Place::Node(uri, text)));
        assert_eq!(Place::of_node("ns=2;i=5"), Some(Place::Node(Namespace::Index(2), Identifier::Numeric(5))));
        assert_eq!(Place::of_node("i=2258"), Some(Place::Node(Namespace::Index(0), Identifier::Numeric(2258))));
        assert_eq!(Place::of_node("Temp"), None);
    }

    #[test]
    fn a_path_keeps_the_namespace_of_the_step_before() {
        let Some(Place::Path(names)) = Place::of_path("/Objects/nsu=http://x.org/a;Plant/Line&/1/0:T") else { panic!() };
        let uri = Namespace::Uri("http://x.org/a".to_owned());
        let expected = [(uri.clone(), "Plant"), (uri, "Line/1"), (Namespace::Index(0), "T")];
        assert_eq!(names, expected.map(|(namespace, name)| (namespace, name.to_owned())));
    }
}
