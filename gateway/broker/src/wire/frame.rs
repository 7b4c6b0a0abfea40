//! Where one packet ends and the next begins (MQTT 5.0 §2.1).

use super::{Fault, reader::variable_integer};

/// One whole packet among the bytes that have arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    first: u8,
    body: &'a [u8],
    /// Bytes of the whole packet.
    length: usize,
}

impl<'a> Frame<'a> {
    /// The type of the packet, 0 to 15.
    pub(crate) fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// The four bits beside the type.
    pub(crate) fn flags(&self) -> u8 {
        self.first & 0x0F
    }

    /// What follows the fixed header.
    pub(crate) fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Bytes of the whole packet.
    pub(crate) fn length(&self) -> usize {
        self.length
    }
}

/// The packet at the beginning of what has arrived; `None` while it is not whole.
///
/// # Errors
///
/// A [`Fault`] when the length is none, or when the packet has more than `limit` bytes; that is known before it has
/// arrived.
pub(crate) fn frame(bytes: &[u8], limit: usize) -> Result<Option<Frame<'_>>, Fault> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    let Some((body, digits)) = variable_integer(rest)? else { return Ok(None) };
    let length = usize::try_from(body).unwrap_or(usize::MAX).saturating_add(1 + digits);
    if length > limit {
        return Err(Fault::TOO_LARGE);
    }
    let body = bytes.get(1 + digits..length);
    Ok(body.map(|body| Frame { first: *first, body, length }))
}

/// Bytes of the packet at the beginning of what has arrived, also when it is not whole; 0 while that is not known.
pub(crate) fn announced(bytes: &[u8]) -> usize {
    match variable_integer(bytes.get(1..).unwrap_or_default()) {
        Ok(Some((body, digits))) => usize::try_from(body).unwrap_or(usize::MAX).saturating_add(1 + digits),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_packet_waits_for_its_rest() {
        let packet = [0x30, 0x05, 0x00, 0x01, b'a', b'h', b'i', 0xC0];
        for cut in 0..7 {
            assert!(frame(&packet[..cut], 100).unwrap().is_none(), "{cut}");
            assert_eq!(announced(&packet[..cut]), if cut < 2 { 0 } else { 7 });
        }
        let found = frame(&packet, 100).unwrap().unwrap();
        assert_eq!((found.kind(), found.flags(), found.body(), found.length()), (3, 0, &packet[2..7], 7));
    }

    #[test]
    fn a_packet_that_is_too_large_is_known_by_its_header() {
        assert_eq!(frame(&[0x30, 0xFF, 0xFF, 0x7F], 1024).unwrap_err().code, 0x95);
        assert_eq!(frame(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], 1024).unwrap_err().code, 0x81);
    }
}
