//! Where one packet ends and the next begins (MQTT 5.0 §2.1).

use bytes::BytesMut;

use super::Fault;

/// One whole packet.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Bytes before the variable header.
    header: usize,
    bytes: BytesMut,
}

impl Frame {
    /// The type of the packet, 0 to 15.
    pub(crate) fn kind(&self) -> u8 {
        self.bytes.first().map_or(0, |byte| byte >> 4)
    }

    /// The four bits beside the type.
    pub(crate) fn flags(&self) -> u8 {
        self.bytes.first().map_or(0, |byte| byte & 0x0F)
    }

    /// What follows the fixed header.
    pub(crate) fn body(&self) -> &[u8] {
        self.bytes.get(self.header..).unwrap_or_default()
    }

    /// The packet with its fixed header.
    pub(crate) fn into_bytes(self) -> BytesMut {
        self.bytes
    }
}

/// Takes the next packet from what has arrived; `None` while it is not whole.
///
/// # Errors
///
/// [`Fault::Malformed`] when the length is none, [`Fault::TooLarge`] when the packet has more than `limit` bytes; that
/// is known before it has arrived.
pub(crate) fn next_frame(buffer: &mut BytesMut, limit: usize) -> Result<Option<Frame>, Fault> {
    let Some((length, digits)) = variable_integer(buffer.get(1..).unwrap_or_default())? else { return Ok(None) };
    let header = 1 + digits;
    let whole = header + length;
    if whole > limit {
        return Err(Fault::TooLarge);
    }
    if buffer.len() < whole {
        return Ok(None);
    }
    Ok(Some(Frame { header, bytes: buffer.split_to(whole) }))
}

/// A variable byte integer and how many bytes it has; `None` while it is not whole.
pub(super) fn variable_integer(bytes: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Fault::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_packet_waits_for_its_rest() {
        let packet = [0x30, 0x05, 0x00, 0x01, b'a', b'h', b'i', 0xC0];
        for cut in 0..7 {
            let mut buffer = BytesMut::from(&packet[..cut]);
            assert!(next_frame(&mut buffer, 100).unwrap().is_none(), "{cut}");
            assert_eq!(buffer.len(), cut);
        }
        let mut buffer = BytesMut::from(&packet[..]);
        let frame = next_frame(&mut buffer, 100).unwrap().unwrap();
        assert_eq!((frame.kind(), frame.flags(), frame.body()), (3, 0, &packet[2..7]));
        assert_eq!(&buffer[..], [0xC0]);
    }

    #[test]
    fn lengths_have_one_to_four_bytes() {
        for (bytes, length) in [
            (&[0x00][..], 0),
            (&[0x7F], 127),
            (&[0x80, 0x01], 128),
            (&[0xFF, 0xFF, 0x7F], 2_097_151),
            (&[0xFF, 0xFF, 0xFF, 0x7F], 268_435_455),
        ] {
            assert_eq!(variable_integer(bytes), Ok(Some((length, bytes.len()))));
        }
        assert_eq!(variable_integer(&[0x80, 0x80, 0x80]), Ok(None));
        assert_eq!(variable_integer(&[0x80, 0x80, 0x80, 0x80]), Err(Fault::Malformed));
    }

    #[test]
    fn a_packet_that_is_too_large_is_known_by_its_header() {
        let mut buffer = BytesMut::from(&[0x30, 0xFF, 0xFF, 0x7F][..]);
        assert_eq!(next_frame(&mut buffer, 1024).unwrap_err(), Fault::TooLarge);
    }
}
