use tidegate_config::{ByteSize, WhenFull};
use tidegate_model::Timestamp;

use super::*;
use crate::{
    books::save_fact,
    compaction::Body,
    database::readers,
    epochs::{self, Epoch},
    lock,
    pending::Pending,
    tail::Tail,
};

/// Epochs, and bytes of the one body of each.
const EPOCHS: u64 = 8;
const BODY: u64 = 256 << 10;

fn body(id: u64, bytes: u64) -> Body {
    Body { id, bytes: vec![7; usize::try_from(bytes).unwrap()] }
}

/// A writer whose store has somewhat more than it may have, all of it in epochs of ten rows.
async fn too_full(dir: &std::path::Path) -> Writer {
    let directory = lock::take(dir).unwrap();
    let mut database = Database::open(dir.join(FILE)).await.unwrap();
    let connection = &mut database.connection;
    for number in 0..EPOCHS {
        let range = Range::new(10 * number, 10 * number + 10);
        let at = Timestamp::from_millis(i64::try_from(number).unwrap());
        let epoch = Epoch {
            range,
            level: 0,
            rows: 10,
            blocks: 1,
            short_blocks: 0,
            bytes: BODY,
            time_min: at,
            time_max: at,
            age: number,
        };
        epochs::insert(connection, &epoch).await.unwrap();
        let (first, id) = (i64::try_from(range.first).unwrap(), i64::try_from(number + 1).unwrap());
        let insert =
            "INSERT INTO block (first_position, row_count, stream_id, first_seq, body_id) VALUES (?, 10, 1, 1, ?)";
        sqlx::query(insert).bind(first).bind(id).execute(&mut *connection).await.unwrap();
        let insert = "INSERT INTO body (id, bytes) VALUES (?, ?)";
        sqlx::query(insert).bind(id).bind(body(0, BODY).bytes).execute(&mut *connection).await.unwrap();
    }
    save_fact(connection, "start_position", 10 * EPOCHS).await.unwrap();
    let options = tidegate_config::Store {
        commit: Duration::from_millis(5),
        max_age: Duration::from_secs(3_600),
        max_size: ByteSize(EPOCHS * BODY),
        when_full: WhenFull::DropOldest,
    };
    let books = Books::open(&mut database, options.max_age, lock::Here::default()).await.unwrap();
    let wire = books.streams.wire_schemas(books.store);
    let tail = Tail::new(1 << 20, books.end);
    let shared = Arc::new(Shared::new(Pending::new(1 << 20), tail, wire, readers(&database.path)));
    let mut writer = Writer::new(shared, dir.to_owned(), directory, database, books, options);
    writer.measure().await;
    writer
}

#[tokio::test]
async fn a_full_store_drops_no_more_while_compaction_writes_than_has_to_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = too_full(dir.path()).await;
    let ids = Range::new(100, 110);
    for id in 100..105 {
        assert!(writer.write_bodies(ids, vec![body(id, 1_000)]).await);
        writer.make_room().await;
        writer.measure().await;
        assert_eq!(writer.books.epochs.len(), 7, "one is enough, and its room is free when compaction is through");
        assert!(!writer.may_drop() && !writer.may_sweep(), "the writer waits for something to do");
    }
    writer.give_up();
    while writer.may_drop() || writer.may_sweep() {
        writer.make_room().await;
    }
    assert!(!writer.retention.is_due() && !writer.dropped_unswept, "there is room again");
    assert_eq!(writer.books.epochs.len(), 7);
    assert_eq!(writer.database.as_mut().unwrap().number("SELECT count(*) FROM body").await.unwrap(), 7);
}
