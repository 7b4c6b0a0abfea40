//! What is known of the tags of a group that come one by one: which of them have a value, and why the others have none.

use tidegate_driver_api::Readings;
use tidegate_model::{Reading, Reason};
use tidegate_pipeline::Stages;

/// What was last heard of one tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// It does not come from the device.
    NoTag,
    Nothing,
    Value,
    Failed(Reason),
}

/// What is known of the tags of a group: 2 bytes each.
#[derive(Debug)]
pub(crate) struct Standing(Box<[Heard]>);

impl Standing {
    /// Nothing has been heard.
    pub(crate) fn new(stages: &Stages) -> Standing {
        let heard = |comes| if comes { Heard::Nothing } else { Heard::NoTag };
        Standing(stages.comes_from_device().map(heard).collect())
    }

    /// Notes what has come.
    pub(crate) fn note(&mut self, readings: &Readings) {
        for (heard, reading) in self.0.iter_mut().zip(readings.items()) {
            match (&*heard, reading) {
                (Heard::NoTag, _) | (_, Reading::Missing) => {}
                (_, Reading::Failed(reason)) => *heard = Heard::Failed(*reason),
                (_, Reading::Value(_) | Reading::Doubtful(..)) => *heard = Heard::Value,
            }
        }
    }

    /// Nothing is known any more.
    pub(crate) fn forget(&mut self) {
        for heard in self.0.iter_mut().filter(|heard| **heard != Heard::NoTag) {
            *heard = Heard::Nothing;
        }
    }

    /// Why some tag has no value.
    pub(crate) fn trouble(&self) -> Option<Reason> {
        self.0.iter().find_map(|heard| match heard {
            Heard::Failed(reason) => Some(*reason),
            Heard::NoTag | Heard::Nothing | Heard::Value => None,
        })
    }

    /// Why no tag has a value.
    pub(crate) fn dark(&self) -> Option<Reason> {
        let has_value = self.0.contains(&Heard::Value);
        if has_value { None } else { self.trouble() }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::Value;

    use super::*;

    fn heard(standing: &mut Standing, items: &[Reading]) -> (Option<Reason>, Option<Reason>) {
        let mut readings = Readings::new(items.len());
        readings.items_mut().clone_from_slice(items);
        standing.note(&readings);
        (standing.trouble(), standing.dark())
    }

    #[test]
    fn a_tag_stays_as_it_was_until_it_is_heard_of_again() {
        let mut standing = Standing([Heard::Nothing, Heard::Nothing, Heard::NoTag].into());
        let (value, missing) = (Reading::Value(Value::Bool(true)), Reading::Missing);
        let lost = Reading::Failed(Reason::Timeout);
        let all_lost = [lost.clone(), lost.clone(), lost.clone()];
        let timeout = Some(Reason::Timeout);
        assert_eq!(heard(&mut standing, &[value.clone(), missing.clone(), missing.clone()]), (None, None));
        assert_eq!(heard(&mut standing, &[missing.clone(), lost, missing.clone()]), (timeout, None));
        assert_eq!(heard(&mut standing, &all_lost), (timeout, timeout));
        assert_eq!(heard(&mut standing, &[value.clone(), missing.clone(), missing.clone()]), (timeout, None));
        assert_eq!(heard(&mut standing, &[missing.clone(), value, missing]), (None, None));
    }
}
