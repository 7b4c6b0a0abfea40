//! Tells of what was too large to be sent, or not taken by the broker.

use tidegate_model::{Row, TagName};
use tidegate_sparkplug::{LeftOut, What};

use super::Session;

impl Session<'_> {
    pub(super) fn report_left_out(&mut self) {
        let target_name = self.around.status.name();
        for LeftOut { device, what, bytes } in self.around.node.left_out() {
            self.around.status.left_out();
            match what {
                What::ValuesOfBirth { tags, count } => tracing::error!(
                    %target_name, %device, tags = names(&tags), count, bytes,
                    "a birth is too large to be sent; the device is born without the values of these tags, which come when they change; \
                     make what is in them smaller, or the broker's largest message larger"
                ),
                What::Birth => tracing::error!(
                    %target_name, %device, bytes,
                    "a birth cannot be sent even without values; the device is dead for hosts, gaps take the place of its rows; where the \
                     broker closed the connection over it, it is tried again after an hour, then less often; divide it into several devices, or make the broker's largest message larger, and check the right to publish on its topic"
                ),
                What::Row { seq, tag: Some(tag) } => tracing::warn!(
                    %target_name, %device, %tag, seq, bytes,
                    "the value of a tag is too large to be sent; a gap took the place of its row; it stays in the store; make what is in \
                     the tag smaller, or the broker's largest message larger"
                ),
                What::Row { seq, tag: None } => tracing::warn!(
                    %target_name, %device, seq,
                    "a row of a device whose birth is too large was not sent; a gap took its place; it stays in the store"
                ),
            }
        }
    }

    /// A gap takes the place of a row, as the broker closes the connection over it.
    pub(super) fn report_replaced(&self, row: &Row) {
        self.around.status.left_out();
        tracing::error!(
            target_name = %self.around.status.name(), device = %row.stream.device(), group = %row.stream.group(), seq = row.seq,
            "the broker closes the connection over a row; it stays in the store and was announced as a gap; check the broker's \
             largest message and the right to publish on its topic"
        );
    }
}

fn names(tags: &[TagName]) -> String {
    tags.iter().map(TagName::as_str).collect::<Vec<_>>().join(", ")
}
