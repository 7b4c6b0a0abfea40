//! Who a block is from, and by which schema it is read.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The CRC-32C of a schema document; its text form is eight lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaId(pub u32);

/// The identity of a store's numbering, made at random with its database; its text form is sixteen lower-case
/// hexadecimal digits. A store that is made anew numbers its rows from the beginning and is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreId(pub u64);

/// Why a text is no such identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an identity has {digits} hexadecimal digits in lower case")]
pub struct IdentityError {
    digits: usize,
}

/// Exactly so many lower-case hexadecimal digits.
fn digits(text: &str, digits: usize) -> Result<u64, IdentityError> {
    let fits = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    fits.then(|| u64::from_str_radix(text, 16).ok()).flatten().ok_or(IdentityError { digits })
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl FromStr for SchemaId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<SchemaId, IdentityError> {
        let number = digits(text, 8)?;
        u32::try_from(number).map(SchemaId).map_err(|_| IdentityError { digits: 8 })
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for StoreId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<StoreId, IdentityError> {
        digits(text, 16).map(StoreId)
    }
}

impl Serialize for StoreId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StoreId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StoreId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_come_back_from_their_text() {
        for number in [0, 1, 0xdead_beef, u32::MAX] {
            assert_eq!(SchemaId(number).to_string().parse(), Ok(SchemaId(number)));
        }
        for number in [0, 1, 0xdead_beef_0000_0001, u64::MAX] {
            assert_eq!(StoreId(number).to_string().parse(), Ok(StoreId(number)));
        }
        assert_eq!(SchemaId(0xab).to_string(), "000000ab");
        assert_eq!(StoreId(0xab).to_string(), "00000000000000ab");
    }

    #[test]
    fn other_texts_are_no_identities() {
        for text in ["", "0", "0000000", "000000000", "0000000G", "0000000A", "+0000001", "0x000001", "ä00000"] {
            assert!(text.parse::<SchemaId>().is_err(), "{text}");
            assert!(text.parse::<StoreId>().is_err(), "{text}");
        }
    }
}
