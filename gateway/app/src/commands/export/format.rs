//! The kinds of files.

use tidegate_export::Format;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum FileFormat {
    /// Comma-separated values, a line of names first.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// Blocks with their schemas, for `tidegate block decode` and the decoder in Python.
    Block,
}

impl FileFormat {
    /// The format of a table; blocks have none.
    pub(super) fn of_table(self) -> Option<Format> {
        match self {
            FileFormat::Csv => Some(Format::Csv),
            FileFormat::Jsonl => Some(Format::JsonLines),
            FileFormat::Parquet => Some(Format::Parquet),
            FileFormat::Block => None,
        }
    }

    /// What the names of its files end with.
    pub(super) fn extension(self) -> &'static str {
        self.of_table().map_or("tgb", Format::as_str)
    }

    /// Whether a file can hold rows of several groups.
    pub(super) fn mixes_groups(self) -> bool {
        self.of_table().is_none_or(Format::mixes_groups)
    }

    /// Whether a file can hold a tag only as long as its type stays.
    pub(super) fn is_typed(self) -> bool {
        self.of_table().is_some_and(Format::is_typed)
    }

    /// Its name for people, when it is nothing to look at.
    pub(super) fn binary(self) -> Option<&'static str> {
        match self {
            FileFormat::Csv | FileFormat::Jsonl => None,
            FileFormat::Parquet => Some("Parquet is"),
            FileFormat::Block => Some("blocks are"),
        }
    }
}
