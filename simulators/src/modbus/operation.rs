//! What a request asks for (Modbus Application Protocol 1.1b3 §6), checked before anything is done.

use tidegate_driver_modbus::{PrimaryTable, RegisterAddress};

/// Most bits that may be read at once (§6.1), and written (§6.11).
const MOST_BITS_READ: u16 = 2_000;
const MOST_BITS_WRITTEN: u16 = 1_968;
/// Most registers that may be read at once (§6.3), written (§6.12), and written by a request that also reads (§6.17).
const MOST_REGISTERS_READ: u16 = 125;
const MOST_REGISTERS_WRITTEN: u16 = 123;
const MOST_REGISTERS_EXCHANGED: u16 = 121;

/// Why a device refuses a request (§7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exception {
    /// The device does not know the function.
    IllegalFunction,
    /// The device has not got the address, or may not write it.
    IllegalAddress,
    /// The request contradicts itself or asks for too much.
    IllegalValue,
    /// A gateway's device does not answer.
    TargetFailedToRespond,
}

impl Exception {
    /// The exception code on the wire.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exception::IllegalFunction => 1,
            Exception::IllegalAddress => 2,
            Exception::IllegalValue => 3,
            Exception::TargetFailedToRespond => 0x0b,
        }
    }
}

/// A stretch of addresses of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The table.
    pub(crate) table: PrimaryTable,
    /// The first address.
    pub(crate) first: u16,
    /// How many; the last one may lie behind the end of the table.
    pub(crate) count: u16,
}

/// A well-formed request. Whether the device has the addresses is not known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation<'a> {
    /// Function 1 to 4.
    Read(Stretch),
    /// Function 5 and 15: the bits packed as they came.
    WriteCoils(Stretch, &'a [u8]),
    /// Function 6 and 16: the registers as they came.
    WriteRegisters(Stretch, &'a [u8]),
    /// Function 22: keep the bits of the first mask, set those of the second outside of it.
    Mask(Stretch, u16, u16),
    /// Function 23: what is read, what is written before, and the registers for it.
    Exchange(Stretch, Stretch, &'a [u8]),
}

impl Operation<'_> {
    /// What the function code and its data ask for.
    pub(crate) fn parse(function: u8, data: &[u8]) -> Result<Operation<'_>, Exception> {
        match function {
            1 => read(PrimaryTable::Coil, data, MOST_BITS_READ),
            2 => read(PrimaryTable::Discrete, data, MOST_BITS_READ),
            3 => read(PrimaryTable::Holding, data, MOST_REGISTERS_READ),
            4 => read(PrimaryTable::Input, data, MOST_REGISTERS_READ),
            5 => write_coil(data),
            6 => write_register(data),
            15 => write_coils(data),
            16 => write_registers(data),
            22 => mask(data),
            23 => exchange(data),
            _ => Err(Exception::IllegalFunction),
        }
    }

    /// Whether the request concerns any of these addresses.
    pub(crate) fn touches(&self, table: PrimaryTable, first: RegisterAddress, count: u16) -> bool {
        let other = Stretch { table, first: first.get(), count };
        match self {
            Operation::Read(stretch)
            | Operation::WriteCoils(stretch, _)
            | Operation::WriteRegisters(stretch, _)
            | Operation::Mask(stretch, ..) => stretch.overlaps(other),
            Operation::Exchange(read, write, _) => read.overlaps(other) || write.overlaps(other),
        }
    }
}

impl Stretch {
    /// The address behind the last one.
    pub(crate) fn end(self) -> u32 {
        u32::from(self.first) + u32::from(self.count)
    }

    fn overlaps(self, other: Stretch) -> bool {
        self.table == other.table && u32::from(self.first) < other.end() && u32::from(other.first) < self.end()
    }
}

fn stretch(table: PrimaryTable, [a, b, c, d]: [u8; 4], most: u16) -> Result<Stretch, Exception> {
    let count = u16::from_be_bytes([c, d]);
    if count == 0 || count > most {
        return Err(Exception::IllegalValue);
    }
    Ok(Stretch { table, first: u16::from_be_bytes([a, b]), count })
}

/// The whole data of a function whose data have a fixed length.
fn exactly<const N: usize>(data: &[u8]) -> Result<[u8; N], Exception> {
    data.try_into().map_err(|_| Exception::IllegalValue)
}

fn read(table: PrimaryTable, data: &[u8], most: u16) -> Result<Operation<'_>, Exception> {
    Ok(Operation::Read(stretch(table, exactly(data)?, most)?))
}

fn write_coil(data: &[u8]) -> Result<Operation<'_>, Exception> {
    let [a, b, c, d] = exactly(data)?;
    let stretch = Stretch { table: PrimaryTable::Coil, first: u16::from_be_bytes([a, b]), count: 1 };
    match [c, d] {
        [0xff, 0x00] => Ok(Operation::WriteCoils(stretch, &[1])),
        [0x00, 0x00] => Ok(Operation::WriteCoils(stretch, &[0])),
        _ => Err(Exception::IllegalValue),
    }
}

fn write_register(data: &[u8]) -> Result<Operation<'_>, Exception> {
    let (&[a, b], value) = data.split_first_chunk().ok_or(Exception::IllegalValue)?;
    let _: [u8; 2] = exactly(value)?;
    let stretch = Stretch { table: PrimaryTable::Holding, first: u16::from_be_bytes([a, b]), count: 1 };
    Ok(Operation::WriteRegisters(stretch, value))
}

/// The bytes behind a byte count that has to be `wanted`.
fn counted(data: &[u8], wanted: u16) -> Result<&[u8], Exception> {
    let (count, bytes) = data.split_first().ok_or(Exception::IllegalValue)?;
    let whole = u16::from(*count) == wanted && bytes.len() == usize::from(wanted);
    if whole { Ok(bytes) } else { Err(Exception::IllegalValue) }
}

fn write_coils(data: &[u8]) -> Result<Operation<'_>, Exception> {
    let (head, rest) = data.split_first_chunk().ok_or(Exception::IllegalValue)?;
    let stretch = stretch(PrimaryTable::Coil, *head, MOST_BITS_WRITTEN)?;
    Ok(Operation::WriteCoils(stretch, counted(rest, stretch.count.div_ceil(8))?))
}

fn write_registers(data: &[u8]) -> Result<Operation<'_>, Exception> {
    let (head, rest) = data.split_first_chunk().ok_or(Exception::IllegalValue)?;
    let stretch = stretch(PrimaryTable::Holding, *head, MOST_REGISTERS_WRITTEN)?;
    Ok(Operation::WriteRegisters(stretch, counted(rest, 2 * stretch.count)?))
}

fn mask(data: &[u8]) -> Result<Operation<'_>, Exception> {
    let [a, b, c, d, e, f] = exactly(data)?;
    let stretch = Stretch { table: PrimaryTable::Holding, first: u16::from_be_bytes([a, b]), count: 1 };
    Ok(Operation::Mask(stretch, u16::from_be_bytes([c, d]), u16::from_be_bytes([e, f])))
}

fn exchange(data: &[u8]) -> Result<Operation<'_>, Exception> {
    let (read, rest) = data.split_first_chunk().ok_or(Exception::IllegalValue)?;
    let (write, rest) = rest.split_first_chunk().ok_or(Exception::IllegalValue)?;
    let read = stretch(PrimaryTable::Holding, *read, MOST_REGISTERS_READ)?;
    let write = stretch(PrimaryTable::Holding, *write, MOST_REGISTERS_EXCHANGED)?;
    Ok(Operation::Exchange(read, write, counted(rest, 2 * write.count)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_the_specification_hold() {
        let limits = [(1, 2_000_u16), (2, 2_000), (3, 125), (4, 125)];
        for (function, most) in limits {
            let ask = |count: u16| {
                let [high, low] = count.to_be_bytes();
                Operation::parse(function, &[0, 0, high, low]).err()
            };
            assert_eq!(ask(1), None);
            assert_eq!(ask(most), None, "function {function}");
            assert_eq!(ask(most + 1), Some(Exception::IllegalValue), "function {function}");
            assert_eq!(ask(0), Some(Exception::IllegalValue), "function {function}");
        }
        for (function, most, bytes) in [(15, 1_968_u16, 246_u8), (16, 123, 246)] {
            let ask = |count: u16, bytes: u8| {
                let [high, low] = count.to_be_bytes();
                let mut data = vec![0, 0, high, low, bytes];
                data.resize(5 + usize::from(bytes), 0);
                Operation::parse(function, &data).err()
            };
            assert_eq!(ask(most, bytes), None, "function {function}");
            assert_eq!(ask(most, bytes - 1), Some(Exception::IllegalValue), "function {function}");
            assert_eq!(ask(most + 1, bytes + 2), Some(Exception::IllegalValue), "function {function}");
        }
    }

    #[test]
    fn a_request_cut_short_is_an_illegal_value() {
        let requests: [&[u8]; 8] = [
            &[1, 0, 0, 0, 1],
            &[4, 0, 0, 0, 1],
            &[5, 0, 0, 0xff, 0],
            &[6, 0, 0, 0, 1],
            &[15, 0, 0, 0, 1, 1, 1],
            &[16, 0, 0, 0, 1, 2, 0, 1],
            &[22, 0, 0, 0, 1, 0, 1],
            &[23, 0, 0, 0, 1, 0, 0, 0, 1, 2, 0, 1],
        ];
        for request in requests {
            let (function, data) = request.split_first().unwrap();
            assert!(Operation::parse(*function, data).is_ok(), "function {function}");
            for cut in 0..data.len() {
                let answer = Operation::parse(*function, &data[..cut]);
                assert_eq!(answer, Err(Exception::IllegalValue), "function {function} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_coil_is_written_on_or_off_and_nothing_else() {
        assert!(Operation::parse(5, &[0, 1, 0xff, 0]).is_ok() && Operation::parse(5, &[0, 1, 0, 0]).is_ok());
        assert_eq!(Operation::parse(5, &[0, 1, 0, 1]), Err(Exception::IllegalValue));
    }

    #[test]
    fn other_functions_are_illegal() {
        for function in [0, 7, 8, 11, 17, 20, 24, 43, 65, 128, 255] {
            assert_eq!(Operation::parse(function, &[0, 0, 0, 1]), Err(Exception::IllegalFunction));
        }
    }

    #[test]
    fn a_request_touches_what_it_reads_and_what_it_writes() {
        let data = [0, 100, 0, 2, 0, 200, 0, 1, 2, 0, 0];
        let exchange = Operation::parse(23, &data).unwrap();
        let touches = |first: u16, count| exchange.touches(PrimaryTable::Holding, first.into(), count);
        assert!(touches(101, 5) && touches(90, 11) && touches(200, 1));
        assert!(!touches(102, 98) && !touches(201, 5) && !touches(90, 10));
        assert!(!exchange.touches(PrimaryTable::Input, 100.into(), 2));
    }
}
