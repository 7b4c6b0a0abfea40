//! What a device answers when it does not carry a request out (Modbus Application Protocol 1.1b3 §7).

use std::fmt;

/// An exception code, with its meaning in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Exception(u8);

impl Exception {
    /// The device failed while it carried the request out.
    pub const SERVER_DEVICE_FAILURE: Exception = Exception(4);
    /// The device has begun, but needs a long time.
    pub const ACKNOWLEDGE: Exception = Exception(5);
    /// The gateway has no way to the device.
    pub const GATEWAY_PATH_UNAVAILABLE: Exception = Exception(0x0A);
    /// The device behind the gateway did not answer it.
    pub const GATEWAY_TARGET_FAILED: Exception = Exception(0x0B);

    /// The code as it stands on the wire.
    pub fn code(self) -> u8 {
        self.0
    }

    /// Whether a gateway says that it cannot reach the device.
    pub fn is_unreachable(self) -> bool {
        self == Exception::GATEWAY_PATH_UNAVAILABLE || self == Exception::GATEWAY_TARGET_FAILED
    }

    /// Whether a write with this answer may have been carried out, in part too, or may still be: the device failed over it,
    /// or has begun, or a gateway did not hear from it.
    pub fn leaves_open(self) -> bool {
        [Exception::SERVER_DEVICE_FAILURE, Exception::ACKNOWLEDGE, Exception::GATEWAY_TARGET_FAILED].contains(&self)
    }

    /// What the device means.
    fn meaning(self) -> &'static str {
        match self.0 {
            1 => "it does not know this function",
            2 => "it has no such address",
            3 => "it does not allow this value or number of registers",
            4 => "it failed while carrying the request out",
            5 => "it has begun, but needs a long time",
            6 => "it is busy with another request",
            7 => "it cannot carry the function out",
            8 => "its memory failed a parity check",
            0x0A => "the gateway has no way to the device",
            0x0B => "the device behind the gateway did not answer",
            _ => "the code is the maker's own",
        }
    }
}

impl From<u8> for Exception {
    fn from(code: u8) -> Exception {
        Exception(code)
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exception {}: {}", self.0, self.meaning())
    }
}
