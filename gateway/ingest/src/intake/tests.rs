use std::collections::HashMap;

use rand::{Rng, SeedableRng, rngs::StdRng};
use tidegate_codec::block::StoreId;
use tidegate_model::{Slot, Value};

use super::*;
use crate::{
    Format,
    scene::{self, MIDNIGHT, block},
};

const BLOCK: &[u8] = b"tidegate/line3/block";

fn intake() -> (Intake, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    let topics = Topics::new("tidegate", Format::Block, None);
    (Intake::new(topics, Duration::from_secs(10), HashSet::new(), Arc::clone(&counters)), counters)
}

#[test]
fn messages_at_qos_0_do_not_fill_the_memory_while_the_sink_is_away() {
    let (mut intake, counters) = intake();
    let payload = Bytes::from(vec![0; 4 << 20]);
    assert_eq!((0..100).filter(|_| !intake.take(BLOCK, &payload, 0)).count(), 7);
    assert!(intake.bytes <= MOST_BYTES_AT_QOS_0, "{}", intake.bytes);
    assert_eq!((intake.len(), counters.snapshot().dropped), (7, 93));
    // Those that the broker keeps still find room, and then no more are taken from it.
    let mut packet_id = 0;
    while !intake.is_full() {
        packet_id += 1;
        assert!(!intake.take(BLOCK, &payload, packet_id));
    }
    assert!(intake.bytes < MOST_BYTES + (5 << 20) && packet_id > 20, "{packet_id}");
    assert_eq!(counters.snapshot().dropped, 93);
    while let Some(batch) = intake.batch(Instant::now()) {
        intake.written(&batch);
    }
    assert_eq!((intake.bytes, intake.len()), (0, 0));
}

#[test]
fn what_came_at_qos_0_and_was_not_written_is_counted_when_the_connection_ends() {
    let (mut intake, counters) = intake();
    intake.take(BLOCK, &Bytes::from_static(b"no block"), 0);
    intake.take(BLOCK, &Bytes::from_static(b"no block"), 1);
    intake.batch(Instant::now()).unwrap();
    intake.take(BLOCK, &Bytes::from_static(b"no block either"), 0);
    intake.take(BLOCK, &Bytes::from_static(b"no block either"), 2);
    intake.forget();
    assert_eq!((counters.snapshot().dropped, intake.bytes, intake.len()), (1, 0, 0));
}

#[test]
fn blocks_do_not_wait_for_their_schemas_where_their_schemas_would_wait_for_them() {
    let (mut intake, _) = intake();
    let schema = scene::schema("meter", 1);
    let unknown = block(&schema, 1, 1, 10, MIDNIGHT);
    intake.take(BLOCK, &unknown, 1);
    let now = Instant::now();
    assert!(intake.batch(now).is_none(), "it waits");
    intake.bytes += MOST_BYTES;
    let batch = intake.batch(now).unwrap();
    assert!(matches!(&batch.pieces[..], [Piece::Refused(Refused { fault: Fault::UnknownSchema, .. })]));
    assert_eq!(intake.written(&batch), [1]);
    // It is asked back from the quarantine as soon as its schema is there.
    intake.take(
        format!("tidegate/line3/schema/{}", schema.id().unwrap()).as_bytes(),
        &schema.encode().unwrap().into(),
        0,
    );
    assert_eq!(intake.batch(now).unwrap().arrived.len(), 1);
}

#[test]
fn a_batch_ends_with_the_samples_that_a_sink_has_to_take_however_small_they_are_here() {
    let (mut intake, _) = intake();
    let mut schema = scene::schema("meter", 40);
    let columns = schema.columns.iter().map(|column| {
        let mut column = column.clone();
        column.value_type.kind = tidegate_model::ValueKind::Bool;
        column
    });
    schema.columns = columns.collect();
    let constant = scene::block_of(&schema, 1, 1, 65_536, MIDNIGHT, |_| Slot::Good(Value::Bool(true)));
    assert!(constant.len() < 4096, "{}", constant.len());
    intake.know(Known::read(scene::name("line3"), schema.encode().unwrap().into()).unwrap());
    (1..=3).for_each(|packet_id| assert!(!intake.take(BLOCK, &constant, packet_id)));
    for packet_id in 1..=3 {
        let batch = intake.batch(Instant::now()).unwrap();
        assert_eq!((batch.pieces.len(), intake.written(&batch)), (1, vec![packet_id]));
    }
}

#[test]
fn a_topic_or_a_message_of_nothing_but_faults_is_told_in_a_few_words() {
    let (mut intake, _) = intake();
    let topic = [b"tidegate/".as_slice(), &[b'x'; 60_000], b"/block"].concat();
    intake.take(&topic, &Bytes::from_static(b"forged"), 1);
    // Each frame is whole, and none can be read: of a later version.
    let mut frame = block(&scene::schema("meter", 1), 1, 1, 1, MIDNIGHT).to_vec();
    frame[1] += 1 << 4;
    let end = frame.len() - 4;
    let right = crc32c::crc32c(&frame[..end]);
    frame[end..].copy_from_slice(&right.to_le_bytes());
    intake.take(BLOCK, &frame.repeat(1000).into(), 2);
    for piece in intake.batch(Instant::now()).unwrap().pieces {
        let Piece::Refused(refused) = piece else { panic!("{piece:?}") };
        assert!(refused.gateway.len() <= TOLD_TOPIC && refused.detail.len() < 1000, "{refused:?}");
    }
}

#[test]
fn of_two_schemas_with_the_same_checksum_the_newer_is_used() {
    let mut dice = StdRng::seed_from_u64(11);
    // Names at random: the checksums of numbers that are counted up meet too rarely.
    let mut encoded = |store| {
        let device: String = (0..12).map(|_| char::from(dice.random_range(b'a'..=b'z'))).collect();
        let schema = BlockSchema { store: StoreId(store), ..scene::schema(&device, 1) };
        let document = schema.encode().unwrap();
        (BlockSchema::id_of(&document), document)
    };
    let first: HashMap<SchemaId, Vec<u8>> = (0..60_000).map(|_| encoded(7)).collect();
    let (id, newer) = std::iter::repeat_with(|| encoded(8)).find(|(id, _)| first.contains_key(id)).unwrap();
    let (mut intake, _) = intake();
    let topic = format!("tidegate/line3/schema/{id}");
    for document in [&first[&id], &newer, &newer] {
        intake.take(topic.as_bytes(), &document.clone().into(), 0);
        assert_eq!(intake.schemas.get(&(scene::name("line3"), id)).unwrap().document, *document);
    }
}
