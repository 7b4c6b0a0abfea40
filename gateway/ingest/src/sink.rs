//! What rows are written to.
pub(crate) mod postgres;
