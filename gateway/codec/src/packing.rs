//! zstd, which a build without the feature `zstd` does not have: it then writes what is not compressed and refuses what is.

/// The bytes compressed, when that makes them shorter. The error is what the library says.
pub(crate) fn compress(bytes: &[u8], level: i32) -> Result<Option<Vec<u8>>, String> {
    #[cfg(feature = "zstd")]
    {
        let compressed = zstd::bulk::compress(bytes, level).map_err(|error| error.to_string())?;
        Ok(Some(compressed).filter(|compressed| compressed.len() < bytes.len()))
    }
    #[cfg(not(feature = "zstd"))]
    {
        let _ = (bytes, level);
        Ok(None)
    }
}

/// What was compressed, at most so many bytes.
pub(crate) fn decompress(packed: &[u8], most: usize) -> Result<Vec<u8>, String> {
    #[cfg(feature = "zstd")]
    {
        zstd::bulk::decompress(packed, most).map_err(|error| error.to_string())
    }
    #[cfg(not(feature = "zstd"))]
    {
        let _ = (packed, most);
        Err("this program was built without zstd".to_owned())
    }
}
