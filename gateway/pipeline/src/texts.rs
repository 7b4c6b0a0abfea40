//! The numbers of an enumeration and their texts.

use std::sync::Arc;

use tidegate_model::{Reason, Slot, Value, ValueKind, ValueType};

use crate::{compile::described, number::integer_value};

/// The texts of an enumeration by the device's number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Texts {
    /// Sorted by number.
    texts: Box<[(i64, Arc<str>)]>,
}

impl Texts {
    /// The texts of a tag whose raw values are of the kind `raw`; the error is for a person.
    pub(crate) fn new(texts: &[(i64, String)], raw: ValueKind) -> Result<Texts, String> {
        let mut texts: Vec<(i64, Arc<str>)> =
            texts.iter().map(|(number, text)| (*number, text.as_str().into())).collect();
        texts.sort_unstable();
        for (number, _) in &texts {
            if to_raw(*number, raw).is_none() {
                return Err(format!(
                    "{number} has a text, but the tag is {}, which is never {number}",
                    described(ValueType::single(raw))
                ));
            }
        }
        for ((number, _), (next, _)) in texts.iter().zip(texts.iter().skip(1)) {
            if number == next {
                return Err(format!("{number} has two texts"));
            }
        }
        Ok(Texts { texts: texts.into() })
    }

    /// The slot with the text of a raw number. A number without a text is doubtful: it becomes its digits, as `out_of_range`.
    pub(crate) fn apply(&self, raw: &Value) -> Slot {
        let number = match raw {
            Value::Int(number) => Some(*number),
            Value::Uint(number) => i64::try_from(*number).ok(),
            Value::Bool(on) => Some(i64::from(*on)),
            Value::F32(_) | Value::F64(_) | Value::Text(_) | Value::Bytes(_) | Value::Array(_) => {
                return Slot::Bad(Reason::InvalidValue);
            }
        };
        let known = number
            .and_then(|number| self.texts.binary_search_by_key(&number, |(number, _)| *number).ok())
            .and_then(|at| self.texts.get(at));
        match (known, raw) {
            (Some((_, text)), _) => Slot::Good(Value::Text(Arc::clone(text))),
            (None, Value::Int(number)) => doubtful(number.to_string()),
            (None, Value::Uint(number)) => doubtful(number.to_string()),
            (None, _) => doubtful(number.unwrap_or_default().to_string()),
        }
    }

    /// The raw number of this kind that has the text; texts of a tag that is written are all different.
    pub(crate) fn invert(&self, text: &str, raw: ValueKind) -> Option<Value> {
        let (number, _) = self.texts.iter().find(|(_, known)| **known == *text)?;
        to_raw(*number, raw)
    }

    /// All texts, in the order of their numbers.
    pub(crate) fn known(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(|(_, text)| &**text)
    }
}

fn doubtful(digits: String) -> Slot {
    Slot::Uncertain(Value::Text(digits.into()), Reason::OutOfRange)
}

fn to_raw(number: i64, kind: ValueKind) -> Option<Value> {
    match (kind, number) {
        (ValueKind::Bool, 0) => Some(Value::Bool(false)),
        (ValueKind::Bool, 1) => Some(Value::Bool(true)),
        _ => integer_value(i128::from(number), kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(raw: ValueKind) -> Texts {
        Texts::new(&[(1, "on".to_owned()), (0, "off".to_owned())], raw).unwrap()
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn numbers_become_texts_and_texts_become_numbers() {
        for (kind, off, on) in [
            (ValueKind::Int, Value::Int(0), Value::Int(1)),
            (ValueKind::Uint, Value::Uint(0), Value::Uint(1)),
            (ValueKind::Bool, Value::Bool(false), Value::Bool(true)),
        ] {
            let texts = texts(kind);
            assert_eq!(texts.apply(&off), Slot::Good(text("off")));
            assert_eq!(texts.apply(&on), Slot::Good(text("on")));
            assert_eq!(texts.invert("on", kind), Some(on));
            assert_eq!(texts.invert("open", kind), None);
        }
    }

    #[test]
    fn a_number_without_a_text_is_uncertain_and_shows_its_digits() {
        let uncertain = |digits| Slot::Uncertain(text(digits), Reason::OutOfRange);
        assert_eq!(texts(ValueKind::Int).apply(&Value::Int(-7)), uncertain("-7"));
        assert_eq!(texts(ValueKind::Uint).apply(&Value::Uint(u64::MAX)), uncertain("18446744073709551615"));
        let only_on = Texts::new(&[(1, "on".to_owned())], ValueKind::Bool).unwrap();
        assert_eq!(only_on.apply(&Value::Bool(false)), uncertain("0"));
    }

    #[test]
    fn a_number_the_tag_never_has_and_a_second_text_are_mistakes() {
        let refused = |texts: &[(i64, &str)], raw| {
            let texts: Vec<(i64, String)> = texts.iter().map(|(number, text)| (*number, (*text).to_owned())).collect();
            Texts::new(&texts, raw).unwrap_err()
        };
        assert_eq!(
            refused(&[(-1, "error")], ValueKind::Uint),
            "-1 has a text, but the tag is an unsigned integer, which is never -1"
        );
        assert_eq!(refused(&[(2, "x")], ValueKind::Bool), "2 has a text, but the tag is a bool, which is never 2");
        assert_eq!(refused(&[(2, "x"), (2, "y")], ValueKind::Int), "2 has two texts");
    }
}
