//! What answers a request (Modbus Application Protocol 1.1b3 §6 and §7).

use super::{Exception, Fault, Request, number_at};
use crate::RegisterAddress;

/// The bit that turns a function code into that of an exception.
const EXCEPTION: u8 = 0x80;

/// The answer to one request, checked against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// What was asked for, as it came: two bytes a register, or eight coils a byte, the first in the lowest bit. Exactly
    /// as many bytes as the request asked for.
    Data(&'a [u8]),
    /// The write was carried out.
    Written,
    /// The request was not carried out.
    Exception(Exception),
}

impl<'a> Answer<'a> {
    /// Reads what stands behind the header of a message as the answer to `request`.
    ///
    /// # Errors
    ///
    /// [`Fault::Function`], [`Fault::ByteCount`], [`Fault::Size`], [`Fault::Echo`].
    pub fn read(request: &Request<'_>, message: &'a [u8]) -> Result<Answer<'a>, Fault> {
        let wanted = request.function();
        let (function, body) = message.split_first().ok_or(Fault::Size { wanted: 2, found: 0 })?;
        if function & !EXCEPTION != wanted {
            return Err(Fault::Function { wanted, found: function & !EXCEPTION });
        }
        if function & EXCEPTION != 0 {
            return match body {
                [code] => Ok(Answer::Exception(Exception::from(*code))),
                _ => Err(Fault::Size { wanted: 2, found: message.len() }),
            };
        }
        match *request {
            Request::Read { table, count, .. } if table.is_bits() => data(body, usize::from(count).div_ceil(8)),
            Request::Read { count, .. } => data(body, usize::from(count) * 2),
            Request::WriteAndRead { values, .. } => data(body, values.len() * 2),
            Request::WriteCoil { address, on } => echo(body, address, &[("value", if on { 0xFF00 } else { 0 })]),
            Request::WriteRegister { address, value } => echo(body, address, &[("value", value)]),
            Request::WriteCoils { address, values } => echo(body, address, &[("number of coils", length(values))]),
            Request::WriteRegisters { address, values } => {
                echo(body, address, &[("number of registers", length(values))])
            }
            Request::MaskRegister { address, keep, set } => {
                echo(body, address, &[("AND mask", keep), ("OR mask", set)])
            }
        }
    }
}

/// A byte count and that many bytes.
fn data(body: &[u8], wanted: usize) -> Result<Answer<'_>, Fault> {
    let (count, data) = body.split_first().ok_or(Fault::Size { wanted: wanted + 2, found: 1 })?;
    if usize::from(*count) != wanted {
        return Err(Fault::ByteCount { wanted, found: *count });
    }
    if data.len() != wanted {
        return Err(Fault::Size { wanted: wanted + 2, found: data.len() + 2 });
    }
    Ok(Answer::Data(data))
}

/// The numbers of the request once more.
fn echo<'a>(body: &[u8], address: RegisterAddress, rest: &[(&'static str, u16)]) -> Result<Answer<'a>, Fault> {
    let size = 2 + rest.len() * 2;
    if body.len() != size {
        return Err(Fault::Size { wanted: size + 1, found: body.len() + 1 });
    }
    let wanted = std::iter::once(("address", address.get())).chain(rest.iter().copied());
    for (place, (what, wanted)) in wanted.enumerate() {
        match number_at(body, place * 2) {
            Some(found) if found != wanted => return Err(Fault::Echo { what, wanted, found }),
            _ => {}
        }
    }
    Ok(Answer::Written)
}

fn length<T>(values: &[T]) -> u16 {
    u16::try_from(values.len()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        PrimaryTable, UnitId,
        wire::{Header, LONGEST_FRAME, TransactionId},
    };

    fn header() -> Header {
        Header { transaction: TransactionId::from(7), unit: UnitId::DEFAULT }
    }

    fn at(address: u16) -> RegisterAddress {
        RegisterAddress::from(address)
    }

    fn read(table: PrimaryTable, address: u16, count: u16) -> Request<'static> {
        Request::Read { table, address: at(address), count }
    }

    /// Requests and answers as they stand in the Modbus Application Protocol 1.1b3 §6; that of function 23, which reads and
    /// writes different registers there, with the same registers for both.
    fn examples() -> Vec<(Request<'static>, &'static [u8], &'static [u8], Answer<'static>)> {
        use PrimaryTable::{Coil, Discrete, Holding, Input};
        const CD01: &[bool] = &[true, false, true, true, false, false, true, true, true, false];
        vec![
            (read(Coil, 0x13, 19), &[1, 0, 0x13, 0, 0x13], &[1, 3, 0xCD, 0x6B, 5], Answer::Data(&[0xCD, 0x6B, 5])),
            (
                read(Discrete, 0xC4, 22),
                &[2, 0, 0xC4, 0, 0x16],
                &[2, 3, 0xAC, 0xDB, 0x35],
                Answer::Data(&[0xAC, 0xDB, 0x35]),
            ),
            (
                read(Holding, 0x6B, 3),
                &[3, 0, 0x6B, 0, 3],
                &[3, 6, 2, 0x2B, 0, 0, 0, 0x64],
                Answer::Data(&[2, 0x2B, 0, 0, 0, 0x64]),
            ),
            (read(Input, 8, 1), &[4, 0, 8, 0, 1], &[4, 2, 0, 0x0A], Answer::Data(&[0, 0x0A])),
            (
                Request::WriteCoil { address: at(0xAC), on: true },
                &[5, 0, 0xAC, 0xFF, 0],
                &[5, 0, 0xAC, 0xFF, 0],
                Answer::Written,
            ),
            (Request::WriteRegister { address: at(1), value: 3 }, &[6, 0, 1, 0, 3], &[6, 0, 1, 0, 3], Answer::Written),
            (
                Request::WriteCoils { address: at(0x13), values: CD01 },
                &[0x0F, 0, 0x13, 0, 0x0A, 2, 0xCD, 1],
                &[0x0F, 0, 0x13, 0, 0x0A],
                Answer::Written,
            ),
            (
                Request::WriteRegisters { address: at(1), values: &[0x0A, 0x0102] },
                &[0x10, 0, 1, 0, 2, 4, 0, 0x0A, 1, 2],
                &[0x10, 0, 1, 0, 2],
                Answer::Written,
            ),
            (
                Request::MaskRegister { address: at(4), keep: 0xF2, set: 0x25 },
                &[0x16, 0, 4, 0, 0xF2, 0, 0x25],
                &[0x16, 0, 4, 0, 0xF2, 0, 0x25],
                Answer::Written,
            ),
            (
                Request::WriteAndRead { address: at(0x0E), values: &[0xFF, 0xFF] },
                &[0x17, 0, 0x0E, 0, 2, 0, 0x0E, 0, 2, 4, 0, 0xFF, 0, 0xFF],
                &[0x17, 4, 0, 0xFF, 0, 0xFF],
                Answer::Data(&[0, 0xFF, 0, 0xFF]),
            ),
        ]
    }

    #[test]
    fn requests_and_answers_are_those_of_the_specification() {
        for (request, asked, answered, answer) in examples() {
            let mut frame = [0; LONGEST_FRAME];
            assert_eq!(request.encode(header(), &mut frame).map(|frame| &frame[7..]), Some(asked), "{request}");
            assert_eq!(Answer::read(&request, answered), Ok(answer), "{request}");
        }
    }

    #[test]
    fn an_exception_of_the_function_is_one() {
        for (request, ..) in examples() {
            let message = [request.function() | 0x80, 2];
            assert_eq!(Answer::read(&request, &message), Ok(Answer::Exception(Exception::from(2))));
        }
    }

    #[test]
    fn an_answer_that_is_cut_or_too_long_is_a_fault() {
        for (request, _, answered, _) in examples() {
            for end in 0..answered.len() {
                assert!(Answer::read(&request, &answered[..end]).is_err(), "{request}: {end}");
            }
            assert!(Answer::read(&request, &[answered, &[0]].concat()).is_err(), "{request}");
        }
    }

    /// Everything in an answer but the data itself is known beforehand: no other value of it is taken for an answer.
    #[test]
    fn no_other_byte_outside_of_the_data_is_taken() {
        for (request, _, answered, answer) in examples() {
            let known = if answer == Answer::Written { answered.len() } else { 2 };
            for place in 0..known {
                for byte in (0..=255).filter(|byte| *byte != answered[place]) {
                    let mut changed = answered.to_vec();
                    changed[place] = byte;
                    assert!(Answer::read(&request, &changed).is_err(), "{request}: byte {place} is {byte}");
                }
            }
        }
    }

    #[test]
    fn a_request_that_is_too_long_has_no_frame() {
        let values = [0; 124];
        let mut frame = [0; LONGEST_FRAME];
        let longest = Request::WriteRegisters { address: at(0), values: &values[..123] };
        assert_eq!(longest.encode(header(), &mut frame).map(<[u8]>::len), Some(259));
        let longer = Request::WriteRegisters { address: at(0), values: &values };
        assert_eq!(longer.encode(header(), &mut frame).map(<[u8]>::len), None);
    }
}
