//! One simulated device: what it holds, how it answers, and the hands that turn its knobs.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tidegate_driver_modbus::{Encoded, Point};
use tidegate_model::Value;

use super::{
    image::{Image, TableOf},
    map::Map,
    operation::{Exception, Operation, Stretch},
};
use crate::{SimulatorError, motion::Moment, noise::mix};

/// A device behind a port.
#[derive(Debug)]
pub(crate) struct Device {
    map: Arc<Map>,
    seed: u64,
    /// Whether each float has to differ from what was read before.
    all_change: bool,
    held: Mutex<Held>,
    requests: AtomicU64,
}

/// What changes in a device. One lock around all of it: a request sees every value whole.
#[derive(Debug)]
struct Held {
    image: Image,
    cells: Box<[CellState]>,
}

/// What is known of a tag between two reads.
#[derive(Debug, Clone, Copy)]
struct CellState {
    /// The step whose value the image shows.
    step: u32,
    /// It moves no more: somebody has written it, or it never does.
    rests: bool,
    /// Changes at every new value.
    turn: bool,
}

/// No step has this number.
const NEVER: u32 = u32::MAX;

impl Device {
    /// A device of the map with a course of its own.
    pub(crate) fn new(map: Arc<Map>, seed: u64, all_change: bool) -> Device {
        let image = Image::new(|table| map.table(table).size());
        let cells = vec![CellState { step: NEVER, rests: false, turn: false }; map.cells().len()];
        let held = Mutex::new(Held { image, cells: cells.into() });
        Device { map, seed, all_change, held, requests: AtomicU64::new(0) }
    }

    /// Counts a request to the device.
    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that the device has got, the ones it did not answer among them.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Carries out a request and appends function code and data of the answer to `out`.
    ///
    /// # Errors
    ///
    /// The exception; nothing is appended then and nothing is changed.
    pub(crate) fn carry_out(
        &self,
        function: u8,
        operation: &Operation<'_>,
        moment: Moment,
        out: &mut Vec<u8>,
    ) -> Result<(), Exception> {
        self.map.check(function, operation)?;
        let mut held = self.lock();
        match *operation {
            Operation::Read(read) => {
                out.push(function);
                self.read(&mut held, read, moment, out);
            }
            Operation::WriteCoils(write, packed) => {
                self.settle(&mut held, write, moment);
                if let TableOf::Bits(bits) = held.image.table(write.table) {
                    let unpacked = packed.iter().flat_map(|byte| (0..8).map(move |bit| (byte >> bit) & 1 == 1));
                    bits.set(write.first, unpacked.take(usize::from(write.count)));
                }
                echo_write(function, write, packed, out);
            }
            Operation::WriteRegisters(write, bytes) => {
                self.write(&mut held, write, bytes, moment);
                echo_write(function, write, bytes, out);
            }
            Operation::Mask(write, and, or) => {
                self.settle(&mut held, write, moment);
                if let TableOf::Registers(registers) = held.image.table(write.table) {
                    let masked = (registers.get(write.first) & and) | (or & !and);
                    registers.set(write.first, &[masked]);
                }
                out.push(function);
                for word in [write.first, and, or] {
                    out.extend_from_slice(&word.to_be_bytes());
                }
            }
            Operation::Exchange(read, write, bytes) => {
                self.write(&mut held, write, bytes, moment);
                out.push(function);
                self.read(&mut held, read, moment, out);
            }
        }
        Ok(())
    }

    /// The device's number of a tag as it stands now.
    pub(crate) fn raw(&self, tag: &str, moment: Moment) -> Result<Value, SimulatorError> {
        let (index, cell) = self.map.cell(tag).ok_or_else(|| SimulatorError::NoSuchTag(tag.to_owned()))?;
        let mut held = self.lock();
        self.render(&mut held, index, moment);
        decode(&mut held.image, &cell.point).ok_or_else(|| SimulatorError::NoValue(tag.to_owned()))
    }

    /// The value of a tag as the gateway would deliver it now.
    pub(crate) fn value(&self, tag: &str, moment: Moment) -> Result<Value, SimulatorError> {
        let raw = self.raw(tag, moment)?;
        Ok(self.map.cell(tag).map_or(raw.clone(), |(_, cell)| cell.deliver(&raw)))
    }

    /// Sets a tag to a device's number, or with `delivered` to a delivered value; from then on it moves no more.
    pub(crate) fn set(&self, tag: &str, value: &Value, delivered: bool) -> Result<(), SimulatorError> {
        let (index, cell) = self.map.cell(tag).ok_or_else(|| SimulatorError::NoSuchTag(tag.to_owned()))?;
        let raw = if delivered { cell.undo(value) } else { value.clone() };
        let encoded = cell.point.encode(&raw).map_err(|why| SimulatorError::Refused { tag: tag.to_owned(), why })?;
        let mut held = self.lock();
        put(&mut held.image, &cell.point, &encoded);
        if let Some(state) = held.cells.get_mut(index) {
            state.rests = true;
        }
        Ok(())
    }

    /// Lets a tag move again that was set or written.
    pub(crate) fn release(&self, tag: &str) -> Result<(), SimulatorError> {
        let (index, _) = self.map.cell(tag).ok_or_else(|| SimulatorError::NoSuchTag(tag.to_owned()))?;
        if let Some(state) = self.lock().cells.get_mut(index) {
            *state = CellState { step: NEVER, rests: false, turn: state.turn };
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Whoever panicked has left whole values behind: each is written in one piece.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, held: &mut Held, read: Stretch, moment: Moment, out: &mut Vec<u8>) {
        for placed in self.map.table(read.table).tags(read) {
            self.render(held, placed.cell, moment);
        }
        match held.image.table(read.table) {
            TableOf::Bits(bits) => {
                out.push(u8::try_from(read.count.div_ceil(8)).unwrap_or(u8::MAX));
                bits.read(read.first, read.count, out);
            }
            TableOf::Registers(registers) => {
                out.push(u8::try_from(2 * read.count).unwrap_or(u8::MAX));
                out.extend_from_slice(registers.bytes(read.first, read.count));
            }
        }
    }

    fn write(&self, held: &mut Held, write: Stretch, bytes: &[u8], moment: Moment) {
        self.settle(held, write, moment);
        if let TableOf::Registers(registers) = held.image.table(write.table) {
            registers.set_bytes(write.first, bytes);
        }
    }

    /// Before a write: the writable tags there show their value of now, so that what is not written keeps it, and move no more.
    fn settle(&self, held: &mut Held, write: Stretch, moment: Moment) {
        for placed in self.map.table(write.table).tags(write) {
            self.render(held, placed.cell, moment);
            if let Some(state) = held.cells.get_mut(placed.cell).filter(|_| placed.writable) {
                state.rests = true;
            }
        }
    }

    /// Brings a tag's value in the image up to this step.
    fn render(&self, held: &mut Held, index: usize, moment: Moment) {
        let (Some(cell), Some(state)) = (self.map.cells().get(index), held.cells.get_mut(index)) else { return };
        if state.rests || state.step == moment.step {
            return;
        }
        let turn = self.all_change.then_some(state.turn);
        *state = CellState { step: moment.step, rests: !cell.moves(), turn: !state.turn };
        let seed = mix(self.seed, u64::try_from(index).unwrap_or_default());
        match (cell.encoded_single(seed, moment, turn), held.image.table(cell.point.table())) {
            (Some(bytes), TableOf::Registers(registers)) => {
                registers.set_bytes(cell.point.address().get(), &bytes);
            }
            _ => {
                if let Ok(encoded) = cell.encoded(seed, moment, turn) {
                    put(&mut held.image, &cell.point, &encoded);
                }
            }
        }
    }
}

/// The answer to a write: a single one comes back as it was, several as their first address and number.
fn echo_write(function: u8, write: Stretch, data: &[u8], out: &mut Vec<u8>) {
    out.push(function);
    out.extend_from_slice(&write.first.to_be_bytes());
    match (function, data) {
        (5, [0]) => out.extend_from_slice(&[0x00, 0x00]),
        (5, _) => out.extend_from_slice(&[0xff, 0x00]),
        (6, _) => out.extend_from_slice(data),
        _ => out.extend_from_slice(&write.count.to_be_bytes()),
    }
}

/// Writes an encoded value to where the tag lies.
fn put(image: &mut Image, point: &Point, encoded: &Encoded) {
    let first = point.address().get();
    match (image.table(point.table()), encoded) {
        (TableOf::Bits(bits), Encoded::Coils(values)) => bits.set(first, values.iter().copied()),
        (TableOf::Registers(registers), Encoded::Registers(values)) => registers.set(first, values),
        (TableOf::Registers(registers), Encoded::Part { keep, set }) => {
            let others = registers.get(first) & keep;
            registers.set(first, &[others | (set & !keep)]);
        }
        // A point's value is always of the kind of its table.
        _ => {}
    }
}

/// The value of a tag in the image.
fn decode(image: &mut Image, point: &Point) -> Option<Value> {
    let (first, count) = (point.address().get(), point.addresses());
    match (image.table(point.table()), point.items()) {
        (TableOf::Bits(bits), None) => bits.get(first, 1).first().map(|on| Value::Bool(*on)),
        (TableOf::Bits(bits), Some(_)) => {
            Some(Value::Array(bits.get(first, count).iter().map(|on| Value::Bool(*on)).collect()))
        }
        (TableOf::Registers(registers), None) => point.format().decode(registers.bytes(first, count)),
        (TableOf::Registers(registers), Some(items)) => {
            point.format().decode_array(registers.bytes(first, count), items)
        }
    }
}

#[cfg(test)]
mod tests;
