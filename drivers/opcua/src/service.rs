//! The services of OPC UA that the driver uses: one function each, from what is asked to what was answered.

use std::time::Duration;

use opcua::{
    core::ResponseMessage,
    types::{
        AttributeId, BrowseDescription, BrowseNextRequest, BrowsePath, BrowsePathResult, BrowseRequest, BrowseResult,
        ByteString, CallMethodRequest, CallMethodResult, CallRequest, CreateMonitoredItemsRequest,
        CreateSubscriptionRequest, CreateSubscriptionResponse, DataValue, DeleteMonitoredItemsRequest,
        DeleteSubscriptionsRequest, ExtensionObject, HistoryReadRequest, HistoryReadResult, HistoryReadValueId,
        MonitoredItemCreateRequest, MonitoredItemCreateResult, NodeId, NotificationMessage, NumericRange,
        PublishRequest, PublishResponse, QualifiedName, ReadRequest, ReadValueId, RepublishRequest, ResponseHeader,
        StatusCode, SubscriptionAcknowledgement, TimestampsToReturn, TransferResult, TransferSubscriptionsRequest,
        TranslateBrowsePathsToNodeIdsRequest, WriteRequest, WriteValue,
    },
};

use crate::{channel::Channel, fault::Fault};

/// An attribute of a node, whole.
pub(crate) fn attribute(node: &NodeId, attribute: AttributeId) -> ReadValueId {
    ReadValueId {
        node_id: node.clone(),
        attribute_id: number(attribute),
        index_range: NumericRange::None,
        data_encoding: QualifiedName::null(),
    }
}

/// The number of an attribute (Part 6 A.1).
#[expect(clippy::as_conversions, reason = "the enum has the numbers of the standard and no other conversion")]
pub(crate) fn number(attribute: AttributeId) -> u32 {
    attribute as u32
}

/// Looks at the result of a whole request.
fn checked(header: &ResponseHeader) -> Result<(), Fault> {
    if header.service_result.is_bad() { Err(Fault::refused(header.service_result)) } else { Ok(()) }
}

/// The results of an answer, which must be as many as were asked for.
fn complete<T>(results: Option<Vec<T>>, asked: usize, what: &str) -> Result<Vec<T>, Fault> {
    let results = results.unwrap_or_default();
    if results.len() != asked {
        return Err(Fault::Malformed(format!("{} results came for {what} of {asked}", results.len())));
    }
    Ok(results)
}

fn foreign(answer: &ResponseMessage) -> Fault {
    Fault::Malformed(format!("{} came, which is not the answer", answer.type_name()))
}

impl Channel {
    /// Reads attributes (Part 4 §5.11.2).
    pub(crate) async fn read(&self, nodes: Vec<ReadValueId>, timeout: Duration) -> Result<Vec<DataValue>, Fault> {
        let asked = nodes.len();
        let request = ReadRequest {
            request_header: self.header(timeout),
            max_age: 0.0,
            timestamps_to_return: TimestampsToReturn::Both,
            nodes_to_read: Some(nodes),
        };
        match self.send(request.into(), timeout).await? {
            ResponseMessage::Read(answer) => {
                checked(&answer.response_header)?;
                complete(answer.results, asked, "a read")
            }
            answer => Err(foreign(&answer)),
        }
    }

    /// Writes attributes (§5.11.4).
    pub(crate) async fn write(&self, values: Vec<WriteValue>, timeout: Duration) -> Result<Vec<StatusCode>, Fault> {
        let asked = values.len();
        let request = WriteRequest { request_header: self.header(timeout), nodes_to_write: Some(values) };
        match self.send(request.into(), timeout).await? {
            ResponseMessage::Write(answer) => {
                checked(&answer.response_header)?;
                complete(answer.results, asked, "a write")
            }
            answer => Err(foreign(&answer)),
        }
    }

    /// Calls a method (§5.12.2).
    pub(crate) async fn call(&self, call: CallMethodRequest, timeout: Duration) -> Result<CallMethodResult, Fault> {
        let request = CallRequest { request_header: self.header(timeout), methods_to_call: Some(vec![call]) };
        match self.send(request.into(), timeout).await? {
            ResponseMessage::Call(answer) => {
                checked(&answer.response_header)?;
                let mut results = complete(answer.results, 1, "a call")?;
                results.pop().ok_or_else(|| Fault::Malformed("no result came for a call".to_owned()))
            }
            answer => Err(foreign(&answer)),
        }
    }

    /// Lists references of nodes (§5.9.2).
    pub(crate) async fn browse(
        &self,
        nodes: Vec<BrowseDescription>,
        most: u32,
        timeout: Duration,
    ) -> Result<Vec<BrowseResult>, Fault> {
        let asked = nodes.len();
        let request = BrowseRequest {
            request_header: self.header(timeout),
            view: Default::default(),
            requested_max_references_per_node: most,
            nodes_to_browse: Some(nodes),
        };
        match self.send(request.into(), timeout).await? {
            ResponseMessage::Browse(answer) => {
                checked(&answer.response_header)?;
                complete(answer.results, asked, "a browse")
            }
            answer => Err(foreign(&answer)),
        }
    }

    /// Goes on with lists of references (§5.9.3).
    pub(crate) async fn browse_next(
        &self,
        points: Vec<ByteString>,
        release: bool,
        timeout: Duration,
    ) -> Result<Vec<BrowseResult>, Fault> {
        let asked = points.len();
        let request = BrowseNextRequest {
            request_header: self.header(timeout),
            release_continuation_points: release,
            continuation_points: Some(points),
        };
        match self.send(request.into(), timeout).await? {
            ResponseMessage::BrowseNext(answer) => {
                checked(&answer.response_header)?;
                if release { Ok(Vec::new()) } else { complete(answer.results, asked, "a browse") }
            }
            answer => Err(foreign(&answer)),
        }
    }

    /// Finds nodes by the ways to them (§5.9.4).
    pub(crate) async fn translate(
        &self,
        paths: Vec<BrowsePath>,
        timeout: Duration,
    ) -> Result<Vec<BrowsePathResult>, Fault> {
        let asked = paths.len();
        let request =
            TranslateBrowsePathsToNodeIdsRequest { request_header: self.header(timeout), browse_paths: Some(paths) };
        match self.send(request.into(), timeout).await? {
            ResponseMessage::TranslateBrowsePathsToNodeIds(answer) => {
                checked(&answer.response_header)?;
                complete(answer.results, asked, "a search")
            }
            answer => Err(foreign(&answer)),
        }
    }

    /// Makes a subscription (§5.14.2).
    pub(crate) async fn create_subscription(
        &self,
        mut request: CreateSubscriptionRequest,
        timeout: Duration,
    ) -> Result<CreateSubscriptionResponse, Fault> {
        request.request_header = self.header(timeout);
        match self.send(request.into(), timeout).await? {
            ResponseMessage::CreateSubscription(answer) => checked(&answer.response_header).map(|()| *answer),
            answer => Err(foreign(&answer)),
        }
    }

    /// Ends a subscription (§5.14.8).
    pub(crate) async fn delete_subscription(&self, id: u32, timeout: Duration) -> Result<(), Fault> {
        let request =
            DeleteSubscriptionsRequest { request_header: self.header(timeout), subscription_ids: Some(vec![id]) };
        match self.send(request.into(), timeout).await? {
            ResponseMessage::DeleteSubscriptions(answer) => checked(&answer.response_header),
            answer => Err(foreign(&answer)),
        }
    }

    /// Takes over subscriptions of an earlier session (§5.14.7).
    pub(crate) async fn transfer(&self, ids: Vec<u32>, timeout: Duration) -> Result<Vec<TransferResult>, Fault> {
        let asked = ids.len();
        let request = TransferSubscriptionsRequest {
            request_header: self.header(timeout),
            subscription_ids: Some(ids),
            send_initial_values: false,
        };
        match self.send(request.into(), timeout).await? {
            ResponseMessage::TransferSubscriptions(answer) => {
                checked(&answer.response_header)?;
                complete(answer.results, asked, "a transfer")
            }
            answer => Err(foreign(&answer)),
        }
    }

    /// Adds items to a subscription (§5.13.2). The time of the answer, as the server counts it, comes with the results.
    pub(crate) async fn create_items(
        &self,
        subscription: u32,
        items: Vec<MonitoredItemCreateRequest>,
        timeout: Duration,
    ) -> Result<(Vec<MonitoredItemCreateResult>, i64), Fault> {
        let asked = items.len();
        let request = CreateMonitoredItemsRequest {
            request_header: self.header(timeout),
            subscription_id: subscription,
            timestamps_to_return: TimestampsToReturn::Both,
            items_to_create: Some(items),
        };
        match self.send(request.into(), timeout).await? {
            ResponseMessage::CreateMonitoredItems(answer) => {
                checked(&answer.response_header)?;
                let time = answer.response_header.timestamp.ticks();
                complete(answer.results, asked, "a subscription").map(|results| (results, time))
            }
            answer => Err(foreign(&answer)),
        }
    }

    /// Takes items out of a subscription (§5.13.6).
    pub(crate) async fn delete_items(
        &self,
        subscription: u32,
        items: Vec<u32>,
        timeout: Duration,
    ) -> Result<(), Fault> {
        let request = DeleteMonitoredItemsRequest {
            request_header: self.header(timeout),
            subscription_id: subscription,
            monitored_item_ids: Some(items),
        };
        match self.send(request.into(), timeout).await? {
            ResponseMessage::DeleteMonitoredItems(answer) => checked(&answer.response_header),
            answer => Err(foreign(&answer)),
        }
    }

    /// Waits for the next message of any subscription (§5.14.5).
    pub(crate) async fn publish(
        &self,
        acknowledged: Vec<SubscriptionAcknowledgement>,
        timeout: Duration,
    ) -> Result<PublishResponse, Fault> {
        let request = PublishRequest {
            request_header: self.header(timeout),
            subscription_acknowledgements: (!acknowledged.is_empty()).then_some(acknowledged),
        };
        match self.send(request.into(), timeout).await? {
            ResponseMessage::Publish(answer) => checked(&answer.response_header).map(|()| *answer),
            answer => Err(foreign(&answer)),
        }
    }

    /// Asks for a message again (§5.14.6).
    pub(crate) async fn republish(
        &self,
        subscription: u32,
        sequence: u32,
        timeout: Duration,
    ) -> Result<NotificationMessage, Fault> {
        let request = RepublishRequest {
            request_header: self.header(timeout),
            subscription_id: subscription,
            retransmit_sequence_number: sequence,
        };
        match self.send(request.into(), timeout).await? {
            ResponseMessage::Republish(answer) => {
                checked(&answer.response_header).map(|()| answer.notification_message)
            }
            answer => Err(foreign(&answer)),
        }
    }

    /// Reads from the server's own history (§5.11.3).
    pub(crate) async fn history(
        &self,
        details: ExtensionObject,
        nodes: Vec<HistoryReadValueId>,
        timeout: Duration,
    ) -> Result<Vec<HistoryReadResult>, Fault> {
        let asked = nodes.len();
        let request = HistoryReadRequest {
            request_header: self.header(timeout),
            history_read_details: details,
            timestamps_to_return: TimestampsToReturn::Both,
            release_continuation_points: false,
            nodes_to_read: Some(nodes),
        };
        match self.send(request.into(), timeout).await? {
            ResponseMessage::HistoryRead(answer) => {
                checked(&answer.response_header)?;
                complete(answer.results, asked, "a read of history")
            }
            answer => Err(foreign(&answer)),
        }
    }
}
