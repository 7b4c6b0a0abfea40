//! A profile from a list of nodes.

use std::{collections::HashSet, fmt::Write};

use opcua::types::VariantScalarTypeId;
use tidegate_driver_api::{Node, NodeKind, config::Access};

use super::{Browse, Detail};
use crate::types::Leaf;

/// Characters of a name of a tag.
const LONGEST: usize = 100;

/// The text of a profile with these nodes.
pub(super) fn text(chosen: &[Node], browse: &Browse) -> Result<String, String> {
    let mut text = String::from(
        "[profile]\nmanufacturer = \"unknown\"\nmodel = \"OPC UA server\"\ndriver = \"opcua\"\nversion = 1\n\n\
         [[group]]\nname = \"values\"\ninterval = \"1s\"\n",
    );
    let mut taken: HashSet<String> = HashSet::new();
    let common = common(chosen);
    let mut count = 0;
    for node in chosen.iter().filter(|node| node.kind != NodeKind::Folder) {
        let Some(detail) = browse.details.get(&node.id) else { continue };
        let path = node.path.strip_prefix(common).unwrap_or(&node.path);
        if let Some(fields) = &detail.fields {
            for field in fields.iter() {
                let path = format!("{path}/{}", field.path.replace('.', "/"));
                let keys = field.scalar.and_then(word).map(|kind| of_field(node, field, kind));
                count += tag(&mut text, node, &path, keys, &mut taken);
            }
        } else {
            count += tag(&mut text, node, path, keys(node, detail), &mut taken);
        }
    }
    if count == 0 {
        return Err("none of these nodes has a value that a tag can hold".to_owned());
    }
    Ok(text)
}

/// Writes a tag, or that it is left out. How many were written.
fn tag(text: &mut String, node: &Node, path: &str, keys: Option<String>, taken: &mut HashSet<String>) -> usize {
    // Writing to a text does not fail.
    let Some(keys) = keys else {
        let _ = write!(text, "\n# {path} ({}) is left out: no tag can hold it\n", node.id);
        return 0;
    };
    let name = quoted(&unique(name(path), taken));
    let _ = write!(text, "\n[[tag]]\nname = {name}\ngroup = \"values\"\nnode = {}\n{keys}", quoted(&node.id));
    1
}

/// The keys of a field of a structure, which is read and not written.
fn of_field(node: &Node, field: &Leaf, kind: &str) -> String {
    let mut keys = format!("field = {}\ntype = \"{kind}\"\n", quoted(&field.path));
    if let Some(items) = field.items {
        let _ = writeln!(keys, "count = {items}");
    }
    if let Some(description) = &node.description {
        let _ = writeln!(keys, "description = {}", quoted(description));
    }
    keys
}

/// The keys of a tag; `None` when no tag can hold the node's value.
fn keys(node: &Node, detail: &Detail) -> Option<String> {
    let mut keys = String::new();
    if node.kind == NodeKind::Method {
        let _ = writeln!(keys, "method = true\naccess = \"write\"");
        if let Some(object) = &detail.object {
            let _ = writeln!(keys, "object = {}", quoted(object));
        }
    } else {
        let kind = word(detail.scalar?)?;
        let is_array = node.value_type.as_ref().is_some_and(|kind| kind.ends_with(']'));
        if is_array && detail.items.is_none() {
            return None;
        }
        let _ = writeln!(keys, "type = \"{kind}\"");
        if let Some(items) = detail.items {
            let _ = writeln!(keys, "count = {items}");
        }
        match node.access? {
            Access::Read => {}
            Access::ReadWrite => keys.push_str("access = \"read_write\"\n"),
            Access::Write => keys.push_str("access = \"write\"\n"),
        }
        let number = !matches!(kind, "string" | "bytes" | "bool") && detail.items.is_none();
        if number && !detail.texts.is_empty() && !matches!(kind, "f32" | "f64") {
            keys.push_str(&texts(&detail.texts));
        } else if number {
            if let Some((low, high)) = node.range {
                let _ = writeln!(keys, "range = {{ low = {low:?}, high = {high:?} }}");
                if node.access != Some(Access::Read) {
                    let _ = writeln!(keys, "minimum = {low:?}\nmaximum = {high:?}");
                }
            }
            if let Some(unit) = &node.unit {
                let _ = writeln!(keys, "unit = {}", quoted(unit));
            }
        }
    }
    if let Some(description) = &node.description {
        let _ = writeln!(keys, "description = {}", quoted(description));
    }
    Some(keys)
}

/// The texts of an enumeration, each once, as a tag needs them to be written too.
fn texts(texts: &[(i64, String)]) -> String {
    let mut seen: HashSet<&str> = HashSet::new();
    let distinct: Vec<String> = texts
        .iter()
        .filter(|(_, text)| !text.is_empty() && seen.insert(text))
        .map(|(number, text)| format!("{number} = {}", quoted(text)))
        .collect();
    if distinct.is_empty() { String::new() } else { format!("texts = {{ {} }}\n", distinct.join(", ")) }
}

/// The word of `type` for values of that type.
fn word(scalar: VariantScalarTypeId) -> Option<&'static str> {
    use VariantScalarTypeId as Type;
    Some(match scalar {
        Type::Boolean => "bool",
        Type::SByte => "i8",
        Type::Byte => "u8",
        Type::Int16 => "i16",
        Type::UInt16 => "u16",
        Type::Int32 => "i32",
        Type::UInt32 | Type::StatusCode => "u32",
        Type::Int64 => "i64",
        Type::UInt64 => "u64",
        Type::Float => "f32",
        Type::Double => "f64",
        Type::ByteString => "bytes",
        Type::String
        | Type::LocalizedText
        | Type::DateTime
        | Type::Guid
        | Type::QualifiedName
        | Type::NodeId
        | Type::ExpandedNodeId
        | Type::XmlElement => "string",
        _ => return None,
    })
}

/// What the paths of all nodes begin with, up to a slash.
fn common(chosen: &[Node]) -> &str {
    let mut paths = chosen.iter().filter(|node| node.kind != NodeKind::Folder).map(|node| node.path.as_str());
    let Some(first) = paths.next() else { return "" };
    let mut common = first.rfind('/').map_or(0, |slash| slash + 1);
    for path in paths {
        while common > 0 && !first.get(..common).is_some_and(|common| path.starts_with(common)) {
            let shorter = first.get(..common - 1).and_then(|shorter| shorter.rfind('/'));
            common = shorter.map_or(0, |slash| slash + 1);
        }
    }
    first.get(..common).unwrap_or("")
}

/// A name of a tag from a path: lower-case words, levels divided by dots.
fn name(path: &str) -> String {
    let mut name = String::new();
    let mut before_was_lower = false;
    for c in path.chars() {
        if name.len() >= LONGEST {
            break;
        }
        match c {
            '/' if !name.is_empty() && !name.ends_with('.') => {
                while name.ends_with('_') {
                    name.pop();
                }
                name.push('.');
            }
            c if c.is_ascii_alphanumeric() => {
                if c.is_ascii_uppercase() && before_was_lower {
                    name.push('_');
                }
                if name.ends_with('.') || name.is_empty() {
                    // A level begins with a letter.
                    if c.is_ascii_digit() {
                        name.push('n');
                    }
                }
                name.push(c.to_ascii_lowercase());
            }
            _ if !name.is_empty() && !name.ends_with(['_', '.']) => name.push('_'),
            _ => {}
        }
        before_was_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
    }
    let name = name.trim_end_matches(['_', '.']);
    if name.is_empty() { "tag".to_owned() } else { name.to_owned() }
}

fn unique(name: String, taken: &mut HashSet<String>) -> String {
    let mut candidate = name.clone();
    let mut number = 2_u32;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{name}_{number}");
        number += 1;
    }
    candidate
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_what_a_tag_may_be_called() {
        assert_eq!(name("Plant/SetPoint 1"), "plant.set_point_1");
        assert_eq!(name("Läufer/#2"), "l_ufer.n2");
        assert_eq!(name("°"), "tag");
        let mut taken = HashSet::new();
        assert_eq!(unique("a".to_owned(), &mut taken), "a");
        assert_eq!(unique("a".to_owned(), &mut taken), "a_2");
    }

    #[test]
    fn a_text_is_written_so_that_toml_reads_it() {
        assert_eq!(quoted("a\"b\\c\u{7}"), "\"a\\\"b\\\\c\\u0007\"");
    }
}
