use std::collections::BTreeMap;

use tidegate_codec::block::{
    Batch, BlockSchema, Decoder, Frame, GapRecord, SchemaId, StoreId,
    file::{Part, parts},
};
use tidegate_export::BlockFile;
use tidegate_model::{Column, Slot, Stream, StreamId, Timestamp, Value, ValueKind};

use super::{START, batch, column, columns, table};

const STORE: StoreId = StoreId(0xc0ffee);

fn stream(id: u32, group: &str, columns: &[Column]) -> Stream {
    Stream::new(StreamId(id), "meter-1".parse().unwrap(), group.parse().unwrap(), columns.to_vec())
}

/// What a file holds: of each block the schema, the start of the gateway, and the rows; how often a schema stands in it.
fn read(file: &[u8]) -> (Vec<(BlockSchema, u64, Batch)>, usize) {
    let mut schemas: BTreeMap<SchemaId, BlockSchema> = BTreeMap::new();
    let (mut blocks, mut documents) = (Vec::new(), 0);
    for (_, part) in parts(file) {
        match part.unwrap() {
            Part::Schema(document) => {
                documents += 1;
                schemas.insert(BlockSchema::id_of(document), BlockSchema::decode(document).unwrap());
            }
            Part::Block(Frame::Data(head)) => {
                let schema = schemas.get(&head.schema).expect("a schema stands before its first block");
                let batch = Decoder::new().decode(&head, head.schema, &schema.columns).unwrap();
                blocks.push((schema.clone(), head.boot, batch));
            }
            Part::Block(Frame::Gap(gap)) => panic!("nobody has written {gap:?}"),
        }
    }
    (blocks, documents)
}

/// Rows of one number, from `seq` on.
fn numbers(columns: &[Column], seq: u64, rows: u64) -> Batch {
    let mut batch = Batch::new(columns);
    for row in 0..rows {
        let time = Timestamp::from_millis(START + i64::try_from(row).unwrap());
        batch.push(seq + row, time, None, &[Slot::Good(Value::Int(7))]).unwrap();
    }
    batch
}

#[test]
fn rows_of_any_streams_come_back_with_their_schemas() {
    let (all, one) = (columns(), [column("level", ValueKind::Int)]);
    let mut file = BlockFile::new(Vec::new(), STORE);
    file.write(&stream(1, "fast", &all), 3, &batch(), &table(&all).places(&all)).unwrap();
    file.write(&stream(2, "slow", &one), 3, &numbers(&one, 1, 5), &table(&one).places(&one)).unwrap();
    let file = file.finish().unwrap();
    let (blocks, documents) = read(&file);
    assert_eq!(documents, 2);
    let [(fast, 3, rows), (slow, 3, level)] = &blocks[..] else { panic!("{blocks:?}") };
    assert_eq!((fast.store, fast.group.as_str(), &fast.columns[..]), (STORE, "fast", &all[..]));
    assert_eq!((slow.group.as_str(), level.len()), ("slow", 5));
    let shown =
        |batch: &Batch| format!("{:?}", (0..8).map(|at| batch.slots(at).collect::<Vec<_>>()).collect::<Vec<_>>());
    assert_eq!(shown(rows), shown(&batch()));
    assert_eq!((rows.first_seq(), rows.device_time(0)), (Some(40), batch().device_time(0)));
}

#[test]
fn pieces_become_long_blocks_that_end_at_holes_and_at_starts_of_the_gateway() {
    let one = [column("level", ValueKind::Int)];
    let (stream, places) = (stream(1, "fast", &one), table(&one).places(&one));
    let mut file = BlockFile::new(Vec::new(), STORE);
    for piece in 0..20 {
        file.write(&stream, 1, &numbers(&one, 1 + piece * 50, 50), &places).unwrap();
    }
    file.write(&stream, 2, &numbers(&one, 1001, 50), &places).unwrap();
    file.write(&stream, 2, &numbers(&one, 2000, 1500), &places).unwrap();
    let (blocks, documents) = read(&file.finish().unwrap());
    assert_eq!(documents, 1);
    let found: Vec<_> = blocks.iter().map(|(_, boot, rows)| (*boot, rows.first_seq().unwrap(), rows.len())).collect();
    assert_eq!(found, [(1, 1, 600), (1, 601, 400), (2, 1001, 50), (2, 2000, 600), (2, 2600, 600), (2, 3200, 300)]);
}

#[test]
fn only_the_columns_that_are_wanted_are_written() {
    let all = columns();
    let wanted = [all[6].clone(), all[1].clone()];
    let mut file = BlockFile::new(Vec::new(), STORE);
    file.write(&stream(1, "fast", &all), 1, &batch(), &table(&wanted).places(&all)).unwrap();
    let (blocks, _) = read(&file.finish().unwrap());
    let (schema, _, rows) = &blocks[0];
    assert_eq!(schema.columns[..], wanted);
    for row in 0..4 {
        assert_eq!((rows.slot(row, 0), rows.slot(row, 1)), (batch().slot(row, 6), batch().slot(row, 1)));
    }
}

#[test]
fn no_rows_are_an_empty_file() {
    assert_eq!(BlockFile::new(Vec::new(), STORE).finish().unwrap(), b"");
}

#[test]
fn what_is_missing_stands_between_the_rows_beside_it() {
    let one = [column("level", ValueKind::Int)];
    let (stream, places) = (stream(4, "fast", &one), table(&one).places(&one));
    let mut file = BlockFile::new(Vec::new(), STORE);
    file.write_gap((&stream, 2), (1, 9), 4, &places).unwrap();
    file.write(&stream, 2, &numbers(&one, 10, 5), &places).unwrap();
    file.write_gap((&stream, 2), (15, 20), 130, &places).unwrap();
    file.write(&stream, 2, &numbers(&one, 21, 5), &places).unwrap();
    let file = file.finish().unwrap();
    let (mut found, mut id) = (Vec::new(), None);
    for (_, part) in parts(&file) {
        match part.unwrap() {
            Part::Schema(document) => id = Some(BlockSchema::id_of(document)),
            Part::Block(Frame::Data(head)) => found.push((head.first_seq, head.last_seq(), None)),
            Part::Block(Frame::Gap(gap)) => {
                let GapRecord { stream, schema, boot, first_seq, last_seq, reason } = gap;
                assert_eq!((stream, Some(schema), boot), (StreamId(4), id, 2), "it says whose rows they are");
                found.push((first_seq, last_seq, Some(reason)));
            }
        }
    }
    assert_eq!(found, [(1, 9, Some(4)), (10, 14, None), (15, 20, Some(130)), (21, 25, None)]);
}
