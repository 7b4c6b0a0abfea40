//! One connected client: its socket, from CONNACK to the last byte.
//!
//! One task owns the socket and waits for all that can happen at once: bytes from the client, room for bytes to it, a
//! message in its session, its keep-alive time, its end. It never waits for one of them alone, so a client that reads
//! slowly is still heard.
//!
//! What is to be sent is made ready in a batch of about [`ENOUGH`] bytes while the batch before is on its way: first
//! the answers to the client's packets, then messages of its session. A client that reads nothing is heard until its
//! answers fill a batch; one that sends more than it may is not read for a while.

mod receiving;
mod sending;

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::yield_now,
    time::{Duration, Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{receiving::Receiving, sending::Aliases};
use crate::{
    farewell::{self, Left},
    hub::{Hub, Replay, Testament},
    pace::Pace,
    session::{Attached, Gone, Outgoing, Session},
    stream::{Moved, Stream},
    total::Part,
    wire::{self, Batch, Connect, Fault, Reply, Version},
};

/// Bytes ready to be sent, above which no more are made ready.
const ENOUGH: usize = 64 * 1024;
/// Steps through retained messages before others have their turn.
const STEPS: usize = 32;
/// How long the last bytes may take when the connection ends.
const FLUSH: Duration = Duration::from_secs(1);

/// One connected client.
pub(crate) struct Connection {
    pub(crate) hub: Arc<Hub>,
    pub(crate) session: Arc<Session>,
    pub(crate) reply: Reply,
    pub(crate) peer: SocketAddr,
    pub(crate) attached: Attached,
    /// Whether the client is a broker that passes on what it gets.
    pub(crate) is_bridge: bool,
    /// Seconds the session outlives the connection.
    pub(crate) expiry: u32,
    pub(crate) will: Option<Arc<Testament>>,
    /// Topics that the client has given a number.
    pub(crate) aliases: HashMap<u16, Bytes>,
    /// Retained messages that the client is still to get.
    pub(crate) replays: VecDeque<Replay>,
    /// Steps of such walks that may still be taken before others have their turn.
    steps: usize,
    /// Whether there are more to be taken then.
    more: bool,
    /// The next batch to be sent.
    pub(crate) out: Batch,
    /// The batch that is on its way.
    sending: Batch,
    /// What both count.
    ready: Part,
    /// Whether a publish or subscription has been refused before, so that it is logged once.
    pub(crate) refused: bool,
    keep_alive: Option<Duration>,
    receiving: Receiving,
    numbered: Aliases,
    pace: Pace,
    /// Until when messages wait for others.
    held: Option<Instant>,
    taken: Vec<Outgoing>,
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The client said goodbye.
    Disconnected {
        /// Whether it wants its will to be published all the same.
        with_will: bool,
    },
    /// The socket broke.
    Lost(io::Error),
    /// The client sent what is no MQTT.
    Fault(Fault),
    /// The client was silent for too long.
    Silent,
    /// The session has another connection.
    Gone(Gone),
    /// The broker stops.
    Stopping,
}

impl End {
    /// The reason that the client is told (MQTT 5.0 §3.14.2.1), and why.
    fn reason(&self) -> Option<(u8, &'static str)> {
        match self {
            End::Disconnected { .. } | End::Lost(_) => None,
            End::Fault(fault) => Some((fault.code, fault.text)),
            End::Silent => Some((0x8D, "the client sent nothing for one and a half times its keep alive")),
            End::Gone(Gone::TakenOver) => {
                Some((0x8E, "another connection has the client id now, or the gateway has ended the session"))
            }
            End::Gone(Gone::TooSlow) => {
                Some((0x97, "the client took its messages too slowly; its session has ended and what waited is lost"))
            }
            End::Gone(Gone::GaveWay) => {
                Some((0x97, "too much waits for all clients, and this one was the slowest; its session has ended"))
            }
            End::Gone(Gone::Dismissed) => Some((0x98, "what the user may do has changed; log in again")),
            End::Stopping => Some((0x8B, "the broker stops")),
        }
    }
}

impl From<Gone> for End {
    fn from(gone: Gone) -> End {
        End::Gone(gone)
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> End {
        End::Fault(fault)
    }
}

impl Connection {
    /// A connection whose client keeps the session for `expiry` seconds and promised a packet every `keep_alive` seconds, 0
    /// for nothing.
    pub(crate) fn new(
        hub: Arc<Hub>,
        session: Arc<Session>,
        attached: Attached,
        connect: Connect,
        keep_alive: u16,
        peer: SocketAddr,
    ) -> Connection {
        // MQTT 5.0 §3.1.2.10: one and a half times what the client promised.
        let keep_alive = Duration::from_millis(1_500) * u32::from(keep_alive);
        let reply = Reply {
            version: connect.version,
            wants_reasons: connect.wants_reasons,
            packet_bytes: usize::try_from(connect.packet_bytes).unwrap_or(usize::MAX),
        };
        let aliases = if connect.version == Version::V5 { connect.topic_aliases } else { 0 };
        let will = connect.will.map(|will| hub.keep_will(attached.connection, &session, will));
        let ready = if session.is_counted { Part::of(&hub.total) } else { Part::default() };
        Connection {
            receiving: Receiving::new(&hub.limits),
            hub,
            session,
            reply,
            peer,
            is_bridge: connect.is_bridge,
            expiry: attached.expiry,
            attached,
            will,
            aliases: HashMap::new(),
            replays: VecDeque::new(),
            steps: STEPS,
            more: false,
            out: Batch::default(),
            sending: Batch::default(),
            ready,
            refused: false,
            keep_alive: (!keep_alive.is_zero()).then_some(keep_alive),
            numbered: Aliases::new(aliases),
            pace: Pace::new(Instant::now()),
            held: None,
            taken: Vec::new(),
        }
    }

    /// Serves the client until its connection ends; `answer` is sent first. Returns what is left to be done then.
    pub(crate) async fn run(
        mut self,
        mut stream: Stream,
        input: BytesMut,
        answer: &[u8],
        stop: &CancellationToken,
    ) -> Left {
        self.out.small().extend_from_slice(answer);
        let end = self.exchange(&mut stream, input, stop).await;
        self.flush(&mut stream, &end).await;
        farewell::leave(self, end)
    }

    async fn exchange(&mut self, stream: &mut Stream, mut input: BytesMut, stop: &CancellationToken) -> End {
        let (wake, kick) = (Arc::clone(&self.attached.wake), self.attached.kick.clone());
        let mut heard = Instant::now();
        let silence = sleep_until(heard + self.keep_alive.unwrap_or_default());
        let pause = sleep_until(heard);
        tokio::pin!(silence, pause);
        loop {
            self.steps = STEPS;
            if let Err(end) = self.handle_all(&mut input).and_then(|()| self.next_batch()) {
                return end;
            }
            self.count_ready();
            self.receiving.make_room(&mut input);
            let reads = self.out.remaining() < ENOUGH && self.receiving.rest().is_none();
            let until = self.held.into_iter().chain(self.receiving.rest()).min();
            if let Some(until) = until.filter(|until| pause.deadline() != *until || pause.is_elapsed()) {
                pause.as_mut().reset(until);
            }
            let sending = self.sending.remaining();
            tokio::select! {
                () = stop.cancelled() => return End::Stopping,
                () = kick.cancelled() => return self.replaced(),
                () = wake.notified() => {}
                () = yield_now(), if self.more => {}
                moved = stream.exchange(&mut self.sending, reads.then_some(&mut input)) => match moved {
                    Ok(Moved { read: Some(0), .. }) => return End::Lost(io::ErrorKind::ConnectionAborted.into()),
                    Ok(Moved { read, .. }) => {
                        self.hub.counters.bytes_sent.add(sending - self.sending.remaining());
                        self.hub.counters.bytes_received.add(read.unwrap_or_default());
                        // A client whose answers wait is heard by what it takes of them.
                        if read.is_some() || !reads {
                            heard = Instant::now();
                        }
                    }
                    Err(error) => return End::Lost(error),
                },
                () = &mut pause, if until.is_some() => {
                    let now = Instant::now();
                    self.held = self.held.filter(|held| *held > now);
                    if self.receiving.wake(now) {
                        heard = now;
                    }
                }
                () = &mut silence, if self.keep_alive.is_some() => {
                    let now = Instant::now();
                    // Who may not be heard is not silent.
                    if self.receiving.rest().is_some() {
                        heard = now;
                    }
                    let due = heard + self.keep_alive.unwrap_or_default();
                    if due <= now {
                        return End::Silent;
                    }
                    silence.as_mut().reset(due);
                }
            }
        }
    }

    /// Tells how much is ready to be sent.
    fn count_ready(&mut self) {
        let bytes = self.out.remaining() + self.sending.remaining();
        self.ready.set(bytes);
        self.attached.ready.store(bytes, Relaxed);
    }

    /// Why the session told the connection to go.
    fn replaced(&mut self) -> End {
        let gone = self.session.take(self.attached.connection, (0, 1), Instant::now(), &mut self.taken);
        End::Gone(gone.err().unwrap_or(Gone::TakenOver))
    }

    /// Sends what is left when the connection ends: why, and when the broker stops also what waits.
    async fn flush(&mut self, stream: &mut Stream, end: &End) {
        let Some((code, text)) = end.reason() else { return };
        let last = async {
            stream.write_all_buf(&mut self.sending).await?;
            if matches!(end, End::Stopping) {
                self.steps = STEPS;
                while self.fill(1).is_ok() && self.out.has_remaining() {
                    stream.write_all_buf(&mut self.out).await?;
                    self.steps = STEPS;
                }
            }
            wire::disconnect(self.out.small(), self.reply, code, text);
            stream.write_all_buf(&mut self.out).await?;
            // A client that comes back as soon as it sees the end is not to find it still there.
            if matches!(end, End::Fault(_) | End::Silent) && self.expiry == 0 {
                self.hub.end_early(&self.session, self.attached.connection);
            }
            stream.shutdown().await?;
            // The reason is lost when the socket is closed while bytes of the client are still unread, as those of a packet
            // that is too large.
            if matches!(end, End::Fault(_)) {
                let mut rest = [0; 4 * 1024];
                while stream.read(&mut rest).await? > 0 {}
            }
            io::Result::Ok(())
        };
        let _ = timeout(FLUSH, last).await;
    }
}
