//! What the log says about a device that is there, but not with all its tags: once when that begins, once when it is over.
//!
//! Pure: the caller says what time it is.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tidegate_model::{Name, Reason, TagName};

/// Trouble that comes and goes is told of again only after so long: the log is for persons, the status tells the rest.
const APART: Duration = Duration::from_secs(600);
/// So many tags are named, at most.
const NAMED: usize = 4;

/// What the log was told about one device.
#[derive(Debug, Default)]
pub(crate) struct Complaint {
    /// Whether the last line says that tags are bad.
    standing: bool,
    /// When that was said last.
    said: Option<Instant>,
}

/// What is to be said now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Bad,
    GoodAgain,
}

impl Complaint {
    /// The device has been heard of: `trouble` is why some tag has no value, `bad` gives all such tags; it is asked only when they are to
    /// be named.
    pub(crate) fn note(
        &mut self,
        device: &Name,
        trouble: Option<Reason>,
        now: Instant,
        bad: impl FnOnce() -> Vec<(TagName, Reason)>,
    ) {
        // What has still to come for the first time is not missed.
        let trouble = trouble.filter(|reason| *reason != Reason::NotYetRead);
        match self.line(trouble.is_some(), now) {
            None => {}
            Some(Line::Bad) => {
                let bad = bad();
                let (tags, reasons) = (named(&bad), reasons(trouble, &bad));
                tracing::warn!(
                    %device, tags, reasons,
                    "the device gives no value for some tags; they are bad until it does and are tried again for ever, its others go on; look \
                     at their addresses in the profile when the reason is bad_address, at the device when it is another"
                );
            }
            Some(Line::GoodAgain) => tracing::info!(%device, "the device gives a value for every tag again"),
        }
    }

    fn line(&mut self, has_trouble: bool, now: Instant) -> Option<Line> {
        if !has_trouble {
            return std::mem::take(&mut self.standing).then_some(Line::GoodAgain);
        }
        let was_just_said = self.said.is_some_and(|said| now.saturating_duration_since(said) < APART);
        if self.standing || was_just_said {
            return None;
        }
        (self.standing, self.said) = (true, Some(now));
        Some(Line::Bad)
    }
}

/// The first few tags, and how many more there are.
fn named(bad: &[(TagName, Reason)]) -> String {
    let names: Vec<&str> = bad.iter().take(NAMED).map(|(tag, _)| tag.as_str()).collect();
    match bad.len().saturating_sub(NAMED) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// Each reason once.
fn reasons(trouble: Option<Reason>, bad: &[(TagName, Reason)]) -> String {
    let reasons = trouble.into_iter().chain(bad.iter().map(|(_, reason)| *reason));
    let reasons: BTreeSet<&str> = reasons.map(Reason::as_str).collect();
    reasons.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn trouble_is_said_once_however_many_polls_find_it_and_its_end_once() {
        let (mut complaint, start) = (Complaint::default(), Instant::now());
        assert_eq!(complaint.line(false, start), None, "a device that was always well has nothing to say");
        assert_eq!(complaint.line(true, start), Some(Line::Bad));
        assert_eq!(complaint.line(true, start + 3_600 * SECOND), None);
        assert_eq!(complaint.line(false, start + 3_601 * SECOND), Some(Line::GoodAgain));
        assert_eq!(complaint.line(false, start + 3_602 * SECOND), None);
        assert_eq!(complaint.line(true, start + 3_603 * SECOND), Some(Line::Bad));
    }

    #[test]
    fn trouble_that_comes_and_goes_does_not_fill_the_log_and_trouble_that_stays_is_said() {
        let (mut complaint, start) = (Complaint::default(), Instant::now());
        let mut lines = 0;
        for second in 0..599 {
            lines += usize::from(complaint.line(second % 2 == 0, start + second * SECOND).is_some());
        }
        assert_eq!(lines, 2);
        assert_eq!(complaint.line(true, start + 599 * SECOND), None);
        assert_eq!(complaint.line(true, start + 600 * SECOND), Some(Line::Bad));
    }

    #[test]
    fn the_first_tags_are_named_the_others_counted_and_each_reason_is_there_once() {
        let bad = |names: &[&str]| -> Vec<(TagName, Reason)> {
            let mut bad: Vec<_> = names.iter().map(|name| (name.parse().unwrap(), Reason::BadAddress)).collect();
            bad[0].1 = Reason::DeviceFault;
            bad
        };
        assert_eq!(named(&bad(&["a", "b", "c", "d"])), "a, b, c, d");
        let many = bad(&["a", "b", "c", "d", "e", "f"]);
        assert_eq!(
            (named(&many).as_str(), reasons(Some(Reason::BadAddress), &many).as_str()),
            ("a, b, c, d and 2 more", "bad_address, device_fault")
        );
    }
}
