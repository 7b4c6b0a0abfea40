//! Qualities and other properties of a metric.

use tidegate_model::{Reason, Slot};

use crate::{
    DataType,
    wire::{PropertyContent, PropertySet, PropertyValue},
};

/// The property with the quality of a metric.
pub const QUALITY: &str = "Quality";
/// The property with our word for why the quality is not good (`timeout`).
pub const REASON: &str = "Reason";

/// How much a value is worth, as Sparkplug knows it. Source: Sparkplug 3.0.0 §6.4.9.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QualityCode {
    /// 0: there is no value.
    Bad,
    /// 192: what it says is so.
    Good,
    /// 500: nobody knows whether what it says is still so.
    Stale,
}

impl QualityCode {
    /// The number on the wire.
    pub fn code(self) -> u32 {
        match self {
            QualityCode::Bad => 0,
            QualityCode::Good => 192,
            QualityCode::Stale => 500,
        }
    }

    /// The code of a sample. What is uncertain, and what has not been read or not lately, is stale.
    pub fn of(slot: &Slot) -> QualityCode {
        match slot {
            Slot::Good(_) | Slot::Unchanged => QualityCode::Good,
            Slot::Uncertain(..) | Slot::Bad(Reason::Stale | Reason::NotYetRead) => QualityCode::Stale,
            Slot::Bad(_) => QualityCode::Bad,
        }
    }

    /// The code that properties tell. A metric without it is good; a number that Sparkplug does not know is taken for what OPC would
    /// take it for: 192 and above good, 64 and above uncertain.
    pub fn told(properties: Option<&PropertySet>) -> QualityCode {
        let Some(PropertyContent::Int(code)) = properties.and_then(|set| set.get(QUALITY)) else {
            return QualityCode::Good;
        };
        match code {
            500 => QualityCode::Stale,
            192..256 => QualityCode::Good,
            64..192 => QualityCode::Stale,
            _ => QualityCode::Bad,
        }
    }
}

impl PropertySet {
    /// Adds a property.
    pub(crate) fn add(&mut self, key: &str, datatype: DataType, value: PropertyContent) {
        self.keys.push(key.to_owned());
        self.values.push(PropertyValue { datatype: Some(datatype.code()), is_null: None, value: Some(value) });
    }

    /// Adds the quality, and our word for the reason where it is not good.
    pub(crate) fn add_quality(&mut self, slot: &Slot) {
        self.add(QUALITY, DataType::Int32, PropertyContent::Int(QualityCode::of(slot).code()));
        let reason = match slot {
            Slot::Good(_) | Slot::Unchanged => return,
            Slot::Uncertain(_, reason) | Slot::Bad(reason) => reason,
        };
        self.add(REASON, DataType::String, PropertyContent::String(reason.as_str().to_owned()));
    }

    /// The value of a property; `None` also where the names and the values are not one each for the other.
    pub fn get(&self, key: &str) -> Option<&PropertyContent> {
        if self.keys.len() != self.values.len() {
            return None;
        }
        let place = self.keys.iter().position(|name| name == key)?;
        self.values.get(place)?.value.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::Value;

    use super::*;

    #[test]
    fn a_quality_is_one_of_three_codes_and_an_int32() {
        let slots = [
            (Slot::Good(Value::Int(1)), 192, None),
            (Slot::Uncertain(Value::Int(1), Reason::OutOfRange), 500, Some("out_of_range")),
            (Slot::Bad(Reason::NotYetRead), 500, Some("not_yet_read")),
            (Slot::Bad(Reason::Timeout), 0, Some("timeout")),
        ];
        for (slot, code, reason) in slots {
            let mut properties = PropertySet::default();
            properties.add_quality(&slot);
            assert_eq!(properties.values[0].datatype, Some(3));
            assert_eq!(properties.get(QUALITY), Some(&PropertyContent::Int(code)));
            assert_eq!(properties.get(REASON), reason.map(|word| PropertyContent::String(word.to_owned())).as_ref());
            assert_eq!(QualityCode::told(Some(&properties)).code(), code);
        }
    }

    #[test]
    fn names_without_values_are_no_properties() {
        let properties = PropertySet { keys: vec![QUALITY.to_owned()], values: Vec::new() };
        assert_eq!(properties.get(QUALITY), None);
        assert_eq!(QualityCode::told(Some(&properties)), QualityCode::Good);
    }
}
