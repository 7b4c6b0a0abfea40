//! Subscribers.

use std::{
    io::stdin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    client::{Client, published},
    head, now, pause,
};

/// Without a new message for so long what has not come is taken for lost.
const LOST: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(2);

/// What a subscriber has got since it was last asked.
#[derive(Default)]
struct Got {
    count: AtomicU64,
    /// Nanoseconds from publish to arrival.
    ages: Mutex<Vec<u64>>,
    /// Messages that came before an earlier one, or a second time.
    unordered: AtomicU64,
}

/// How subscribers come.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Visit {
    /// They subscribe.
    Anew { qos: u8, clean: bool },
    /// They have subscribed before.
    Again,
}

/// Subscribes so many times, and for each line `COUNT` waits until every subscriber has as many messages, or no more come. Prints
/// what they got, the least and all together, how old it was, and when the last came.
pub(crate) fn run(port: u16, subscribers: usize, visit: Visit) -> Result<()> {
    let mut all = Vec::new();
    for number in 0..subscribers {
        let clean = matches!(visit, Visit::Anew { clean: true, .. });
        let mut client = Client::connect(port, &format!("bench-{number}"), clean)?;
        if let Visit::Anew { qos, .. } = visit {
            client.subscribe("bench/#", qos)?;
        }
        let got = Arc::new(Got::default());
        let shared = Arc::clone(&got);
        thread::spawn(move || {
            if let Err(error) = receive(client, &shared) {
                eprintln!("subscriber {number}: {error:#}");
            }
        });
        all.push(got);
    }
    println!("ready");
    for line in stdin().lines() {
        report(&all, line?.trim().parse()?);
    }
    Ok(())
}

fn report(all: &[Arc<Got>], wanted: u64) {
    let started = Instant::now();
    let (mut last, mut moved) = (0, started);
    loop {
        let counts: Vec<u64> = all.iter().map(|got| got.count.load(Ordering::Acquire)).collect();
        let total = counts.iter().sum();
        if total != last {
            (last, moved) = (total, Instant::now());
        }
        if counts.iter().all(|count| *count >= wanted) || moved.elapsed() > LOST {
            break;
        }
        pause(LOOK);
    }
    let seconds = moved.duration_since(started).as_secs_f64();
    let counts: Vec<u64> = all.iter().map(|got| got.count.swap(0, Ordering::AcqRel)).collect();
    let unordered: u64 = all.iter().map(|got| got.unordered.swap(0, Ordering::AcqRel)).sum();
    let mut ages: Vec<u64> = Vec::new();
    all.iter().for_each(|got| ages.append(&mut got.ages.lock().unwrap_or_else(PoisonError::into_inner)));
    ages.sort_unstable();
    let at = |part: usize| ages.get((ages.len() * part / 100).min(ages.len().saturating_sub(1))).copied().unwrap_or(0);
    println!(
        "done {{\"least\":{},\"total\":{},\"unordered\":{unordered},\"p50_ns\":{},\"p99_ns\":{},\"max_ns\":{},\"seconds\":{seconds:.6}}}",
        counts.iter().min().unwrap_or(&0),
        counts.iter().sum::<u64>(),
        at(50),
        at(99),
        at(100),
    );
}

fn receive(mut client: Client, got: &Got) -> Result<()> {
    let mut writer = client.writer()?;
    let (mut answers, mut ages, mut expected) = (Vec::new(), Vec::new(), 0);
    loop {
        let mut count = 0;
        while let Some((first, body)) = client.take() {
            let (id, payload) = published(first, body)?;
            if let Some([high, low]) = id {
                answers.extend([0x40, 2, high, low]);
            }
            let (number, sent) = head(payload)?;
            // A new load begins with number 0 again.
            if number != expected && number != 0 {
                got.unordered.fetch_add(u64::from(number < expected), Ordering::Relaxed);
            }
            expected = number + 1;
            ages.push(now().saturating_sub(sent));
            count += 1;
        }
        if !answers.is_empty() {
            std::io::Write::write_all(&mut writer, &answers)?;
            answers.clear();
        }
        got.ages.lock().unwrap_or_else(PoisonError::into_inner).append(&mut ages);
        got.count.fetch_add(count, Ordering::Release);
        // Some may have come with the answers before.
        client.fill()?;
    }
}

/// Subscribes so many times with sessions that are kept, and goes.
pub(crate) fn leave(port: u16, subscribers: usize, qos: u8) -> Result<()> {
    for number in 0..subscribers {
        let mut client = Client::connect(port, &format!("bench-{number}"), false)?;
        client.subscribe("bench/#", qos)?;
        client.leave()?;
    }
    println!("ready");
    Ok(())
}

/// Subscribes so many times and reads nothing; ends when its input ends.
pub(crate) fn stuck(port: u16, subscribers: usize, qos: u8) -> Result<()> {
    let mut all = Vec::new();
    for number in 0..subscribers {
        let mut client = Client::connect(port, &format!("stuck-{qos}-{number}"), true)?;
        client.subscribe("bench/#", qos)?;
        all.push(client);
    }
    println!("ready");
    let _ = stdin().lines().last();
    Ok(())
}
