//! The structures of OPC UA itself that values are made of (Part 3 §8, Part 5 §12, Part 8 §5.6): older servers do not say what their
//! fields are.

use opcua::types::{DataTypeId as Type, NodeId, StructureDefinition, StructureField, StructureType};

/// The fields of a structure in their order: name and type.
type Fields = &'static [(&'static str, Type)];

const RANGE: Fields = &[("Low", Type::Double), ("High", Type::Double)];
const UNIT: Fields = &[
    ("NamespaceUri", Type::String),
    ("UnitId", Type::Int32),
    ("DisplayName", Type::LocalizedText),
    ("Description", Type::LocalizedText),
];
const ENUM_VALUE: Fields =
    &[("Value", Type::Int64), ("DisplayName", Type::LocalizedText), ("Description", Type::LocalizedText)];
const TIME_ZONE: Fields = &[("Offset", Type::Int16), ("DaylightSavingInOffset", Type::Boolean)];
const BUILD_INFO: Fields = &[
    ("ProductUri", Type::String),
    ("ManufacturerName", Type::String),
    ("ProductName", Type::String),
    ("SoftwareVersion", Type::String),
    ("BuildNumber", Type::String),
    ("BuildDate", Type::DateTime),
];
const SERVER_STATUS: Fields = &[
    ("StartTime", Type::DateTime),
    ("CurrentTime", Type::DateTime),
    ("State", Type::Int32),
    ("BuildInfo", Type::BuildInfo),
    ("SecondsTillShutdown", Type::UInt32),
    ("ShutdownReason", Type::LocalizedText),
];
const ARGUMENT: Fields = &[
    ("Name", Type::String),
    ("DataType", Type::NodeId),
    ("ValueRank", Type::Int32),
    ("ArrayDimensions", Type::UInt32),
    ("Description", Type::LocalizedText),
];
const XV: Fields = &[("X", Type::Double), ("Value", Type::Float)];
const COMPLEX: Fields = &[("Real", Type::Float), ("Imaginary", Type::Float)];
const DOUBLE_COMPLEX: Fields = &[("Real", Type::Double), ("Imaginary", Type::Double)];
const POINT: Fields = &[("X", Type::Double), ("Y", Type::Double), ("Z", Type::Double)];
const ORIENTATION: Fields = &[("A", Type::Double), ("B", Type::Double), ("C", Type::Double)];
const FRAME: Fields =
    &[("CartesianCoordinates", Type::ThreeDCartesianCoordinates), ("Orientation", Type::ThreeDOrientation)];

/// What a structure of OPC UA itself is made of, where it is one of those.
pub(crate) fn definition(id: &NodeId) -> Option<StructureDefinition> {
    let fields = match id.as_data_type_id().ok()? {
        Type::Range => RANGE,
        Type::EUInformation => UNIT,
        Type::EnumValueType => ENUM_VALUE,
        Type::TimeZoneDataType => TIME_ZONE,
        Type::BuildInfo => BUILD_INFO,
        Type::ServerStatusDataType => SERVER_STATUS,
        Type::Argument => ARGUMENT,
        Type::XVType => XV,
        Type::ComplexNumberType => COMPLEX,
        Type::DoubleComplexNumberType => DOUBLE_COMPLEX,
        Type::ThreeDVector | Type::ThreeDCartesianCoordinates => POINT,
        Type::ThreeDOrientation => ORIENTATION,
        Type::ThreeDFrame => FRAME,
        _ => return None,
    };
    let field = |(name, data_type): &(&str, Type)| StructureField {
        name: (*name).into(),
        data_type: NodeId::from(*data_type),
        value_rank: if *name == "ArrayDimensions" { 1 } else { -1 },
        ..StructureField::default()
    };
    Some(StructureDefinition {
        structure_type: StructureType::Structure,
        base_data_type: NodeId::from(Type::Structure),
        fields: Some(fields.iter().map(field).collect()),
        ..StructureDefinition::default()
    })
}
