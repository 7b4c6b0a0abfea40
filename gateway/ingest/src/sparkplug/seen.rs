//! The values that have been taken, to tell those that come again.
//!
//! A value is the same when device, metric, time, quality and value are, to the last bit; of one message, equal ones are counted, so that a
//! message that tells the same twice is taken as it stands, and as a whole when it comes again. What was forgotten because too much has
//! come since is told ([`Seen::enter`]): it is new as far as is known here.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
};

use tidegate_model::{Slot, Timestamp, Value};

/// A value as two independent 64-bit sums with secret keys: that two values share both by chance does not happen, and nobody can make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Print(u128);

/// The values that have been taken, as far as they are remembered.
pub(super) struct Seen {
    keys: [RandomState; 2],
    prints: HashSet<Print>,
    order: VecDeque<(Print, usize, Timestamp)>,
    most: usize,
    bytes: Vec<u8>,
}

/// What became of a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// It is here already.
    Known,
    /// It is new. The stream and the time of a value that was forgotten for it.
    New(Option<(usize, Timestamp)>),
}

impl Seen {
    /// Remembers so many values.
    pub(super) fn new(most: usize) -> Seen {
        let keys = [RandomState::new(), RandomState::new()];
        Seen { keys, prints: HashSet::new(), order: VecDeque::new(), most: most.max(1), bytes: Vec::new() }
    }

    /// The print of a value; `copy`: how many equal ones are before it in its message.
    pub(super) fn print(&mut self, stream: usize, metric: &str, time: Timestamp, slot: &Slot, copy: u32) -> Print {
        self.bytes.clear();
        put_slot(slot, &mut self.bytes);
        let whole = (stream, metric, time.as_millis(), &self.bytes, copy);
        let [one, other] = &self.keys;
        Print(u128::from(one.hash_one(whole)) << 64 | u128::from(other.hash_one(whole)))
    }

    /// Remembers a value of this time.
    pub(super) fn enter(&mut self, print: Print, stream: usize, time: Timestamp) -> Entered {
        if !self.prints.insert(print) {
            return Entered::Known;
        }
        self.order.push_back((print, stream, time));
        if self.order.len() <= self.most {
            return Entered::New(None);
        }
        let forgotten = self.order.pop_front();
        Entered::New(forgotten.map(|(print, stream, time)| {
            self.prints.remove(&print);
            (stream, time)
        }))
    }
}

fn put_slot(slot: &Slot, out: &mut Vec<u8>) {
    match slot {
        Slot::Unchanged => out.push(0),
        Slot::Good(value) => {
            out.push(1);
            put_value(value, out);
        }
        Slot::Uncertain(value, reason) => {
            out.extend([2, reason.code()]);
            put_value(value, out);
        }
        Slot::Bad(reason) => out.extend([3, reason.code()]),
    }
}

fn put_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Bool(on) => out.extend([0, u8::from(*on)]),
        Value::Int(number) => put(1, &number.to_le_bytes(), out),
        Value::Uint(number) => put(2, &number.to_le_bytes(), out),
        Value::F32(number) => put(3, &number.to_bits().to_le_bytes(), out),
        Value::F64(number) => put(4, &number.to_bits().to_le_bytes(), out),
        Value::Text(text) => put(5, text.as_bytes(), out),
        Value::Bytes(bytes) => put(6, bytes, out),
        Value::Array(items) => {
            put(7, &items.len().to_le_bytes(), out);
            items.iter().for_each(|item| put_value(item, out));
        }
    }
}

fn put(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&bytes.len().to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use tidegate_model::Reason;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn only_what_is_the_same_to_the_last_bit_is_known() {
        let mut seen = Seen::new(100);
        let good = |number: f64| Slot::Good(Value::F64(number));
        let texts = |items: &[&str]| {
            let items: Vec<Value> = items.iter().map(|item| Value::Text((*item).into())).collect();
            Slot::Good(Value::Array(items.into()))
        };
        let all = [
            (0, "a", 5, good(0.0), 0),
            (0, "a", 5, good(0.0), 1),
            (1, "a", 5, good(0.0), 0),
            (0, "b", 5, good(0.0), 0),
            (0, "a", 6, good(0.0), 0),
            (0, "a", 5, good(-0.0), 0),
            (0, "a", 5, Slot::Good(Value::F32(0.0)), 0),
            (0, "a", 5, Slot::Uncertain(Value::F64(0.0), Reason::Stale), 0),
            (0, "a", 5, Slot::Bad(Reason::Stale), 0),
            (0, "a", 5, Slot::Bad(Reason::Timeout), 0),
            (0, "a", 5, texts(&["x", "yz"]), 0),
            (0, "a", 5, texts(&["xy", "z"]), 0),
        ];
        for again in [false, true] {
            for (stream, metric, time, slot, copy) in &all {
                let print = seen.print(*stream, metric, at(*time), slot, *copy);
                let wanted = if again { Entered::Known } else { Entered::New(None) };
                assert_eq!(seen.enter(print, *stream, at(*time)), wanted, "{metric} {time} {slot:?} {copy}");
            }
        }
    }

    #[test]
    fn the_oldest_is_forgotten_and_told() {
        let mut seen = Seen::new(2);
        let slot = Slot::Good(Value::Int(1));
        let mut enter = |time| {
            let print = seen.print(3, "a", at(time), &slot, 0);
            seen.enter(print, 3, at(time))
        };
        assert_eq!([enter(9), enter(7)], [Entered::New(None), Entered::New(None)]);
        assert_eq!(enter(8), Entered::New(Some((3, at(9)))));
        assert_eq!([enter(7), enter(8)], [Entered::Known, Entered::Known]);
        assert_eq!(enter(9), Entered::New(Some((3, at(7)))), "it was forgotten");
    }
}
