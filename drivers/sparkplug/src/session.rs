//! One connection: what the node publishes becomes rows, writes become commands.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_driver_api::{
    Arrival, Browser, Cx, Expired, Lost, Next, Poll, Readings, Session, Step, Subscriber, Writer, Written, async_trait,
    config::Access,
    model::{Reading, Reason, Timestamp, Value},
};
use tidegate_mqtt::{Connection, Event, Message as Sent};
use tidegate_sparkplug::{self as sparkplug, Host, Known, Message, Now, PayloadError, Worth, write_request};

use crate::{
    browse::List,
    config::Whose,
    fault::Fault,
    link::{NodeLink, wall},
    plan::{Item, TOGETHER},
    rows::Rows,
};

/// Topics of messages that are not taken of which is told, at most.
const MOST_TOLD: usize = 64;

/// When a node has said nothing for so long after births, it has no more of them.
const QUIET: Duration = Duration::from_millis(500);

/// A connection to the broker of a node.
pub(crate) struct NodeSession<'link> {
    pub(crate) link: &'link mut NodeLink,
    connection: Connection,
    pub(crate) host: Host,
    connected: Timestamp,
    rows: Rows,
    /// What each device has, by its place; missing while it is not there.
    there: HashMap<usize, Arc<[Known]>>,
    /// Until when devices have to be heard of since the session or the node began; `None` when it was said that they were not.
    patience: Option<Instant>,
    /// A value that was written, until the node has published it.
    awaited: Option<(usize, Arc<str>, Value)>,
    pub(crate) list: List,
    /// Topics of messages that were not taken and told of.
    told: HashSet<String>,
}

impl<'link> NodeSession<'link> {
    pub(crate) fn new(
        link: &'link mut NodeLink,
        connection: Connection,
        host: Host,
        connected: Timestamp,
        now: Instant,
    ) -> NodeSession<'link> {
        let (rows, patience) = (Rows::new(&link.devices), Some(now + link.patience));
        let (there, list, told) = (HashMap::new(), List::default(), HashSet::new());
        NodeSession { link, connection, host, connected, rows, there, patience, awaited: None, list, told }
    }

    /// Waits until all devices of the link have been born, or for so long.
    pub(crate) async fn await_births(&mut self, cx: &Cx, wait: Duration) -> Result<(), Fault> {
        let deadline = cx.now() + wait;
        while self.there.len() < self.link.devices.len() {
            match tokio::time::timeout_at(deadline.into(), self.connection.next()).await {
                Ok(event) => self.happened(event?, cx.now())?,
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Waits until the node has said what this device has; without one, until it has said so of all, as far as can be seen. A link without
    /// devices, for which profiles are still to be made, has not waited when it was made.
    pub(crate) async fn await_device(&mut self, cx: &Cx, device: Option<&str>) -> Result<(), Fault> {
        let deadline = cx.now() + cx.timeout() / 2;
        while let Some(patience) = self.lacks(device, cx.timeout()) {
            let next = tokio::time::timeout(patience, self.connection.next());
            match tokio::time::timeout_at(deadline.into(), next).await {
                Ok(Ok(event)) => self.happened(event?, cx.now())?,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        Ok(())
    }

    /// How long the next message is to be waited for while it is not known what this device has, or any (`None`).
    fn lacks(&self, device: Option<&str>, longest: Duration) -> Option<Duration> {
        let mut known = self.host.known(&self.link.node).filter_map(|(device, _)| device);
        match device {
            Some(wanted) => (!known.any(|found| found == wanted)).then_some(longest),
            None if known.next().is_some() => Some(QUIET),
            None => Some(longest),
        }
    }

    fn happened(&mut self, event: Event, now: Instant) -> Result<(), Fault> {
        let Event::Message(message) = event else { return Ok(()) };
        if message.packet_id != 0 {
            self.connection.acknowledge(message.packet_id);
        }
        let Ok(topic) = std::str::from_utf8(&message.topic) else { return Ok(()) };
        let mut events = Vec::new();
        self.host.heard(topic, &message.payload, Now { at: now, time: wall() }, &mut events);
        self.take(events, now)
    }

    fn take(&mut self, events: Vec<sparkplug::Event>, now: Instant) -> Result<(), Fault> {
        for event in events {
            match event {
                sparkplug::Event::Born { node, device, metrics, .. } if node == self.link.node => {
                    if device.is_none() {
                        // Its devices are to be born again, with other aliases; those that are not are not there any more.
                        self.there.clear();
                        self.patience = Some(now + self.link.patience);
                    }
                    for place in self.places(device.as_deref()) {
                        self.there.insert(place, Arc::clone(&metrics));
                        if let Some(of) = self.link.devices.get(place) {
                            self.rows.missing(place, of, &metrics);
                        }
                    }
                }
                sparkplug::Event::Died { node, device, .. } if node == self.link.node => {
                    let places = match &device {
                        Some(device) => self.places(Some(device)),
                        None => (0..self.link.devices.len()).collect(),
                    };
                    for place in places {
                        self.there.remove(&place);
                        if let Some(of) = self.link.devices.get(place) {
                            self.rows.fail(place, of, Reason::Disconnected);
                        }
                    }
                }
                sparkplug::Event::Data { node, device, metrics, samples } if node == self.link.node => {
                    for place in self.places(device.as_deref()) {
                        self.confirm(place, &metrics, &samples);
                        if let Some(of) = self.link.devices.get(place) {
                            self.rows.take(place, of, &metrics, &samples);
                        }
                    }
                }
                sparkplug::Event::Ask(message) => self.publish(message),
                sparkplug::Event::SayOnline { over } => {
                    if over > self.connected {
                        self.link.begin_after = over;
                        return Err(Fault::Superseded);
                    }
                    if let Some(birth) = self.host.state(true, self.connected) {
                        let _ = self.connection.publish(Sent::new(birth.topic, birth.payload).retained());
                    }
                }
                sparkplug::Event::Malformed { topic, error } => self.tell(topic, &error),
                // Counted by the host; births that were asked for mend it.
                _ => {}
            }
        }
        if self.rows.are_too_many() { Err(Fault::TooMuch) } else { Ok(()) }
    }

    /// Tells of a message that is not taken, once for each topic: what it is about stays bad.
    fn tell(&mut self, topic: String, error: &PayloadError) {
        let broker = &self.link.address;
        match error {
            _ if self.told.len() >= MOST_TOLD || self.told.contains(&topic) => return,
            PayloadError::Beyond | PayloadError::TooMany | PayloadError::TooLarge { .. } => tracing::error!(
                %broker, topic, %error,
                "a message of an edge node is more than the gateway takes; the tags that it is about stay bad; give the metrics to several \
                 devices or edge nodes"
            ),
            _ => {
                tracing::warn!(%broker, topic, %error, "a message of an edge node is not taken; look at the edge node")
            }
        }
        self.told.insert(topic);
    }

    /// The devices of the link that have the metrics of this one; of the node itself without a name.
    fn places(&self, device: Option<&str>) -> Vec<usize> {
        let is = |whose: &Whose| match (whose, device) {
            (Whose::Node, None) => true,
            (Whose::Device(name), Some(device)) => name == device,
            _ => false,
        };
        let devices = self.link.devices.iter().enumerate();
        devices.filter(|(_, of)| is(&of.whose)).map(|(place, _)| place).collect()
    }

    fn confirm(&mut self, device: usize, metrics: &[Known], samples: &[sparkplug::Sample]) {
        let Some((awaited, metric, value)) = &self.awaited else { return };
        let is = |sample: &sparkplug::Sample| {
            let known = metrics.get(sample.metric).is_some_and(|known| known.name == *metric);
            known && !sample.historical && matches!(&sample.worth, Worth::Value(found, _) if found.same_as(value))
        };
        if *awaited == device && samples.iter().any(is) {
            self.awaited = None;
        }
    }

    /// With QoS 0, as the specification wants commands.
    fn publish(&mut self, message: Message) {
        // Without room the broker has taken nothing for a while, which ends the session soon.
        let _ = self.connection.publish(Sent::new(message.topic, message.payload).unacknowledged());
    }

    /// Does what is due by the clock.
    fn look(&mut self, now: Instant) -> Result<(), Fault> {
        let mut events = Vec::new();
        self.host.run(Now { at: now, time: wall() }, &mut events);
        self.take(events, now)?;
        if self.patience.is_some_and(|until| until <= now) {
            self.patience = None;
            for (place, of) in self.link.devices.iter().enumerate() {
                if !self.there.contains_key(&place) {
                    self.rows.fail(place, of, Reason::Disconnected);
                }
            }
        }
        Ok(())
    }

    /// The broker answers; what came before its answer has been taken.
    async fn ping(&mut self, cx: &Cx) -> Result<(), Fault> {
        let work = async {
            let mut pinged = self.connection.ping();
            loop {
                match self.connection.next().await? {
                    Event::Pong(_) if pinged => return Ok(()),
                    // The answer to one of the client's own.
                    Event::Pong(_) => pinged = self.connection.ping(),
                    event => self.happened(event, cx.now())?,
                }
            }
        };
        cx.within(work).await?
    }

    pub(crate) fn lost(&self, fault: &Fault) -> Lost {
        fault.lost(&self.link.address)
    }

    /// The tag that may be written there, and its metric.
    fn written(&self, poll: Poll, column: usize) -> Result<(&Item, &Known), String> {
        let device = self.link.devices.get(poll.device);
        let group = device.and_then(|device| device.plan.groups.get(poll.group));
        let item = group.and_then(|group| group.items.iter().find(|item| item.column == column));
        let item = item.filter(|item| item.access != Access::Read).ok_or("the tag may not be written")?;
        let metrics = self.there.get(&poll.device).ok_or("the edge node has not said that the device is there")?;
        let known = metrics.iter().find(|known| known.name == item.metric);
        Ok((item, known.ok_or_else(|| format!("the device has no metric \"{}\"", item.metric))?))
    }
}

#[async_trait]
impl Session for NodeSession<'_> {
    /// The step is the number of a ping; with each so many tags are told as they were published last.
    async fn read(&mut self, cx: &Cx, poll: Poll, step: Step, out: &mut Readings) -> Result<Next, Lost> {
        self.ping(cx).await.map_err(|fault| self.lost(&fault))?;
        let device = self.link.devices.get(poll.device);
        let Some(group) = device.and_then(|device| device.plan.groups.get(poll.group)) else { return Ok(Next::Done) };
        let first = step.0.saturating_mul(TOGETHER);
        for item in group.read().skip(first).take(TOGETHER) {
            match self.rows.latest(poll, item.column) {
                Some(Reading::Value(value)) => out.set(item.column, value.clone()),
                Some(Reading::Doubtful(value, reason)) => out.doubt(item.column, value.clone(), *reason),
                Some(Reading::Failed(reason)) => out.fail(item.column, *reason),
                Some(Reading::Missing) | None => out.fail(item.column, Reason::NotYetRead),
            }
        }
        let more = group.read().nth(first.saturating_add(TOGETHER)).is_some();
        Ok(if more { Next::Request(Step(step.0 + 1)) } else { Next::Done })
    }

    fn writer(&mut self) -> Option<&mut dyn Writer> {
        Some(self)
    }

    fn subscriber(&mut self) -> Option<&mut dyn Subscriber> {
        Some(self)
    }

    fn delivers(&self, _poll: Poll) -> bool {
        true
    }

    fn browser(&mut self) -> Option<&mut dyn Browser> {
        Some(self)
    }
}

#[async_trait]
impl Subscriber for NodeSession<'_> {
    async fn next(&mut self, cx: &Cx, out: &mut Readings) -> Result<Arrival, Lost> {
        loop {
            if let Some(poll) = self.rows.next(out) {
                return Ok(Arrival::Row(poll));
            }
            self.look(cx.now()).map_err(|fault| self.lost(&fault))?;
            if self.rows.are_waiting() {
                continue;
            }
            match cx.within(self.connection.next()).await {
                Ok(Ok(event)) => self.happened(event, cx.now()).map_err(|fault| self.lost(&fault))?,
                Ok(Err(failure)) => return Err(self.lost(&failure.into())),
                Err(Expired::Deadline | Expired::Cancelled) => return Ok(Arrival::Nothing),
            }
        }
    }
}

#[async_trait]
impl Writer for NodeSession<'_> {
    async fn write(&mut self, cx: &Cx, poll: Poll, column: usize, raw: &Value) -> Result<Written, Lost> {
        let (message, metric, value) = match self.written(poll, column) {
            Err(why) => return Ok(Written::Refused(why)),
            Ok((item, known)) => {
                let device = match self.link.devices.get(poll.device).map(|device| &device.whose) {
                    Some(Whose::Device(name)) => Some(name.as_str()),
                    _ => None,
                };
                match write_request(&self.link.node, device, &[(known, raw.clone())], wall()) {
                    Ok(message) => (message, Arc::clone(&item.metric), known_value(raw, known)),
                    Err((_, error)) => return Ok(Written::Refused(format!("failed to {error}"))),
                }
            }
        };
        self.awaited = value.map(|value| (poll.device, metric, value));
        let has_answer = self.awaited.is_some();
        self.publish(message);
        // A command has no answer; the value that the node then publishes is one.
        let work = async {
            while self.awaited.is_some() || !has_answer {
                let event = self.connection.next().await?;
                self.happened(event, cx.now())?;
            }
            Ok::<(), Fault>(())
        };
        let written = match cx.within(work).await {
            Ok(Ok(())) => Written::Confirmed,
            Ok(Err(fault)) => return Err(self.lost(&fault)),
            Err(_) => Written::Unknown("the edge node has not published the new value".to_owned()),
        };
        self.awaited = None;
        Ok(written)
    }
}

/// The value as the node will publish it.
fn known_value(raw: &Value, known: &Known) -> Option<Value> {
    let wire = sparkplug::to_wire(raw, known.datatype).ok()?;
    sparkplug::from_wire(&wire, known.datatype).ok()
}
