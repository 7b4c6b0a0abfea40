//! Writes of clients: commands of the runtime.

use std::collections::BTreeMap;

use opcua::{
    server::node_manager::WriteNode,
    types::{AttributeId, NumericRange, StatusCode, Variant},
};
use serde_json::{Map, Value as Json};
use tidegate_config::Access;
use tidegate_runtime::{CommandError, Handle, WriteError};
use tracing::info;

use crate::{
    node::{Node, TagPlace},
    space::Space,
    values,
};

/// Writes what one call asks for: the tags of one device together, devices one after the other.
pub(crate) async fn write(handle: &Handle, space: &Space, user: &str, operator: bool, nodes: &mut [&mut WriteNode]) {
    // By device: which request wants which tag to be what.
    let mut commands: BTreeMap<usize, Vec<(usize, TagPlace, Json)>> = BTreeMap::new();
    for (request, node) in nodes.iter_mut().enumerate() {
        match check(space, operator, node) {
            Ok((place, value)) => commands.entry(place.device).or_default().push((request, place, value)),
            Err(status) => node.set_status(status),
        }
    }
    for (device, mut items) in commands {
        // A tag that a call writes twice is written twice, in the order of the call.
        while !items.is_empty() {
            let mut now: Vec<(usize, TagPlace, Json)> = Vec::new();
            let mut later = Vec::new();
            for item in items {
                let twice = now.iter().any(|(_, place, _)| *place == item.1);
                if twice { later.push(item) } else { now.push(item) }
            }
            command(handle, space, user, device, now, nodes).await;
            items = later;
        }
    }
}

/// Writes tags of one device. OPC UA judges each value by itself and a command of the gateway is sent whole or not at all: what
/// the checks refuse is left out and the rest is sent without it.
async fn command(
    handle: &Handle,
    space: &Space,
    user: &str,
    device: usize,
    mut items: Vec<(usize, TagPlace, Json)>,
    nodes: &mut [&mut WriteNode],
) {
    let Some(name) = space.device(device).map(|device| device.name.to_string()) else { return };
    let named = |place: &TagPlace| space.tag(*place).map(|tag| tag.name.to_string()).unwrap_or_default();
    while !items.is_empty() {
        let values: Map<String, Json> = items.iter().map(|(_, place, value)| (named(place), value.clone())).collect();
        let answer = handle.write(&name, &values, None).await;
        let refused = |error: &WriteError| matches!(error, WriteError::UnknownTag | WriteError::NotAllowed(_));
        let unsent = answer.as_ref().is_ok_and(|errors| errors.iter().any(|(_, error)| refused(error)));
        let ok = answer.as_ref().is_ok_and(Vec::is_empty);
        info!(device = name, user, values = %Json::Object(values), ok, "written over OPC UA");
        let mut rest = Vec::new();
        for item in items {
            let tag = named(&item.1);
            let status = match &answer {
                Ok(errors) => match errors.iter().find(|(failed, _)| failed.as_str() == tag) {
                    Some((_, error)) => of_tag(error),
                    None if unsent => {
                        rest.push(item);
                        continue;
                    }
                    None => StatusCode::Good,
                },
                Err(error) => of_command(error),
            };
            if let Some(node) = nodes.get_mut(item.0) {
                node.set_status(status);
            }
        }
        items = rest;
    }
}

/// What is known to be wrong before anybody is asked.
fn check(space: &Space, operator: bool, node: &WriteNode) -> Result<(TagPlace, Json), StatusCode> {
    let request = node.value();
    let found = Node::find(&request.node_id, space).ok_or(StatusCode::BadNodeIdUnknown)?;
    let (Node::Tag(place), AttributeId::Value) = (found, request.attribute_id) else {
        return Err(StatusCode::BadNotWritable);
    };
    let tag = space.tag(place).ok_or(StatusCode::BadNodeIdUnknown)?;
    if tag.access == Access::Read {
        return Err(StatusCode::BadNotWritable);
    }
    if !operator {
        return Err(StatusCode::BadUserAccessDenied);
    }
    if !matches!(request.index_range, NumericRange::None) {
        return Err(StatusCode::BadWriteNotSupported);
    }
    let value = &request.value;
    // Quality is the device's to say. A time is ignored: some clients always send one.
    if value.status.is_some_and(|status| !status.is_good()) {
        return Err(StatusCode::BadWriteNotSupported);
    }
    let variant = value.value.as_ref().unwrap_or(&Variant::Empty);
    if !values::fits(tag, variant) {
        return Err(StatusCode::BadTypeMismatch);
    }
    Ok((place, values::to_json(tag, variant).ok_or(StatusCode::BadOutOfRange)?))
}

fn of_tag(error: &WriteError) -> StatusCode {
    match error {
        WriteError::UnknownTag => StatusCode::BadNodeIdUnknown,
        WriteError::NotAllowed(_) => StatusCode::BadOutOfRange,
        WriteError::RefusedByDevice(_) => StatusCode::BadDeviceFailure,
        WriteError::NotSent(_) => StatusCode::BadNoCommunication,
        // Sent, and nobody knows whether it has arrived.
        WriteError::Unknown(_) => StatusCode::BadTimeout,
    }
}

fn of_command(error: &CommandError) -> StatusCode {
    match error {
        CommandError::UnknownDevice(_) => StatusCode::BadNodeIdUnknown,
        CommandError::Busy(_) => StatusCode::BadResourceUnavailable,
        CommandError::NoAnswer(_) => StatusCode::BadTimeout,
        CommandError::Stopping(_) => StatusCode::BadOutOfService,
    }
}
