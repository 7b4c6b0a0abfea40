//! The parts of `cargo xtask bench broker`, each a process of its own, so that the processor time of one is not mistaken for another's.
//!
//! - `serve [roomy]`: the broker, and inside its process the publisher, as in the gateway. Prints `port N`, then does what lines of its input say.
//! - `serve kept [FOLDER]`: the same, with room for clients that are away, and with a disk if it has a folder.
//! - `read PORT SUBSCRIBERS QOS`: subscribers that count and measure; `read-kept` the same with sessions that are kept. `leave PORT
//!   SUBSCRIBERS QOS`: those subscribe and go; `fetch PORT SUBSCRIBERS`: they come back for what waits. `stuck PORT SUBSCRIBERS QOS`: subscribers that never read.
//! - `feed PORT QOS`: a client that publishes the same load to a broker that has no inside.
//!
//! Loads are lines: `RATE COUNT SIZE`; a rate of 0 is as fast as it goes. What was found out is a line of JSON.

mod client;
mod feed;
mod read;
mod serve;

use std::{
    env,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};

use self::{read::Visit, serve::Room};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve"] => serve::run(Room::Usual),
        ["serve", "roomy"] => serve::run(Room::QosZero),
        ["serve", "kept"] => serve::run(Room::Away(None)),
        ["serve", "kept", folder] => serve::run(Room::Away(Some(folder.into()))),
        ["read", port, subscribers, qos] => {
            read::run(port.parse()?, subscribers.parse()?, Visit::Anew { qos: qos.parse()?, clean: true })
        }
        ["read-kept", port, subscribers, qos] => {
            read::run(port.parse()?, subscribers.parse()?, Visit::Anew { qos: qos.parse()?, clean: false })
        }
        ["fetch", port, subscribers] => read::run(port.parse()?, subscribers.parse()?, Visit::Again),
        ["leave", port, subscribers, qos] => read::leave(port.parse()?, subscribers.parse()?, qos.parse()?),
        ["stuck", port, subscribers, qos] => read::stuck(port.parse()?, subscribers.parse()?, qos.parse()?),
        ["feed", port, qos] => feed::run(port.parse()?, qos.parse()?),
        _ => bail!("this is run by `cargo xtask bench broker`"),
    }
}

/// So many messages of so many bytes, a second.
#[derive(Debug, Clone, Copy)]
struct Load {
    /// 0: as fast as it goes.
    rate: u64,
    count: u64,
    size: usize,
}

impl Load {
    fn parse(line: &str) -> Result<Load> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [rate, count, size] = words[..] else { bail!("a load is `RATE COUNT SIZE`, not {line:?}") };
        Ok(Load { rate: rate.parse()?, count: count.parse()?, size: size.parse()? })
    }

    /// Messages in each millisecond, and in how many microseconds the next of them are due.
    fn steps(self) -> (u64, u64) {
        let each = self.rate.div_ceil(1_000).max(1);
        (each, 1_000_000 * each / self.rate.max(1))
    }
}

/// Devices that the messages are of, in turn.
const DEVICES: u64 = 100;

fn topic(number: u64) -> String {
    format!("bench/device-{}/data/fast", number % DEVICES)
}

/// A message: its number, the time, and as many bytes as it is to have.
fn payload(number: u64, size: usize) -> Vec<u8> {
    let mut payload = Vec::with_capacity(size.max(16));
    payload.extend(number.to_be_bytes());
    payload.extend(now().to_be_bytes());
    payload.resize(size.max(16), b'x');
    payload
}

/// Nanoseconds since 1970, the same in all processes of a machine.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or_default()
}

/// Waits that long.
#[expect(clippy::disallowed_methods, reason = "this thread is not a runtime's")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Number and time of a message.
fn head(payload: &[u8]) -> Result<(u64, u64)> {
    let (number, rest) = payload.split_first_chunk::<8>().context("a message without a number")?;
    let (time, _) = rest.split_first_chunk::<8>().context("a message without a time")?;
    Ok((u64::from_be_bytes(*number), u64::from_be_bytes(*time)))
}
