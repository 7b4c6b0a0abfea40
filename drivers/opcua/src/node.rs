//! How a profile names a node of a server: by the URI of its namespace, or by the way to it from the top.
//!
//! A server numbers its namespaces anew whenever it likes, so the number is looked up at every connect.

use std::fmt;

use opcua::types::{Guid, Identifier, NodeId};

/// Which namespace a name is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// By its URI (`nsu=urn:plant`).
    Uri(Box<str>),
    /// By its place in the server's list (`ns=2`), which the server may change.
    Index(u16),
}

impl Namespace {
    /// The namespace of OPC UA itself.
    pub const OPC_UA: Namespace = Namespace::Index(0);

    /// Whether it is named by a place that a server may give to another one.
    pub fn may_move(&self) -> bool {
        matches!(self, Namespace::Index(1..))
    }

    /// Its place in the list of URIs, if it is there.
    pub fn place(&self, uris: &[String]) -> Option<u16> {
        match self {
            Namespace::Index(index) => Some(*index),
            Namespace::Uri(uri) => uris.iter().position(|known| **known == **uri)?.try_into().ok(),
        }
    }
}

/// The name of one node: `nsu=urn:plant;s=T1`, `ns=2;s=T1`, `i=2258`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeName {
    /// The namespace.
    pub namespace: Namespace,
    /// What tells it from the others of the namespace.
    pub identifier: Identifier,
}

impl NodeName {
    /// Reads a name.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a fragment.
    pub fn parse(text: &str) -> Result<NodeName, String> {
        let (namespace, rest) = namespace(text)?;
        let Some((kind, value)) = rest.split_once('=') else {
            return Err(format!("{rest:?} is no identifier"));
        };
        let identifier = match kind {
            "i" => {
                Identifier::Numeric(value.parse().map_err(|_| format!("{value:?} is no number from 0 to 4294967295"))?)
            }
            "s" => Identifier::String(value.into()),
            "g" => Identifier::Guid(value.parse::<Guid>().map_err(|_| format!("{value:?} is no GUID"))?),
            "b" => {
                let bytes = opcua::types::ByteString::from_base64(value);
                Identifier::ByteString(bytes.ok_or_else(|| format!("{value:?} is no base64 text"))?)
            }
            _ => return Err(format!("{kind:?} is no kind of identifier")),
        };
        Ok(NodeName { namespace, identifier })
    }

    /// The node's number on a server with these namespaces.
    pub fn resolve(&self, uris: &[String]) -> Option<NodeId> {
        Some(NodeId { namespace: self.namespace.place(uris)?, identifier: self.identifier.clone() })
    }

    /// The name of a node of a server with these namespaces, by URI.
    pub fn of(node: &NodeId, uris: &[String]) -> NodeName {
        let uri = uris.get(usize::from(node.namespace)).filter(|_| node.namespace != 0);
        let namespace = uri.map_or(Namespace::Index(node.namespace), |uri| Namespace::Uri(uri.as_str().into()));
        NodeName { namespace, identifier: node.identifier.clone() }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Namespace::Index(0) => {}
            namespace => write!(f, "{namespace};")?,
        }
        match &self.identifier {
            Identifier::Numeric(number) => write!(f, "i={number}"),
            Identifier::String(text) => write!(f, "s={}", text.as_ref()),
            Identifier::Guid(guid) => write!(f, "g={guid}"),
            Identifier::ByteString(bytes) => write!(f, "b={}", bytes.as_base64()),
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Namespace::Uri(uri) => write!(f, "nsu={}", uri.replace('%', "%25").replace(';', "%3B")),
            Namespace::Index(index) => write!(f, "ns={index}"),
        }
    }
}

/// One step of a way: the browse name of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Step {
    /// The namespace of the name.
    pub namespace: Namespace,
    /// The name.
    pub name: String,
}

/// The way to a node over its browse names: `/Objects/2:Plant/T1`, `/Objects/nsu=urn:plant;Plant/T1`.
///
/// A step without a namespace is in that of the step before it; the first one in OPC UA's own. `&` takes its meaning from the
/// character behind it (`&/`). Without a slash in front the way begins where the device's key `root` says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    /// Whether it begins at the top of the server.
    pub absolute: bool,
    /// The steps, at least one.
    pub steps: Vec<Step>,
}

/// Steps of a way; no server is deeper.
const MOST_STEPS: usize = 64;

impl Path {
    /// Reads a way.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a fragment.
    pub fn parse(text: &str) -> Result<Path, String> {
        let absolute = text.starts_with('/');
        let mut rest = text.strip_prefix('/').unwrap_or(text);
        let mut steps: Vec<Step> = Vec::new();
        loop {
            let before = steps.last().map_or(Namespace::OPC_UA, |step| step.namespace.clone());
            let namespace = if rest.starts_with("nsu=") || rest.starts_with("ns=") {
                let (namespace, after) = namespace(rest)?;
                rest = after;
                namespace
            } else if let Some((index, after)) = indexed(rest) {
                rest = after;
                Namespace::Index(index)
            } else {
                before
            };
            let (name, after) = name(rest);
            if name.is_empty() {
                return Err("a step of it has no name".to_owned());
            }
            steps.push(Step { namespace, name });
            match after {
                Some(after) if steps.len() < MOST_STEPS => rest = after,
                Some(_) => return Err(format!("it has more than {MOST_STEPS} steps")),
                None => return Ok(Path { absolute, steps }),
            }
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = &Namespace::OPC_UA;
        for (place, step) in self.steps.iter().enumerate() {
            if self.absolute || place > 0 {
                f.write_str("/")?;
            }
            match &step.namespace {
                namespace if namespace == before => {}
                Namespace::Index(index) => write!(f, "{index}:")?,
                uri @ Namespace::Uri(_) => write!(f, "{uri};")?,
            }
            before = &step.namespace;
            for c in step.name.chars() {
                if matches!(c, '/' | '&') {
                    f.write_str("&")?;
                }
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

/// Where a tag is in the server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A node by its name.
    Node(NodeName),
    /// A node by the way to it.
    Path(Path),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Node(node) => node.fmt(f),
            Address::Path(path) => path.fmt(f),
        }
    }
}

/// The namespace at the beginning, and what is behind its semicolon.
fn namespace(text: &str) -> Result<(Namespace, &str), String> {
    if let Some(rest) = text.strip_prefix("nsu=") {
        let (uri, rest) = rest.split_once(';').ok_or("there is no \";\" behind the namespace")?;
        let uri = uri.replace("%3B", ";").replace("%25", "%");
        return match uri.as_str() {
            "" => Err("the URI of the namespace is empty".to_owned()),
            "http://opcfoundation.org/UA/" => Ok((Namespace::OPC_UA, rest)),
            uri => Ok((Namespace::Uri(uri.into()), rest)),
        };
    }
    let Some(rest) = text.strip_prefix("ns=") else { return Ok((Namespace::OPC_UA, text)) };
    let (index, rest) = rest.split_once(';').ok_or("there is no \";\" behind the namespace")?;
    let index = index.parse().map_err(|_| format!("{index:?} is no namespace from 0 to 65535"))?;
    Ok((Namespace::Index(index), rest))
}

/// The index in front of a colon, and what is behind it.
fn indexed(text: &str) -> Option<(u16, &str)> {
    let (index, rest) = text.split_once(':')?;
    (!index.is_empty() && index.bytes().all(|c| c.is_ascii_digit()))
        .then(|| index.parse().ok().map(|index| (index, rest)))?
}

/// A name up to the next slash, and what is behind that.
fn name(text: &str) -> (String, Option<&str>) {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((place, c)) = characters.next() {
        match c {
            '/' => return (name, text.get(place + 1..)),
            '&' => name.extend(characters.next().map(|(_, c)| c)),
            c => name.push(c),
        }
    }
    (name, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_as_it_was_read() {
        for text in [
            "nsu=urn:plant;s=Hall;1/T1=a",
            "ns=2;i=7",
            "i=2258",
            "nsu=urn:a%3Bb%25;g=09087e75-8e5e-499b-954f-f2a9603db28a",
        ] {
            assert_eq!(NodeName::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(NodeName::parse("nsu=http://opcfoundation.org/UA/;i=85").unwrap().to_string(), "i=85");
        for text in ["", "T1", "s", "x=1", "i=-1", "ns=70000;i=1", "nsu=;i=1", "nsu=urn:a", "g=1", "b=%"] {
            assert!(NodeName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_namespace_is_found_wherever_the_server_has_put_it() {
        let name = NodeName::parse("nsu=urn:plant;i=7").unwrap();
        let uris = |plant: usize| {
            let mut uris = vec!["http://opcfoundation.org/UA/".to_owned(), "urn:server".to_owned()];
            uris.insert(plant, "urn:plant".to_owned());
            uris
        };
        assert_eq!(name.resolve(&uris(1)), Some(NodeId::new(1, 7_u32)));
        assert_eq!(name.resolve(&uris(2)), Some(NodeId::new(2, 7_u32)));
        assert_eq!(name.resolve(&[]), None);
        assert_eq!(NodeName::of(&NodeId::new(2, 7_u32), &uris(2)), name);
    }

    #[test]
    fn a_way_keeps_the_namespace_of_the_step_before() {
        let path = Path::parse("/Objects/nsu=http://x.org/a;Plant/Line&/1/0:T&&1").unwrap();
        let steps: Vec<_> = path.steps.iter().map(|step| (step.namespace.to_string(), step.name.as_str())).collect();
        let uri = "nsu=http://x.org/a".to_owned();
        let expected =
            [("ns=0".to_owned(), "Objects"), (uri.clone(), "Plant"), (uri, "Line/1"), ("ns=0".to_owned(), "T&1")];
        assert_eq!(steps, expected);
        assert_eq!(path.to_string(), "/Objects/nsu=http://x.org/a;Plant/Line&/1/0:T&&1");
        assert!(!Path::parse("2:Plant/T1").unwrap().absolute);
        for text in ["", "/", "/Objects//T1", "/nsu=urn:a"] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }
}
