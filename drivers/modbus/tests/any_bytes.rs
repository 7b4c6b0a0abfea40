//! Whatever bytes come: no panic, and they are taken only when they are the answer to the request.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use rig::Chance;
use tidegate_driver_modbus::{
    PrimaryTable, RegisterAddress, UnitId,
    wire::{Answer, Fault, Header, LONGEST_FRAME, Request, TransactionId},
};

/// Bytes of a header.
const HEADER: usize = 7;

/// A request, and the message that answers it.
fn exchange(chance: &mut Chance) -> (Request<'static>, Vec<u8>) {
    let number = chance.below(u16::MAX);
    let (address, [high, low]) = (RegisterAddress::from(number), number.to_be_bytes());
    let count = 1 + chance.below(125);
    let data = |length: u16| [&[length.to_le_bytes()[0]][..], &vec![0x5A; usize::from(length)]].concat();
    match chance.below(5) {
        0 => {
            let request = Request::Read { table: PrimaryTable::Coil, address, count };
            (request, [vec![1], data(count.div_ceil(8))].concat())
        }
        1 => {
            let request = Request::Read { table: PrimaryTable::Input, address, count };
            (request, [vec![4], data(count * 2)].concat())
        }
        2 => (Request::WriteRegister { address, value: 7 }, vec![6, high, low, 0, 7]),
        3 => (Request::WriteRegisters { address, values: &[1, 2] }, vec![16, high, low, 0, 2]),
        _ => (Request::WriteAndRead { address, values: &[1, 2] }, vec![23, 4, 0, 1, 0, 2]),
    }
}

/// The message in its frame.
fn framed(transaction: u16, unit: u8, message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len() + 1).unwrap();
    [&transaction.to_be_bytes()[..], &[0, 0], &length.to_be_bytes(), &[unit], message].concat()
}

fn spoil(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let at = usize::from(chance.below(u16::try_from(bytes.len()).unwrap()));
    let [byte, _] = chance.below(256).to_le_bytes();
    match chance.below(5) {
        0 => bytes[at] = byte,
        1 => bytes[at] ^= 1 << (byte % 8),
        2 => bytes.truncate(at.max(1)),
        3 => bytes.insert(at, byte),
        _ => bytes.extend(vec![byte; usize::from(byte)]),
    }
}

#[test]
fn nothing_but_the_answer_is_taken() {
    let mut taken = 0;
    for seed in 0..200_000 {
        let mut chance = Chance::new(seed);
        let (request, message) = exchange(&mut chance);
        let (transaction, unit) = (chance.below(u16::MAX), chance.below(256).to_le_bytes()[0]);
        let header = Header { transaction: TransactionId::from(transaction), unit: UnitId::from(unit) };
        let right = framed(transaction, unit, &message);
        let mut bytes = right.clone();
        (0..chance.below(4)).for_each(|_| spoil(&mut bytes, &mut chance));
        let answer: Result<_, Fault> = header
            .split(&bytes)
            .and_then(|found| found.map(|(message, end)| Ok((Answer::read(&request, message)?, end))).transpose());
        let Ok(Some((answer, end))) = answer else { continue };
        taken += 1;
        assert!(end <= LONGEST_FRAME, "seed {seed}");
        match answer {
            // The data may be anything; all that stands before it, and its length, may not.
            Answer::Data(data) => {
                assert_eq!((end, data.len()), (right.len(), message.len() - 2), "seed {seed}");
                assert_eq!(bytes[..HEADER + 2], right[..HEADER + 2], "seed {seed}");
            }
            Answer::Written => assert_eq!(bytes[..end], right, "seed {seed}"),
            Answer::Exception(exception) => {
                let refusal = [request.function() | 0x80, exception.code()];
                assert_eq!(bytes[..end], framed(transaction, unit, &refusal), "seed {seed}");
            }
        }
    }
    assert!((50_000..150_000).contains(&taken), "{taken} were taken");
}
