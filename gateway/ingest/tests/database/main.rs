//! An ingest between mosquitto and PostgreSQL: what it writes, what it puts aside, and what of the database it finds wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without may end it"
)]

mod cloud;
mod edge_nodes;

use std::time::Duration;

use cloud::{Cloud, block, schema};
use tidegate_tests::Peers;

const PATIENT: Duration = Duration::from_secs(20);

#[test]
fn a_forged_topic_and_numbers_given_again_stop_nobody_and_are_told() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let cloud = Cloud::start(&peers)?;
    cloud.ingest(PATIENT)?;
    let (meter, oven) = (schema("meter", 2, None), schema("oven", 6, None));
    let mut unit = String::new();
    (0..=255_u8).for_each(|at| unit.push_str(&format!("{:08x}", crc32c::crc32c(&[at, 7]))));
    let odd = schema("odd", 1, Some(&unit));
    cloud.publish(vec![
        cloud::schema_message(&meter),
        cloud::schema_message(&oven),
        cloud::schema_message(&odd),
        cloud::block_message(block(&meter, 1, 1, 100)),
        (format!("tidegate/{}/block", "x".repeat(20_000)), false, b"forged".to_vec()),
        // More than one message of COPY can carry.
        cloud::block_message(block(&oven, 1, 1, 20_000)),
        // The store was restored from a copy that ended at 90.
        cloud::block_message(block(&meter, 2, 91, 110)),
        cloud::block_message(block(&meter, 2, 106, 115)),
    ])?;
    let done = cloud.ingest(PATIENT)?;
    assert_eq!((done.rows, done.duplicates, done.numbered_again, done.lost), (20_115, 5, 10, 0), "{done:?}");
    let rows =
        "select device, count(*), min(seq), max(seq), sum(value) from tidegate.samples group by device order by device";
    let sum = |last: u64, columns: u64| last * (last + 1) / 2 * columns;
    let expected = [format!("meter|230|1|115|{}", sum(115, 2)), format!("oven|120000|1|20000|{}", sum(20_000, 6))];
    assert_eq!(cloud.database.sql(rows)?, expected);
    let aside =
        "select fault, count(*), max(length(gateway)) < 300 from tidegate.quarantine group by fault order by fault";
    assert_eq!(cloud.database.sql(aside)?, ["numbered_again|1|t", "topic|1|t"]);
    let report = cloud.verify()?;
    assert_eq!(report.streams.iter().map(|stream| stream.numbered_again).collect::<Vec<_>>(), [10, 0]);
    // The unit is too long for any index: its schema is refused, and its blocks are put aside as if it had not come.
    cloud.publish(vec![cloud::block_message(block(&odd, 1, 1, 5))])?;
    assert_eq!(cloud.ingest(Duration::ZERO)?.quarantined, 1);
    Ok(())
}

#[test]
fn a_block_that_the_database_refuses_when_its_schema_comes_stays_in_the_quarantine_alone() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let cloud = Cloud::start(&peers)?;
    cloud.ingest(PATIENT)?;
    cloud.database.sql("alter table tidegate.sample add constraint no_seven check (value <> 7)")?;
    let (late, meter) = (schema("late", 1, None), schema("meter", 1, None));
    let blocks = [(1, 5), (6, 8), (9, 10)].map(|(first, last)| cloud::block_message(block(&late, 1, first, last)));
    cloud.publish(blocks.to_vec())?;
    assert_eq!(cloud.ingest(Duration::ZERO)?.quarantined, 3);
    cloud.publish(vec![
        cloud::schema_message(&late),
        cloud::schema_message(&meter),
        cloud::block_message(block(&meter, 1, 1, 5)),
        cloud::block_message(block(&meter, 1, 8, 9)),
    ])?;
    let done = cloud.ingest(PATIENT)?;
    assert_eq!((done.released, done.quarantined, done.lost), (2, 0, 0), "{done:?}");
    let rows = "select device, array_agg(seq order by seq) from tidegate.samples group by device order by device";
    assert_eq!(cloud.database.sql(rows)?, ["late|{1,2,3,4,5,9,10}", "meter|{1,2,3,4,5,8,9}"]);
    assert_eq!(
        cloud.database.sql("select fault, count(*) from tidegate.quarantine group by fault")?,
        ["unknown_schema|1"]
    );

    cloud.database.sql("create database latin encoding 'LATIN1' locale 'C' template template0")?;
    let error = cloud.ingest_into("latin").unwrap_err().to_string();
    assert!(error.contains("its encoding is LATIN1") && error.contains("ENCODING 'UTF8'"), "{error}");
    Ok(())
}
