//! What is told about a target in the log.

use super::{message::LeftOut, suspicion::Span};
use crate::TargetStatus;

/// A gap record in place of a row has arrived.
pub(crate) fn left_out(status: &TargetStatus, row: Span, why: LeftOut) {
    status.left_out();
    let (stream, seq) = (row.stream.0, row.first);
    match why {
        LeftOut::TooLarge => tracing::error!(
            target_name = %status.name(), stream, seq,
            "a row is too large to be sent; it stays in the store and was announced as a gap; split its group"
        ),
        LeftOut::Refused => tracing::error!(
            target_name = %status.name(), stream, seq,
            "the broker closes the connection over a row; it stays in the store and was announced as a gap; \
             check the broker's largest message and the right to publish on its topic"
        ),
    }
}
