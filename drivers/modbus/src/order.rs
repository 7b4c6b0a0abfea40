//! In which order a device sends the bytes of one value.

/// The order of the bytes of a value, named after the bytes of a 32-bit value from the highest (A) to the lowest (D).
///
/// A 64-bit value is ordered alike: `Cdab` sends its lowest register first (`GHEFCDAB`), `Badc` swaps the bytes inside each
/// register (`BADCFEHG`), `Dcba` does both (`HGFEDCBA`). In a 16-bit value and in a string only the bytes inside a
/// register can be swapped, which `Badc` and `Dcba` do.
///
/// Every order is its own inverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ByteOrder {
    /// Highest byte first, as the protocol has it (Modbus Application Protocol 1.1b3 §4.2).
    #[default]
    Abcd,
    /// Lowest register first, the bytes inside a register as the protocol has them.
    Cdab,
    /// Highest register first, the bytes inside each register swapped.
    Badc,
    /// Lowest byte first.
    Dcba,
}

impl ByteOrder {
    /// The words of the key `byte_order`, each with the number of bytes it names.
    pub(crate) const CHOICES: [(&'static str, (ByteOrder, usize)); 10] = [
        ("ABCD", (ByteOrder::Abcd, 4)),
        ("CDAB", (ByteOrder::Cdab, 4)),
        ("BADC", (ByteOrder::Badc, 4)),
        ("DCBA", (ByteOrder::Dcba, 4)),
        ("AB", (ByteOrder::Abcd, 2)),
        ("BA", (ByteOrder::Badc, 2)),
        ("ABCDEFGH", (ByteOrder::Abcd, 8)),
        ("GHEFCDAB", (ByteOrder::Cdab, 8)),
        ("BADCFEHG", (ByteOrder::Badc, 8)),
        ("HGFEDCBA", (ByteOrder::Dcba, 8)),
    ];

    /// Whether the bytes inside a register are swapped.
    pub fn swaps_bytes(self) -> bool {
        matches!(self, ByteOrder::Badc | ByteOrder::Dcba)
    }

    /// The 16-bit value of one register as it came.
    pub(crate) fn join2(self, bytes: [u8; 2]) -> u16 {
        if self.swaps_bytes() { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) }
    }

    /// The 32-bit value of two registers as they came.
    pub(crate) fn join4(self, bytes: [u8; 4]) -> u32 {
        match self {
            ByteOrder::Abcd => u32::from_be_bytes(bytes),
            ByteOrder::Cdab => u32::from_be_bytes(bytes).rotate_left(16),
            ByteOrder::Badc => u32::from_le_bytes(bytes).rotate_left(16),
            ByteOrder::Dcba => u32::from_le_bytes(bytes),
        }
    }

    /// The 64-bit value of four registers as they came.
    pub(crate) fn join8(self, bytes: [u8; 8]) -> u64 {
        match self {
            ByteOrder::Abcd => u64::from_be_bytes(bytes),
            ByteOrder::Cdab => reverse_registers(u64::from_be_bytes(bytes)),
            ByteOrder::Badc => reverse_registers(u64::from_le_bytes(bytes)),
            ByteOrder::Dcba => u64::from_le_bytes(bytes),
        }
    }

    /// A 16-bit value as it is sent.
    pub(crate) fn split2(self, value: u16) -> [u8; 2] {
        if self.swaps_bytes() { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    /// A 32-bit value as it is sent: the bytes of its two registers.
    pub fn split4(self, value: u32) -> [u8; 4] {
        match self {
            ByteOrder::Abcd => value.to_be_bytes(),
            ByteOrder::Cdab => value.rotate_left(16).to_be_bytes(),
            ByteOrder::Badc => value.rotate_left(16).to_le_bytes(),
            ByteOrder::Dcba => value.to_le_bytes(),
        }
    }

    /// A 64-bit value as it is sent.
    pub(crate) fn split8(self, value: u64) -> [u8; 8] {
        match self {
            ByteOrder::Abcd => value.to_be_bytes(),
            ByteOrder::Cdab => reverse_registers(value).to_be_bytes(),
            ByteOrder::Badc => reverse_registers(value).to_le_bytes(),
            ByteOrder::Dcba => value.to_le_bytes(),
        }
    }
}

/// The four 16-bit parts in the opposite order.
fn reverse_registers(value: u64) -> u64 {
    let halves = value.rotate_left(32);
    ((halves & 0x0000_FFFF_0000_FFFF) << 16) | ((halves >> 16) & 0x0000_FFFF_0000_FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: [ByteOrder; 4] = [ByteOrder::Abcd, ByteOrder::Cdab, ByteOrder::Badc, ByteOrder::Dcba];

    /// The bytes of `ABCDEFGH` arranged as the name says.
    fn arranged<const N: usize>(name: &str) -> [u8; N] {
        name.bytes().map(|letter| letter - b'A' + 1).collect::<Vec<u8>>().try_into().unwrap()
    }

    #[test]
    fn each_name_is_the_order_on_the_wire() {
        for (name, (order, bytes)) in ByteOrder::CHOICES {
            match bytes {
                2 => assert_eq!(order.join2(arranged(name)), 0x0102, "{name}"),
                4 => assert_eq!(order.join4(arranged(name)), 0x0102_0304, "{name}"),
                _ => assert_eq!(order.join8(arranged(name)), 0x0102_0304_0506_0708, "{name}"),
            }
        }
    }

    #[test]
    fn what_is_split_joins_to_the_same_value() {
        for order in ORDERS {
            assert_eq!(order.join2(order.split2(0xA1B2)), 0xA1B2);
            assert_eq!(order.join4(order.split4(0xA1B2_C3D4)), 0xA1B2_C3D4);
            assert_eq!(order.join8(order.split8(0xA1B2_C3D4_E5F6_0718)), 0xA1B2_C3D4_E5F6_0718);
        }
    }
}
