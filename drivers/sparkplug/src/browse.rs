//! What a node has said that there is, and a profile of it.

use std::{collections::HashSet, fmt::Write};

use tidegate_driver_api::{Browser, Cx, Listing, Lost, Node, NodeKind, async_trait, config::Access};
use tidegate_sparkplug::{DataType, Known};

use crate::session::NodeSession;

/// The list that was begun.
#[derive(Debug, Default)]
pub(crate) struct List {
    /// The device whose metrics are wanted; all without one.
    device: Option<String>,
}

#[async_trait]
impl Browser for NodeSession<'_> {
    fn begin(&mut self, start: Option<&str>) {
        self.list.device = start.map(|start| start.split('/').next().unwrap_or(start).to_owned());
    }

    async fn list(&mut self, cx: &Cx, found: &mut Vec<Node>) -> Result<Listing, Lost> {
        let wanted = self.list.device.clone();
        self.await_device(cx, wanted.as_deref()).await.map_err(|fault| self.lost(&fault))?;
        let mut folders = HashSet::new();
        let mut known: Vec<(&str, &Known)> = self
            .host
            .known(&self.link.node)
            .filter_map(|(device, known)| Some((device?, known)))
            .filter(|(device, _)| self.list.device.as_deref().is_none_or(|wanted| wanted == *device))
            .collect();
        known.sort_by_key(|(device, _)| *device);
        if let (Some(device), true) = (&self.list.device, known.is_empty()) {
            return Ok(Listing::Refused(format!("the edge node has said nothing of a device \"{device}\"")));
        }
        for (device, known) in known {
            if folders.insert(device) {
                found.push(Node {
                    id: device.to_owned(),
                    path: device.to_owned(),
                    kind: NodeKind::Folder,
                    value_type: None,
                    unit: None,
                    range: None,
                    description: None,
                    access: None,
                });
            }
            found.push(Node {
                id: format!("{device}/{}", known.name),
                path: format!("{device}/{}", known.name),
                kind: NodeKind::Tag,
                value_type: Some(known.datatype.as_str().to_owned()),
                unit: known.unit.as_deref().map(str::to_owned),
                range: known.range,
                description: known.description.as_deref().map(str::to_owned),
                access: Some(if known.writable { Access::ReadWrite } else { Access::Read }),
            });
        }
        Ok(Listing::Complete)
    }

    fn profile(&self, chosen: &[Node]) -> Result<String, String> {
        let tags: Vec<(&str, &str, &Node)> = chosen
            .iter()
            .filter(|node| node.kind == NodeKind::Tag)
            .filter_map(|node| node.id.split_once('/').map(|(device, metric)| (device, metric, node)))
            .collect();
        let Some((device, ..)) = tags.first() else { return Err("there is no metric among them".to_owned()) };
        if tags.iter().any(|(other, ..)| other != device) {
            return Err("a profile is of one device; name it as the start of the list".to_owned());
        }
        let mut text = format!(
            "[profile]\nmanufacturer = {}\nmodel = {}\ndriver = \"sparkplug\"\nversion = 1\n\n\
             [[group]]\nname = \"all\"\ninterval = \"1s\"\n",
            quoted(self.link.node.node()),
            quoted(device)
        );
        let mut names = HashSet::new();
        for (_, metric, node) in &tags {
            tag(metric, node, &mut names, &mut text);
        }
        Ok(text)
    }
}

/// Adds a tag; what a profile cannot say is a comment.
fn tag(metric: &str, node: &Node, names: &mut HashSet<String>, text: &mut String) {
    let datatype = node.value_type.as_deref().unwrap_or_default();
    let is_array = DataType::from_name(datatype).and_then(DataType::kind).is_none_or(|(_, array)| array);
    if is_array {
        let _ = writeln!(text, "\n# {} is a {datatype}: a tag of it needs the number of its `items`", quoted(metric));
        return;
    }
    let legal =
        |character: char| if character.is_ascii_alphanumeric() || "._-".contains(character) { character } else { '_' };
    let base: String = metric.chars().map(legal).take(120).collect();
    let mut name = base.clone();
    let mut number = 2;
    while !names.insert(name.clone()) {
        name = format!("{base}_{number}");
        number += 1;
    }
    let _ = writeln!(text, "\n[[tag]]\nname = {}\ngroup = \"all\"\nmetric = {}", quoted(&name), quoted(metric));
    let _ = writeln!(text, "datatype = {}", quoted(datatype));
    if let Some(unit) = &node.unit {
        let _ = writeln!(text, "unit = {}", quoted(unit));
    }
    if let Some(description) = &node.description {
        let _ = writeln!(text, "description = {}", quoted(description));
    }
    if node.access == Some(Access::ReadWrite) {
        let _ = writeln!(text, "access = \"read_write\"");
    }
}

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            character if character.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(character));
            }
            character => out.push(character),
        }
    }
    out.push('"');
    out
}
