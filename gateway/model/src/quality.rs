//! How far a sample can be trusted, and why not further.

use std::fmt;

/// How far a value can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quality {
    /// The device answered and the value is plausible.
    Good,
    /// There is a value, but something about it is doubtful.
    Uncertain(Reason),
    /// There is no value.
    Bad(Reason),
}

/// Why a sample is not good. The text form is part of the public surface (`"bad":{"setpoint":"timeout"}`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The device did not answer within the link's timeout.
    Timeout,
    /// The link to the device is down.
    Disconnected,
    /// The device answered that it cannot serve the request now.
    DeviceFault,
    /// The value is outside of the range that the profile states.
    OutOfRange,
    /// The device says that the address does not exist.
    BadAddress,
    /// The value is older than it may be.
    Stale,
    /// No answer has been received since the start.
    NotYetRead,
    /// The answer could not be turned into a value of the tag's type, or it is a number by which the device says that it has none.
    InvalidValue,
    /// The expression of a calculated tag has no result (division by zero, logarithm of a negative number).
    NoResult,
}

impl Reason {
    /// Every reason, in the order of its code.
    pub const ALL: [Reason; 9] = [
        Reason::Timeout,
        Reason::Disconnected,
        Reason::DeviceFault,
        Reason::OutOfRange,
        Reason::BadAddress,
        Reason::Stale,
        Reason::NotYetRead,
        Reason::InvalidValue,
        Reason::NoResult,
    ];

    /// The word used in payloads, 5 to 15 lower-case characters and underscores.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Timeout => "timeout",
            Reason::Disconnected => "disconnected",
            Reason::DeviceFault => "device_fault",
            Reason::OutOfRange => "out_of_range",
            Reason::BadAddress => "bad_address",
            Reason::Stale => "stale",
            Reason::NotYetRead => "not_yet_read",
            Reason::InvalidValue => "invalid_value",
            Reason::NoResult => "no_result",
        }
    }

    /// The code used on disk, 1 to 9. Codes are never given a new meaning.
    pub fn code(self) -> u8 {
        match self {
            Reason::Timeout => 1,
            Reason::Disconnected => 2,
            Reason::DeviceFault => 3,
            Reason::OutOfRange => 4,
            Reason::BadAddress => 5,
            Reason::Stale => 6,
            Reason::NotYetRead => 7,
            Reason::InvalidValue => 8,
            Reason::NoResult => 9,
        }
    }

    /// The reason with that code, if there is one.
    pub fn from_code(code: u8) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_comes_back_from_its_code() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
        }
        assert_eq!(Reason::from_code(0), None);
        assert_eq!(Reason::from_code(10), None);
    }
}
