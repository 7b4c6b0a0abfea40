//! A broker that breaks connections off as badly as it can: before it has read a message, between a message and its acknowledgement, in the
//! middle of an acknowledgement; and that forgets its sessions every now and then. It notes what it has got and what it has acknowledged.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use bytes::{BufMut, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A packet that is larger ends the connection; a client of MQTT 5 is told.
pub const LARGEST: u32 = 64 * 1024;

/// What the broker has seen.
#[derive(Default)]
pub struct Seen {
    /// Numbers of the messages that it has got.
    pub got: Mutex<BTreeSet<u32>>,
    /// Numbers of the messages that it has acknowledged.
    pub acknowledged: Mutex<BTreeSet<u32>>,
    /// Messages that came, those that came again too.
    pub messages: AtomicU64,
    /// Logins.
    pub logins: AtomicU64,
    /// Logins to whom it said that their session is gone.
    pub forgotten: AtomicU64,
    /// Connections that it has ended in the middle.
    pub cuts: AtomicU64,
    /// Messages that were too large.
    pub too_large: AtomicU64,
}

/// How it behaves.
#[derive(Clone, Copy)]
pub struct Manners {
    /// Whether the client speaks MQTT 5.
    pub v5: bool,
    /// Connections that it breaks off; those after them live.
    pub cuts: u64,
    /// Messages of a connection before it breaks off, on average.
    pub messages: u64,
}

/// Starts it in a thread of its own, which lives as long as the process.
pub fn start(manners: Manners) -> (SocketAddr, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let (tell, told) = std::sync::mpsc::channel();
    let shared = Arc::clone(&seen);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                socket.set_nodelay(true).unwrap();
                serve(socket, manners, &shared, &mut dice).await;
            }
        });
    });
    (told.recv().unwrap(), seen)
}

/// Numbers that look random and are the same in each run.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Serves one connection to its end. One client is there, so that one connection at a time is enough.
async fn serve(mut socket: TcpStream, manners: Manners, seen: &Seen, dice: &mut Dice) {
    let (mut received, mut answers) = (BytesMut::new(), BytesMut::new());
    let mut left = (seen.cuts.load(SeqCst) < manners.cuts).then(|| 1 + dice.below(2 * manners.messages));
    // Acknowledged later than others, and perhaps never on this connection.
    let mut late: Vec<(u16, u32)> = Vec::new();
    loop {
        while let Some((header, body)) = packet(&mut received) {
            match header >> 4 {
                1 => {
                    seen.logins.fetch_add(1, SeqCst);
                    // A clean session has nothing to be kept; of the others, every second one is lost.
                    let kept = body[7] & 2 == 0 && dice.below(2) == 0 && seen.logins.load(SeqCst) > 1;
                    seen.forgotten.fetch_add(u64::from(!kept), SeqCst);
                    connack(manners.v5, kept, &mut answers);
                }
                3 => {
                    if body.len() > usize::try_from(LARGEST).unwrap() {
                        seen.too_large.fetch_add(1, SeqCst);
                        return;
                    }
                    if left == Some(0) {
                        seen.cuts.fetch_add(1, SeqCst);
                        return cut(socket, &answers, dice).await;
                    }
                    left = left.map(|left| left - 1);
                    let (packet_id, number) = message(&body, manners.v5);
                    seen.messages.fetch_add(1, SeqCst);
                    seen.got.lock().unwrap().insert(number);
                    late.push((packet_id, number));
                    // Mostly at once and in order, sometimes after the next ones.
                    if left.is_none() || dice.below(8) > 0 {
                        for (packet_id, number) in late.drain(..).rev() {
                            seen.acknowledged.lock().unwrap().insert(number);
                            answers.put_slice(&[0x40, 2]);
                            answers.put_u16(packet_id);
                        }
                    }
                }
                12 => answers.put_slice(&[0xD0, 0]),
                14 => return,
                _ => {}
            }
        }
        if socket.write_all_buf(&mut answers).await.is_err() {
            return;
        }
        if socket.read_buf(&mut received).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

/// Ends a connection: with its acknowledgements, without them, or in the middle of one; with a farewell of TCP or a reset.
async fn cut(mut socket: TcpStream, answers: &[u8], dice: &mut Dice) {
    let part = match dice.below(3) {
        0 => answers.len(),
        1 => 0,
        _ => answers.len() / 2 + 1,
    };
    let _ = socket.write_all(&answers[..part.min(answers.len())]).await;
}

/// The next whole packet: its first byte and what is behind its length.
fn packet(received: &mut BytesMut) -> Option<(u8, BytesMut)> {
    let (mut length, mut size) = (0_usize, 1);
    loop {
        let byte = *received.get(size)?;
        length |= usize::from(byte & 0x7F) << (7 * (size - 1));
        size += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    if received.len() < size + length {
        return None;
    }
    let mut whole = received.split_to(size + length);
    let header = whole[0];
    Some((header, whole.split_off(size)))
}

fn connack(v5: bool, kept: bool, answers: &mut BytesMut) {
    if v5 {
        // Maximum packet size, receive maximum.
        answers.put_slice(&[0x20, 11, u8::from(kept), 0, 8, 39]);
        answers.put_u32(LARGEST);
        answers.put_slice(&[33, 0, 80]);
    } else {
        answers.put_slice(&[0x20, 2, u8::from(kept), 0]);
    }
}

/// Packet id and number of a message at QoS 1 without properties.
fn message(body: &[u8], v5: bool) -> (u16, u32) {
    let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let packet_id = u16::from_be_bytes([body[2 + topic], body[3 + topic]]);
    let payload = &body[4 + topic + usize::from(v5)..];
    (packet_id, u32::from_be_bytes(payload[..4].try_into().unwrap()))
}
