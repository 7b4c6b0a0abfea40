//! Questions for the history of many tags at once, answered within the size of one message.

use opcua::{
    server::{
        ContinuationPoint,
        node_manager::{HistoryNode, RequestContext},
    },
    types::{
        HistoryData, NodeId, NumericRange, ReadProcessedDetails, ReadRawModifiedDetails, StatusCode, TimestampsToReturn,
    },
};
use tidegate_config::Access;
use tidegate_runtime::Handle;

use crate::{
    history::{self, Of, Rest},
    node::Node,
    processed::{self, Stretches},
    space::Space,
};

/// Bytes of an answer beside its values, for each node and for all.
const AROUND: (usize, usize) = (96, 4096);

/// What questions are asked of.
pub(crate) struct Archive<'a> {
    pub(crate) handle: &'a Handle,
    pub(crate) space: &'a Space,
    pub(crate) times: TimestampsToReturn,
    /// Bytes that the answers of this call may still take.
    pub(crate) bytes: usize,
}

impl<'a> Archive<'a> {
    /// For one call. An answer has no more bytes than a message of ours or what the client takes.
    pub(crate) fn new(
        handle: &'a Handle,
        space: &'a Space,
        times: TimestampsToReturn,
        (context, nodes, longest): (&RequestContext, usize, usize),
    ) -> Result<Archive<'a>, StatusCode> {
        if matches!(times, TimestampsToReturn::Neither | TimestampsToReturn::Invalid) {
            return Err(StatusCode::BadTimestampsToReturnInvalid);
        }
        let taken = usize::try_from(context.session().read().max_response_message_size()).unwrap_or(usize::MAX);
        let message = if taken == 0 { longest } else { longest.min(taken) };
        // A part of a message has some bytes around it, and a signature.
        let bytes = (message / 16).saturating_mul(15).saturating_sub(AROUND.1);
        Ok(Archive { handle, space, times, bytes: bytes.saturating_sub(AROUND.0.saturating_mul(nodes)) })
    }

    /// Raw values.
    pub(crate) async fn raw(&mut self, details: &ReadRawModifiedDetails, nodes: &mut [&mut HistoryNode]) {
        let clock = self.handle.clock();
        let now = clock.timestamp(clock.now());
        let (count, whole) = (nodes.len(), self.bytes);
        for (at, node) in nodes.iter_mut().enumerate() {
            let rest = point::<Rest>(node).unwrap_or_else(|| Rest::new(details, now));
            let share = self.bytes / count.saturating_sub(at).max(1);
            let page = async { rest?.read(self.handle, &self.tag(node)?, self.times, share).await };
            let page: Result<history::Page, StatusCode> = page.await;
            match page {
                // It had all of the answer: a value that does not fit now never will.
                Ok(page) if page.is_stuck() && share == whole => node.set_status(StatusCode::BadEncodingLimitsExceeded),
                Ok(page) => {
                    self.took(&page.values);
                    node.set_status(page.status());
                    node.set_result(HistoryData { data_values: Some(page.values) });
                    node.set_next_continuation_point(page.rest.map(|rest| ContinuationPoint::new(Box::new(rest))));
                }
                Err(status) => node.set_status(status),
            }
        }
    }

    /// Values made of stretches of time. Each node has its own aggregate.
    pub(crate) async fn processed(&mut self, details: &ReadProcessedDetails, nodes: &mut [&mut HistoryNode]) {
        let aggregates = details.aggregate_type.as_deref().unwrap_or_default();
        // Nodes of others are not among these; then it cannot be told which aggregate is whose.
        let fits = aggregates.len() == nodes.len() || aggregates.windows(2).all(|pair| pair.first() == pair.last());
        let count = nodes.len();
        for (at, node) in nodes.iter_mut().enumerate() {
            let aggregate = aggregates.get(at).or(aggregates.first()).filter(|_| fits);
            let asked = |aggregate: Option<&NodeId>| {
                Stretches::new(details, aggregate.ok_or(StatusCode::BadAggregateListMismatch)?)
            };
            let rest = point::<Stretches>(node).unwrap_or_else(|| asked(aggregate));
            let share = self.bytes / count.saturating_sub(at).max(1);
            let page = async { rest?.read(self.handle, &self.tag(node)?, self.times, share).await };
            let page: Result<processed::Page, StatusCode> = page.await;
            match page {
                Ok(page) => {
                    self.took(&page.values);
                    node.set_status(if page.lost { StatusCode::UncertainDataSubNormal } else { StatusCode::Good });
                    node.set_result(HistoryData { data_values: Some(page.values) });
                    node.set_next_continuation_point(page.rest.map(|rest| ContinuationPoint::new(Box::new(rest))));
                }
                Err(status) => node.set_status(status),
            }
        }
    }

    fn took(&mut self, values: &[opcua::types::DataValue]) {
        self.bytes = self.bytes.saturating_sub(history::size(values));
    }

    /// The tag that is asked for.
    fn tag(&self, node: &HistoryNode) -> Result<Of<'a>, StatusCode> {
        if !matches!(node.index_range(), NumericRange::None) {
            return Err(StatusCode::BadIndexRangeNoData);
        }
        let found = Node::find(node.node_id(), self.space).ok_or(StatusCode::BadNodeIdUnknown)?;
        let Node::Tag(place) = found else { return Err(StatusCode::BadHistoryOperationUnsupported) };
        let (device, tag) = (self.space.device(place.device), self.space.tag(place));
        let (Some(device), Some(tag)) = (device, tag) else { return Err(StatusCode::BadNodeIdUnknown) };
        match tag.access {
            Access::Write => Err(StatusCode::BadHistoryOperationUnsupported),
            Access::Read | Access::ReadWrite => Ok(Of { device: &device.name, tag }),
        }
    }
}

/// Where the last answer ended, when this question goes on from there.
fn point<T: Copy + Send + Sync + 'static>(node: &HistoryNode) -> Option<Result<T, StatusCode>> {
    let point = node.continuation_point()?;
    Some(point.get::<T>().copied().ok_or(StatusCode::BadContinuationPointInvalid))
}
