//! The requests of the gateway (Modbus Application Protocol 1.1b3 §6).

use std::{fmt, io::Write};

use super::{Header, LONGEST_FRAME};
use crate::{PrimaryTable, RegisterAddress};

/// The longest request, with its header.
pub const LONGEST_REQUEST: usize = LONGEST_FRAME;

/// One request. The limits of the protocol (125 registers, 2000 coils …) are the caller's: plans keep them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// Functions 1 to 4, by table.
    Read {
        /// What is read.
        table: PrimaryTable,
        /// The first address.
        address: RegisterAddress,
        /// How many, at least 1.
        count: u16,
    },
    /// Function 5.
    WriteCoil {
        /// The coil.
        address: RegisterAddress,
        /// What it becomes.
        on: bool,
    },
    /// Function 6.
    WriteRegister {
        /// The holding register.
        address: RegisterAddress,
        /// What it becomes.
        value: u16,
    },
    /// Function 15.
    WriteCoils {
        /// The first coil.
        address: RegisterAddress,
        /// What they become; at most 1968.
        values: &'a [bool],
    },
    /// Function 16.
    WriteRegisters {
        /// The first holding register.
        address: RegisterAddress,
        /// What they become; at most 123.
        values: &'a [u16],
    },
    /// Function 22: the register becomes `(old & keep) | (set & !keep)`.
    MaskRegister {
        /// The holding register.
        address: RegisterAddress,
        /// The AND mask.
        keep: u16,
        /// The OR mask.
        set: u16,
    },
    /// Function 23: writes registers, then reads the same ones.
    WriteAndRead {
        /// The first holding register.
        address: RegisterAddress,
        /// What they become; at most 121.
        values: &'a [u16],
    },
}

impl Request<'_> {
    /// The function code.
    pub fn function(&self) -> u8 {
        match self {
            Request::Read { table: PrimaryTable::Coil, .. } => 1,
            Request::Read { table: PrimaryTable::Discrete, .. } => 2,
            Request::Read { table: PrimaryTable::Holding, .. } => 3,
            Request::Read { table: PrimaryTable::Input, .. } => 4,
            Request::WriteCoil { .. } => 5,
            Request::WriteRegister { .. } => 6,
            Request::WriteCoils { .. } => 15,
            Request::WriteRegisters { .. } => 16,
            Request::MaskRegister { .. } => 22,
            Request::WriteAndRead { .. } => 23,
        }
    }

    /// Writes the whole message into `frame` and returns its bytes; `None` when it is longer than a message may be.
    pub fn encode<'f>(&self, header: Header, frame: &'f mut [u8; LONGEST_REQUEST]) -> Option<&'f [u8]> {
        let (start, body) = frame.split_first_chunk_mut::<7>()?;
        let room = body.len();
        let mut rest = body;
        self.encode_body(&mut rest)?;
        let length = room - rest.len();
        *start = header.encode(u8::try_from(length).ok()?);
        frame.get(..7 + length)
    }

    fn encode_body(&self, out: &mut &mut [u8]) -> Option<()> {
        put(out, &[self.function()])?;
        match *self {
            Request::Read { address, count, .. } => put_numbers(out, &[address.get(), count]),
            Request::WriteCoil { address, on } => put_numbers(out, &[address.get(), if on { 0xFF00 } else { 0 }]),
            Request::WriteRegister { address, value } => put_numbers(out, &[address.get(), value]),
            Request::WriteCoils { address, values } => {
                put_numbers(out, &[address.get(), u16::try_from(values.len()).ok()?])?;
                put(out, &[u8::try_from(values.len().div_ceil(8)).ok()?])?;
                values.chunks(8).try_for_each(|eight| put(out, &[pack(eight)]))
            }
            Request::WriteRegisters { address, values } => {
                let count = u8::try_from(values.len()).ok()?;
                put_numbers(out, &[address.get(), count.into()])?;
                put(out, &[count.checked_mul(2)?])?;
                put_numbers(out, values)
            }
            Request::MaskRegister { address, keep, set } => put_numbers(out, &[address.get(), keep, set]),
            Request::WriteAndRead { address, values } => {
                let count = u8::try_from(values.len()).ok()?;
                put_numbers(out, &[address.get(), count.into(), address.get(), count.into()])?;
                put(out, &[count.checked_mul(2)?])?;
                put_numbers(out, values)
            }
        }
    }
}

/// Up to eight coils in a byte, the first in the lowest bit.
fn pack(coils: &[bool]) -> u8 {
    coils.iter().rev().fold(0, |byte, on| (byte << 1) | u8::from(*on))
}

fn put(out: &mut &mut [u8], bytes: &[u8]) -> Option<()> {
    out.write_all(bytes).ok()
}

fn put_numbers(out: &mut &mut [u8], numbers: &[u16]) -> Option<()> {
    numbers.iter().try_for_each(|number| put(out, &number.to_be_bytes()))
}

/// The request in a sentence ("a read of 60 input registers from 0").
impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::Read { table, address, count: 1 } => write!(f, "a read of {} {address}", table.noun()),
            Request::Read { table, address, count } => write!(f, "a read of {count} {}s from {address}", table.noun()),
            Request::WriteCoil { address, .. } => write!(f, "a write of coil {address}"),
            Request::WriteRegister { address, .. } => write!(f, "a write of holding register {address}"),
            Request::WriteCoils { address, values } => write!(f, "a write of {} coils from {address}", values.len()),
            Request::WriteRegisters { address, values } => {
                write!(f, "a write of {} holding registers from {address}", values.len())
            }
            Request::MaskRegister { address, .. } => write!(f, "a write of bits of holding register {address}"),
            Request::WriteAndRead { address, values } => {
                write!(f, "a write with read-back of {} holding registers from {address}", values.len())
            }
        }
    }
}
