//! The messages on the wire, field by field as the protobuf definition of Sparkplug B numbers them.
//!
//! Fields that Sparkplug leaves to extensions of third parties are passed over when they come. Types and values are as they lie
//! on the wire; what they mean is in `datatype`, `value`, `array` and `dataset`.

/// A message as a whole. Source: Sparkplug 3.0.0 §6.4.1.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Payload {
    /// When it was sent, in Unix milliseconds.
    #[prost(uint64, optional, tag = "1")]
    pub timestamp: Option<u64>,
    /// What it says.
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
    /// Number of the message among those of its edge node, 0 to 255 in a circle.
    #[prost(uint64, optional, tag = "3")]
    pub seq: Option<u64>,
    /// Names the schema of `body`.
    #[prost(string, optional, tag = "4")]
    pub uuid: Option<String>,
    /// Anything else, in place of metrics.
    #[prost(bytes = "vec", optional, tag = "5")]
    pub body: Option<Vec<u8>>,
}

/// One metric: its value, or that it has none.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Metric {
    /// Its name; in births, and wherever there is no alias.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// A number for its name, given in a birth.
    #[prost(uint64, optional, tag = "2")]
    pub alias: Option<u64>,
    /// When the value was taken, in Unix milliseconds.
    #[prost(uint64, optional, tag = "3")]
    pub timestamp: Option<u64>,
    /// The code of a [`DataType`](crate::DataType); in births.
    #[prost(uint32, optional, tag = "4")]
    pub datatype: Option<u32>,
    /// Whether it is of the past and must not change what is shown as the present value.
    #[prost(bool, optional, tag = "5")]
    pub is_historical: Option<bool>,
    /// Whether it is not worth being stored.
    #[prost(bool, optional, tag = "6")]
    pub is_transient: Option<bool>,
    /// Whether it has no value.
    #[prost(bool, optional, tag = "7")]
    pub is_null: Option<bool>,
    /// What is to be known of a file or of a long value.
    #[prost(message, optional, tag = "8")]
    pub metadata: Option<MetaData>,
    /// Its properties: unit, range, quality.
    #[prost(message, optional, tag = "9")]
    pub properties: Option<PropertySet>,
    /// The value.
    #[prost(oneof = "MetricValue", tags = "10, 11, 12, 13, 14, 15, 16, 17, 18")]
    pub value: Option<MetricValue>,
}

/// The value of a metric.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum MetricValue {
    /// Integers of up to 32 bits.
    #[prost(uint32, tag = "10")]
    Int(u32),
    /// Integers of 64 bits, and times.
    #[prost(uint64, tag = "11")]
    Long(u64),
    /// A 32-bit float.
    #[prost(float, tag = "12")]
    Float(f32),
    /// A 64-bit float.
    #[prost(double, tag = "13")]
    Double(f64),
    /// True or false.
    #[prost(bool, tag = "14")]
    Boolean(bool),
    /// A text.
    #[prost(string, tag = "15")]
    String(String),
    /// Bytes, files and arrays.
    #[prost(bytes = "vec", tag = "16")]
    Bytes(Vec<u8>),
    /// A table.
    #[prost(message, tag = "17")]
    DataSet(DataSet),
    /// A structure, or the definition of one.
    #[prost(message, tag = "18")]
    Template(Template),
}

/// What is to be known of a file or of a long value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MetaData {
    /// Whether the value comes in parts.
    #[prost(bool, optional, tag = "1")]
    pub is_multi_part: Option<bool>,
    /// Its media type.
    #[prost(string, optional, tag = "2")]
    pub content_type: Option<String>,
    /// Its size in bytes.
    #[prost(uint64, optional, tag = "3")]
    pub size: Option<u64>,
    /// Which part it is.
    #[prost(uint64, optional, tag = "4")]
    pub seq: Option<u64>,
    /// Name of the file.
    #[prost(string, optional, tag = "5")]
    pub file_name: Option<String>,
    /// Kind of the file (`xml`, `json`).
    #[prost(string, optional, tag = "6")]
    pub file_type: Option<String>,
    /// MD5 of the bytes.
    #[prost(string, optional, tag = "7")]
    pub md5: Option<String>,
    /// Anything else.
    #[prost(string, optional, tag = "8")]
    pub description: Option<String>,
}

/// Names and values of properties, one of each for the other.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PropertySet {
    /// The names.
    #[prost(string, repeated, tag = "1")]
    pub keys: Vec<String>,
    /// The values, in the order of the names.
    #[prost(message, repeated, tag = "2")]
    pub values: Vec<PropertyValue>,
}

/// The value of a property.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PropertyValue {
    /// The code of a [`DataType`](crate::DataType).
    #[prost(uint32, optional, tag = "1")]
    pub datatype: Option<u32>,
    /// Whether it has no value.
    #[prost(bool, optional, tag = "2")]
    pub is_null: Option<bool>,
    /// The value.
    #[prost(oneof = "PropertyContent", tags = "3, 4, 5, 6, 7, 8, 9, 10")]
    pub value: Option<PropertyContent>,
}

/// What a property may be, and a parameter but for the sets.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum PropertyContent {
    /// Integers of up to 32 bits.
    #[prost(uint32, tag = "3")]
    Int(u32),
    /// Integers of 64 bits, and times.
    #[prost(uint64, tag = "4")]
    Long(u64),
    /// A 32-bit float.
    #[prost(float, tag = "5")]
    Float(f32),
    /// A 64-bit float.
    #[prost(double, tag = "6")]
    Double(f64),
    /// True or false.
    #[prost(bool, tag = "7")]
    Boolean(bool),
    /// A text.
    #[prost(string, tag = "8")]
    String(String),
    /// Properties of the property.
    #[prost(message, tag = "9")]
    Set(PropertySet),
    /// Several of them.
    #[prost(message, tag = "10")]
    Sets(PropertySetList),
}

/// Several sets of properties.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PropertySetList {
    /// The sets.
    #[prost(message, repeated, tag = "1")]
    pub sets: Vec<PropertySet>,
}

/// A table.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DataSet {
    /// How many columns it has.
    #[prost(uint64, optional, tag = "1")]
    pub num_of_columns: Option<u64>,
    /// Their names.
    #[prost(string, repeated, tag = "2")]
    pub columns: Vec<String>,
    /// Their types, as codes of [`DataType`](crate::DataType).
    #[prost(uint32, repeated, packed = "false", tag = "3")]
    pub types: Vec<u32>,
    /// Its rows.
    #[prost(message, repeated, tag = "4")]
    pub rows: Vec<DataSetRow>,
}

/// A row of a table.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DataSetRow {
    /// One element a column.
    #[prost(message, repeated, tag = "1")]
    pub elements: Vec<DataSetValue>,
}

/// One element of a table.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DataSetValue {
    /// The value; none where there is none.
    #[prost(oneof = "PlainValue", tags = "1, 2, 3, 4, 5, 6")]
    pub value: Option<PlainValue>,
}

/// What an element of a table may be.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum PlainValue {
    /// Integers of up to 32 bits.
    #[prost(uint32, tag = "1")]
    Int(u32),
    /// Integers of 64 bits, and times.
    #[prost(uint64, tag = "2")]
    Long(u64),
    /// A 32-bit float.
    #[prost(float, tag = "3")]
    Float(f32),
    /// A 64-bit float.
    #[prost(double, tag = "4")]
    Double(f64),
    /// True or false.
    #[prost(bool, tag = "5")]
    Boolean(bool),
    /// A text.
    #[prost(string, tag = "6")]
    String(String),
}

/// A structure, or the definition of one.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Template {
    /// Version of the definition.
    #[prost(string, optional, tag = "1")]
    pub version: Option<String>,
    /// Its members.
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
    /// Its parameters.
    #[prost(message, repeated, tag = "3")]
    pub parameters: Vec<Parameter>,
    /// Which definition an instance is of.
    #[prost(string, optional, tag = "4")]
    pub template_ref: Option<String>,
    /// Whether it is a definition.
    #[prost(bool, optional, tag = "5")]
    pub is_definition: Option<bool>,
}

/// A parameter of a structure.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Parameter {
    /// Its name.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// The code of a [`DataType`](crate::DataType).
    #[prost(uint32, optional, tag = "2")]
    pub datatype: Option<u32>,
    /// The value.
    #[prost(oneof = "PropertyContent", tags = "3, 4, 5, 6, 7, 8")]
    pub value: Option<PropertyContent>,
}
