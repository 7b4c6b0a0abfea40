//! What a tag says about itself: its range, its unit, its texts.

use opcua::types::{
    Array, DataTypeId, EUInformation, EnumValueType, ExtensionObject, LocalizedText, ObjectTypeId, Range,
    VariableTypeId, Variant, VariantScalarTypeId,
};
use tidegate_runtime::{TagInfo, TagSample};

use crate::{
    node::Property,
    units,
    values::{self, Enumeration},
};

/// Whether a tag has that property.
pub(crate) fn has(tag: &TagInfo, property: Property) -> bool {
    let number = tag.value_type.kind.is_number() && tag.texts.is_none();
    match property {
        Property::EuRange => number && range(tag).is_some(),
        Property::EngineeringUnits => number && tag.unit.is_some(),
        Property::EnumStrings => values::enumeration(tag) == Some(Enumeration::Counted),
        Property::EnumValues | Property::ValueAsText => values::enumeration(tag) == Some(Enumeration::Valued),
    }
}

/// The properties that a tag has.
pub(crate) fn of(tag: &TagInfo) -> impl Iterator<Item = Property> + '_ {
    Property::ALL.into_iter().filter(|property| has(tag, *property))
}

/// The lowest and highest value that is to be expected: the plausible range, else the limits for writing.
pub(crate) fn range(tag: &TagInfo) -> Option<(f64, f64)> {
    tag.range.or_else(|| tag.minimum.zip(tag.maximum)).filter(|(low, high)| low < high)
}

/// The type of a tag's variable, the most telling of the standard's.
pub(crate) fn type_of(tag: &TagInfo) -> VariableTypeId {
    match values::enumeration(tag) {
        Some(Enumeration::Counted) => VariableTypeId::MultiStateDiscreteType,
        Some(Enumeration::Valued) => VariableTypeId::MultiStateValueDiscreteType,
        None if has(tag, Property::EuRange) => VariableTypeId::AnalogItemType,
        None if has(tag, Property::EngineeringUnits) => VariableTypeId::BaseAnalogType,
        None => VariableTypeId::BaseDataVariableType,
    }
}

/// The data type of a property, and whether it is a list.
pub(crate) fn data_type(property: Property) -> (DataTypeId, bool) {
    match property {
        Property::EuRange => (DataTypeId::Range, false),
        Property::EngineeringUnits => (DataTypeId::EUInformation, false),
        Property::EnumStrings => (DataTypeId::LocalizedText, true),
        Property::EnumValues => (DataTypeId::EnumValueType, true),
        Property::ValueAsText => (DataTypeId::LocalizedText, false),
    }
}

/// The value of a property. That of `ValueAsText` is the sample's; all others stay.
pub(crate) fn value(tag: &TagInfo, property: Property, sample: impl FnOnce() -> Option<TagSample>) -> Option<Variant> {
    Some(match property {
        Property::EuRange => {
            let (low, high) = range(tag)?;
            Variant::ExtensionObject(ExtensionObject::from_message(Range { low, high }))
        }
        Property::EngineeringUnits => {
            let unit: EUInformation = units::information(tag.unit.as_deref()?);
            Variant::ExtensionObject(ExtensionObject::from_message(unit))
        }
        Property::EnumStrings => {
            let texts = tag.texts.as_ref()?.iter();
            list(VariantScalarTypeId::LocalizedText, texts.map(|(_, text)| localized(text)).collect())?
        }
        Property::EnumValues => {
            let texts = tag.texts.as_ref()?.iter();
            let value = |(number, text): &(i64, String)| {
                let display_name = LocalizedText::new("", text);
                let value = EnumValueType { value: *number, display_name, description: LocalizedText::null() };
                Variant::ExtensionObject(ExtensionObject::from_message(value))
            };
            list(VariantScalarTypeId::ExtensionObject, texts.map(value).collect())?
        }
        Property::ValueAsText => match sample()?.slot.value() {
            Some(tidegate_model::Value::Text(text)) => localized(text),
            _ => localized(""),
        },
    })
}

fn localized(text: &str) -> Variant {
    Variant::LocalizedText(Box::new(LocalizedText::new("", text)))
}

/// A list of values of one kind.
pub(crate) fn list(kind: VariantScalarTypeId, items: Vec<Variant>) -> Option<Variant> {
    Some(Variant::Array(Box::new(Array::new(kind, items).ok()?)))
}

/// The type of the folders.
pub(crate) const FOLDER: ObjectTypeId = ObjectTypeId::FolderType;
