//! From what a device says to what a row holds, and back again for a write.
//!
//! [`Stages`] is compiled once for a group of a profile and shared by all its devices; a [`State`] belongs to one device. A
//! poll goes through the stages in this order, each in a file of its own:
//!
//! 1. `invalid`: a number by which the device says that it has no value becomes bad, and no other stage sees it;
//! 2. `scale`: raw * scale + offset, in exact decimals;
//! 3. `texts`: the number of an enumeration becomes its text;
//! 4. `constant`: tags that always have the same value;
//! 5. `range`: what is implausible becomes uncertain;
//! 6. `expression`: tags that are calculated from the others of the group, then `range` for them;
//! 7. `device_time`: the device's own time, if it is plausible;
//! 8. `rounding`: what need not be exact is delivered on a decimal grid;
//! 9. `deadband` and `on_change`: what is not worth a report becomes unchanged.
//!
//! What comes out is what everybody on the spot sees. On its way to the store a row may lose more: `swinging_door` leaves out the
//! samples that lie on a line between others, which is known one row later; [`Thinning`] does that for a group of one device.
//!
//! An expression has numbers, tags of its own group, `+ - * / % ^`, brackets and the functions `abs`, `acos`, `asin`, `atan`, `atan2`,
//! `ceil`, `cos`, `exp`, `floor`, `ln`, `log10`, `log2`, `max`, `min`, `round`, `sign`, `sin`, `sqrt`, `tan` and `trunc`; `-a^2` is `-(a^2)` and
//! `a^b^c` is `a^(b^c)`. A tag with `-` in its name, or one that begins with a digit, stands in braces: `{flow-1} * 2`.
//!
//! What a device sends by itself is not all there is of its group: `partial` takes what has changed through the same stages, with
//! what is known of the rest.
//!
//! `write` goes the other way: it checks a value that somebody wants to write and undoes `texts` and `scale`;
//! what comes out may not be an `invalid` number.
//!
//! **Invariant:** no I/O and no clock: time is an argument. No stage fails: whatever a device says becomes a slot.

mod compile;
mod constant;
mod deadband;
mod decimal;
mod device_time;
mod expression;
mod invalid;
mod number;
mod on_change;
mod partial;
mod range;
mod rounding;
mod scale;
mod stages;
mod state;
mod swinging_door;
#[cfg(test)]
mod testing;
mod texts;
mod thinning;
mod write;

pub use device_time::plausible_device_time;
pub use stages::{Outcome, Stages};
pub use state::State;
pub use thinning::{Thinned, Thinning};
pub use write::WriteRefusal;
