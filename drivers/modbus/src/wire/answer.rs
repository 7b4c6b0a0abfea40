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
