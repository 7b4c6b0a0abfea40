//! One connected client: its socket, from CONNACK to the last byte.
//!
//! One task owns the socket and waits for all that can happen at once: bytes from the client, room for bytes to it, a
//! message in its session, its keep-alive time, its end. It never waits for one of them alone, so a client that reads
//! slowly is still heard.
//!
//! What is to be sent is made ready in a batch of about [`ENOUGH`] bytes while the batch before is on its way: first
//! the answers to the client's packets, then messages of its session. A client that reads nothing is heard until its
//! answers fill a batch.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    sync::Arc,
};

use bytes::BytesMut;
use tokio::{
    io::AsyncWriteExt,
    time::{Duration, Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    farewell::{self, Left},
    hub::{Hub, Replay},
    session::{Attached, Gone, Outgoing, Session},
    stream::{Moved, Stream},
    wire::{self, Acknowledgement, Connect, Content, Fault, Version, Will},
};

/// Bytes ready to be sent, above which no more are made ready.
const ENOUGH: usize = 64 * 1024;
/// Bytes of an empty buffer, above which it is given back.
const WORTH_KEEPING: usize = 128 * 1024;
/// Bytes read at a time.
const READ: usize = 4 * 1024;
/// Messages that wait, below which retained messages are put to them.
const FEW: usize = 32;
/// How long the last bytes may take when the connection ends.
const FLUSH: Duration = Duration::from_secs(1);

/// One connected client.
pub(crate) struct Connection {
    pub(crate) hub: Arc<Hub>,
    pub(crate) session: Arc<Session>,
    pub(crate) version: Version,
    pub(crate) peer: SocketAddr,
    pub(crate) attached: Attached,
    /// Seconds the session outlives the connection.
    pub(crate) expiry: u32,
    pub(crate) will: Option<Will>,
    /// Topics that the client has given a number.
    pub(crate) aliases: HashMap<u16, String>,
    /// Retained messages that the client is still to get.
    pub(crate) replays: VecDeque<Replay>,
    /// The next batch to be sent.
    pub(crate) out: BytesMut,
    /// The batch that is on its way.
    sending: BytesMut,
    /// Whether a publish or subscription has been refused before, so that it is logged once.
    pub(crate) refused: bool,
    keep_alive: Option<Duration>,
    packet_bytes: usize,
    batch: Vec<Outgoing>,
    scratch: Vec<u8>,
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
    /// The reason that the client is told (MQTT 5.0 §3.14.2.1).
    fn code(&self) -> Option<u8> {
        match self {
            End::Disconnected { .. } | End::Lost(_) => None,
            End::Fault(fault) => Some(fault.code()),
            End::Silent => Some(0x8D),
            End::Gone(Gone::TakenOver) => Some(0x8E),
            End::Gone(Gone::TooSlow) => Some(0x97),
            End::Stopping => Some(0x8B),
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
    pub(crate) fn new(
        hub: Arc<Hub>,
        session: Arc<Session>,
        attached: Attached,
        connect: Connect,
        peer: SocketAddr,
    ) -> Connection {
        // MQTT 5.0 §3.1.2.10: one and a half times what the client promised.
        let keep_alive = Duration::from_millis(1_500) * u32::from(connect.keep_alive);
        Connection {
            hub,
            session,
            version: connect.version,
            peer,
            attached,
            expiry: connect.expiry,
            will: connect.will,
            aliases: HashMap::new(),
            replays: VecDeque::new(),
            out: BytesMut::new(),
            sending: BytesMut::new(),
            refused: false,
            keep_alive: (!keep_alive.is_zero()).then_some(keep_alive),
            packet_bytes: usize::try_from(connect.packet_bytes).unwrap_or(usize::MAX),
            batch: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Serves the client until its connection ends; `answer` is sent first. Returns what is left to be done then.
    pub(crate) async fn run(
        mut self,
        mut stream: Stream,
        input: BytesMut,
        answer: BytesMut,
        stop: &CancellationToken,
    ) -> Left {
        self.out = answer;
        let end = self.exchange(&mut stream, input, stop).await;
        self.flush(&mut stream, &end).await;
        farewell::leave(self, end)
    }

    async fn exchange(&mut self, stream: &mut Stream, mut input: BytesMut, stop: &CancellationToken) -> End {
        let (wake, kick) = (Arc::clone(&self.attached.wake), self.attached.kick.clone());
        let (mut heard, mut largest) = (Instant::now(), 0);
        let silence = sleep_until(heard + self.keep_alive.unwrap_or_default());
        tokio::pin!(silence);
        loop {
            if let Err(end) = self.handle_all(&mut input, &mut heard).and_then(|()| self.next_batch()) {
                return end;
            }
            make_room(&mut input, &mut largest);
            tokio::select! {
                () = stop.cancelled() => return End::Stopping,
                () = kick.cancelled() => return self.replaced(),
                () = wake.notified() => {}
                moved = stream.exchange(&mut self.sending, (self.out.len() < ENOUGH).then_some(&mut input)) => match moved {
                    Ok(Moved { read: Some(0), .. }) => return End::Lost(io::ErrorKind::ConnectionAborted.into()),
                    Ok(_) => {}
                    Err(error) => return End::Lost(error),
                },
                () = &mut silence, if self.keep_alive.is_some() => {
                    let due = heard + self.keep_alive.unwrap_or_default();
                    if due <= Instant::now() {
                        return End::Silent;
                    }
                    silence.as_mut().reset(due);
                }
            }
        }
    }

    /// Why the session told the connection to go.
    fn replaced(&mut self) -> End {
        let gone = self.session.take(self.attached.connection, 0, Instant::now(), &mut self.batch);
        End::Gone(gone.err().unwrap_or(Gone::TakenOver))
    }

    /// Works on the packets that have arrived whole.
    fn handle_all(&mut self, input: &mut BytesMut, heard: &mut Instant) -> Result<(), End> {
        while self.out.len() < ENOUGH
            && let Some(frame) = wire::next_frame(input, self.hub.limits.packet_bytes)?
        {
            *heard = Instant::now();
            self.handle(wire::packet(frame, self.version)?)?;
        }
        Ok(())
    }

    /// Sends the next batch on its way when the one before has been sent.
    fn next_batch(&mut self) -> Result<(), End> {
        if !self.sending.is_empty() {
            return Ok(());
        }
        self.fill()?;
        std::mem::swap(&mut self.sending, &mut self.out);
        if self.out.capacity() > WORTH_KEEPING {
            self.out = BytesMut::new();
        }
        Ok(())
    }

    /// Adds to the batch what waits in the session, until it is enough.
    pub(crate) fn fill(&mut self) -> Result<(), End> {
        let now = Instant::now();
        while self.out.len() < ENOUGH {
            while self.session.waiting() < FEW
                && let Some(replay) = self.replays.front_mut()
            {
                if !self.hub.replay(&self.session, replay) {
                    self.replays.pop_front();
                }
            }
            self.session.take(self.attached.connection, ENOUGH, now, &mut self.batch)?;
            if self.batch.is_empty() {
                break;
            }
            let mut batch = std::mem::take(&mut self.batch);
            for outgoing in batch.drain(..) {
                self.write(outgoing, now)?;
            }
            self.batch = batch;
        }
        Ok(())
    }

    fn write(&mut self, outgoing: Outgoing, now: Instant) -> Result<(), End> {
        let (queued, id, duplicate) = match outgoing {
            Outgoing::Publish { queued, id, duplicate } => (queued, id, duplicate),
            Outgoing::Release(id) => {
                wire::acknowledge(&mut self.out, self.version, Acknowledgement::Release, id, 0);
                return Ok(());
            }
        };
        let before = self.out.len();
        let message = &queued.message;
        let content = Content {
            topic: &message.topic,
            payload: &message.payload,
            qos: queued.qos,
            retain: queued.retain,
            duplicate,
            id,
            expiry: message.expires_in(now),
            identifiers: &queued.identifiers,
            properties: message.properties.as_deref(),
        };
        wire::publish(&mut self.out, self.version, &content, &mut self.scratch);
        // MQTT 5.0 §3.1.2.11.4: what is too large for the client is dropped as if it had been sent.
        if self.out.len() - before > self.packet_bytes {
            self.out.truncate(before);
            self.hub.counters.dropped.increase();
            self.session.finished(self.attached.connection, id)?;
            return Ok(());
        }
        self.hub.counters.delivered.increase();
        self.hub.counters.delivered_bytes.add(message.payload.len());
        Ok(())
    }

    /// Sends what is left when the connection ends: why, and when the broker stops also what waits.
    async fn flush(&mut self, stream: &mut Stream, end: &End) {
        let Some(code) = end.code() else { return };
        let last = async {
            stream.write_all_buf(&mut self.sending).await?;
            if matches!(end, End::Stopping) {
                while self.fill().is_ok() && !self.out.is_empty() {
                    stream.write_all_buf(&mut self.out).await?;
                }
            }
            wire::disconnect(&mut self.out, self.version, code);
            stream.write_all_buf(&mut self.out).await?;
            stream.shutdown().await
        };
        let _ = timeout(FLUSH, last).await;
    }
}

/// Makes room for what comes next. A buffer that had to grow for a large packet is given back afterwards.
fn make_room(input: &mut BytesMut, largest: &mut usize) {
    *largest = input.len().max(*largest);
    if input.is_empty() && *largest > WORTH_KEEPING {
        (*input, *largest) = (BytesMut::new(), 0);
    }
    if input.capacity() - input.len() < READ / 4 {
        input.reserve(READ);
    }
}
