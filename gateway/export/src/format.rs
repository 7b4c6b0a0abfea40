//! The formats that there are.

use std::fmt;

/// A format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Comma-separated values (RFC 4180), with a line of names at the beginning.
    Csv,
    /// One JSON object a line, as on the topics.
    JsonLines,
    /// Apache Parquet, compressed with zstd.
    Parquet,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 3] = [Format::Csv, Format::JsonLines, Format::Parquet];

    /// Its name on the command line, which is also the extension of its files: `csv`, `jsonl`, `parquet`.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::JsonLines => "jsonl",
            Format::Parquet => "parquet",
        }
    }

    /// Whether a file of it can hold rows of several groups.
    pub fn mixes_groups(self) -> bool {
        self == Format::JsonLines
    }

    /// Whether its columns have types, so that a file can hold a tag only as long as its type stays.
    pub fn is_typed(self) -> bool {
        self == Format::Parquet
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
