//! What is done one after the other beside listening: making subscriptions, filling them, asking again for what was missed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use opcua::types::{
    AttributeId, CallMethodRequest, CreateSubscriptionResponse, DataValue, MethodId, MonitoredItemCreateResult,
    MonitoredItemNotification, NodeId, NotificationMessage, ObjectTypeId, StatusCode, VariableId, Variant,
};
use tidegate_driver_api::model::Reason;

use super::{Feed, MOST_MISSED, Roots, WORK};
use crate::{
    channel::Channel,
    fault::Fault,
    history,
    plan::Place,
    rows::{Items, index},
    service::attribute,
    status,
    subscription::{Sequence, State, event_request, item_request},
};

/// The first time that a parked item waits is this part of the longest: a server that was only starting up is whole again soon.
const FIRST_WAIT_PART: u32 = 32;

/// Something to be done over the session.
#[derive(Debug, Clone)]
pub(crate) enum Job {
    /// Make a subscription.
    Make(usize),
    /// Add items to a subscription, with the filters of their tags or without.
    Fill(usize, Vec<usize>, bool),
    /// Watch for the events of a slot.
    Events(usize, usize),
    /// Ask for all conditions that are of interest now.
    Refresh(usize, usize),
    /// Go on with a subscription of the connection before: ask for the messages that were missed.
    Resume(usize),
    /// Ask for a message again, and for so many after it.
    Again(usize, u32, u32),
    /// Read what items are now.
    Read(Vec<usize>),
    /// Look for items that the server did not have.
    Retry(Vec<usize>),
    /// End a subscription.
    Drop(u32),
    /// Read what items were between two times.
    Past(history::Hole),
}

/// What came of a job.
#[derive(Debug)]
pub(crate) enum Outcome {
    Made(CreateSubscriptionResponse),
    Filled(Vec<(usize, MonitoredItemCreateResult)>),
    Watched(StatusCode),
    Refreshed(StatusCode),
    Message(NotificationMessage),
    Read(Vec<DataValue>),
    Found(Vec<Place>),
    Past(history::Piece),
    Done,
}

impl Job {
    /// Whether a subscription is not complete before it is done.
    pub(super) fn makes(&self) -> bool {
        matches!(self, Job::Make(_) | Job::Fill(..) | Job::Events(..) | Job::Refresh(..))
    }

    /// Whether it is about the subscription with that index.
    pub(super) fn is_of(&self, subscription: usize) -> bool {
        match self {
            Job::Make(of) | Job::Fill(of, ..) | Job::Events(of, _) | Job::Refresh(of, _) | Job::Resume(of) => {
                *of == subscription
            }
            Job::Again(of, ..) => *of == subscription,
            Job::Read(_) | Job::Retry(_) | Job::Drop(_) | Job::Past(_) => false,
        }
    }
}

/// How long the conditions of interest may take to come.
const REFRESH: Duration = Duration::from_secs(5);

type Working = BoxFuture<'static, (Job, Result<Outcome, Fault>)>;

/// Asks for the state of the server, only to hear of it.
pub(super) async fn sign_of_life(channel: &Channel, timeout: Duration) -> Result<(), Fault> {
    let state = attribute(&NodeId::from(VariableId::Server_ServerStatus_State), AttributeId::Value);
    match channel.read(vec![state], timeout).await {
        // Any answer is one, also that there is no such node.
        Ok(_) | Err(Fault::Refused(_)) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Those of the slots that are about events.
fn event_slots<'a>(slots: &'a [usize], items: &'a Items<'_>) -> impl Iterator<Item = usize> + 'a {
    let is_of_events = |slot: &usize| {
        let tags = items.slots.get(*slot).and_then(crate::plan::Slot::tags);
        tags.is_some_and(|tags| tags.events.is_some())
    };
    slots.iter().copied().filter(is_of_events)
}

impl Feed {
    /// The work of a job; `None` when there is nothing to be done.
    pub(super) fn begin(
        &mut self,
        job: Job,
        items: &Items<'_>,
        places: &[Place],
        roots: &Roots<'_>,
    ) -> Option<Working> {
        let channel = Arc::clone(&self.channel);
        let timeout = self.timeout.max(WORK);
        let id = |of: usize| self.subscriptions.get(of).and_then(|subscription| subscription.id);
        match job.clone() {
            Job::Make(of) => {
                let request = self.subscriptions.get(of)?.request();
                work(job, async move { channel.create_subscription(request, timeout).await.map(Outcome::Made) })
            }
            Job::Fill(of, numbers, filtered) => {
                let id = id(of)?;
                let request = |number: &usize| {
                    let interval = items.slot(*number)?.1.interval;
                    let (_, item) = items.item(*number)?;
                    let node = places.get(*number)?.as_ref()?;
                    Some((*number, item_request(u32::try_from(*number).ok()?, node, item, interval, filtered)))
                };
                let (numbers, requests): (Vec<usize>, Vec<_>) = numbers.iter().filter_map(request).unzip();
                if requests.is_empty() {
                    return None;
                }
                work(job, async move {
                    let results = channel.create_items(id, requests, timeout).await?;
                    Ok(Outcome::Filled(numbers.into_iter().zip(results).collect()))
                })
            }
            Job::Events(of, slot) => {
                let id = id(of)?;
                let tags = items.slots.get(slot)?.tags()?;
                let address = tags.events.clone()?;
                let (server, root) = (Arc::clone(&self.server), roots(items.slots.get(slot)?.poll.device));
                let number = u32::try_from(slot).ok()?;
                let request = event_request(number, &NodeId::null(), tags);
                work(job, async move {
                    let found = server.find(&channel, &[(&address, root.as_ref())], timeout).await?;
                    let Some(Some(node)) = found.into_iter().next() else {
                        return Ok(Outcome::Watched(StatusCode::BadNodeIdUnknown));
                    };
                    let mut request = request;
                    request.item_to_monitor.node_id = node;
                    let results = channel.create_items(id, vec![request], timeout).await?;
                    Ok(Outcome::Watched(
                        results.first().map_or(StatusCode::BadUnexpectedError, |made| made.status_code),
                    ))
                })
            }
            Job::Refresh(of, _) => {
                let call = CallMethodRequest {
                    object_id: NodeId::from(ObjectTypeId::ConditionType),
                    method_id: NodeId::from(MethodId::ConditionType_ConditionRefresh),
                    input_arguments: Some(vec![Variant::UInt32(id(of)?)]),
                };
                work(job, async move {
                    let result = channel.call(call, timeout).await?;
                    Ok(Outcome::Refreshed(result.status_code))
                })
            }
            Job::Resume(of) => {
                let subscription = self.subscriptions.get(of)?;
                // What nobody has said yet is the next message; without a number everything is read.
                let next = subscription.next_message();
                if let Some(next) = next {
                    self.jobs.push_front(Job::Again(of, next, MOST_MISSED));
                }
                let slots = self.subscriptions.get(of)?.slots.clone();
                self.read_all(&slots, items);
                // Conditions that have ended meanwhile are not told again: what is left is told as a whole.
                self.jobs.extend(event_slots(&slots, items).map(|slot| Job::Refresh(of, slot)));
                None
            }
            Job::Again(of, number, _) => {
                let id = id(of)?;
                work(job, async move { channel.republish(id, number, timeout).await.map(Outcome::Message) })
            }
            Job::Read(numbers) => {
                let known = |number: &usize| places.get(*number)?.as_ref().map(|node| (*number, node));
                let (numbers, nodes): (Vec<usize>, Vec<_>) =
                    numbers.iter().filter_map(known).map(|(n, node)| (n, attribute(node, AttributeId::Value))).unzip();
                if nodes.is_empty() {
                    return None;
                }
                work(Job::Read(numbers), async move { channel.read(nodes, timeout).await.map(Outcome::Read) })
            }
            Job::Retry(numbers) => {
                let wanted = |number: &usize| {
                    let (_, slot) = items.slot(*number)?;
                    let (_, item) = items.item(*number)?;
                    Some((*number, item.address.clone(), roots(slot.poll.device)))
                };
                let wanted: Vec<_> = numbers.iter().filter_map(wanted).collect();
                let numbers = wanted.iter().map(|(number, ..)| *number).collect();
                let server = Arc::clone(&self.server);
                work(Job::Retry(numbers), async move {
                    let asked: Vec<_> = wanted.iter().map(|(_, address, root)| (address, root.as_ref())).collect();
                    server.find(&channel, &asked, timeout).await.map(Outcome::Found)
                })
            }
            Job::Drop(id) => work(job, async move {
                // One that the server does not know any more is dropped as well.
                let _ = channel.delete_subscription(id, timeout).await;
                Ok(Outcome::Done)
            }),
            Job::Past(hole) => {
                let question = hole.question(items, places, self.server.limits.history)?;
                work(job, async move { question.ask(&channel, timeout).await.map(Outcome::Past) })
            }
        }
    }

    /// Takes what came of a job.
    pub(super) fn worked(
        &mut self,
        job: Job,
        answer: Result<Outcome, Fault>,
        now: Instant,
        items: &Items<'_>,
        places: &mut [Place],
    ) {
        match (job, answer) {
            (Job::Make(of), Ok(Outcome::Made(answer))) => self.made(of, &answer, now, items, places),
            (Job::Make(of), Err(fault)) => self.not_made(of, &fault, items),
            (Job::Fill(of, _, filtered), Ok(Outcome::Filled(results))) => {
                self.filled(of, results, filtered, now, items)
            }
            (Job::Fill(of, numbers, filtered), Err(Fault::Refused(status))) if splits(status, &numbers) => {
                for half in numbers.chunks(numbers.len().div_ceil(2)).rev() {
                    self.jobs.push_front(Job::Fill(of, half.to_vec(), filtered));
                }
            }
            (Job::Fill(_, numbers, _), Err(_)) => {
                let refused = numbers.into_iter().map(|number| (number, StatusCode::BadUnexpectedError));
                self.park(refused.collect(), now, items);
            }
            (Job::Read(numbers), Err(Fault::Refused(status))) if splits(status, &numbers) => {
                let halves = numbers.chunks(numbers.len().div_ceil(2)).map(|half| Job::Read(half.to_vec()));
                self.jobs.extend(halves);
            }
            (Job::Events(of, slot), Ok(Outcome::Watched(status))) if status.is_good() => {
                self.jobs.push_front(Job::Refresh(of, slot));
            }
            (Job::Events(_, slot), answer) => {
                let status = match answer {
                    Ok(Outcome::Watched(status)) | Err(Fault::Refused(status)) => status,
                    _ => StatusCode::BadUnexpectedError,
                };
                tracing::warn!(%status, "the server does not report these events; check the node in `events`");
                self.fail_slot(slot, status::bad(status), items);
            }
            (Job::Refresh(_, slot), Ok(Outcome::Refreshed(status))) if status.is_good() => {
                // The end of the refresh comes as an event; a server that forgets it is waited for only so long.
                self.settling.push((slot, now + REFRESH));
            }
            (Job::Refresh(_, slot), _) => self.rows.settled(slot),
            (Job::Again(of, number, left), Ok(Outcome::Message(message))) => {
                if let Some(subscription) = self.subscriptions.get_mut(of)
                    && subscription.next_message() == Some(number)
                {
                    let _: Sequence = subscription.message(number);
                }
                self.notify(of, message, now, items);
                if left > 1 {
                    let next = if number == u32::MAX { 1 } else { number + 1 };
                    self.jobs.push_front(Job::Again(of, next, left - 1));
                }
            }
            (Job::Read(numbers), Ok(Outcome::Read(values))) => {
                let value = |(number, value)| {
                    Some(MonitoredItemNotification { client_handle: u32::try_from(number).ok()?, value })
                };
                let values = numbers.into_iter().zip(values).filter_map(value).collect();
                self.rows.values(items, values, false);
            }
            (Job::Retry(numbers), Ok(Outcome::Found(found))) => self.found(numbers, found, items, places),
            (Job::Past(hole), Ok(Outcome::Past(piece))) => {
                let (values, rest) = hole.take(piece);
                self.rows.values(items, values, true);
                self.jobs.extend(rest.map(Job::Past));
            }
            // What cannot be asked for again is gone from the server's memory; what is now has been asked for or comes.
            _ => {}
        }
    }

    fn made(
        &mut self,
        of: usize,
        answer: &CreateSubscriptionResponse,
        now: Instant,
        items: &Items<'_>,
        places: &[Place],
    ) {
        let Some(subscription) = self.subscriptions.get_mut(of) else { return };
        subscription.made(answer, now);
        let slots = subscription.slots.clone();
        let mut numbers = Vec::new();
        let mut missing = Vec::new();
        for slot_index in slots {
            let Some((slot, tags)) = items.slots.get(slot_index).and_then(|slot| Some((slot, slot.tags()?))) else {
                continue;
            };
            if tags.events.is_some() {
                self.jobs.push_back(Job::Events(of, slot_index));
            }
            for number in (slot.first_item..).take(tags.items.len()) {
                match places.get(number) {
                    Some(Some(_)) => numbers.push(number),
                    _ => missing.push((number, StatusCode::BadNodeIdUnknown)),
                }
            }
        }
        for chunk in numbers.chunks(self.server.limits.monitor) {
            self.jobs.push_back(Job::Fill(of, chunk.to_vec(), true));
        }
        self.park(missing, now, items);
    }

    /// The server does not want a subscription: its groups are polled.
    fn not_made(&mut self, of: usize, fault: &Fault, items: &Items<'_>) {
        let Some(subscription) = self.subscriptions.get_mut(of) else { return };
        tracing::warn!(%fault, "the server does not let subscribe; the groups are polled instead, events do not come");
        subscription.state = State::Refused;
        let slots = subscription.slots.clone();
        event_slots(&slots, items).for_each(|slot| self.fail_slot(slot, Reason::DeviceFault, items));
    }

    fn filled(
        &mut self,
        of: usize,
        results: Vec<(usize, MonitoredItemCreateResult)>,
        filtered: bool,
        now: Instant,
        items: &Items<'_>,
    ) {
        let mut unfiltered = Vec::new();
        let mut refused = Vec::new();
        for (number, result) in results {
            let status = result.status_code;
            if !status.is_bad() {
                self.parked.retain(|(parked, ..)| *parked != number);
            } else if filtered && items.item(number).is_some_and(|(_, item)| item.deadband.is_some()) {
                // Not every server has filters, and not for every type; ours works in any case.
                unfiltered.push(number);
            } else {
                refused.push((number, status));
            }
        }
        if !unfiltered.is_empty() {
            self.jobs.push_front(Job::Fill(of, unfiltered, false));
        }
        self.park(refused, now, items);
    }

    /// Items that the server does not have now; they are asked for again slowly.
    fn park(&mut self, refused: Vec<(usize, StatusCode)>, now: Instant, items: &Items<'_>) {
        let first = (self.retry_bad_address / FIRST_WAIT_PART).max(Duration::from_secs(1)).min(self.retry_bad_address);
        for (number, status) in refused {
            if !self.parked.iter().any(|(parked, ..)| *parked == number) {
                self.parked.push((number, now + first, first));
            }
            let (Some((slot, _)), Some((tags, item))) = (items.slot(number), items.item(number)) else { continue };
            let columns = item.points.iter().filter_map(|point| tags.points.get(*point)).map(|point| point.column);
            self.rows.failed(slot, columns.collect(), status::bad(status));
        }
    }

    /// Takes what was found of items that had been parked.
    fn found(&mut self, numbers: Vec<usize>, found: Vec<Place>, items: &Items<'_>, places: &mut [Place]) {
        for (of, subscription) in self.subscriptions.iter().enumerate() {
            let ours = |number: &usize| items.slot(*number).is_some_and(|(slot, _)| subscription.slots.contains(&slot));
            let here: Vec<usize> = numbers.iter().copied().filter(ours).collect();
            if !here.is_empty() {
                self.jobs.push_back(Job::Fill(of, here, true));
            }
        }
        for (number, place) in numbers.into_iter().zip(found) {
            if let Some(known) = places.get_mut(number) {
                *known = place;
            }
        }
    }

    /// Reads what all items of slots are now.
    pub(super) fn read_all(&mut self, slots: &[usize], items: &Items<'_>) {
        for slot in slots.iter().filter_map(|slot| items.slots.get(*slot)) {
            let count = slot.tags().map_or(0, |tags| tags.items.len());
            let numbers: Vec<usize> = (slot.first_item..).take(count).collect();
            for chunk in numbers.chunks(self.server.limits.read) {
                self.jobs.push_back(Job::Read(chunk.to_vec()));
            }
        }
    }

    /// Everything about a slot has this reason.
    fn fail_slot(&mut self, slot: usize, reason: Reason, items: &Items<'_>) {
        let Some(tags) = items.slots.get(slot).and_then(crate::plan::Slot::tags) else { return };
        self.rows.failed(slot, tags.read_columns().collect(), reason);
    }

    /// The index of the subscription with that number of the server.
    pub(super) fn by_id(&self, id: u32) -> Option<usize> {
        self.subscriptions.iter().position(|subscription| subscription.id == Some(id))
    }

    /// The slot of an item of events.
    pub(super) fn event_slot(number: u32) -> Option<usize> {
        (number & crate::subscription::EVENTS != 0).then(|| index(number & !crate::subscription::EVENTS))?
    }
}

/// Whether the server took too much for one request, which it did not say beforehand, and half of it may do.
fn splits(status: StatusCode, numbers: &[usize]) -> bool {
    let much = [
        StatusCode::BadTooManyOperations,
        StatusCode::BadRequestTooLarge,
        StatusCode::BadResponseTooLarge,
        StatusCode::BadEncodingLimitsExceeded,
    ];
    numbers.len() > 1 && much.contains(&status)
}

fn work(job: Job, work: impl Future<Output = Result<Outcome, Fault>> + Send + 'static) -> Option<Working> {
    Some(Box::pin(async move { (job, work.await) }))
}
