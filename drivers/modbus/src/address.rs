//! Numbers on the wire: unit identifiers, register addresses, and the four tables they count in.

use std::fmt;

use tidegate_driver_api::config::{FromNode, Kind, Node, Report};

/// The unit identifier of a device behind a connection, 0 to 255.
///
/// A device with a connection of its own mostly ignores it; a gateway to a serial line takes it for the station (1 to 247),
/// and 0 and 255 for itself (Modbus Messaging on TCP/IP 1.0b §4.4.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitId(u8);

impl UnitId {
    /// The unit of a device that does not say another.
    pub const DEFAULT: UnitId = UnitId(1);

    /// The number as it stands on the wire.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl From<u8> for UnitId {
    fn from(number: u8) -> UnitId {
        UnitId(number)
    }
}

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The zero-based address of a register or coil in its table, 0 to 65535, as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegisterAddress(u16);

impl RegisterAddress {
    /// The number as it stands on the wire.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl From<u16> for RegisterAddress {
    fn from(number: u16) -> RegisterAddress {
        RegisterAddress(number)
    }
}

impl fmt::Display for RegisterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One of the four primary tables of a device (Modbus Application Protocol 1.1b3 §4.3), each with addresses of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PrimaryTable {
    /// Bits that can be read and written.
    Coil,
    /// Bits that can be read.
    Discrete,
    /// 16-bit registers that can be read.
    Input,
    /// 16-bit registers that can be read and written.
    Holding,
}

impl PrimaryTable {
    /// The words of the key `table`.
    pub const CHOICES: [(&'static str, PrimaryTable); 4] = [
        ("coil", PrimaryTable::Coil),
        ("discrete", PrimaryTable::Discrete),
        ("input", PrimaryTable::Input),
        ("holding", PrimaryTable::Holding),
    ];

    /// Whether an address of the table is one bit; otherwise it is a 16-bit register.
    pub fn is_bits(self) -> bool {
        matches!(self, PrimaryTable::Coil | PrimaryTable::Discrete)
    }

    /// Whether the protocol has a request that writes to the table.
    pub fn is_writable(self) -> bool {
        matches!(self, PrimaryTable::Coil | PrimaryTable::Holding)
    }

    /// The word of the key `table`.
    pub fn as_str(self) -> &'static str {
        match self {
            PrimaryTable::Coil => "coil",
            PrimaryTable::Discrete => "discrete",
            PrimaryTable::Input => "input",
            PrimaryTable::Holding => "holding",
        }
    }

    /// What one address of the table is, in a sentence ("holding register").
    pub fn noun(self) -> &'static str {
        match self {
            PrimaryTable::Coil => "coil",
            PrimaryTable::Discrete => "discrete input",
            PrimaryTable::Input => "input register",
            PrimaryTable::Holding => "holding register",
        }
    }

    /// [`PrimaryTable::noun`] with its article ("an input register").
    pub(crate) fn a_noun(self) -> &'static str {
        match self {
            PrimaryTable::Coil => "a coil",
            PrimaryTable::Discrete => "a discrete input",
            PrimaryTable::Input => "an input register",
            PrimaryTable::Holding => "a holding register",
        }
    }

    /// The table that the first digit of a traditional number ("40001") stands for.
    fn from_digit(digit: char) -> Option<PrimaryTable> {
        match digit {
            '0' => Some(PrimaryTable::Coil),
            '1' => Some(PrimaryTable::Discrete),
            '3' => Some(PrimaryTable::Input),
            '4' => Some(PrimaryTable::Holding),
            _ => None,
        }
    }
}

/// What stands at the key `address` of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrittenAddress {
    /// The table, when the number says it.
    pub(crate) table: Option<PrimaryTable>,
    /// The address, zero-based.
    pub(crate) address: RegisterAddress,
}

const NOTATION_HELP: &str = "write the zero-based address as an integer, or the traditional number as a string: \
    \"00001\" coil, \"10001\" discrete input, \"30001\" input register, \"40001\" holding register, or with six digits \"400001\"";

impl FromNode for WrittenAddress {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<WrittenAddress> {
        match &node.kind {
            Kind::Integer(number) => match u16::try_from(*number) {
                Ok(number) => Some(WrittenAddress { table: None, address: RegisterAddress(number) }),
                Err(_) => {
                    let message = format!("`{key}` has to be between 0 and 65535, but is {number}");
                    report.error(&node.origin, message, Some(NOTATION_HELP.to_owned()));
                    None
                }
            },
            Kind::Text(text) => match traditional(text) {
                Ok(written) => Some(written),
                Err(message) => {
                    report.error(&node.origin, message, Some(NOTATION_HELP.to_owned()));
                    None
                }
            },
            other => {
                let message =
                    format!("`{key}` has to be an integer or a string like \"40001\", but is {}", other.describe());
                report.error(&node.origin, message, None);
                None
            }
        }
    }

    fn to_toml(&self) -> String {
        self.address.to_string()
    }
}

/// Reads a traditional number: a digit for the table, then four or five digits that count from 1.
fn traditional(text: &str) -> Result<WrittenAddress, String> {
    let mut characters = text.chars();
    let first = characters.next();
    let number = characters.as_str();
    let digits = text.chars().all(|c| c.is_ascii_digit());
    if !digits || !(number.len() == 4 || number.len() == 5) {
        return Err(format!("\"{text}\" is no register number of five or six digits"));
    }
    let Some(table) = first.and_then(PrimaryTable::from_digit) else {
        return Err(format!("\"{text}\" begins with a digit that stands for no table"));
    };
    match number.parse::<u32>().ok().and_then(|number| number.checked_sub(1)).map(u16::try_from) {
        Some(Ok(address)) => Ok(WrittenAddress { table: Some(table), address: RegisterAddress(address) }),
        Some(Err(_)) => Err(format!("\"{text}\" lies behind the last {}, number 65536", table.noun())),
        None => Err(format!("\"{text}\" has number 0, but such numbers count from 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(PrimaryTable, u16), String> {
        traditional(text).map(|written| (written.table.unwrap(), written.address.get()))
    }

    #[test]
    fn a_traditional_number_counts_from_one_and_names_the_table() {
        assert_eq!(read("00001"), Ok((PrimaryTable::Coil, 0)));
        assert_eq!(read("10197"), Ok((PrimaryTable::Discrete, 196)));
        assert_eq!(read("30009"), Ok((PrimaryTable::Input, 8)));
        assert_eq!(read("40108"), Ok((PrimaryTable::Holding, 107)));
        assert_eq!(read("49999"), Ok((PrimaryTable::Holding, 9998)));
    }

    #[test]
    fn six_digits_reach_the_whole_table() {
        assert_eq!(read("400001"), Ok((PrimaryTable::Holding, 0)));
        assert_eq!(read("365536"), Ok((PrimaryTable::Input, 65535)));
        assert!(read("465537").unwrap_err().contains("behind the last holding register"));
    }

    #[test]
    fn what_is_no_traditional_number_is_refused() {
        for text in ["", "4", "4001", "4000001", "40000", "20001", "4x001", "-0001", "４0001"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
