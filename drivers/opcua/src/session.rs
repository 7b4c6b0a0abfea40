//! One open session: polls, and what comes by itself.

use std::{collections::HashMap, pin::pin, sync::Arc};

use futures_util::future::{Either, select};
use opcua::types::{AttributeId, DataValue, NodeId, ReadValueId};
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
    feed::{Feed, pause, sign_of_life},
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
    /// Whether the link has got what this leaves to the next one.
    has_left: bool,
}

impl Drop for ServerSession<'_> {
    /// What of the past is still to be asked for is not forgotten with a session that is given up.
    fn drop(&mut self) {
        self.leave();
    }
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
        let (browse, taken) = (Browse::default(), HashMap::new());
        ServerSession { link, channel, server, held, places, feed, browse, taken, has_left: false }
    }

    fn leave(&mut self) {
        if !std::mem::replace(&mut self.has_left, true) {
            self.link.memory.left = self.feed.leave();
        }
    }

    /// The session is over, unless the fault was only a refusal; the server keeps it for the next connection.
    pub(crate) fn lose(&mut self, fault: Fault, what: &str) -> Lost {
        if !matches!(fault, Fault::Cancelled) {
            self.link.memory.session = Some((self.held.clone(), self.feed.keep()));
            self.leave();
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
}

impl ServerSession<'_> {
    /// Reads what these items are now. False when they were too many for the server.
    async fn read_now(&mut self, cx: &Cx, numbers: &[usize], out: &mut Readings) -> Result<bool, Fault> {
        let node = |number: &usize| self.places.get(*number)?.as_ref().map(|node| attribute(node, AttributeId::Value));
        let nodes: Vec<_> = numbers.iter().filter_map(node).collect();
        match self.read_unless_slow(cx, nodes).await {
            Ok(None) => {
                tracing::debug!(nodes = numbers.len(), "the server answers, but not what these nodes are");
                fail(&self.link.items(), numbers, Reason::Timeout, out);
                Ok(true)
            }
            Ok(Some(values)) => {
                let ServerLink { slots, slot_of, memory, .. } = &mut *self.link;
                let items = Items { slots, slot_of, types: &memory.types };
                let mut newest = out.device_time();
                for (number, value) in numbers.iter().zip(&values) {
                    newest = newest.max(convert::time(value));
                    rows::note(&items, *number, value, out);
                    memory.told.note(*number, value, false);
                }
                if let Some(time) = newest {
                    out.set_device_time(time);
                }
                Ok(true)
            }
            Err(fault) if self.server.limits.read.yields(&fault, numbers.len()) => Ok(false),
            Err(Fault::Refused(status)) => {
                tracing::debug!(%status, "a read was refused");
                fail(&self.link.items(), numbers, crate::status::bad(status), out);
                Ok(true)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Reads nodes; `None` when the server says that it lives, and not in time what they are. A late answer is nobody's: each has the
    /// number of its question.
    async fn read_unless_slow(&mut self, cx: &Cx, nodes: Vec<ReadValueId>) -> Result<Option<Vec<DataValue>>, Fault> {
        let (channel, half) = (Arc::clone(&self.channel), cx.timeout() / 2);
        let mut lives = false;
        let answer = async {
            let read = pin!(channel.read(nodes, cx.timeout()));
            let sign = pin!(async {
                pause(half).await;
                sign_of_life(&channel, half).await
            });
            match select(read, sign).await {
                Either::Left((answer, _)) => answer,
                Either::Right((sign, read)) => {
                    sign?;
                    lives = true;
                    read.await
                }
            }
        };
        let answer = cx.within(answer).await.unwrap_or_else(|expired| Err(Fault::from(expired)));
        if lives {
            self.feed.heard(cx.now() + half);
        } else if answer.is_ok() {
            self.feed.heard(cx.now());
        }
        match answer {
            Err(Fault::Silent) if lives => Ok(None),
            answer => answer.map(Some),
        }
    }

    fn of_poll(&mut self, fault: Fault, poll: Poll) -> Lost {
        let device = self.link.device(poll.device);
        self.lose(fault, &format!("a read of {device}"))
    }
}

#[async_trait]
impl Session for ServerSession<'_> {
    /// The step is the place of an item in its group: each request reads as many nodes from there on as the server takes at once.
    async fn read(&mut self, cx: &Cx, poll: Poll, step: Step, out: &mut Readings) -> Result<Next, Lost> {
        if step == Step::FIRST {
            self.link.memory.told.row_begins();
        }
        let at_once = self.server.limits.read.get();
        let Some((index, slot)) = self.slot(poll) else { return Ok(Next::Done) };
        let Some(tags) = slot.tags() else { return Ok(Next::Done) };
        let (begin, end) = (slot.first_item, slot.first_item + tags.items.len());
        let first = begin.saturating_add(step.0);
        let last = first.saturating_add(at_once).min(end);
        let numbers = (first..last).filter(|number| matches!(self.places.get(*number), Some(Some(_))));
        let numbers: Vec<usize> = numbers.collect();
        if !numbers.is_empty() && !self.read_now(cx, &numbers, out).await.map_err(|lost| self.of_poll(lost, poll))? {
            return Ok(Next::Request(step));
        }
        if last < end {
            return Ok(Next::Request(Step(last - begin)));
        }
        if let Some(tags) = self.link.slots.get(index).and_then(Slot::tags) {
            let reason = if tags.events.is_some() { Reason::DeviceFault } else { Reason::BadAddress };
            out.fail_missing(tags.read_columns(), reason);
        }
        self.link.memory.told.row_ends(out.device_time());
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
        let items = Items { slots: &link.slots, slot_of: &link.slot_of, types: &link.memory.types };
        let roots = |device| link.root(device).cloned();
        if let Err(fault) = feed.wait(cx, &items, places, &roots).await {
            let silent = fault == Fault::Silent;
            let lost = self.lose(fault, "its subscriptions");
            return Err(if silent { Lost::new(Cause::Timeout, hung(&lost)) } else { lost });
        }
        let told = &mut link.memory.told;
        feed.look_for_missing(&items, told);
        let taken = feed.rows.take(&items, told, out);
        if !feed.is_in_the_past() {
            told.is_whole();
        }
        Ok(taken.map_or(Arrival::Nothing, |(_, arrival)| arrival))
    }
}

/// A server that still has the connection and says nothing.
fn hung(lost: &Lost) -> String {
    format!("{}: the connection stands, but the server hangs or the way to it is cut", lost.detail)
}
