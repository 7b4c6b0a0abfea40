//! What goes wrong during the proof, and when: decided by a seed before it begins.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use tidegate_tests::{Cut, Fault, FaultProxy, Way};

/// A span of time, counted from the beginning, and what happens in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span<T> {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    pub(crate) what: T,
}

/// What is done to the link.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outage {
    Fault(Fault),
    /// Open connections end now; a new one may be made at once.
    Cut(Cut),
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Gateway,
    Broker,
    Ingest,
    Database,
}

/// All that goes wrong.
pub(crate) struct Trouble {
    pub(crate) outages: Vec<Span<Outage>>,
    /// How many of each kind there are does not depend on the seed; when they are killed and for how long they are away does.
    pub(crate) deaths: Vec<Span<Victim>>,
}

impl Trouble {
    /// So many outages and deaths of each kind within `time`.
    pub(crate) fn plan(seed: u64, time: Duration, outages: u32, deaths: &[(Victim, u32)]) -> Trouble {
        let mut random = StdRng::seed_from_u64(seed);
        let mut kinds = Vec::new();
        while kinds.len() < usize::try_from(outages).unwrap_or(usize::MAX) {
            kinds.extend(each_kind(&mut random));
        }
        kinds.truncate(usize::try_from(outages).unwrap_or(usize::MAX));
        kinds.shuffle(&mut random);
        let outages = spans(&mut random, time, kinds.into_iter(), 0.05..0.8);
        let deaths = deaths.iter().flat_map(|(victim, times)| {
            let victims = std::iter::repeat_n(*victim, usize::try_from(*times).unwrap_or(usize::MAX));
            let mut deaths = spans(&mut random, time, victims, 0.0..0.15);
            // Every other one while much is on its way: shortly after an outage.
            for death in deaths.iter_mut().step_by(2) {
                let Some(outage) = outages.iter().find(|outage| outage.to >= death.from) else { continue };
                let delay = outage.to.saturating_sub(death.from) + Duration::from_secs(1).mul_f64(random.random());
                (death.from, death.to) = (death.from + delay, death.to + delay);
            }
            deaths.sort_by_key(|death| death.from);
            deaths
        });
        let deaths = deaths.collect();
        Trouble { outages, deaths }
    }
}

/// One of each kind of outage, with random measures.
fn each_kind(random: &mut StdRng) -> [Outage; 8] {
    [
        Outage::Fault(Fault::Refused),
        Outage::Fault(Fault::Silent),
        Outage::Fault(Fault::HalfOpen(Way::There)),
        Outage::Fault(Fault::HalfOpen(Way::Back)),
        Outage::Fault(Fault::Slow(random.random_range(500..20_000))),
        Outage::Fault(Fault::Reset(random.random_range(1_000..60_000))),
        Outage::Cut(Cut::Closed),
        Outage::Cut(Cut::Reset),
    ]
}

/// Divides the time evenly and puts one span somewhere into each part, of which it takes a random share.
fn spans<T>(
    random: &mut StdRng,
    time: Duration,
    what: impl ExactSizeIterator<Item = T>,
    share: std::ops::Range<f64>,
) -> Vec<Span<T>> {
    let part = time / u32::try_from(what.len().max(1)).unwrap_or(u32::MAX);
    let mut begin = Duration::ZERO;
    let mut spans = Vec::new();
    for what in what {
        let length = part.mul_f64(random.random_range(share.clone()));
        let from = begin + part.saturating_sub(length).mul_f64(random.random_range(0.0..1.0));
        spans.push(Span { from, to: from + length, what });
        begin += part;
    }
    spans
}

/// Does to the link what is planned, and leaves it healed.
pub(crate) fn disturb(link: &FaultProxy, outages: &[Span<Outage>], diary: &Diary) -> anyhow::Result<()> {
    for Span { from, to, what } in outages {
        diary.wait_until(*from);
        diary.note(format!("the link: {what:?} for {:.1} s", (*to - *from).as_secs_f64()));
        match what {
            Outage::Fault(fault) => link.fault(*fault)?,
            Outage::Cut(cut) => link.cut(*cut),
        }
        diary.wait_until(*to);
        link.heal()?;
    }
    Ok(())
}

/// When it began, and what has happened since.
pub(crate) struct Diary {
    begun: Instant,
    lines: Mutex<Vec<String>>,
}

impl Diary {
    pub(crate) fn begin() -> Diary {
        Diary { begun: Instant::now(), lines: Mutex::default() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn wait_until(&self, moment: Duration) {
        while let Some(left) = moment.checked_sub(self.elapsed()).filter(|left| !left.is_zero()) {
            thread::park_timeout(left);
        }
    }

    pub(crate) fn note(&self, what: impl fmt::Display) {
        let line = format!("{:7.2} s  {what}", self.elapsed().as_secs_f64());
        // At once too, for whoever watches with `--nocapture`.
        println!("{line}");
        self.lock().push(line);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
