//! The proof: an hour of a plant with a thousand tags, faster than real time, over a bad link into a database. The link
//! is cut twenty times, and gateway, broker, receiver and database are killed at random; in the end every row that the
//! gateway has committed is in the database once.
//!
//! `TIDEGATE_PROOF_MINUTES` is how much plant time there is (60), `TIDEGATE_PROOF_SEED` decides what is random.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without may end it"
)]

mod cloud;
mod comparison;
mod plant;
mod trouble;

use std::{
    sync::Mutex,
    thread,
    time::{Duration, SystemTime},
};

use anyhow::ensure;
use cloud::Cloud;
use plant::{Plant, SECOND};
use tidegate_tests::{FaultProxy, Peers, Subscriber, wait_until};
use trouble::{Diary, Span, Trouble, Victim};

/// How long it may take until all that was committed is in the database, once nothing goes wrong any more.
const CATCH_UP: Duration = Duration::from_secs(60);

#[test]
fn an_hour_of_trouble_loses_no_row_and_keeps_none_twice() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let minutes: u32 = std::env::var("TIDEGATE_PROOF_MINUTES").map_or(Ok(60), |text| text.parse())?;
    let seed: u64 = std::env::var("TIDEGATE_PROOF_SEED").map_or_else(|_| Ok(rand::random()), |text| text.parse())?;
    println!("TIDEGATE_PROOF_MINUTES={minutes} TIDEGATE_PROOF_SEED={seed}");
    let time = SECOND * 60 * minutes;
    let share = |of_an_hour: u32| (minutes * of_an_hour).div_ceil(60);
    let deaths = [(Victim::Gateway, 6), (Victim::Broker, 6), (Victim::Ingest, 4), (Victim::Database, 3)];
    let trouble = Trouble::plan(seed, time, share(20), &deaths.map(|(victim, times)| (victim, share(times))));

    let cloud = Cloud::build(&peers)?;
    cloud.start_ingest()?;
    cloud.wait_for_session()?;
    let link = FaultProxy::start(cloud.broker().address(), seed)?;
    let mut plant = Plant::build(link.address(), seed)?;
    let device = plant::devices().swap_remove(0);
    plant.start()?;
    let onlooker =
        Subscriber::start(&peers, plant.site().broker_address(), &format!("tidegate/plant/{device}/data/all"))?;

    let diary = Diary::begin();
    let killed_at = Mutex::new(Vec::new());
    let world = World { plant: &plant, cloud: &cloud, diary: &diary, killed_at: &killed_at };
    thread::scope(|scope| {
        let (world, trouble, link) = (&world, &trouble, &link);
        let mut works = vec![scope.spawn(move || trouble::disturb(link, &trouble.outages, world.diary))];
        works.extend(deaths.map(|(victim, _)| {
            let deaths = trouble.deaths.iter().filter(move |death| death.what == victim);
            scope.spawn(move || deaths.into_iter().try_for_each(|death| world.death(death)))
        }));
        // A thread that panicked has said so; the error of another is the first to be told.
        works.into_iter().try_for_each(|work| work.join().unwrap())
    })?;
    diary.wait_until(time);
    plant.wait_for_rows(60 * u64::from(minutes))?;
    plant.switch_off();
    diary.note("the machines are switched off, nothing goes wrong any more");
    let committed = plant.come_to_rest(CATCH_UP)?;
    diary.note(format!("the gateway has committed {committed} rows, and all are acknowledged"));
    let arrived = wait_until(CATCH_UP, "every row in the database", || {
        cloud.ledger_rows().ok().filter(|rows| *rows >= committed)
    })?;
    diary.note(format!("{arrived} rows are in the database"));
    plant.stop()?;
    cloud.stop_ingest()?;

    let (code, text, report) = cloud.verify()?;
    println!("{text}");
    ensure!(code == Some(0), "`tidegate ingest --verify` ended with {code:?}");
    ensure!(report["missing"] == 0 && report["quarantined"] == 0, "something is missing or cannot be read: {report}");
    let few = usize::try_from(minutes)? * 60;
    let mut complaints = Vec::new();
    let mut rows = 0;
    for name in plant::devices() {
        let stream = report["streams"].as_array().into_iter().flatten().find(|stream| stream["device"] == *name);
        let stream = stream.unwrap_or_else(|| panic!("{name} is not in the report"));
        ensure!(stream["gaps"] == serde_json::json!([]), "{name} has gaps: {stream}");
        let (there, here) = (comparison::committed(plant.site(), &name)?, cloud.rows(&name)?);
        let count = there.len();
        ensure!(
            stream["first"] == 1 && stream["last"] == count && stream["rows"] == count,
            "not {count} rows: {stream}"
        );
        // A machine that runs this and is busy polls less often, but not half as often.
        ensure!(count * 2 >= few, "{name} has {count} rows, fewer than half of {few}");
        complaints.extend(comparison::difference(&there, &here).into_iter().map(|words| format!("{name}: {words}")));
        if name == device {
            complaints.extend(comparison::unseen(&onlooker.messages(), &killed_at.lock().unwrap(), &there));
        }
        rows += count;
    }
    complaints.truncate(20);
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    diary.note(format!("{rows} rows compared, value by value"));
    Ok(())
}

/// Everything that can be killed.
struct World<'a> {
    plant: &'a Plant,
    cloud: &'a Cloud,
    diary: &'a Diary,
    /// When the gateway was killed, in Unix milliseconds.
    killed_at: &'a Mutex<Vec<i64>>,
}

impl World<'_> {
    /// Kills somebody, and brings them back.
    fn death(&self, Span { from, to, what }: &Span<Victim>) -> anyhow::Result<()> {
        self.diary.wait_until(*from);
        match what {
            Victim::Gateway => {
                self.plant.kill();
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
                self.killed_at.lock().unwrap().push(now.as_millis().try_into()?);
            }
            Victim::Broker => self.cloud.kill_broker()?,
            Victim::Ingest => self.cloud.kill_ingest(),
            Victim::Database => self.cloud.database().kill(),
        }
        self.diary.note(format!("killed: {what:?}"));
        self.diary.wait_until(*to);
        match what {
            Victim::Gateway => self.plant.start()?,
            Victim::Broker => self.cloud.broker().resume()?,
            Victim::Ingest => self.cloud.start_ingest()?,
            Victim::Database => self.cloud.database().resume()?,
        }
        self.diary.note(format!("back: {what:?}"));
        Ok(())
    }
}
