//! Several ingests, and a database that keeps them waiting.

use std::thread;

use tidegate_config::Format;
use tidegate_tests::{Mosquitto, PATIENCE, Peers, Postgres, wait_until};

use crate::{
    ingest::{everything_is_there_once, start, until_written},
    sender::Sender,
};

const TAGS: usize = 10;

#[test]
fn of_two_ingests_that_share_the_work_one_is_killed_in_a_transaction_and_each_row_is_there_once() -> anyhow::Result<()>
{
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let (broker, database) = (Mosquitto::start(&peers)?, Postgres::start(&peers)?);
    let begin = |id| start(broker.address(), &database.url(), &["--share", "writers", "--client-id", id]);
    let (mut one, mut other) = (begin("one")?, begin("other")?);
    let mut sender = Sender::new(4, TAGS);
    sender.start(broker.address(), Format::Block);
    sender.rows(10);
    until_written(&database, sender.total())?;
    thread::scope(|scope| {
        // Whoever writes gets no further than into the middle of a transaction.
        scope.spawn(|| {
            let lock = "begin; lock table tidegate.sample in access exclusive mode; select pg_sleep(60)";
            database.sql(lock).expect_err("the lock is ended from outside");
        });
        let held = "select 1 from pg_stat_activity where wait_event = 'PgSleep'";
        wait_until(PATIENCE, "the lock", || database.sql(held).ok().filter(|found| *found == ["1"]))?;
        let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
        wait_until(PATIENCE, "both to be in a transaction", || {
            sender.rows(5);
            database.sql(waiting).ok().filter(|found| *found == ["2"])
        })?;
        one.kill();
        database.sql("select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'")?;
        anyhow::Ok(())
    })?;
    sender.rows(200);
    sender.finish();
    // What the broker has handed to the one that was killed waits for nobody else.
    let mut one = begin("one")?;
    until_written(&database, sender.total())?;
    for ingest in [&mut one, &mut other] {
        assert!(ingest.terminate(PATIENCE)?.success());
    }
    everything_is_there_once(&database, sender.total(), TAGS.try_into()?)
}

#[test]
fn what_a_database_that_is_away_has_not_taken_is_still_with_the_broker_when_the_ingest_is_killed() -> anyhow::Result<()>
{
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let (broker, mut database) = (Mosquitto::start(&peers)?, Postgres::start(&peers)?);
    let arguments = ["--client-id", "one", "--in-flight", "8"];
    let mut ingest = start(broker.address(), &database.url(), &arguments)?;
    let mut sender = Sender::new(2, TAGS);
    sender.start(broker.address(), Format::Block);
    sender.rows(10);
    until_written(&database, sender.total())?;
    database.kill();
    for _ in 0..20 {
        sender.rows(20);
    }
    ingest.wait_for(PATIENCE, "a word about the database", |lines| {
        lines.iter().any(|line| line.text.contains("nothing is acknowledged")).then_some(())
    })?;
    sender.finish();
    assert!(!ingest.has_ended(), "it waits for the database");
    ingest.kill();
    database.resume()?;
    let mut ingest = start(broker.address(), &database.url(), &arguments)?;
    until_written(&database, sender.total())?;
    assert!(ingest.terminate(PATIENCE)?.success());
    everything_is_there_once(&database, sender.total(), TAGS.try_into()?)
}
