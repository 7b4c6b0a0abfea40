//! Bytes that nobody has written, and batches that nobody would want.

use tidegate_codec::block::{Batch, Codec, Decoder, Encoder, Frame, MAX_BYTES, Origin, SchemaId, split};
use tidegate_model::{Column, Reason, Slot, StreamId, Timestamp, Value, ValueKind, ValueType};

use crate::{block::assert_same, block_golden::golden_blocks};

/// The same numbers in every run (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn place(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(u64::try_from(limit).unwrap())).unwrap()
    }
}

/// A block of version 1 with these contents and a right checksum.
fn framed(kind: u8, contents: &[u8]) -> Vec<u8> {
    let mut block = vec![0xb7, kind];
    let mut length = contents.len();
    while length >= 0x80 {
        block.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    block.push(u8::try_from(length).unwrap());
    block.extend_from_slice(contents);
    let checksum = crc32c::crc32c(&block);
    block.extend_from_slice(&checksum.to_le_bytes());
    block
}

/// The contents of a frame.
fn contents(frame: &[u8]) -> &[u8] {
    let length = frame[2..].iter().position(|byte| *byte < 0x80).unwrap() + 1;
    &frame[2 + length..frame.len() - 4]
}

fn mutate(contents: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        // Descriptions stand at the beginning: half of the damage is there.
        let reach = if random.below(2) == 0 { contents.len().min(60) } else { contents.len() };
        let at = random.place(reach);
        match random.below(8) {
            0 => contents[at] = 0xff,
            1 => contents[at] = 0,
            2 => contents[at] = random.next().to_le_bytes()[0],
            3 => contents.insert(at, random.next().to_le_bytes()[0]),
            4 if contents.len() > 1 => {
                contents.remove(at);
            }
            5 if at > 0 => contents.truncate(at),
            _ => contents[at] ^= 1 << random.below(8),
        }
    }
}

#[test]
fn damage_with_a_right_checksum_is_refused_or_gives_a_batch_within_bounds() {
    let blocks = golden_blocks();
    let (mut random, mut decoder) = (Random(2), Decoder::default());
    let mut refused = 0;
    for number in 0..2000 {
        let (block, schema) = &blocks[number % blocks.len()];
        let mut contents = contents(block).to_vec();
        mutate(&mut contents, &mut random);
        let message = framed(block[1], &contents);
        let Some(Ok(Frame::Data(head))) = split(&message).next() else {
            refused += 1;
            continue;
        };
        // The schema of the head may be damaged as well; the body is what matters.
        match decoder.decode(&head, head.schema, &schema.columns) {
            Ok(batch) => {
                assert!(batch.heap_bytes() <= MAX_BYTES, "block {number} takes {} bytes", batch.heap_bytes());
                assert_eq!(u64::try_from(batch.len()).unwrap(), u64::from(head.rows), "block {number}");
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!((500..2000).contains(&refused), "{refused} were refused");
}

/// Numbers near borders, of few digits, in small steps, or any.
fn bits(course: u64, row: u64, random: &mut Random) -> u64 {
    match course {
        0 => random.next(),
        1 => [0, 1, u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 52, 0x7ff0 << 48, 0xfff8 << 48][random.place(8)],
        2 => row.wrapping_mul(1000).wrapping_add(random.below(3)),
        3 => random.below(100) * 10_u64.pow(u32::try_from(random.below(18)).unwrap()),
        4 => [7, 7_000_001, u64::MAX - 3][random.place(3)],
        5 => (1 << 63) + row - 5,
        6 => random.below(64).pow(2) * 275 / 100,
        _ => 1 << random.below(64),
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "rounding is what is wanted"
)]
fn double(course: u64, row: u64, random: &mut Random) -> f64 {
    let bits = bits(course, row, random);
    match random.below(if course == 0 { 1 } else { 12 }) {
        0 => f64::from_bits(bits),
        1 => f64::from(f32::from_bits(bits as u32)),
        2 => f64::from((bits.cast_signed() as f64 / 10.0) as f32),
        3 => bits.cast_signed() as f64 * 0.01,
        _ => bits.cast_signed() as f64 / 100.0,
    }
}

#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
fn value(value_type: ValueType, course: u64, row: u64, random: &mut Random) -> Value {
    if value_type.items.is_some() {
        let single = ValueType::single(value_type.kind);
        return Value::Array((0..random.below(4)).map(|_| value(single, course, row, random)).collect());
    }
    match value_type.kind {
        ValueKind::Bool => Value::Bool(random.below(3) == 0),
        ValueKind::Int => Value::Int(bits(course, row, random).cast_signed()),
        ValueKind::Uint => Value::Uint(bits(course, row, random)),
        ValueKind::F32 if course == 0 => Value::F32(f32::from_bits(random.next() as u32)),
        ValueKind::F32 => Value::F32(double(course, row, random) as f32),
        ValueKind::F64 => Value::F64(double(course, row, random)),
        ValueKind::Text => Value::Text(format!("{:x} ß", bits(course, row, random)).into()),
        ValueKind::Bytes => Value::Bytes(random.next().to_le_bytes()[..random.place(9)].into()),
    }
}

fn slot(column: &Column, course: u64, row: u64, spoilt: bool, random: &mut Random) -> Slot {
    let reason = Reason::ALL[random.place(9)];
    let own = value(column.value_type, course, row, random);
    if !spoilt || random.below(3) > 0 {
        return Slot::Good(own);
    }
    let kind = ValueKind::ALL[random.place(7)];
    let items = (random.below(3) == 0).then_some(2);
    match random.below(5) {
        0 => Slot::Unchanged,
        1 => Slot::Bad(reason),
        2 => Slot::Uncertain(own, reason),
        3 => Slot::Uncertain(value(ValueType { kind, items }, course, row, random), reason),
        _ => Slot::Good(value(ValueType { kind, items }, course, row, random)),
    }
}

fn batch(columns: &[Column], random: &mut Random) -> Batch {
    let mut batch = Batch::new(columns);
    let rows = [1, 2, 3, 5 + random.below(40)][random.place(4)];
    let courses: Vec<u64> = columns.iter().map(|_| random.below(8)).collect();
    let (spoilt, clock, own_clock) = (random.below(2) == 0, random.below(8), random.below(3));
    let first = if random.below(20) == 0 { u64::MAX - rows + 1 } else { random.below(1 << 40) };
    for row in 0..rows {
        let slots: Vec<Slot> =
            columns.iter().zip(&courses).map(|(column, course)| slot(column, *course, row, spoilt, random)).collect();
        let time = Timestamp::from_millis(bits(clock, row, random).cast_signed());
        let has_own = own_clock == 1 || own_clock == 2 && random.below(2) == 0;
        let own_time = has_own.then(|| Timestamp::from_millis(bits(clock, row, random).cast_signed()));
        batch.push(first + row, time, own_time, &slots).unwrap();
    }
    batch
}

#[test]
fn hostile_batches_come_back_to_the_last_bit_from_every_codec() {
    let mut random = Random(3);
    let mut encoders = [Codec::Range, Codec::Planes, Codec::Parts].map(Encoder::new);
    let mut decoder = Decoder::default();
    for number in 0..HOSTILE {
        // Some of more than a part.
        let most = if number % 4 == 0 { 12 } else { 5 };
        let columns: Vec<Column> = (0..random.below(most))
            .map(|place| {
                let items = (random.below(5) == 0).then_some(2);
                let value_type = ValueType { kind: ValueKind::ALL[random.place(7)], items };
                Column::new(format!("tag{place}").parse().unwrap(), value_type)
            })
            .collect();
        let batch = batch(&columns, &mut random);
        let origin = Origin { stream: StreamId(9), schema: SchemaId(number), boot: u64::from(number) };
        for encoder in &mut encoders {
            let mut message = Vec::new();
            encoder.encode(&origin, &batch, &mut message).unwrap();
            let Some(Ok(Frame::Data(head))) = split(&message).next() else { panic!("batch {number} is no block") };
            assert_same(&decoder.decode(&head, origin.schema, &columns).unwrap(), &batch);
            let wanted = random.place(columns.len() + 1);
            let mut alone = Batch::new(&columns[..wanted]);
            decoder.decode_last_into(&head, origin.schema, &mut alone).unwrap();
            assert_eq!(alone.times(), batch.times(), "batch {number}");
            if let Some(column) = wanted.checked_sub(1) {
                let shown = |of: &Batch| of.slots(column).map(|slot| format!("{slot:?}")).collect::<Vec<_>>();
                assert!(shown(&alone) == shown(&batch), "column {column} of batch {number}");
            }
        }
    }
}

const HOSTILE: u32 = 3000;

#[test]
fn many_long_texts_in_a_column_of_numbers_come_back() {
    let columns = [Column::new("level".parse().unwrap(), ValueType::single(ValueKind::Int))];
    let mut batch = Batch::new(&columns);
    for row in 0..600_u32 {
        let text = Value::Text(format!("{row:08}").repeat(4000).into());
        let array = Value::Array((0..200).map(|_| Value::Bool(true)).collect());
        let slot = Slot::Good(if row % 2 == 0 { text } else { array });
        batch.push(u64::from(row), Timestamp::from_millis(row.into()), None, &[slot]).unwrap();
    }
    let origin = Origin { stream: StreamId(9), schema: SchemaId(1), boot: 1 };
    let mut message = Vec::new();
    Encoder::new(Codec::Planes).encode(&origin, &batch, &mut message).unwrap();
    let Some(Ok(Frame::Data(head))) = split(&message).next() else { panic!("no block") };
    let found = Decoder::new().decode(&head, origin.schema, &columns).unwrap();
    assert_same(&found, &batch);
    assert_eq!(found.heap_bytes(), batch.heap_bytes());
}

#[test]
fn what_a_batch_takes_can_be_packed_and_unpacked_up_to_the_last_row() {
    let columns: Vec<Column> = (0..2000)
        .map(|place| Column::new(format!("tag{place}").parse().unwrap(), ValueType::single(ValueKind::F64)))
        .collect();
    let (mut batch, slots) = (Batch::new(&columns), vec![Slot::Good(Value::F64(1.5)); columns.len()]);
    let mut rows = 0;
    while batch.push(rows, Timestamp::from_millis(0), None, &slots).is_ok() {
        rows += 1;
    }
    assert!(batch.heap_bytes() <= MAX_BYTES && batch.heap_bytes() > MAX_BYTES / 100 * 99);
    let origin = Origin { stream: StreamId(9), schema: SchemaId(1), boot: 1 };
    let mut message = Vec::new();
    Encoder::new(Codec::Planes).encode(&origin, &batch, &mut message).unwrap();
    let Some(Ok(Frame::Data(head))) = split(&message).next() else { panic!("no block") };
    let found = Decoder::new().decode(&head, origin.schema, &columns).unwrap();
    assert_eq!((found.len(), found.heap_bytes()), (batch.len(), batch.heap_bytes()));
}
