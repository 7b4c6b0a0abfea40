//! Modbus TCP as bytes: the header, the requests a gateway sends, and what answers each of them.
//!
//! Nothing here does I/O. An answer is only ever looked at beside its request: transaction, unit, function, lengths and
//! echoes have to be those of the request, or the bytes are a [`Fault`] and no value is taken from them.

mod answer;
mod exception;
mod header;
mod request;

pub use answer::Answer;
pub use exception::Exception;
pub use header::{Header, LONGEST_FRAME, TransactionId};
pub use request::{LONGEST_REQUEST, Request};

/// Why bytes are not the answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The header belongs to another protocol.
    #[error("the protocol identifier is {found}, not 0: this is not Modbus TCP")]
    Protocol {
        /// The identifier that came.
        found: u16,
    },
    /// The header states a length that no message has.
    #[error("the header states {found} bytes, but a message has 3 to 254")]
    Length {
        /// The length that came.
        found: u16,
    },
    /// The answer is one to another request.
    #[error("it answers request {found}, not {wanted}")]
    Transaction {
        /// The identifier of the request.
        wanted: TransactionId,
        /// The identifier that came.
        found: TransactionId,
    },
    /// The answer is from another unit.
    #[error("it is from unit {found}")]
    Unit {
        /// The unit that came.
        found: u8,
    },
    /// The answer is one to another function.
    #[error("it answers function {found}, not {wanted}")]
    Function {
        /// The function of the request.
        wanted: u8,
        /// The function that came, without the bit of an exception.
        found: u8,
    },
    /// The answer brings another number of bytes than was asked for.
    #[error("it brings {found} bytes of data, not {wanted}")]
    ByteCount {
        /// Bytes that were asked for.
        wanted: usize,
        /// Bytes that the answer says it has.
        found: u8,
    },
    /// The message is longer or shorter than what it holds.
    #[error("it has {found} bytes, but what it says needs {wanted}")]
    Size {
        /// Bytes that the message should have.
        wanted: usize,
        /// Bytes that it has.
        found: usize,
    },
    /// A write was confirmed for something else than was written.
    #[error("it confirms the {what} {found}, not {wanted}")]
    Echo {
        /// What differs ("address", "value").
        what: &'static str,
        /// What was sent.
        wanted: u16,
        /// What came back.
        found: u16,
    },
}

impl Fault {
    /// Whether the bytes are no message of the protocol at all, rather than a message in the wrong place.
    pub fn is_malformed(self) -> bool {
        matches!(self, Fault::Protocol { .. } | Fault::Length { .. } | Fault::Size { .. })
    }
}

/// The big-endian number at this offset; `None` when the bytes end before.
fn number_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().map(|pair| u16::from_be_bytes(*pair))
}
