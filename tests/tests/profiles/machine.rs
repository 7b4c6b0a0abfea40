//! A device on the wire that holds an answer's registers, and complains about whatever its document does not allow.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::answer::{Answer, Bits, Limits, Words};

const ILLEGAL_FUNCTION: u8 = 1;
const ILLEGAL_ADDRESS: u8 = 2;
const ILLEGAL_VALUE: u8 = 3;

/// A device that listens until the test ends.
pub(crate) struct Machine {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
}

/// What was asked of the device.
#[derive(Default)]
struct Log {
    /// The last request that wrote, in hexadecimal digits.
    last_write: String,
    complaints: Vec<String>,
}

/// What the device holds and can do.
struct Memory {
    unit: u8,
    limits: Limits,
    holding: Vec<Words>,
    input: Vec<Words>,
    coil: Vec<Bits>,
    discrete: Vec<Bits>,
}

impl Machine {
    pub(crate) fn start(answer: &Answer) -> anyhow::Result<Machine> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let log = Arc::new(Mutex::new(Log::default()));
        let memory = Memory {
            unit: answer.unit,
            limits: Limits { functions: answer.device.functions.clone(), ..answer.device },
            holding: answer.holding.clone(),
            input: answer.input.clone(),
            coil: answer.coil.clone(),
            discrete: answer.discrete.clone(),
        };
        let shared = Arc::clone(&log);
        // One connection after the other, as many a small device has it. The thread ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                serve(stream, &memory, &shared);
            }
        });
        Ok(Machine { address, log })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The last request that wrote, in hexadecimal digits.
    pub(crate) fn last_write(&self) -> String {
        lock(&self.log).last_write.clone()
    }

    /// What was asked that the device's document does not allow.
    pub(crate) fn complaints(&self) -> Vec<String> {
        lock(&self.log).complaints.clone()
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers until the other side goes.
fn serve(mut stream: TcpStream, memory: &Memory, log: &Mutex<Log>) {
    loop {
        let mut header = [0; 7];
        if stream.read_exact(&mut header).is_err() {
            return;
        }
        let length = u16::from_be_bytes([header[4], header[5]]);
        let mut pdu = vec![0; usize::from(length) - 1];
        if stream.read_exact(&mut pdu).is_err() {
            return;
        }
        if header[6] != memory.unit {
            lock(log).complaints.push(format!("unit {} was asked", header[6]));
        }
        let answer = memory.answer(&pdu).unwrap_or_else(|(code, complaint)| {
            lock(log).complaints.push(format!("request {}: {complaint}", hex(&pdu)));
            vec![pdu[0] | 0x80, code]
        });
        if ![1, 2, 3, 4].contains(&pdu[0]) {
            lock(log).last_write = hex(&pdu);
        }
        let length = u16::try_from(answer.len() + 1).expect("a short answer").to_be_bytes();
        header[4..6].copy_from_slice(&length);
        if stream.write_all(&[&header[..], &answer].concat()).is_err() {
            return;
        }
    }
}

impl Memory {
    /// The answer to a request, or the exception and what is wrong with the request.
    fn answer(&self, pdu: &[u8]) -> Result<Vec<u8>, (u8, String)> {
        if !self.limits.functions.contains(&pdu[0]) {
            return Err((ILLEGAL_FUNCTION, "the device does not know the function".to_owned()));
        }
        let first = u16::from_be_bytes([pdu[1], pdu[2]]);
        let count = u16::from_be_bytes([pdu[3], pdu[4]]);
        let mut data = match pdu[0] {
            1 => bits(&self.coil, first, count),
            2 => bits(&self.discrete, first, count),
            3 => self.words(&self.holding, first, count)?,
            4 => self.words(&self.input, first, count)?,
            // Writes are echoed: the whole of a request for one, the address and the number of one for many.
            _ => return Ok(pdu[..5].to_vec()),
        }
        .ok_or_else(|| (ILLEGAL_ADDRESS, format!("not all of {count} from {first} exist")))?;
        let bytes = u8::try_from(data.len()).expect("at most 250 bytes");
        data.splice(0..0, [pdu[0], bytes]);
        Ok(data)
    }

    fn words(&self, runs: &[Words], first: u16, count: u16) -> Result<Option<Vec<u8>>, (u8, String)> {
        if count > self.limits.most_registers {
            return Err((ILLEGAL_VALUE, format!("{count} registers at once")));
        }
        if self.limits.even && count % 2 == 1 {
            return Err((ILLEGAL_VALUE, format!("an odd number of registers, {count}")));
        }
        let found = runs.iter().find_map(|run| {
            let from = usize::from(first.checked_sub(run.address)?);
            run.words.get(from..from + usize::from(count))
        });
        Ok(found.map(|words| words.iter().flat_map(|word| word.to_be_bytes()).collect()))
    }
}

fn bits(runs: &[Bits], first: u16, count: u16) -> Option<Vec<u8>> {
    let bits = runs.iter().find_map(|run| {
        let from = usize::from(first.checked_sub(run.address)?);
        run.bits.get(from..from + usize::from(count))
    })?;
    Some(bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |sum, bit| sum << 1 | bit)).collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
