//! A way to a server on which single messages can be left out or refused, as a server may refuse them.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use opcua::types::{
    BinaryDecodable, BinaryEncodable, ContextOwned, DataValue, ExtensionObject, HistoryData, HistoryReadResponse,
    HistoryReadResult, ReadRequest, StatusCode,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
};

/// A request or an answer on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    /// The number of its encoding (Part 6 A.2); those of an answer are of the answer's type.
    pub(crate) kind: u16,
    /// Bytes of its first chunk.
    pub(crate) length: usize,
    /// Of a message of a subscription: whether there is nothing in it, as it is a sign of life.
    pub(crate) is_empty: bool,
    /// Of a read whose request is one chunk: how many nodes.
    pub(crate) nodes: usize,
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Deed {
    Pass,
    /// It never arrives.
    Swallow,
    /// The server never gets the request, and the client gets this as its answer.
    Refuse(StatusCode),
    /// It passes, as the first message of its subscription.
    First,
    /// The server does not get the request yet.
    Hold,
    /// It passes, behind everything that was held.
    Release,
    /// It passes, and says this of the first item that was asked for.
    FirstItem(StatusCode),
    /// The server never gets the question for the history of one item, and the client gets this as its answer.
    Tell(Vec<DataValue>),
}

pub(crate) const READ: u16 = 631;
pub(crate) const BROWSE: u16 = 527;
pub(crate) const TRANSLATE: u16 = 554;
pub(crate) const ACTIVATE: u16 = 467;
pub(crate) const CREATE_SUBSCRIPTION: u16 = 787;
pub(crate) const CREATE_ITEMS: u16 = 751;
pub(crate) const CREATED_ITEMS: u16 = 754;
pub(crate) const PUBLISH: u16 = 826;
pub(crate) const PUBLISHED: u16 = 829;
pub(crate) const REPUBLISH: u16 = 832;
pub(crate) const TRANSFER: u16 = 841;
pub(crate) const HISTORY: u16 = 664;

type Judge = Arc<Mutex<Box<dyn FnMut(Message) -> Deed + Send>>>;

/// The way.
pub(crate) struct Meddler {
    pub(crate) address: SocketAddr,
    judge: Judge,
    counts: Arc<Mutex<Vec<u16>>>,
    cut: watch::Sender<u32>,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Meddler {
    /// A way to that address on which everything passes.
    pub(crate) async fn to(server: SocketAddr) -> Meddler {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let judge: Judge = Arc::new(Mutex::new(Box::new(|_| Deed::Pass)));
        let (counts, connections) = (Arc::default(), Arc::default());
        let (cut, cuts) = watch::channel(0);
        let meddler = Meddler {
            address,
            judge: Arc::clone(&judge),
            counts: Arc::clone(&counts),
            cut,
            connections: Arc::clone(&connections),
        };
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (judge, counts, mut cuts) = (Arc::clone(&judge), Arc::clone(&counts), cuts.clone());
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(server).await else { return };
                    let (near_read, near_write) = near.into_split();
                    let (far_read, far_write) = far.into_split();
                    let near = Arc::new(tokio::sync::Mutex::new(Side { write: near_write, sequence: 0 }));
                    let far = Side { write: far_write, sequence: 0 };
                    tokio::select! {
                        _ = requests(near_read, far, &near, &judge, &counts) => {}
                        _ = answers(far_read, &near, &judge) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        meddler
    }

    /// From now on this decides what becomes of messages.
    pub(crate) fn judge(&self, judge: impl FnMut(Message) -> Deed + Send + 'static) {
        *self.judge.lock().unwrap() = Box::new(judge);
    }

    /// How many requests of a kind were sent.
    pub(crate) fn count(&self, kind: u16) -> usize {
        self.counts.lock().unwrap().iter().filter(|counted| **counted == kind).count()
    }

    /// All connections end.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|count| *count += 1);
    }
}

/// One of the two sides. What is sent there is numbered anew, as messages may be left out or put in.
struct Side {
    write: OwnedWriteHalf,
    sequence: u32,
}

impl Side {
    async fn send(&mut self, mut chunk: Vec<u8>) -> std::io::Result<()> {
        if chunk.starts_with(b"MSG") {
            self.sequence += 1;
            chunk[16..20].copy_from_slice(&self.sequence.to_le_bytes());
        } else if chunk.starts_with(b"OPN") {
            // Behind the channel are three texts: the policy and two that are empty without protection.
            let policy = usize::try_from(number(&chunk[12..])).unwrap();
            self.sequence = number(&chunk[12 + 4 + policy + 8..]);
        } else if chunk.starts_with(b"CLO") {
            self.sequence += 1;
            chunk[16..20].copy_from_slice(&self.sequence.to_le_bytes());
        }
        self.write.write_all(&chunk).await
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[..4].try_into().unwrap())
}

async fn chunk(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let mut chunk = vec![0; 8];
    from.read_exact(&mut chunk).await?;
    chunk.resize(usize::try_from(number(&chunk[4..])).unwrap(), 0);
    from.read_exact(&mut chunk[8..]).await?;
    Ok(chunk)
}

/// What a chunk begins; `None` for one that goes on with a message, or is no message.
fn message(chunk: &[u8], open: &mut HashSet<u32>) -> Option<Message> {
    if !chunk.starts_with(b"MSG") {
        return None;
    }
    let request = number(&chunk[20..]);
    let begins = open.insert(request);
    if chunk[3] != b'C' {
        open.remove(&request);
    }
    if !begins {
        return None;
    }
    // The node of the encoding in its form of four bytes.
    let kind = u16::from_le_bytes([chunk[26], chunk[27]]);
    let is_empty = kind == PUBLISHED && number(&chunk[behind_available(chunk) + 13..]).cast_signed() <= 0;
    let context = ContextOwned::default();
    let read = (kind == READ).then(|| ReadRequest::decode(&mut &chunk[28..], &context.context()));
    let nodes = read.and_then(|read| read.ok()?.nodes_to_read).map_or(0, |nodes| nodes.len());
    Some(Message { kind, length: chunk.len(), is_empty, nodes })
}

/// Where a message of a subscription says whether there is more; the number of the message, its time and what is in it follow. Before
/// that are 28 bytes of the answer's header, the subscription, and the numbers of messages that can be had.
fn behind_available(chunk: &[u8]) -> usize {
    60 + 4 * usize::try_from(number(&chunk[56..]).cast_signed()).unwrap_or(0)
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: Side,
    near: &tokio::sync::Mutex<Side>,
    judge: &Judge,
    counts: &Mutex<Vec<u16>>,
) -> std::io::Result<()> {
    let (mut open, mut kept) = (HashSet::new(), HashSet::new());
    let mut held: Vec<Vec<u8>> = Vec::new();
    let mut holds = false;
    loop {
        let chunk = chunk(&mut from).await?;
        if let Some(message) = message(&chunk, &mut open) {
            counts.lock().unwrap().push(message.kind);
            let deed = (judge.lock().unwrap())(message);
            holds = deed == Deed::Hold;
            let answer = match deed {
                Deed::Pass | Deed::First | Deed::FirstItem(_) | Deed::Hold => None,
                Deed::Release => {
                    for chunk in held.drain(..) {
                        to.send(chunk).await?;
                    }
                    None
                }
                Deed::Swallow => Some(None),
                Deed::Refuse(status) => Some(Some(refusal(&chunk, status))),
                Deed::Tell(values) => Some(Some(history(&chunk, values))),
            };
            if let Some(answer) = answer {
                kept.insert(number(&chunk[20..]));
                if let Some(answer) = answer {
                    near.lock().await.send(answer).await?;
                }
            }
        }
        let is_kept = chunk.starts_with(b"MSG") && kept.contains(&number(&chunk[20..]));
        if holds {
            held.push(chunk);
        } else if !is_kept {
            to.send(chunk).await?;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, near: &tokio::sync::Mutex<Side>, judge: &Judge) -> std::io::Result<()> {
    let (mut open, mut kept) = (HashSet::new(), HashSet::new());
    loop {
        let mut chunk = chunk(&mut from).await?;
        if let Some(message) = message(&chunk, &mut open) {
            match (judge.lock().unwrap())(message) {
                Deed::Pass | Deed::Hold | Deed::Release | Deed::Tell(_) => {}
                Deed::First => {
                    let number = behind_available(&chunk) + 1;
                    chunk[number..][..4].copy_from_slice(&1_u32.to_le_bytes());
                }
                Deed::FirstItem(status) => {
                    // Behind the same header: how many results there are, and the first of them, which begins with its status.
                    chunk[56..60].copy_from_slice(&status.bits().to_le_bytes());
                }
                Deed::Swallow | Deed::Refuse(_) => {
                    kept.insert(number(&chunk[20..]));
                }
            }
        }
        if !(chunk.starts_with(b"MSG") && kept.contains(&number(&chunk[20..]))) {
            near.lock().await.send(chunk).await?;
        }
    }
}

/// The answer to a request: where it belongs to, and what it says.
fn answer(request: &[u8], body: &[u8]) -> Vec<u8> {
    let mut chunk = b"MSGF\0\0\0\0".to_vec();
    chunk.extend_from_slice(&request[8..24]);
    chunk.extend_from_slice(body);
    let length = u32::try_from(chunk.len()).unwrap();
    chunk[4..8].copy_from_slice(&length.to_le_bytes());
    chunk
}

/// The history of one item as the whole answer to a question for it (Part 4 §5.11.3).
fn history(request: &[u8], values: Vec<DataValue>) -> Vec<u8> {
    let data = HistoryData { data_values: Some(values) };
    let result =
        HistoryReadResult { history_data: ExtensionObject::from_message(data), ..HistoryReadResult::default() };
    let answer_of = HistoryReadResponse { results: Some(vec![result]), ..HistoryReadResponse::default() };
    let context = ContextOwned::default();
    let mut body = vec![1, 0, 0x9B, 2];
    body.extend(answer_of.encode_to_vec(&context.context()));
    answer(request, &body)
}

/// A fault as the whole answer to a request (Part 4 §7.35).
fn refusal(request: &[u8], status: StatusCode) -> Vec<u8> {
    let mut chunk = Vec::new();
    // ServiceFault, a time, the handle of the request, the status, and nothing else.
    chunk.extend_from_slice(&[1, 0, 0x8D, 1]);
    chunk.extend_from_slice(&[0; 12]);
    chunk.extend_from_slice(&status.bits().to_le_bytes());
    chunk.push(0);
    chunk.extend_from_slice(&(-1_i32).to_le_bytes());
    chunk.extend_from_slice(&[0, 0, 0]);
    answer(request, &chunk)
}
