//! What a body is made of, in both directions: a writer writes what it is given, a reader ignores it and gives what it reads.
//!
//! One function then describes a part of the body for writing and for reading.

use super::BlockError;

/// A yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    /// Rows have the device's own time.
    DeviceTimes,
    /// The device's own times have a period of their own.
    OwnPeriod,
    /// Slots of the column are not all good and of its own type.
    Marks,
    /// The marks are those of the last column that had some.
    SameMarks,
    /// 64-bit floats that are all 32-bit floats.
    Single,
    /// Floats are rounded to 32 bits before the correction.
    Rounded,
    /// Floats have corrections.
    Corrections,
}

/// One of a few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// How the numbers of a series were made smaller.
    Transform,
    /// How they are predicted.
    Predictor,
    /// What integers stand for floats.
    Form,
    /// Decimal places.
    Places,
}

/// A number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    /// How many.
    Count,
    /// A parameter of a transform or a predictor.
    Parameter,
    /// Milliseconds.
    Time,
    /// The first number of a series.
    Base,
    /// What a series is around.
    Level,
}

/// Residuals that resemble one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    /// Of times.
    Times,
    /// Of values.
    Values,
    /// Of corrections of floats.
    Corrections,
    /// Of the entries of tables, and of lengths.
    Tables,
    /// Of places in tables of texts and marks.
    Codes,
}

/// A body being written or read.
pub(super) trait Coder {
    /// A yes or no.
    fn flag(&mut self, which: Flag, on: bool) -> Result<bool, BlockError>;
    /// One of 16.
    fn choice(&mut self, which: Choice, value: u8) -> Result<u8, BlockError>;
    /// Any number.
    fn number(&mut self, which: Number, value: i64) -> Result<i64, BlockError>;
    /// So many residuals of one series. A reader fills the vector.
    fn residuals(&mut self, set: Set, count: usize, residuals: &mut Vec<i64>) -> Result<(), BlockError>;
    /// So many changes of something that is on or off: 1 where it changes. A reader fills the vector.
    fn changes(&mut self, count: usize, changes: &mut Vec<bool>) -> Result<(), BlockError>;
    /// So many bytes. A reader fills the vector.
    fn bytes(&mut self, count: usize, bytes: &mut Vec<u8>) -> Result<(), BlockError>;
    /// So many rows that the columns share.
    fn rows(&mut self, rows: usize);
}
