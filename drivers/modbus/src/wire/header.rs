//! The header of each message (Modbus Messaging on TCP/IP 1.0b §3.1.3).

use std::fmt;

use super::{Fault, number_at};
use crate::UnitId;

/// Bytes of a header.
const HEADER: usize = 7;

/// The longest message: a header and 253 bytes behind it.
pub const LONGEST_FRAME: usize = HEADER + 253;

/// Which request an answer belongs to; the device copies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId(u16);

impl TransactionId {
    /// The identifier after this one; after 65535 comes 0.
    pub fn next(self) -> TransactionId {
        TransactionId(self.0.wrapping_add(1))
    }

    /// The number as it stands on the wire.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl From<u16> for TransactionId {
    fn from(number: u16) -> TransactionId {
        TransactionId(number)
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who a message is for or from, and which request it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which request.
    pub transaction: TransactionId,
    /// Which device behind the connection.
    pub unit: UnitId,
}

impl Header {
    /// The header's bytes, for a message with `length` bytes behind it (at most 253).
    pub(super) fn encode(self, length: u8) -> [u8; HEADER] {
        let [high, low] = self.transaction.0.to_be_bytes();
        let [length_high, length_low] = (u16::from(length) + 1).to_be_bytes();
        [high, low, 0, 0, length_high, length_low, self.unit.get()]
    }

    /// Takes the first message out of `bytes`: what stands behind its header, and how many bytes it has in all. `None`
    /// when more bytes are needed. The header has to be this one; whatever can be judged is judged at once, so that
    /// garbage is noticed without waiting for the rest of it.
    ///
    /// # Errors
    ///
    /// [`Fault::Protocol`], [`Fault::Length`], [`Fault::Transaction`], [`Fault::Unit`].
    pub fn split<'a>(&self, bytes: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, Fault> {
        match number_at(bytes, 2) {
            Some(0) => {}
            Some(found) => return Err(Fault::Protocol { found }),
            None => return Ok(None),
        }
        let Some(found) = number_at(bytes, 0).map(TransactionId) else { return Ok(None) };
        if found != self.transaction {
            return Err(Fault::Transaction { wanted: self.transaction, found });
        }
        let Some(length) = number_at(bytes, 4) else { return Ok(None) };
        if !(3..=254).contains(&length) {
            return Err(Fault::Length { found: length });
        }
        match bytes.get(6) {
            Some(unit) if *unit != self.unit.get() => return Err(Fault::Unit { found: *unit }),
            Some(_) => {}
            None => return Ok(None),
        }
        let end = HEADER - 1 + usize::from(length);
        Ok(bytes.get(HEADER..end).map(|message| (message, end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER_OF: Header = Header { transaction: TransactionId(0x1501), unit: UnitId::DEFAULT };
    /// Modbus Messaging on TCP/IP 1.0b §3.1.3, the example of an answer with one register.
    const ANSWER: [u8; 11] = [0x15, 0x01, 0, 0, 0, 5, 1, 0x03, 0x02, 0x12, 0x34];

    #[test]
    fn a_message_is_what_stands_behind_its_header() {
        assert_eq!(HEADER_OF.split(&ANSWER), Ok(Some((&ANSWER[7..], 11))));
        let two = [ANSWER, ANSWER].concat();
        assert_eq!(HEADER_OF.split(&two), Ok(Some((&ANSWER[7..], 11))));
        assert_eq!(HEADER_OF.encode(4), ANSWER[..7]);
    }

    #[test]
    fn a_cut_at_every_byte_waits_for_more() {
        for end in 0..ANSWER.len() {
            assert_eq!(HEADER_OF.split(&ANSWER[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn each_wrong_field_is_named_as_soon_as_it_is_there() {
        let wrong = |at: usize, byte: u8| {
            let mut bytes = ANSWER;
            bytes[at] = byte;
            HEADER_OF.split(&bytes[..=at.max(3)]).unwrap_err()
        };
        assert_eq!(wrong(0, 0x16), Fault::Transaction { wanted: HEADER_OF.transaction, found: TransactionId(0x1601) });
        assert_eq!(wrong(3, 1), Fault::Protocol { found: 1 });
        assert_eq!(wrong(5, 2), Fault::Length { found: 2 });
        assert_eq!(wrong(6, 9), Fault::Unit { found: 9 });
        let huge = [0x15, 0x01, 0, 0, 0xFF, 0xFF];
        assert_eq!(HEADER_OF.split(&huge), Err(Fault::Length { found: 0xFFFF }));
    }
}
