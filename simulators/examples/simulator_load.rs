//! How much processor time a simulated plant takes for each request: whether it is the gateway that a bench measures.
//!
//! ```text
//! cargo build --release -p tidegate-simulators --bins --examples
//! target/release/examples/simulator_load [requests a second, default 17000] [connections, default 100] [seconds, default 10]
//! ```
//!
//! Starts `tidegate-sim` beside itself with 10 ports of 10 units of 1,000 f32 tags that change at every read, and asks for
//! 120 registers at a time, one request under way on each connection. The simulator's processor time comes from the scheduler.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use tidegate_simulators::{BenchProfile, BenchType};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::MissedTickBehavior,
};

const PORTS: usize = 10;
const UNITS: u8 = 10;
const REGISTERS: u16 = 120;
/// Requests until the 2,000 registers of a unit have been read.
const REQUESTS_OF_UNIT: u16 = 16;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u32| arguments.next().map_or(Ok(default), |text| text.parse());
    let (rate, connections, seconds) = (number(17_000)?, number(100)?, number(10)?);
    let folder = tempfile::tempdir()?;
    let (mut simulator, addresses) = start(folder.path())?;
    let measured = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(
        &addresses,
        simulator.id(),
        rate,
        connections,
        Duration::from_secs(seconds.into()),
    ));
    simulator.kill()?;
    simulator.wait()?;
    measured
}

fn start(folder: &Path) -> anyhow::Result<(Child, Vec<SocketAddr>)> {
    let bench = BenchProfile {
        tags: 1_000,
        tag_type: BenchType::F32,
        interval: Duration::from_secs(1),
        max_registers: REGISTERS,
    };
    let profile = folder.join("bench.toml");
    std::fs::write(&profile, bench.to_toml())?;
    let program = std::env::current_exe()?.ancestors().nth(2).context("no target folder")?.join("tidegate-sim");
    let mut simulator = Command::new(&program)
        .args(["modbus", "--all-change", "--ports", &PORTS.to_string(), "--units", &format!("1-{UNITS}"), "--profile"])
        .arg(&profile)
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start {}", program.display()))?;
    let out = simulator.stdout.take().context("no output")?;
    let addresses = BufReader::new(out).lines().take(PORTS).map(|line| {
        let line = line?;
        Ok(line.split(' ').nth(2).context("no address")?.parse()?)
    });
    let addresses = addresses.collect::<anyhow::Result<Vec<SocketAddr>>>()?;
    Ok((simulator, addresses))
}

async fn measure(
    addresses: &[SocketAddr],
    simulator: u32,
    rate: u32,
    connections: u32,
    time: Duration,
) -> anyhow::Result<()> {
    let answered = Arc::new(AtomicU64::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for (index, address) in (0..connections).zip(addresses.iter().cycle()) {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let pause = Duration::from_secs(1) * connections / rate;
        let offset = pause * index / connections;
        clients.spawn(ask(stream, offset, pause, Arc::clone(&answered)));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (begin, asked, used) = (Instant::now(), answered.load(Ordering::Relaxed), processor_time(simulator)?);
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        Some(ended) = clients.join_next() => bail!("a client ended: {ended:?}"),
    }
    let seconds = begin.elapsed().as_secs_f64();
    let used = processor_time(simulator)?.saturating_sub(used);
    let asked = answered.load(Ordering::Relaxed) - asked;
    ensure!(asked > 0, "no answer");
    let each = used / u32::try_from(asked)?;
    let a_second = Duration::from_secs(asked).as_secs_f64() / seconds;
    println!("{a_second:.0} requests/s of {REGISTERS} registers over {connections} connections");
    println!("{each:?} of processor time a request, {:.1} % of a processor", used.as_secs_f64() / seconds * 100.0);
    Ok(())
}

/// One client: a request every `pause`, each after the answer to the one before.
async fn ask(mut stream: TcpStream, offset: Duration, pause: Duration, answered: Arc<AtomicU64>) -> anyhow::Result<()> {
    tokio::time::sleep(offset).await;
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut answer = [0; 9 + 2 * 120];
    for unit in (1..=UNITS).cycle() {
        for request in 0..REQUESTS_OF_UNIT {
            ticks.tick().await;
            let [high, low] = (request * REGISTERS).to_be_bytes();
            let [count_high, count_low] = REGISTERS.to_be_bytes();
            let [transaction, _] = request.to_le_bytes();
            let frame = [0, transaction, 0, 0, 0, 6, unit, 4, high, low, count_high, count_low];
            stream.write_all(&frame).await?;
            stream.read_exact(&mut answer).await?;
            ensure!(answer.starts_with(&[0, transaction, 0, 0, 0, 243, unit, 4, 240]), "a wrong answer");
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Time that all threads of a process have run.
fn processor_time(process: u32) -> anyhow::Result<Duration> {
    let mut nanos = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanos += text.split(' ').next().context("no time")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}
