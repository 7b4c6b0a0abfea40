//! Whatever addresses a device lacks: the tags that it has are good, the others are `bad_address`, and soon nothing is asked
//! that it refuses.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use std::{
    collections::BTreeSet,
    fmt::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rig::{ALL, Asked, Chance, Device, PATIENT, PROFILE, Reply, compile, connect, link_to, poll_with, register};
use tidegate_driver_api::{
    Cx, Readings, Session,
    model::{Reading, Reason, Value},
};
use tokio_util::sync::CancellationToken;

/// Address and registers of each tag, by column.
type Tags = Vec<(u16, u16)>;

fn profile(tags: &Tags) -> String {
    let mut text = PROFILE.to_owned();
    for (column, (address, registers)) in tags.iter().enumerate() {
        let kind = if *registers == 1 { "u16" } else { "u32" };
        write!(
            text,
            "[[tag]]\nname = \"t{column}\"\ngroup = \"all\"\ntable = \"holding\"\naddress = {address}\n\
             type = \"{kind}\"\n"
        )
        .unwrap();
    }
    text
}

/// Sixty tags, of which some overlap.
fn tags(chance: &mut Chance) -> Tags {
    (0..60).map(|_| (chance.below(200), 1 + chance.below(2))).collect()
}

fn value((address, registers): (u16, u16)) -> Value {
    let high = u64::from(register(address));
    Value::Uint(if registers == 1 { high } else { high << 16 | u64::from(register(address + 1)) })
}

/// A device that lacks some addresses, and counts the requests that it refuses.
async fn lacking(missing: Arc<Mutex<BTreeSet<u16>>>) -> (Device, Arc<AtomicUsize>) {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let device = Device::start(move |asked| {
        let addresses = asked.address()..asked.address() + asked.count();
        if missing.lock().unwrap().range(addresses).next().is_none() {
            return Reply::Send(asked.right());
        }
        count.fetch_add(1, Ordering::SeqCst);
        Reply::Send(asked.exception(2))
    })
    .await;
    (device, refused)
}

/// Polls at a time; returns the number of requests.
async fn poll(session: &mut dyn Session, now: Instant, out: &mut Readings) -> usize {
    out.reset(out.items().len());
    let context = || Cx::new(now, PATIENT, CancellationToken::new());
    poll_with(session, ALL, context, out).await.unwrap()
}

#[tokio::test]
async fn tags_are_good_exactly_when_the_device_has_all_their_addresses() {
    for seed in 1..60 {
        let mut chance = Chance::new(seed);
        let tags = tags(&mut chance);
        let missing: BTreeSet<u16> = (0..chance.below(16)).map(|_| chance.below(202)).collect();
        let has = |&(address, registers): &(u16, u16)| missing.range(address..address + registers).next().is_none();
        let shared = Arc::new(Mutex::new(missing.clone()));
        let (device, refused) = lacking(Arc::clone(&shared)).await;
        let mut compiled = compile(&link_to(device.address, &profile(&tags)));
        let mut out = Readings::new(tags.len());
        let now = Instant::now();
        let mut polls = 0;
        // Until a poll is not refused anything: the cuts of one poll are limited.
        loop {
            // A connection for each poll: what was learned survives.
            let mut session = connect(compiled.link.as_mut()).await;
            let before = refused.load(Ordering::SeqCst);
            poll(session.as_mut(), now, &mut out).await;
            polls += 1;
            for (column, tag) in tags.iter().enumerate() {
                match &out.items()[column] {
                    Reading::Value(read) => assert_eq!(*read, value(*tag), "seed {seed} column {column}"),
                    other => assert_eq!(*other, Reading::Failed(Reason::BadAddress), "seed {seed} column {column}"),
                }
            }
            if refused.load(Ordering::SeqCst) == before {
                break;
            }
            assert!(polls < 6, "seed {seed}: refused for ever");
        }
        for (column, tag) in tags.iter().enumerate() {
            let good = matches!(out.items()[column], Reading::Value(_));
            assert_eq!(good, has(tag), "seed {seed} column {column} {tag:?}");
        }
        // The device gets its addresses: one tag is asked for again, answers, and with the next poll all are good.
        shared.lock().unwrap().clear();
        let later = now + Duration::from_secs(600);
        let mut session = connect(compiled.link.as_mut()).await;
        poll(session.as_mut(), later, &mut out).await;
        poll(session.as_mut(), later, &mut out).await;
        assert!(out.items().iter().all(|reading| matches!(reading, Reading::Value(_))), "seed {seed}");
    }
}

#[tokio::test]
async fn a_device_without_any_address_is_asked_a_limited_number_of_times() {
    let tags: Tags = (0..1000).map(|tag| (tag * 2, 2)).collect();
    let (device, _) = lacking(Arc::new(Mutex::new((0..2000).collect()))).await;
    let mut compiled = compile(&link_to(device.address, &profile(&tags)));
    let mut session = connect(compiled.link.as_mut()).await;
    let mut out = Readings::new(tags.len());
    let now = Instant::now();
    let mut polls = 0;
    let bad = Reading::Failed(Reason::BadAddress);
    loop {
        let before = device.asked().len();
        poll(session.as_mut(), now, &mut out).await;
        assert!(out.items().iter().all(|reading| *reading == bad));
        if device.asked().len() == before {
            break;
        }
        polls += 1;
    }
    // In each of the 17 blocks every tag is refused once alone, and every cut between two of them was a refusal before.
    assert_eq!(device.asked().len(), 2 * 1000 - 17);
    assert!((2..20).contains(&polls), "the cuts are spread over {polls} polls");
    let before = device.asked().len();
    assert_eq!(poll(session.as_mut(), now, &mut out).await, 1);
    assert_eq!(device.asked().len(), before, "all are parked: nothing is asked");
    // Later, one of them is asked for again in each poll.
    poll(session.as_mut(), now + Duration::from_secs(30), &mut out).await;
    assert_eq!(device.asked().len(), before + 1);
}

#[tokio::test]
async fn the_line_stays_silent_for_the_turnaround() {
    let quirks = "[quirks]\nturnaround = \"40ms\"\nmax_gap = 0\n[[group]]";
    let tags: Tags = vec![(0, 1), (10, 1), (20, 1)];
    let device = Device::start(|asked| Reply::Send(asked.right())).await;
    let profile = profile(&tags).replace("[[group]]", quirks);
    let mut compiled = compile(&link_to(device.address, &profile));
    let mut session = connect(compiled.link.as_mut()).await;
    let mut out = Readings::new(tags.len());
    let begun = Instant::now();
    assert_eq!(poll(session.as_mut(), begun, &mut out).await, 3);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(80) && took < Duration::from_secs(5), "{took:?}");
}

/// What a device does that is being put to work.
struct Moods {
    missing: BTreeSet<u16>,
    longest: u16,
    code: u8,
    /// Requests until it closes the connection in place of an answer.
    closes_after: Option<u16>,
}

impl Moods {
    const WELL: Moods = Moods { missing: BTreeSet::new(), longest: 125, code: 2, closes_after: None };

    fn change(&mut self, chance: &mut Chance) {
        match chance.below(8) {
            0 => self.missing.extend((0..chance.below(30)).map(|_| chance.below(202))),
            1 => self.missing = (0..202).collect(),
            2 => self.missing.clear(),
            3 => self.closes_after = Some(chance.below(10)),
            4 => self.longest = 4 + chance.below(122),
            5 => self.code = chance.of(&[2, 3, 4, 10]),
            _ => {}
        }
    }

    fn answer(&mut self, asked: &Asked) -> Reply {
        self.closes_after = match self.closes_after {
            Some(0) => {
                self.closes_after = None;
                return Reply::SendAndClose(Vec::new());
            }
            other => other.map(|left| left - 1),
        };
        let addresses = asked.address()..asked.address() + asked.count();
        let bears = asked.count() <= self.longest && self.missing.range(addresses).next().is_none();
        Reply::Send(if bears { asked.right() } else { asked.exception(self.code) })
    }
}

#[tokio::test]
async fn a_device_of_changing_moods_never_gives_a_wrong_value_and_is_whole_again_soon() {
    for seed in 0..60 {
        let mut chance = Chance::new(seed);
        let tags = tags(&mut chance);
        let moods = Arc::new(Mutex::new(Moods::WELL));
        let answering = Arc::clone(&moods);
        let device = Device::start(move |asked| answering.lock().unwrap().answer(asked)).await;
        let mut compiled = compile(&link_to(device.address, &profile(&tags)));
        let mut out = Readings::new(tags.len());
        let mut now = Instant::now();
        for round in 0..50 {
            match round {
                0..40 => moods.lock().unwrap().change(&mut chance),
                _ => *moods.lock().unwrap() = Moods::WELL,
            }
            now += Duration::from_secs(if round < 40 { chance.below(100).into() } else { 600 });
            let mut session = connect(compiled.link.as_mut()).await;
            out.reset(tags.len());
            let context = || Cx::new(now, PATIENT, CancellationToken::new());
            let ended = poll_with(session.as_mut(), ALL, context, &mut out).await;
            for (column, tag) in tags.iter().enumerate() {
                match &out.items()[column] {
                    Reading::Value(read) => assert_eq!(*read, value(*tag), "seed {seed} column {column}"),
                    Reading::Doubtful(..) => panic!("Modbus knows no doubt"),
                    Reading::Failed(_) => assert!(round < 43, "seed {seed} column {column}: not whole again"),
                    Reading::Missing => assert!(ended.is_err(), "seed {seed} column {column}"),
                }
            }
        }
    }
}
