//! The way in: connections are taken here, kept within bounds, and passed on to the library over loopback.
//!
//! The library (async-opcua 0.19) takes any number of connections, keeps those whose other end is dead, reads the requests of a client
//! that does not take its answers, and turns its task in a circle once such a connection is over time. Its sockets are its own, so
//! ours are put before them. What goes by is looked at as far as it is not encrypted, and never changed.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use opcua::server::ServerHandle;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::{
    guests::{Guests, Pass},
    stranger::{LONGEST_PART, Stranger},
};

/// How long connections and their clients may take for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    /// To log in.
    pub(crate) login: Duration,
    /// To take an answer that waits for it.
    pub(crate) stall: Duration,
    /// Without a word. A session is over sooner.
    pub(crate) silence: Duration,
    /// How often that is looked at.
    pub(crate) look: Duration,
}

impl Manners {
    pub(crate) const USUAL: Manners = Manners {
        login: Duration::from_secs(30),
        stall: Duration::from_secs(20),
        silence: Duration::from_secs(180),
        look: Duration::from_secs(5),
    };
}

/// Bytes on their way in one direction.
const LANE: usize = 16 * 1024;
/// Bytes that wait in a socket on loopback. Requests that wait there are not held back any more when their answers are not taken.
const INNER: u32 = 64 * 1024;
/// Silence after which the other end is asked whether it lives, how often, and when it is given up.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);
/// How long the network may take to acknowledge what was sent.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// The pause when no connection can be taken: files are short.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the end of a connection may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Takes connections until the library is told to stop, and ends when it has closed those that are open; all end when this is dropped.
pub(crate) async fn keep(
    listener: TcpListener,
    inner: SocketAddr,
    guests: Arc<Guests>,
    handle: ServerHandle,
    manners: Manners,
) {
    let tasks = TaskTracker::new();
    let all = CancellationToken::new();
    let _over = all.clone().drop_guard();
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = handle.token().cancelled() => break,
        };
        let client = match accepted {
            Ok((client, _)) => client,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    warn!(%error, "an OPC UA connection cannot be taken; clients that come now wait");
                }
                sleep(PAUSE).await;
                continue;
            }
        };
        failing = false;
        let Some(pass) = guests.enter() else { continue };
        let (handle, all) = (handle.clone(), all.clone());
        tasks.spawn(async move {
            tokio::select! {
                // Either end may go at any time; whoever counts connections sees it.
                _ = connection(client, inner, &pass, &handle, manners) => {}
                () = all.cancelled() => {}
            }
        });
    }
    tasks.close();
    tasks.wait().await;
}

async fn connection(
    client: TcpStream,
    inner: SocketAddr,
    pass: &Pass,
    handle: &ServerHandle,
    manners: Manners,
) -> io::Result<()> {
    settle(&client)?;
    let socket = if inner.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_recv_buffer_size(INNER)?;
    socket.set_send_buffer_size(INNER)?;
    let server = socket.connect(inner).await?;
    server.set_nodelay(true)?;
    let mut stranger = Stranger::default();
    let mut relay = Relay::new(client, server);
    let ended = relay.run(pass, &mut stranger, manners).await;
    let last_words = stranger.farewell(handle);
    if !last_words.is_empty() && relay.up.is_empty() {
        // It may have gone.
        let _ = timeout(FAREWELL, relay.last_words(&last_words)).await;
    }
    ended
}

/// Lets the kernel find out about an end that is dead.
fn settle(client: &TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (idle, every, often) = KEEP_ALIVE;
    let socket = SockRef::from(client);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(every).with_retries(often))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(())
}

/// Both directions of one connection.
struct Relay {
    from_client: OwnedReadHalf,
    to_client: OwnedWriteHalf,
    from_server: OwnedReadHalf,
    to_server: OwnedWriteHalf,
    up: Lane,
    down: Lane,
}

/// Bytes that were read and not yet written.
struct Lane {
    bytes: Vec<u8>,
    /// Up to here they may be written.
    ready: usize,
    written: usize,
}

/// What has happened in a direction.
enum Step {
    Read(usize),
    Wrote,
    /// The end that is read from has nothing more to say.
    Over,
}

impl Lane {
    fn new() -> Lane {
        Lane { bytes: Vec::with_capacity(LANE), ready: 0, written: 0 }
    }

    /// Whether nothing is on its way.
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes what may be written, or reads more.
    async fn step(&mut self, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> io::Result<Step> {
        if let Some(waiting) = self.bytes.get(self.written..self.ready).filter(|waiting| !waiting.is_empty()) {
            self.written += to.write(waiting).await?;
            if self.written == self.ready {
                self.bytes.drain(..self.ready);
                (self.ready, self.written) = (0, 0);
            }
            return Ok(Step::Wrote);
        }
        if self.bytes.len() >= LONGEST_PART {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.bytes.reserve(LANE);
        let count = from.read_buf(&mut self.bytes).await?;
        Ok(if count == 0 { Step::Over } else { Step::Read(count) })
    }

    /// The bytes that were read last.
    fn news(&self, count: usize) -> &[u8] {
        self.bytes.get(self.bytes.len().saturating_sub(count)..).unwrap_or_default()
    }
}

impl Relay {
    fn new(client: TcpStream, server: TcpStream) -> Relay {
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        Relay { from_client, to_client, from_server, to_server, up: Lane::new(), down: Lane::new() }
    }

    /// Says something to the library for a client that has gone, and hears the answers: the library stops where it cannot answer.
    async fn last_words(&mut self, words: &[u8]) -> io::Result<()> {
        self.to_server.write_all(words).await?;
        self.to_server.shutdown().await?;
        while self.from_server.read(&mut [0; 1024]).await? > 0 {}
        Ok(())
    }

    /// Passes on what comes until one end goes or the client is told to.
    async fn run(&mut self, pass: &Pass, stranger: &mut Stranger, manners: Manners) -> io::Result<()> {
        let Relay { from_client, to_client, from_server, to_server, up, down } = self;
        let mut looks = interval(manners.look);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let began = Instant::now();
        let (mut heard, mut taken, mut guest_at) = (began, began, began);
        let mut guest = false;
        loop {
            // Of a client that does not take its answers no more is heard.
            let listens = up.ready > 0 || down.is_empty();
            tokio::select! {
                () = pass.leave().cancelled() => return Ok(()),
                now = looks.tick() => {
                    guest = pass.is_guest();
                    if guest {
                        guest_at = now;
                    }
                    let waits = if down.is_empty() { now - heard > manners.silence } else { now - taken > manners.stall };
                    if waits || now - guest_at > manners.login {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                step = up.step(from_client, to_server), if listens => match step? {
                    Step::Read(count) => {
                        heard = Instant::now();
                        guest = guest || pass.is_guest();
                        let before = up.bytes.len().saturating_sub(count);
                        let whole = stranger.heard(up.news(count), guest)?;
                        // Of a stranger only whole parts go on, so that a last word can come behind them.
                        up.ready = match (guest, whole) {
                            (true, _) => up.bytes.len(),
                            (false, 0) => 0,
                            (false, whole) => before + whole,
                        };
                    }
                    Step::Wrote => {}
                    Step::Over => return Ok(()),
                },
                step = down.step(from_server, to_client) => match step? {
                    Step::Read(count) => {
                        taken = Instant::now();
                        if let Some(channel) = stranger.answered(down.news(count)) {
                            pass.named(channel);
                        }
                        down.ready = down.bytes.len();
                    }
                    Step::Wrote => taken = Instant::now(),
                    Step::Over => return Ok(()),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::task::JoinHandle;

    const SOON: Duration = Duration::from_millis(200);
    const NEVER: Duration = Duration::from_secs(3600);
    const LONG: Duration = Duration::from_secs(20);
    const QUICK: Manners = Manners { login: NEVER, stall: NEVER, silence: NEVER, look: Duration::from_millis(20) };

    /// A client's end, the library's end, and the task between them.
    async fn pair(manners: Manners) -> (TcpStream, TcpStream, JoinHandle<io::Result<()>>) {
        let [front, back] = [(); 2].map(|()| TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)));
        let (front, back) = (front.await.unwrap(), back.await.unwrap());
        let client = TcpStream::connect(front.local_addr().unwrap()).await.unwrap();
        let server = TcpStream::connect(back.local_addr().unwrap()).await.unwrap();
        let (outside, inside) = (front.accept().await.unwrap().0, back.accept().await.unwrap().0);
        settle(&outside).unwrap();
        let task = tokio::spawn(async move {
            let pass = Guests::new(1, Arc::default()).enter().unwrap();
            Relay::new(outside, server).run(&pass, &mut Stranger::default(), manners).await
        });
        (client, inside, task)
    }

    fn part(body: &[u8]) -> Vec<u8> {
        [&b"MSGF"[..], &u32::try_from(body.len() + 8).unwrap().to_le_bytes(), body].concat()
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_only_whole_parts_go_in() {
        let (mut client, mut library, task) = pair(QUICK).await;
        let bytes = [part(b"one"), part(&[7; 40_000])].concat();
        client.write_all(&bytes[..bytes.len() - 1]).await.unwrap();
        let mut got = vec![0; 11];
        library.read_exact(&mut got).await.unwrap();
        assert_eq!(got, bytes[..11]);
        assert!(timeout(SOON, library.read(&mut got)).await.is_err(), "half a part waits");
        client.write_all(&bytes[bytes.len() - 1..]).await.unwrap();
        let mut rest = vec![0; bytes.len() - 11];
        library.read_exact(&mut rest).await.unwrap();
        assert_eq!(rest, bytes[11..]);
        library.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
        drop(client);
        timeout(LONG, task).await.unwrap().unwrap().unwrap();
        assert_eq!(library.read(&mut answer).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn whoever_does_not_take_answers_is_cut_and_heard_no_further() {
        let (mut client, mut library, task) = pair(Manners { stall: SOON, ..QUICK }).await;
        let answers = tokio::spawn(async move {
            let answer = vec![0; 64 * 1024];
            let mut written = 0_usize;
            while library.write_all(&answer).await.is_ok() {
                written += answer.len();
            }
            written
        });
        // Requests without end; of them no more gets in than was there before the answers piled up.
        let request = part(&[1; 1000]);
        while client.write_all(&request).await.is_ok() {
            if task.is_finished() {
                break;
            }
        }
        let ended = timeout(LONG, task).await.unwrap().unwrap();
        assert!(ended.is_err());
        drop(client);
        timeout(LONG, answers).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_is_silent_or_does_not_log_in_is_cut() {
        for manners in [Manners { silence: SOON, ..QUICK }, Manners { login: SOON, ..QUICK }] {
            let (mut client, _library, task) = pair(manners).await;
            assert_eq!(timeout(LONG, task).await.unwrap().unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn the_kernel_asks_whether_the_other_end_lives() {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        settle(&accepted).unwrap();
        let socket = SockRef::from(&accepted);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEP_ALIVE.0);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
    }
}
