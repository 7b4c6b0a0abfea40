//! One connection, from its login to its end.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    ConnectOptions, Event, Failure, Filter, Granted, Message, PublishId, QoS, Refused, SubscribeId,
    failure::Peer,
    link::Link,
    packet::{self, Incoming},
};

/// Nothing more is taken while so many bytes wait for the network; one message more may.
const MOST_UNSENT: usize = 8 << 20;
/// Messages on their way, at most: packet ids have to be left for requests.
const MOST_IN_FLIGHT: u16 = 60_000;
/// Requests to subscribe that are not answered, at most.
const MOST_REQUESTS: usize = 64;
/// Far away, for a timer that is not needed.
const LONG: Duration = Duration::from_secs(3600);

/// One connection whose login was accepted. It ends when it is dropped; without [`Connection::disconnect`] the broker then publishes the
/// will.
pub struct Connection {
    link: Link,
    options: Arc<ConnectOptions>,
    peer: Arc<Peer>,
    granted: Granted,
    /// What waits for an answer, by packet id.
    waiting: HashMap<u16, Waiting>,
    last_packet_id: u16,
    /// Messages that wait for an answer.
    in_flight: usize,
    published: u64,
    subscribed: u64,
    /// When the ping was sent that is not answered.
    pinged: Option<Instant>,
    /// When anything was handed to the network last.
    sent: Instant,
}

#[derive(Debug, Clone, Copy)]
enum Waiting {
    Publish(PublishId),
    Subscribe(SubscribeId, usize),
    Unsubscribe(SubscribeId),
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer.address).field("in_flight", &self.in_flight).finish()
    }
}

impl Connection {
    pub(crate) async fn log_in(
        mut link: Link,
        options: Arc<ConnectOptions>,
        peer: Arc<Peer>,
    ) -> Result<Connection, Failure> {
        if packet::connect(&options, &mut link.unsent).is_err() {
            return Err(peer.against_the_rules("client id, user name, password or will are longer than MQTT allows"));
        }
        let mut granted = loop {
            match packet::read(&options, &mut link.received).map_err(|why| peer.not_mqtt(&why))? {
                Some(Incoming::LoggedIn(granted)) => break granted,
                Some(Incoming::LoginRefused(refusal)) => return Err(peer.refused(refusal)),
                Some(Incoming::Dismissed(dismissal)) => return Err(peer.dismissed(dismissal)),
                Some(_) => return Err(peer.not_mqtt("something else in place of a login's answer")),
                None => match link.receive().await {
                    Ok(0) if link.received.is_empty() => return Err(peer.closed(false)),
                    Ok(0) => return Err(peer.not_mqtt("it ends in the middle of a packet")),
                    Ok(_) => {}
                    Err(error) => return Err(peer.broken(&error, false)),
                },
            }
        };
        granted.in_flight = granted.in_flight.min(MOST_IN_FLIGHT);
        let sent = Instant::now();
        Ok(Connection {
            link,
            options,
            peer,
            granted,
            waiting: HashMap::new(),
            last_packet_id: 0,
            in_flight: 0,
            published: 0,
            subscribed: 0,
            pinged: None,
            sent,
        })
    }

    /// What the broker granted with the login.
    pub fn granted(&self) -> &Granted {
        &self.granted
    }

    /// Messages at QoS 1 that have no outcome yet.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Messages at QoS 1 that can be published now.
    pub fn room(&self) -> usize {
        match self.link.unsent.len() < MOST_UNSENT {
            true => usize::from(self.granted.in_flight).saturating_sub(self.in_flight),
            false => 0,
        }
    }

    /// Hands a message over, to be sent by [`Connection::next`]. At QoS 1 its outcome comes out of there too, under the id
    /// returned; a message without an outcome when the connection has ended is lost, and may have arrived or not. At
    /// QoS 0 the result is `None`.
    ///
    /// # Errors
    ///
    /// [`Refused`], at once, with the connection as it was.
    pub fn publish(&mut self, message: Message) -> Result<Option<PublishId>, Refused> {
        if message.retain && !self.granted.retain {
            return Err(Refused::Retain);
        }
        if message.qos > self.granted.qos {
            return Err(Refused::QoS);
        }
        let is_counted = message.qos == QoS::AtLeastOnce;
        if self.link.unsent.len() >= MOST_UNSENT || (is_counted && self.room() == 0) {
            return Err(Refused::NoRoom);
        }
        let packet_id = if is_counted { self.free_packet_id() } else { 0 };
        let most = self.granted.largest_outgoing;
        self.hand_over(|protocol, out| packet::publish(protocol, message, packet_id, most, out))?;
        if !is_counted {
            return Ok(None);
        }
        let id = PublishId(self.published);
        self.published += 1;
        self.in_flight += 1;
        self.waiting.insert(packet_id, Waiting::Publish(id));
        Ok(Some(id))
    }

    /// Asks for everything that is published to these topics.
    ///
    /// # Errors
    ///
    /// [`Refused::NoRoom`] while 64 requests are not answered, [`Refused::Malformed`].
    pub fn subscribe(&mut self, filters: &[Filter]) -> Result<SubscribeId, Refused> {
        let packet_id = self.request(filters.is_empty())?;
        self.hand_over(|protocol, out| packet::subscribe(protocol, filters, packet_id, out))?;
        let id = self.next_request();
        self.waiting.insert(packet_id, Waiting::Subscribe(id, filters.len()));
        Ok(id)
    }

    /// Asks for nothing more of what is published there.
    ///
    /// # Errors
    ///
    /// As [`Connection::subscribe`].
    pub fn unsubscribe(&mut self, topics: &[String]) -> Result<SubscribeId, Refused> {
        let packet_id = self.request(topics.is_empty())?;
        self.hand_over(|protocol, out| packet::unsubscribe(protocol, topics, packet_id, out))?;
        let id = self.next_request();
        self.waiting.insert(packet_id, Waiting::Unsubscribe(id));
        Ok(id)
    }

    /// Acknowledges a message that came over this connection at QoS 1; the broker forgets it. In the order of coming.
    pub fn acknowledge(&mut self, packet_id: u16) {
        let now = Instant::now();
        self.link.waiting(now);
        packet::acknowledge(packet_id, &mut self.link.unsent);
        self.sent = now;
    }

    /// Asks for a sign of life now, not only when it has been silent. [`Event::Pong`] with this moment comes once the broker has read all
    /// that was handed over before. False while another ping is not answered, which says nothing of what was handed over since.
    pub fn ping(&mut self) -> bool {
        if self.pinged.is_some() {
            return false;
        }
        let now = Instant::now();
        self.link.waiting(now);
        packet::ping(&mut self.link.unsent);
        (self.sent, self.pinged) = (now, Some(now));
        true
    }

    /// Sends what was handed over and waits until something happens. May be dropped at any time: nothing is lost.
    ///
    /// # Errors
    ///
    /// Why the connection has ended. Everything that came before its end has been returned before; afterwards it is of no use any more.
    pub async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            while let Some(incoming) = self.read()? {
                if let Some(event) = self.happened(incoming)? {
                    return Ok(event);
                }
            }
            let deadline = self.deadline();
            match timeout_at(deadline, self.link.receive()).await {
                Ok(Ok(0)) => return Err(self.peer.closed(true)),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(self.peer.broken(&error, true)),
                Err(_) => self.look_at_the_clock(Instant::now())?,
            }
        }
    }

    /// Takes leave, so that the broker does not publish the will. What was handed over before is sent first; within `patience`.
    pub async fn disconnect(mut self, patience: Duration) {
        packet::disconnect(&mut self.link.unsent);
        // A broker that takes nothing any more learns of it by the end of the connection.
        let _ = timeout(patience, self.link.close()).await;
    }

    fn read(&mut self) -> Result<Option<Incoming>, Failure> {
        packet::read(&self.options, &mut self.link.received).map_err(|why| self.peer.not_mqtt(&why))
    }

    /// Takes note of a packet.
    fn happened(&mut self, incoming: Incoming) -> Result<Option<Event>, Failure> {
        Ok(Some(match incoming {
            Incoming::Message(message) => Event::Message(message),
            Incoming::Published(packet_id, outcome) => match self.waiting.remove(&packet_id) {
                Some(Waiting::Publish(id)) => {
                    self.in_flight = self.in_flight.saturating_sub(1);
                    Event::Published(id, outcome)
                }
                _ => {
                    let what =
                        format!("acknowledged message {packet_id}, which was not sent or had been acknowledged before");
                    return Err(self.unasked(&what));
                }
            },
            Incoming::Subscribed(packet_id, answers) => match self.waiting.remove(&packet_id) {
                Some(Waiting::Subscribe(id, filters)) if filters == answers.len() => Event::Subscribed(id, answers),
                _ => return Err(self.unasked("answered a subscription that was not asked for")),
            },
            Incoming::Unsubscribed(packet_id) => match self.waiting.remove(&packet_id) {
                Some(Waiting::Unsubscribe(id)) => Event::Unsubscribed(id),
                _ => return Err(self.unasked("answered the end of a subscription that was not asked for")),
            },
            Incoming::Pong => match self.pinged.take() {
                Some(sent) => Event::Pong(sent),
                None => return Ok(None),
            },
            Incoming::Dismissed(dismissal) => return Err(self.peer.dismissed(dismissal)),
            Incoming::LoggedIn(_) | Incoming::LoginRefused(_) => {
                return Err(self.peer.against_the_rules("it answered the login twice"));
            }
            Incoming::Unexpected(what) => return Err(self.peer.against_the_rules(&format!("it sent {what}"))),
        }))
    }

    fn unasked(&self, what: &str) -> Failure {
        Failure::new(crate::FailureKind::Protocol, format!("{} {what}", self.peer.address))
    }

    /// When something is to be done although nothing has come.
    fn deadline(&self) -> Instant {
        let keep_alive = self.keep_alive();
        let ping = match (self.pinged, keep_alive) {
            (_, None) => None,
            // Answers to other things show that the broker lives as well as a pong does.
            (Some(pinged), Some(keep_alive)) => Some(pinged.max(self.link.heard) + keep_alive),
            (None, Some(keep_alive)) => Some(self.sent.min(self.link.heard) + keep_alive),
        };
        let write = self.link.is_waiting().then(|| self.link.wrote + self.options.patience);
        [ping, write].into_iter().flatten().min().unwrap_or_else(|| Instant::now() + LONG)
    }

    fn look_at_the_clock(&mut self, now: Instant) -> Result<(), Failure> {
        if self.link.is_waiting() && now >= self.link.wrote + self.options.patience {
            return Err(self.peer.silent(true));
        }
        let Some(keep_alive) = self.keep_alive() else { return Ok(()) };
        match self.pinged {
            Some(pinged) if now >= pinged.max(self.link.heard) + keep_alive => return Err(self.peer.no_pong()),
            None if now >= self.sent.min(self.link.heard) + keep_alive => {
                self.link.waiting(now);
                packet::ping(&mut self.link.unsent);
                (self.sent, self.pinged) = (now, Some(now));
            }
            _ => {}
        }
        Ok(())
    }

    /// `None`: the broker wants no pings.
    fn keep_alive(&self) -> Option<Duration> {
        Some(self.granted.keep_alive).filter(|keep_alive| !keep_alive.is_zero())
    }

    /// Adds a packet to what is to be sent.
    fn hand_over(
        &mut self,
        add: impl FnOnce(crate::Protocol, &mut bytes::BytesMut) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let now = Instant::now();
        self.link.waiting(now);
        add(self.options.protocol, &mut self.link.unsent)?;
        self.sent = now;
        Ok(())
    }

    /// The packet id of a request.
    fn request(&mut self, is_empty: bool) -> Result<u16, Refused> {
        if is_empty {
            return Err(Refused::Malformed);
        }
        if self.waiting.len().saturating_sub(self.in_flight) >= MOST_REQUESTS {
            return Err(Refused::NoRoom);
        }
        Ok(self.free_packet_id())
    }

    fn next_request(&mut self) -> SubscribeId {
        let id = SubscribeId(self.subscribed);
        self.subscribed += 1;
        id
    }

    /// In a circle, so that a late second acknowledgement of an old message does not hit a new one. One is always free: fewer
    /// messages and requests can be on their way than there are.
    fn free_packet_id(&mut self) -> u16 {
        loop {
            self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(1);
            if !self.waiting.contains_key(&self.last_packet_id) {
                return self.last_packet_id;
            }
        }
    }
}

#[cfg(test)]
mod tests;
