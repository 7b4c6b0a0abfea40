//! What one poll of one group brought, column by column. Reused from poll to poll.

use tidegate_model::{Reading, Reason, Timestamp, Value};

/// One reading per column of a group. Columns that the driver does not read (constants, expressions) stay [`Reading::Missing`].
#[derive(Debug, Default)]
pub struct Readings {
    items: Vec<Reading>,
    device_time: Option<Timestamp>,
    is_past: bool,
}

impl Readings {
    /// Readings for that many columns, all missing.
    pub fn new(columns: usize) -> Readings {
        Readings { items: vec![Reading::Missing; columns], device_time: None, is_past: false }
    }

    /// Makes all readings missing again, for that many columns, without giving memory back.
    pub fn reset(&mut self, columns: usize) {
        self.items.clear();
        self.items.resize(columns, Reading::Missing);
        self.device_time = None;
        self.is_past = false;
    }

    /// Notes a value. A column that does not exist is ignored: plans are checked when they are made.
    pub fn set(&mut self, column: usize, value: Value) {
        if let Some(item) = self.items.get_mut(column) {
            *item = Reading::Value(value);
        }
    }

    /// Notes a value that the device itself calls doubtful.
    pub fn doubt(&mut self, column: usize, value: Value, reason: Reason) {
        if let Some(item) = self.items.get_mut(column) {
            *item = Reading::Doubtful(value, reason);
        }
    }

    /// Notes that a column has no value.
    pub fn fail(&mut self, column: usize, reason: Reason) {
        if let Some(item) = self.items.get_mut(column) {
            *item = Reading::Failed(reason);
        }
    }

    /// Gives every column of `columns` that is still missing this reason.
    pub fn fail_missing(&mut self, columns: impl IntoIterator<Item = usize>, reason: Reason) {
        for column in columns {
            if let Some(item @ Reading::Missing) = self.items.get_mut(column) {
                *item = Reading::Failed(reason);
            }
        }
    }

    /// Notes the device's own time of these readings, for protocols that carry one.
    pub fn set_device_time(&mut self, time: Timestamp) {
        self.device_time = Some(time);
    }

    /// The device's own time, if it gave one.
    pub fn device_time(&self) -> Option<Timestamp> {
        self.device_time
    }

    /// Notes that these readings are of the past, read from the device's own memory to fill a hole: they make a row with their
    /// [device time](Readings::set_device_time), and what the gateway takes for the present stays as it is.
    pub fn set_past(&mut self) {
        self.is_past = true;
    }

    /// Whether these readings are of the past.
    pub fn is_past(&self) -> bool {
        self.is_past
    }

    /// All readings, by column.
    pub fn items(&self) -> &[Reading] {
        &self.items
    }

    /// All readings, by column, to take values out of.
    pub fn items_mut(&mut self) -> &mut [Reading] {
        &mut self.items
    }
}
