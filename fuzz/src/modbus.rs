//! What a Modbus device sends, and what its registers mean.

use tidegate_driver_modbus::{
    ByteOrder, Format, Half, PrimaryTable, RegisterAddress, UnitId,
    wire::{Answer, Header, LONGEST_FRAME, Request, TransactionId},
};

/// The first byte chooses a request, the second a format; the rest is what came from the wire.
pub fn any_bytes(bytes: &[u8]) {
    let [request, format, rest @ ..] = bytes else { return };
    answer(*request, rest);
    registers(*format, rest);
}

fn answer(choice: u8, bytes: &[u8]) {
    let count = u16::from(choice) % 125 + 1;
    let address = RegisterAddress::from(u16::from(choice));
    let request = match choice % 6 {
        0 => Request::Read { table: PrimaryTable::Coil, address, count },
        1 => Request::Read { table: PrimaryTable::Discrete, address, count },
        2 => Request::Read { table: PrimaryTable::Input, address, count },
        3 => Request::Read { table: PrimaryTable::Holding, address, count },
        4 => Request::WriteRegister { address, value: 7 },
        _ => Request::WriteRegisters { address, values: &[1, 2] },
    };
    // The header of what came, so that something gets past it.
    let transaction = bytes.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes));
    let unit = bytes.get(6).copied().unwrap_or(1);
    let header = Header { transaction: TransactionId::from(transaction), unit: UnitId::from(unit) };
    let Ok(Some((message, end))) = header.split(bytes) else { return };
    assert!(end <= LONGEST_FRAME && end <= bytes.len() && message.len() < end);
    if let Ok(Answer::Data(data)) = Answer::read(&request, message) {
        assert!(data.len() <= 250, "more than was asked for: {}", data.len());
    }
}

fn registers(choice: u8, bytes: &[u8]) {
    let order = [ByteOrder::Abcd, ByteOrder::Cdab, ByteOrder::Badc, ByteOrder::Dcba][usize::from(choice % 4)];
    let length = u16::from(choice) + 1;
    let formats = [
        Format::Coil,
        Format::Flag,
        Format::Bit(choice % 16),
        Format::U8(Half::High),
        Format::I8(Half::Low),
        Format::U16(order),
        Format::I16(order),
        Format::U32(order),
        Format::I32(order),
        Format::U64(order),
        Format::I64(order),
        Format::F32(order),
        Format::F64(order),
        Format::Bcd16(order),
        Format::Bcd32(order),
        Format::Text { bytes: length, order },
        Format::Bytes { bytes: length, order },
    ];
    for format in formats {
        let Some(value) = format.decode(bytes) else { continue };
        // An odd text or byte string does without the last byte of its last register, a part of a register or a flag without none.
        assert!(bytes.len() + 1 >= usize::from(format.addresses()) * 2, "{format:?} from {} bytes", bytes.len());
        let again = format.decode(bytes).expect("the same bytes are the same value");
        assert!(again.same_as(&value));
        format.decode_array(bytes, u16::from(choice));
    }
}
