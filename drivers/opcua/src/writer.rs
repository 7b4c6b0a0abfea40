//! The ability to write and to call: one request, sent once.

use std::sync::Arc;

use opcua::types::{
    Argument, AttributeId, BrowseDescription, BrowseDirection, BrowseResultMask, CallMethodRequest, DataTypeId,
    DataValue, NodeClassMask, NodeId, NumericRange, ReferenceTypeId, StatusCode, Variant, VariantScalarTypeId,
    VariantTypeId, WriteValue,
};
use tidegate_driver_api::{Cx, Lost, Poll, Writer, Written, async_trait, model::Value};

use crate::{
    encode::{self, Taken},
    fault::Fault,
    node::{Address, Path},
    point::Role,
    service::{attribute, number},
    session::ServerSession,
};

/// Types between one of a server's own and the one of OPC UA that it is made of.
const MOST_PARENTS: usize = 16;
/// Properties of a method.
const MOST_PROPERTIES: u32 = 100;

/// What the server says of a call, or why it was not made.
type Called = Result<StatusCode, String>;

#[async_trait]
impl Writer for ServerSession<'_> {
    async fn write(&mut self, cx: &Cx, poll: Poll, column: usize, raw: &Value) -> Result<Written, Lost> {
        let slot = self.link.slots.iter().find(|slot| slot.poll == poll);
        let point = slot.and_then(|slot| slot.tags()).and_then(|tags| tags.writable(column)).cloned();
        let Some((point, address)) = point.and_then(|point| point.address.clone().map(|address| (point, address)))
        else {
            return Ok(Written::Refused("the tag may not be written".to_owned()));
        };
        let root = self.link.root(poll.device).cloned();
        let device = self.link.device(poll.device);
        let what = format!("a write to {address} of {device}");
        let node = match self.locate(cx, &address, root.as_ref()).await {
            Ok(Some(node)) => node,
            Ok(None) => return Ok(Written::Refused(format!("{device} has no node {address}"))),
            Err(fault) => return self.settle(fault, &what),
        };
        let sent = match &point.role {
            Role::Method { object } => {
                let object = match self.object(cx, &node, &address, object.as_ref(), root.as_ref()).await {
                    Ok(Some(object)) => object,
                    Ok(None) => {
                        return Ok(Written::Refused(format!("the object of the method {address} is not found")));
                    }
                    Err(fault) => return self.settle(fault, &what),
                };
                self.call(cx, object, node, raw).await
            }
            _ => {
                let taken = match self.taken(cx, &node).await {
                    Ok(Some(taken)) => taken,
                    Ok(None) => {
                        return Ok(Written::Refused(format!("the type of {address} is not one that can be written")));
                    }
                    Err(fault) => return self.settle(fault, &what),
                };
                let value = match encode::encode(raw, taken) {
                    Ok(value) => value,
                    Err(refusal) => return Ok(Written::Refused(refusal)),
                };
                let value = WriteValue {
                    node_id: node.clone(),
                    attribute_id: number(AttributeId::Value),
                    index_range: NumericRange::None,
                    value: DataValue { value: Some(value), ..DataValue::default() },
                };
                let channel = Arc::clone(&self.channel);
                let answer = self.within(cx, channel.write(vec![value], cx.timeout())).await;
                if matches!(&answer, Ok(results) if results.contains(&StatusCode::BadTypeMismatch)) {
                    // The server has another type there now; the next write asks.
                    self.taken.remove(&node);
                }
                answer.map(|results| Ok(results.first().copied().unwrap_or(StatusCode::BadUnexpectedError)))
            }
        };
        match sent {
            Ok(Err(refusal)) => Ok(Written::Refused(refusal)),
            Ok(Ok(status)) | Err(Fault::Refused(status)) if is_open(status) => Ok(Written::Unknown(format!(
                "the server does not know whether {device} has it ({status}); read the tag"
            ))),
            Ok(Ok(status)) if status.is_bad() => Ok(Written::Refused(format!("{device} refused it ({status})"))),
            Ok(_) => Ok(Written::Confirmed),
            Err(fault) => self.settle(fault, &what),
        }
    }
}

impl ServerSession<'_> {
    /// A refusal is an answer; everything else ends the session.
    fn settle(&mut self, fault: Fault, what: &str) -> Result<Written, Lost> {
        match fault {
            Fault::Refused(status) => Ok(Written::Refused(format!("the server refused it ({status})"))),
            fault => Err(self.lose(fault, what)),
        }
    }

    async fn locate(&mut self, cx: &Cx, address: &Address, root: Option<&Address>) -> Result<Option<NodeId>, Fault> {
        let (server, channel) = (Arc::clone(&self.server), Arc::clone(&self.channel));
        let found = self.within(cx, server.find(&channel, &[(address, root)], cx.timeout())).await?;
        Ok(found.into_iter().next().flatten())
    }

    /// The object that a method is called on: as the profile says, or the node above it.
    async fn object(
        &mut self,
        cx: &Cx,
        method: &NodeId,
        address: &Address,
        object: Option<&Address>,
        root: Option<&Address>,
    ) -> Result<Option<NodeId>, Fault> {
        if let Some(object) = object {
            return self.locate(cx, object, root).await;
        }
        if let Address::Path(path) = address
            && let Some((_, above)) = path.steps.split_last()
            && !above.is_empty()
        {
            let above = Address::Path(Path { absolute: path.absolute, steps: above.to_vec() });
            return self.locate(cx, &above, root).await;
        }
        self.above(cx, method, ReferenceTypeId::HasComponent).await
    }

    /// The node that has a reference of that kind to this one.
    async fn above(&mut self, cx: &Cx, node: &NodeId, by: ReferenceTypeId) -> Result<Option<NodeId>, Fault> {
        let question = BrowseDescription {
            node_id: node.clone(),
            browse_direction: BrowseDirection::Inverse,
            reference_type_id: by.into(),
            include_subtypes: true,
            node_class_mask: NodeClassMask::empty().bits(),
            result_mask: result_mask(),
        };
        let channel = Arc::clone(&self.channel);
        let results = self.within(cx, channel.browse(vec![question], 1, cx.timeout())).await?;
        let references = results.into_iter().next().and_then(|result| result.references).unwrap_or_default();
        Ok(references.into_iter().next().map(|reference| reference.node_id.node_id))
    }

    /// Calls a method. Arguments become what the method says that it takes; as they are where it does not say.
    async fn call(&mut self, cx: &Cx, object: NodeId, method: NodeId, raw: &Value) -> Result<Called, Fault> {
        let given: &[Value] = match raw {
            Value::Array(arguments) => arguments,
            value => std::slice::from_ref(value),
        };
        let arguments: Result<Vec<Variant>, String> = match self.arguments(cx, &method).await? {
            None => Ok(given.iter().map(encode::natural).collect()),
            Some(wanted) if wanted.len() != given.len() => {
                return Ok(Err(format!("the method takes {} arguments, not {}", wanted.len(), given.len())));
            }
            Some(wanted) => given.iter().zip(wanted).map(|(value, taken)| encode::encode(value, taken)).collect(),
        };
        let arguments = match arguments {
            Ok(arguments) => arguments,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let call = CallMethodRequest { object_id: object, method_id: method, input_arguments: Some(arguments) };
        let channel = Arc::clone(&self.channel);
        let result = self.within(cx, channel.call(call, cx.timeout())).await?;
        Ok(Ok(result.status_code))
    }

    /// What a method takes; `None` when it does not say.
    async fn arguments(&mut self, cx: &Cx, method: &NodeId) -> Result<Option<Vec<Taken>>, Fault> {
        let question = BrowseDescription {
            node_id: method.clone(),
            browse_direction: BrowseDirection::Forward,
            reference_type_id: ReferenceTypeId::HasProperty.into(),
            include_subtypes: true,
            node_class_mask: NodeClassMask::VARIABLE.bits(),
            result_mask: result_mask(),
        };
        let channel = Arc::clone(&self.channel);
        let results = self.within(cx, channel.browse(vec![question], MOST_PROPERTIES, cx.timeout())).await?;
        let properties = results.into_iter().next().and_then(|result| result.references).unwrap_or_default();
        let inputs = properties.into_iter().find(|property| property.browse_name.name.as_ref() == "InputArguments");
        // A method without the property takes nothing (Part 3 §5.7), but servers forget it too: as it is, then.
        let Some(inputs) = inputs else { return Ok(None) };
        let asked = vec![attribute(&inputs.node_id.node_id, AttributeId::Value)];
        let answers = self.within(cx, channel.read(asked, cx.timeout())).await?;
        let Some(Variant::Array(array)) = answers.into_iter().next().and_then(|answer| answer.value) else {
            return Ok(None);
        };
        let mut taken = Vec::new();
        for value in array.values {
            let Variant::ExtensionObject(object) = value else { return Ok(None) };
            let Some(argument) = object.into_inner_as::<Argument>() else { return Ok(None) };
            let Some(scalar) = self.built_in(cx, &argument.data_type).await? else { return Ok(None) };
            taken.push(Taken { scalar, array: argument.value_rank >= 0 });
        }
        Ok(Some(taken))
    }

    /// The type of a node's value; asked for once a session.
    async fn taken(&mut self, cx: &Cx, node: &NodeId) -> Result<Option<Taken>, Fault> {
        if let Some(taken) = self.taken.get(node) {
            return Ok(Some(*taken));
        }
        let asked = [AttributeId::Value, AttributeId::DataType, AttributeId::ValueRank];
        let asked = asked.into_iter().map(|asked| attribute(node, asked)).collect();
        let channel = Arc::clone(&self.channel);
        let answers = self.within(cx, channel.read(asked, cx.timeout())).await?;
        let [value, data_type, rank] = answers.as_slice() else { return Ok(None) };
        let held = match value.value.as_ref().map(Variant::type_id) {
            Some(VariantTypeId::Scalar(scalar)) => Some(Taken { scalar, array: false }),
            Some(VariantTypeId::Array(scalar, _)) => Some(Taken { scalar, array: true }),
            Some(VariantTypeId::Empty) | None => None,
        };
        let taken = match (held, &data_type.value) {
            (Some(taken), _) => Some(taken),
            (None, Some(Variant::NodeId(data_type))) => {
                let array = matches!(rank.value, Some(Variant::Int32(rank)) if rank >= 0);
                self.built_in(cx, data_type).await?.map(|scalar| Taken { scalar, array })
            }
            (None, _) => None,
        };
        if let Some(taken) = taken {
            self.taken.insert(node.clone(), taken);
        }
        Ok(taken)
    }

    /// The built-in type that a data type is made of.
    pub(crate) async fn built_in(&mut self, cx: &Cx, data_type: &NodeId) -> Result<Option<VariantScalarTypeId>, Fault> {
        let mut data_type = data_type.clone();
        for _ in 0..MOST_PARENTS {
            if let Some(scalar) = scalar(&data_type) {
                return Ok(Some(scalar));
            }
            // Above it is only what stands for every type.
            if data_type == DataTypeId::Structure {
                return Ok(None);
            }
            match self.above(cx, &data_type, ReferenceTypeId::HasSubtype).await? {
                Some(above) => data_type = above,
                None => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// Whether an answer leaves open what became of a write: the server passed it on and has not heard of it, or not yet.
fn is_open(status: StatusCode) -> bool {
    let open = [
        StatusCode::BadTimeout,
        StatusCode::BadRequestTimeout,
        StatusCode::BadCommunicationError,
        StatusCode::BadNoCommunication,
        StatusCode::BadRequestInterrupted,
        StatusCode::BadUnexpectedError,
        StatusCode::GoodCompletesAsynchronously,
    ];
    status.is_uncertain() || open.iter().any(|code| code.sub_code() == status.sub_code())
}

/// All that is known of a reference.
#[expect(clippy::as_conversions, reason = "the enum has the numbers of the standard and no other conversion")]
pub(crate) fn result_mask() -> u32 {
    BrowseResultMask::All as u32
}

/// The built-in type with that number (Part 6 §5.1.2).
pub(crate) fn scalar(data_type: &NodeId) -> Option<VariantScalarTypeId> {
    use VariantScalarTypeId as Type;
    Some(match data_type.as_data_type_id().ok()? {
        DataTypeId::Boolean => Type::Boolean,
        DataTypeId::SByte => Type::SByte,
        DataTypeId::Byte => Type::Byte,
        DataTypeId::Int16 => Type::Int16,
        DataTypeId::UInt16 => Type::UInt16,
        DataTypeId::Int32 | DataTypeId::Enumeration => Type::Int32,
        DataTypeId::UInt32 => Type::UInt32,
        DataTypeId::Int64 => Type::Int64,
        DataTypeId::UInt64 => Type::UInt64,
        DataTypeId::Float => Type::Float,
        DataTypeId::Double => Type::Double,
        DataTypeId::String => Type::String,
        DataTypeId::DateTime => Type::DateTime,
        DataTypeId::Guid => Type::Guid,
        DataTypeId::ByteString => Type::ByteString,
        DataTypeId::NodeId => Type::NodeId,
        DataTypeId::StatusCode => Type::StatusCode,
        DataTypeId::QualifiedName => Type::QualifiedName,
        DataTypeId::LocalizedText => Type::LocalizedText,
        DataTypeId::BaseDataType => Type::Variant,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_only_passed_on_is_not_called_refused() {
        for open in [StatusCode::BadTimeout, StatusCode::GoodCompletesAsynchronously, StatusCode::UncertainInitialValue]
        {
            assert!(is_open(open), "{open}");
        }
        for known in [StatusCode::Good, StatusCode::BadNotWritable, StatusCode::BadTypeMismatch] {
            assert!(!is_open(known), "{known}");
        }
    }
}
