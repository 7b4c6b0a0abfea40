//! The name of a certificate.

use std::fmt;

use sha2::{Digest, Sha256};

/// Digits that a person must write at least.
const LEAST_DIGITS: usize = 4;

/// The SHA-256 of a certificate's DER bytes, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    pub fn of(der: &[u8]) -> Fingerprint {
        Fingerprint(Sha256::digest(der).into())
    }

    /// Whether the written fingerprint begins with these digits, which [`digits`] has cleaned.
    pub(crate) fn begins(&self, digits: &str) -> bool {
        self.to_string().starts_with(digits)
    }
}

/// The hexadecimal digits of what a person wrote: colons and blanks between them and capitals do not matter. `None` when it
/// has other characters, fewer than four digits, or more than a fingerprint.
pub(crate) fn digits(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | ' ')).map(|c| c.to_ascii_lowercase()).collect();
    let fits = (LEAST_DIGITS..=64).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    fits.then_some(digits)
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_however_a_tool_writes_it() {
        assert_eq!(digits("E3:B0:c4 42").as_deref(), Some("e3b0c442"));
        assert!(Fingerprint::of(b"").begins("e3b0c442"));
        assert_eq!(digits("e3b"), None);
        assert_eq!(digits("../etc"), None);
        assert_eq!(digits(&"0".repeat(65)), None);
    }
}
