//! One open session: polls, and what comes by itself.

use std::{collections::HashMap, sync::Arc};

use opcua::types::{AttributeId, NodeId};
use tidegate_driver_api::{
    Arrival, Browser, Cause, Cx, Expired, Lost, Next, Poll, Readings, Session, Step, Subscriber, Writer, async_trait,
    model::Reason,
};

use crate::{
    browse::Browse,
    channel::Channel,
    convert,
    encode::Taken,
    fault::Fault,
    feed::Feed,
    link::{Places, ServerLink},
    open::Held,
    plan::Slot,
    resolve::Server,
    rows::{self, Items},
    service::attribute,
};

/// One open session of a link.
pub(crate) struct ServerSession<'link> {
    pub(crate) link: &'link mut ServerLink,
    pub(crate) channel: Arc<Channel>,
    pub(crate) server: Arc<Server>,
    held: Held,
    places: Places,
    pub(crate) feed: Feed,
    /// The list of what the server offers that is being made.
    pub(crate) browse: Browse,
    /// What nodes take that have been written to.
    pub(crate) taken: HashMap<NodeId, Taken>,
}

impl<'link> ServerSession<'link> {
    pub(crate) fn new(
        link: &'link mut ServerLink,
        channel: Arc<Channel>,
        server: Arc<Server>,
        held: Held,
        places: Places,
        feed: Feed,
    ) -> ServerSession<'link> {
        ServerSession { link, channel, server, held, places, feed, browse: Browse::default(), taken: HashMap::new() }
    }

    /// The session is over, unless the fault was only a refusal; the server keeps it for the next connection.
    pub(crate) fn lose(&mut self, fault: Fault, what: &str) -> Lost {
        if !matches!(fault, Fault::Cancelled) {
            self.link.memory.session = Some((self.held.clone(), self.feed.keep()));
            self.link.memory.left = self.feed.leave();
            self.channel.leave_session();
        }
        fault.lost(&self.link.keys.endpoint.to_string(), what)
    }

    /// Asks for something that has to be answered within the call.
    pub(crate) async fn within<T>(
        &mut self,
        cx: &Cx,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        match cx.within(work).await {
            Ok(answer) => {
                if answer.is_ok() {
                    self.feed.heard(cx.now());
                }
                answer
            }
            Err(Expired::Deadline) => Err(Fault::Silent),
            Err(Expired::Cancelled) => Err(Fault::Cancelled),
        }
    }

    fn slot(&self, poll: Poll) -> Option<(usize, &Slot)> {
        self.link.slots.iter().enumerate().find(|(_, slot)| slot.poll == poll)
    }

    /// Remembers how new a group is, for the hole that an outage may make.
    fn note_newest(&mut self, slot: usize, out: &Readings) {
        if let (Some(newest), Some(time)) = (self.link.memory.newest.get_mut(slot), out.device_time()) {
            *newest = (*newest).max(Some(time));
        }
    }
}

#[async_trait]
impl Session for ServerSession<'_> {
    /// The step is the index of a request: each reads as many nodes as the server takes at once.
    async fn read(&mut self, cx: &Cx, poll: Poll, step: Step, out: &mut Readings) -> Result<Next, Lost> {
        let at_once = self.server.limits.read;
        let Some((index, slot)) = self.slot(poll) else { return Ok(Next::Done) };
        let Some(tags) = slot.tags() else { return Ok(Next::Done) };
        let (begin, end) = (slot.first_item, slot.first_item + tags.items.len());
        let first = begin + step.0.saturating_mul(at_once);
        let last = first.saturating_add(at_once).min(end);
        let numbers = (first..last).filter(|number| matches!(self.places.get(*number), Some(Some(_))));
        let numbers: Vec<usize> = numbers.collect();
        let node = |number: &usize| self.places.get(*number)?.as_ref().map(|node| attribute(node, AttributeId::Value));
        let nodes: Vec<_> = numbers.iter().filter_map(node).collect();
        if !nodes.is_empty() {
            let count = nodes.len();
            let channel = Arc::clone(&self.channel);
            let answer = self.within(cx, channel.read(nodes, cx.timeout())).await;
            match answer {
                Ok(values) => {
                    let items = self.link.items();
                    let mut newest = out.device_time();
                    for (number, value) in numbers.iter().zip(&values) {
                        newest = newest.max(convert::time(value));
                        rows::note(&items, *number, value, out);
                    }
                    if let Some(time) = newest {
                        out.set_device_time(time);
                    }
                }
                Err(Fault::Refused(status)) => {
                    tracing::debug!(%status, "a read was refused");
                    fail(&self.link.items(), &numbers, crate::status::bad(status), out);
                }
                Err(fault) => return Err(self.lose(fault, &format!("a read of {count} nodes of {poll:?}"))),
            }
        }
        if last < end {
            return Ok(Next::Request(Step(step.0 + 1)));
        }
        if let Some(tags) = self.link.slots.get(index).and_then(Slot::tags) {
            let reason = if tags.events.is_some() { Reason::DeviceFault } else { Reason::BadAddress };
            out.fail_missing(tags.read_columns(), reason);
        }
        self.note_newest(index, out);
        Ok(Next::Done)
    }

    fn writer(&mut self) -> Option<&mut dyn Writer> {
        Some(self)
    }

    fn subscriber(&mut self) -> Option<&mut dyn Subscriber> {
        Some(self)
    }

    fn browser(&mut self) -> Option<&mut dyn Browser> {
        Some(self)
    }

    fn delivers(&self, poll: Poll) -> bool {
        self.slot(poll).is_some_and(|(slot, _)| self.feed.delivers(slot))
    }
}

fn fail(items: &Items<'_>, numbers: &[usize], reason: Reason, out: &mut Readings) {
    for (tags, item) in numbers.iter().filter_map(|number| items.item(*number)) {
        let columns = item.points.iter().filter_map(|point| tags.points.get(*point)).map(|point| point.column);
        columns.for_each(|column| out.fail(column, reason));
    }
}

#[async_trait]
impl Subscriber for ServerSession<'_> {
    async fn next(&mut self, cx: &Cx, out: &mut Readings) -> Result<Arrival, Lost> {
        let ServerSession { link, feed, places, .. } = self;
        let items = Items { slots: &link.slots, slot_of: &link.slot_of };
        let roots = |device| link.root(device).cloned();
        if let Err(fault) = feed.wait(cx, &items, places, &roots).await {
            let silent = fault == Fault::Silent;
            let lost = self.lose(fault, "its subscriptions");
            return Err(if silent { Lost::new(Cause::Timeout, hung(&lost)) } else { lost });
        }
        let Some((slot, arrival)) = feed.rows.take(&items, out) else { return Ok(Arrival::Nothing) };
        if !out.is_past() && matches!(arrival, Arrival::Row(_)) {
            self.note_newest(slot, out);
        }
        Ok(arrival)
    }
}

/// A server that still has the connection and says nothing.
fn hung(lost: &Lost) -> String {
    format!("{}: the connection stands, but the server hangs or the way to it is cut", lost.detail)
}
