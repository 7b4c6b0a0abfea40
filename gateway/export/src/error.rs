//! Why rows could not be written to a file.

use tidegate_model::TagName;

/// Why rows could not be written. The text completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file, or the program behind the pipe, does not take the bytes.
    #[error("write: {0}")]
    Write(#[from] std::io::Error),
    /// The Parquet library has failed.
    #[error("write Parquet: {detail}")]
    Parquet {
        /// What the library says.
        detail: String,
    },
    /// Rows could not be packed into a block.
    #[error("pack rows into a block: {0}")]
    Block(#[from] tidegate_codec::block::BlockError),
    /// A table cannot have two columns of one name.
    #[error("make a table: the tag {name} is in it twice")]
    TagTwice {
        /// The tag.
        name: TagName,
    },
}

impl From<::parquet::errors::ParquetError> for ExportError {
    fn from(error: ::parquet::errors::ParquetError) -> ExportError {
        ExportError::Parquet { detail: error.to_string() }
    }
}
