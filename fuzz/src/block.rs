//! Blocks: messages and files as they come, bodies behind a right checksum, and rows of every kind there and back.

mod rows;

use tidegate_codec::block::{
    Batch, BlockSchema, Codec, Decoder, Encoder, Frame, Head, MAX_BYTES, Origin, SchemaId,
    file::{Part, parts},
    split,
};
use tidegate_model::{Column, StreamId, ValueKind, ValueType};

pub use rows::any_rows;

/// Blocks of more rows than this are decoded, but not packed again: that takes a fuzzer's time for little.
const PACKED_AGAIN: usize = 600;

/// A message or a file: as it came, and with the checksum of each frame put right, so that something gets past it.
pub fn any_message(bytes: &[u8]) {
    message(bytes);
    message(&repaired(bytes));
}

/// The first two bytes choose columns and a number of rows; the rest is the body of a block of byte planes.
pub fn any_planes(bytes: &[u8]) {
    body(Codec::Planes, bytes);
}

/// The same with the body of a block of the range coder.
pub fn any_range(bytes: &[u8]) {
    body(Codec::Range, bytes);
}

/// The same with the body of a block of the range coder in parts.
pub fn any_parts(bytes: &[u8]) {
    body(Codec::Parts, bytes);
}

fn message(bytes: &[u8]) {
    let mut known = columns(0);
    let mut end = 0;
    for (offset, part) in parts(bytes) {
        assert!(offset >= end && offset < bytes.len(), "a part at {offset} after one up to {end}");
        end = offset + 1;
        if let Ok(Part::Schema(document)) = part
            && let Ok(schema) = BlockSchema::decode(document)
        {
            let again = schema.encode().expect("what was read can be written");
            assert_eq!(BlockSchema::decode(&again).as_ref(), Ok(&schema));
            known = schema.columns.to_vec();
        }
    }
    let mut length = 0;
    for frame in split(bytes) {
        match frame {
            Ok(Frame::Data(head)) => {
                length += head.bytes.len();
                decode(&head, &known);
            }
            Ok(Frame::Gap(gap)) => {
                let mut again = Vec::new();
                gap.encode(&mut again);
                assert_eq!(split(&again).next(), Some(Ok(Frame::Gap(gap))));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    assert!(length <= bytes.len(), "frames are longer than the message");
}

/// The same frames, as far as their lengths go, each with a right checksum.
fn repaired(bytes: &[u8]) -> Vec<u8> {
    let mut message = bytes.to_vec();
    let mut at = 0;
    while message.get(at) == Some(&0xb7) {
        let (mut contents, mut length) = (at + 2, 0);
        // Three bytes are more than a fuzzer's messages need.
        for shift in [0, 7, 14] {
            let Some(byte) = message.get(contents) else { return message };
            length |= usize::from(byte & 0x7f) << shift;
            contents += 1;
            if *byte < 0x80 {
                break;
            }
        }
        let end = contents + length;
        let Some(checksum) = message.get(at..end).map(crc32c::crc32c) else { break };
        let Some(place) = message.get_mut(end..end + 4) else { break };
        place.copy_from_slice(&checksum.to_le_bytes());
        at = end + 4;
    }
    message
}

/// Columns of all kinds in many mixtures.
fn columns(choice: u8) -> Vec<Column> {
    let kind = ValueKind::ALL[usize::from(choice) % ValueKind::ALL.len()];
    let items = (choice & 0x40 != 0).then_some(3);
    let first = ValueType { kind, items };
    let more = ValueKind::ALL.map(|kind| ValueType { kind, items: None });
    let types: Vec<ValueType> = if choice & 0x80 == 0 { vec![first] } else { [&[first][..], &more].concat() };
    (types.into_iter().enumerate())
        .map(|(place, value_type)| Column::new(format!("tag{place}").parse().expect("a name"), value_type))
        .collect()
}

fn body(codec: Codec, bytes: &[u8]) {
    let [choice, rows, body @ ..] = bytes else { return };
    let columns = columns(*choice);
    let rows = match rows {
        0..0xf0 => usize::from(*rows) + 1,
        0xf0..0xfe => usize::from(*rows & 15) * 300 + 300,
        _ => 65_536,
    };
    // Stream 1, schema 7, boot 3, from row 5 on, at time 0.
    let mut contents = vec![1, 7, 0, 0, 0, 3, 5];
    varint(rows, &mut contents);
    contents.push(0);
    contents.extend_from_slice(body);
    let mut message = vec![0xb7, 0x10 | codec.code()];
    varint(contents.len(), &mut message);
    message.extend_from_slice(&contents);
    let checksum = crc32c::crc32c(&message);
    message.extend_from_slice(&checksum.to_le_bytes());
    let Some(Ok(Frame::Data(head))) = split(&message).next() else { panic!("the frame is right") };
    decode(&head, &columns);
}

fn varint(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Decodes a block of these columns; what comes is within the bounds, and comes again from a block of it.
fn decode(head: &Head, columns: &[Column]) {
    let mut decoder = Decoder::new();
    let batch = match decoder.decode(head, head.schema, columns) {
        Ok(batch) => batch,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(batch.heap_bytes() <= MAX_BYTES, "{} bytes", batch.heap_bytes());
    assert_eq!(u32::try_from(batch.len()), Ok(head.rows));
    assert_eq!((batch.first_seq(), batch.last_seq()), (Some(head.first_seq), Some(head.last_seq())));
    let mut first = Batch::new(&columns[..columns.len() / 2]);
    decoder.decode_first_into(head, head.schema, &mut first).expect("a part of what can be read can be read");
    assert_eq!(first.times(), batch.times());
    decoder.decode_last_into(head, head.schema, &mut first).expect("a part of what can be read can be read");
    assert_eq!(first.times(), batch.times());
    if batch.len() <= PACKED_AGAIN {
        there_and_back(&batch, columns);
    }
}

/// Packs the rows with each codec and compares what comes back.
fn there_and_back(batch: &Batch, columns: &[Column]) {
    let origin = Origin { stream: StreamId(300), schema: SchemaId(0xfeed), boot: 70_000 };
    for codec in [Codec::Range, Codec::Planes, Codec::Parts] {
        let mut message = Vec::new();
        Encoder::new(codec).encode(&origin, batch, &mut message).expect("what a batch holds can be packed");
        let mut frames = split(&message);
        let Some(Ok(Frame::Data(head))) = frames.next() else { panic!("a block is one frame of rows") };
        assert!(frames.next().is_none());
        let found = Decoder::new().decode(&head, origin.schema, columns).expect("what was packed can be unpacked");
        assert_same(&found, batch);
    }
}

fn assert_same(found: &Batch, expected: &Batch) {
    assert_eq!((found.len(), found.first_seq()), (expected.len(), expected.first_seq()));
    assert_eq!(found.times(), expected.times());
    for row in 0..expected.len() {
        assert_eq!(found.device_time(row), expected.device_time(row), "row {row}");
        for column in 0..expected.columns() {
            let (found, expected) = (found.slot(row, column), expected.slot(row, column));
            let (found, expected) = (found.expect("a slot"), expected.expect("a slot"));
            let same = match (found.value(), expected.value()) {
                (Some(found), Some(expected)) => found.same_as(expected),
                (None, None) => true,
                _ => false,
            };
            assert!(same && found.quality() == expected.quality(), "row {row}, {column}: {found:?} {expected:?}");
        }
    }
}
