//! What a device holds: two tables of bits and two of registers, the registers as they travel, so that an answer is a copy.

use tidegate_driver_modbus::PrimaryTable;

/// A table of coils or discrete inputs.
#[derive(Debug)]
pub(crate) struct Bits {
    on: Box<[bool]>,
}

impl Bits {
    /// A table of `count` bits from address 0, all off.
    pub(crate) fn new(count: usize) -> Bits {
        Bits { on: vec![false; count].into() }
    }

    /// The bits from `first` on.
    pub(crate) fn get(&self, first: u16, count: u16) -> &[bool] {
        let first = usize::from(first);
        self.on.get(first..first + usize::from(count)).unwrap_or_default()
    }

    /// Appends bits, eight a byte, the first one lowest (Modbus Application Protocol 1.1b3 §6.1).
    pub(crate) fn read(&self, first: u16, count: u16, out: &mut Vec<u8>) {
        for eight in self.get(first, count).chunks(8) {
            out.push(eight.iter().rev().fold(0, |byte, on| (byte << 1) | u8::from(*on)));
        }
    }

    /// Sets the bits from `first` on.
    pub(crate) fn set(&mut self, first: u16, values: impl IntoIterator<Item = bool>) {
        for (bit, value) in self.on.iter_mut().skip(usize::from(first)).zip(values) {
            *bit = value;
        }
    }
}

/// A table of input or holding registers, two bytes each, the high one first.
#[derive(Debug)]
pub(crate) struct Registers {
    bytes: Box<[u8]>,
}

impl Registers {
    /// A table of `count` registers from address 0, all 0.
    pub(crate) fn new(count: usize) -> Registers {
        Registers { bytes: vec![0; 2 * count].into() }
    }

    /// The bytes of the registers from `first` on.
    pub(crate) fn bytes(&self, first: u16, count: u16) -> &[u8] {
        let first = 2 * usize::from(first);
        self.bytes.get(first..first + 2 * usize::from(count)).unwrap_or_default()
    }

    /// One register; 0 outside of the table.
    pub(crate) fn get(&self, address: u16) -> u16 {
        self.bytes(address, 1).first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes))
    }

    /// Sets the registers from `first` on from bytes as they travel.
    pub(crate) fn set_bytes(&mut self, first: u16, bytes: &[u8]) {
        let first = 2 * usize::from(first);
        if let Some(target) = self.bytes.get_mut(first..first + bytes.len()) {
            target.copy_from_slice(bytes);
        }
    }

    /// Sets the registers from `first` on.
    pub(crate) fn set(&mut self, first: u16, values: &[u16]) {
        let targets = self.bytes.chunks_exact_mut(2).skip(usize::from(first));
        for (target, value) in targets.zip(values) {
            target.copy_from_slice(&value.to_be_bytes());
        }
    }
}

/// All four tables of one device.
#[derive(Debug)]
pub(crate) struct Image {
    coils: Bits,
    discretes: Bits,
    inputs: Registers,
    holdings: Registers,
}

impl Image {
    /// Tables of these sizes, in addresses.
    pub(crate) fn new(size: impl Fn(PrimaryTable) -> usize) -> Image {
        Image {
            coils: Bits::new(size(PrimaryTable::Coil)),
            discretes: Bits::new(size(PrimaryTable::Discrete)),
            inputs: Registers::new(size(PrimaryTable::Input)),
            holdings: Registers::new(size(PrimaryTable::Holding)),
        }
    }

    /// One of the tables.
    pub(crate) fn table(&mut self, table: PrimaryTable) -> TableOf<'_> {
        match table {
            PrimaryTable::Coil => TableOf::Bits(&mut self.coils),
            PrimaryTable::Discrete => TableOf::Bits(&mut self.discretes),
            PrimaryTable::Input => TableOf::Registers(&mut self.inputs),
            PrimaryTable::Holding => TableOf::Registers(&mut self.holdings),
        }
    }
}

/// One table, of either kind.
pub(crate) enum TableOf<'a> {
    /// Coils or discrete inputs.
    Bits(&'a mut Bits),
    /// Input or holding registers.
    Registers(&'a mut Registers),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_travel_eight_a_byte_with_the_first_one_lowest() {
        // Modbus Application Protocol 1.1b3 §6.1: outputs 20 to 38 are CD 6B 05.
        let on = [1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1];
        let mut bits = Bits::new(40);
        bits.set(19, on.map(|bit| bit == 1));
        let mut out = Vec::new();
        bits.read(19, 19, &mut out);
        assert_eq!(out, [0xcd, 0x6b, 0x05]);
    }

    #[test]
    fn registers_travel_high_byte_first() {
        let mut registers = Registers::new(4);
        registers.set(1, &[0x1234, 0xabcd]);
        assert_eq!(registers.bytes(1, 2), [0x12, 0x34, 0xab, 0xcd]);
        registers.set_bytes(2, &[0, 7]);
        assert_eq!((registers.get(1), registers.get(2), registers.get(3)), (0x1234, 7, 0));
    }

    #[test]
    fn nothing_is_written_or_read_outside_of_a_table() {
        let mut registers = Registers::new(2);
        registers.set(1, &[1, 2, 3]);
        registers.set_bytes(1, &[9; 4]);
        assert_eq!((registers.get(1), registers.get(2)), (1, 0));
        assert!(registers.bytes(1, 2).is_empty());
    }
}
