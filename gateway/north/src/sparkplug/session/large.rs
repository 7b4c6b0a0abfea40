//! Tells of what was too large to be sent.

use tidegate_sparkplug::{LeftOut, What};

use super::Session;

impl Session<'_> {
    pub(super) fn report_left_out(&mut self) {
        let target_name = self.around.status.name();
        for LeftOut { device, what, bytes } in self.around.node.left_out() {
            self.around.status.left_out();
            match what {
                What::ValuesOfBirth => tracing::error!(
                    %target_name, %device, bytes,
                    "a birth is too large to be sent; the device is born without values; make what is in its tags smaller"
                ),
                What::Birth => tracing::error!(
                    %target_name, %device, bytes,
                    "a birth is too large to be sent even without values; the device is left out, gaps take the place of its rows; \
                     divide it into several devices"
                ),
                What::Row(seq) => tracing::warn!(
                    %target_name, %device, seq, bytes,
                    "a row is too large to be sent; a gap took its place; it stays in the store; make what is in its tags smaller"
                ),
            }
        }
    }
}
