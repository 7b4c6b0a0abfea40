//! A scripted device on a socket.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A request as the device got it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
    /// Which request of the connection it is, from 0.
    pub(crate) number: usize,
    /// The whole frame.
    pub(crate) frame: Vec<u8>,
}

impl Asked {
    pub(crate) fn function(&self) -> u8 {
        self.frame[7]
    }

    pub(crate) fn number_at(&self, offset: usize) -> u16 {
        u16::from_be_bytes([self.frame[offset], self.frame[offset + 1]])
    }

    pub(crate) fn address(&self) -> u16 {
        self.number_at(8)
    }

    pub(crate) fn count(&self) -> u16 {
        self.number_at(10)
    }

    /// This message as an answer to the request: its transaction and unit, and the right length.
    pub(crate) fn answer(&self, message: &[u8]) -> Vec<u8> {
        let length = u16::try_from(message.len() + 1).unwrap().to_be_bytes();
        [&self.frame[..2], &[0, 0], &length, &self.frame[6..7], message].concat()
    }

    /// The right answer of a device whose registers and coils are [`register`] and [`coil`].
    pub(crate) fn right(&self) -> Vec<u8> {
        let function = self.function();
        let addresses = (0..self.count()).map(|place| self.address() + place);
        let data: Vec<u8> = match function {
            1 | 2 => {
                let coils: Vec<bool> = addresses.map(coil).collect();
                coils.chunks(8).map(|eight| eight.iter().rev().fold(0, |byte, on| byte << 1 | u8::from(*on))).collect()
            }
            3 | 4 => addresses.flat_map(|address| register(address).to_be_bytes()).collect(),
            22 => return self.answer(&self.frame[7..14]),
            23 => self.frame[17..].to_vec(),
            _ => return self.answer(&self.frame[7..12]),
        };
        self.answer(&[&[function, u8::try_from(data.len()).unwrap()], data.as_slice()].concat())
    }

    /// An exception.
    pub(crate) fn exception(&self, code: u8) -> Vec<u8> {
        self.answer(&[self.function() | 0x80, code])
    }
}

/// What a register of the device holds; no two within a test hold the same.
pub(crate) fn register(address: u16) -> u16 {
    address.wrapping_mul(31).wrapping_add(1000)
}

/// What a coil of the device is.
pub(crate) fn coil(address: u16) -> bool {
    (address / 3).wrapping_add(address).is_multiple_of(2)
}

/// What the device does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Send(Vec<u8>),
    /// Byte by byte, each in a segment of its own.
    Dribble(Vec<u8>),
    SendAndClose(Vec<u8>),
    Nothing,
}

/// What the device does with each request.
type Script = dyn FnMut(&Asked) -> Reply + Send;

/// A scripted device.
pub(crate) struct Device {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    open: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Device {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Device {
    /// A device that does with each request what the script says.
    pub(crate) async fn start(script: impl FnMut(&Asked) -> Reply + Send + 'static) -> Device {
        Device::greeting(Vec::new(), script).await
    }

    /// A device that says something as soon as somebody connects.
    pub(crate) async fn greeting(greeting: Vec<u8>, script: impl FnMut(&Asked) -> Reply + Send + 'static) -> Device {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let open = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&open);
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(script));
        let task = tokio::spawn(async move {
            for connection in 0.. {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                stream.set_nodelay(true).unwrap();
                if !greeting.is_empty() {
                    stream.write_all(&greeting).await.unwrap();
                }
                count.fetch_add(1, Ordering::SeqCst);
                let work = serve(stream, connection, Arc::clone(&script), Arc::clone(&log));
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    work.await;
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Device { address, asked, open, task }
    }

    /// Every request so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Connections that are open now.
    pub(crate) fn open_connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, connection: usize, script: Arc<Mutex<Script>>, log: Arc<Mutex<Vec<Asked>>>) {
    for number in 0.. {
        let mut frame = vec![0; 6];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        frame.resize(6 + usize::from(u16::from_be_bytes([frame[4], frame[5]])), 0);
        if stream.read_exact(&mut frame[6..]).await.is_err() {
            return;
        }
        let asked = Asked { connection, number, frame };
        log.lock().unwrap().push(asked.clone());
        let reply = (script.lock().unwrap())(&asked);
        // The client may have given up; then there is nobody to write to.
        match reply {
            Reply::Send(bytes) => drop(stream.write_all(&bytes).await),
            Reply::Dribble(bytes) => {
                for byte in bytes {
                    drop(stream.write_all(&[byte]).await);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            Reply::SendAndClose(bytes) => {
                drop(stream.write_all(&bytes).await);
                return;
            }
            Reply::Nothing => {}
        }
    }
}
