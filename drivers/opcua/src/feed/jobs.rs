//! What is done one after the other beside listening: making subscriptions, filling them, asking again for what was missed.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use opcua::types::{
    AttributeId, CallMethodRequest, CreateSubscriptionResponse, DataValue, MethodId, MonitoredItemCreateResult, NodeId,
    NotificationMessage, ObjectTypeId, StatusCode, VariableId, Variant,
};

use super::{Feed, Roots, WORK};
use crate::{
    channel::Channel,
    fault::Fault,
    history,
    plan::Place,
    rows::Items,
    service::attribute,
    subscription::{event_request, item_request},
};

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
    /// Ask for the next message and for so many more, as long as the server has them.
    Again(usize, u32),
    /// Ask for the messages that are missing.
    Missed(usize),
    /// Ask for the message with that number; then go on with what is asked for like it.
    Message(usize, u32, Box<Job>),
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
    /// What came of each item, and when, as the server counts time.
    Filled(Vec<(usize, MonitoredItemCreateResult)>, i64),
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
            Job::Again(of, _) | Job::Missed(of) | Job::Message(of, ..) => *of == subscription,
            Job::Read(_) | Job::Retry(_) | Job::Drop(_) | Job::Past(_) => false,
        }
    }
}

/// Messages that are asked for after a connection was lost, at most.
const MOST_AGAIN: u32 = 64;

type Working = BoxFuture<'static, (Job, Result<Outcome, Fault>)>;

/// Asks for the state of the server, only to hear of it.
pub(crate) async fn sign_of_life(channel: &Channel, timeout: Duration) -> Result<(), Fault> {
    let state = attribute(&NodeId::from(VariableId::Server_ServerStatus_State), AttributeId::Value);
    match channel.read(vec![state], timeout).await {
        // Any answer is one, also that there is no such node.
        Ok(_) | Err(Fault::Refused(_)) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Those of the slots that are about events.
pub(super) fn event_slots<'a>(slots: &'a [usize], items: &'a Items<'_>) -> impl Iterator<Item = usize> + 'a {
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
                let old = |number: &usize| self.ids.get(*number).copied().filter(|id| *id != 0);
                let old: Vec<u32> = numbers.iter().filter_map(old).collect();
                work(job, async move {
                    if !old.is_empty() {
                        // They watch nodes that are gone. That the server has dropped them as well is no matter.
                        match channel.delete_items(id, old, timeout).await {
                            Ok(()) | Err(Fault::Refused(_)) => {}
                            Err(fault) => return Err(fault),
                        }
                    }
                    let (results, time) = channel.create_items(id, requests, timeout).await?;
                    Ok(Outcome::Filled(numbers.into_iter().zip(results).collect(), time))
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
                    let (results, _) = channel.create_items(id, vec![request], timeout).await?;
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
                if subscription.next_message().is_some() {
                    self.jobs.push_front(Job::Again(of, MOST_AGAIN));
                }
                self.jobs.push_front(Job::Missed(of));
                let slots = self.subscriptions.get(of)?.slots.clone();
                self.read_all(&slots, items);
                // Conditions that have ended meanwhile are not told again: what is left is told as a whole.
                self.jobs.extend(event_slots(&slots, items).map(|slot| Job::Refresh(of, slot)));
                None
            }
            Job::Again(of, left) => {
                let next = self.subscriptions.get(of)?.next_message()?;
                let then = Job::Again(of, left.checked_sub(1)?);
                self.republish(id(of)?, Job::Message(of, next, Box::new(then)), next)
            }
            Job::Missed(of) => {
                let Some(first) = self.subscriptions.get(of)?.first_missed() else {
                    self.has_all(of);
                    return None;
                };
                self.republish(id(of)?, Job::Message(of, first, Box::new(Job::Missed(of))), first)
            }
            Job::Message(..) => None,
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
                    server.find_again(&channel, &asked, timeout).await.map(Outcome::Found)
                })
            }
            Job::Drop(id) => work(job, async move {
                // One that the server does not know any more is dropped as well.
                let _ = channel.delete_subscription(id, timeout).await;
                Ok(Outcome::Done)
            }),
            Job::Past(hole) => {
                let hole = hole.ends(self.hole_ends());
                let Some(question) = hole.question(places, self.server.limits.history.get()) else {
                    // Its items are parked; the hole is filled when they are back.
                    self.unplaced.push(hole);
                    return None;
                };
                work(Job::Past(hole), async move { question.ask(&channel, timeout).await.map(Outcome::Past) })
            }
        }
    }

    fn republish(&self, subscription: u32, job: Job, number: u32) -> Option<Working> {
        let (channel, timeout) = (Arc::clone(&self.channel), self.timeout.max(WORK));
        work(job, async move { channel.republish(subscription, number, timeout).await.map(Outcome::Message) })
    }
}

fn work(job: Job, work: impl Future<Output = Result<Outcome, Fault>> + Send + 'static) -> Option<Working> {
    Some(Box::pin(async move { (job, work.await) }))
}
