//! The data types of the wire (MQTT 5.0 §1.5).

use super::Fault;

/// Reads from the front of a packet's body. Everything that is missing or wrong is a [`Fault`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Reader<'a> {
        Reader { rest }
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// So many bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Fault::CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Fault> {
        let (byte, rest) = self.rest.split_first().ok_or(Fault::CUT)?;
        self.rest = rest;
        Ok(*byte)
    }

    pub(crate) fn two(&mut self) -> Result<u16, Fault> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Fault::CUT)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*bytes))
    }

    pub(crate) fn four(&mut self) -> Result<u32, Fault> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Fault::CUT)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    /// A variable byte integer.
    pub(crate) fn number(&mut self) -> Result<u32, Fault> {
        let (number, digits) = variable_integer(self.rest)?.ok_or(Fault::CUT)?;
        self.take(digits)?;
        Ok(number)
    }

    /// Bytes with their length before them.
    pub(crate) fn data(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.two()?;
        self.take(length.into())
    }

    /// Text: UTF-8 without U+0000 (MQTT 5.0 §1.5.4).
    pub(crate) fn text(&mut self) -> Result<&'a str, Fault> {
        text(self.data()?)
    }

    /// A packet id, which is never 0.
    pub(crate) fn packet_id(&mut self) -> Result<u16, Fault> {
        match self.two()? {
            0 => Err(Fault::malformed("a packet id is 0")),
            id => Ok(id),
        }
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), Fault> {
        if self.is_at_end() { Ok(()) } else { Err(Fault::malformed("a packet is longer than what it says")) }
    }
}

/// Text as the standard wants it.
pub(crate) fn text(data: &[u8]) -> Result<&str, Fault> {
    match std::str::from_utf8(data) {
        Ok(text) if !data.contains(&0) => Ok(text),
        Ok(_) => Err(Fault::malformed("a text contains U+0000")),
        Err(_) => Err(Fault::malformed("a text is not UTF-8")),
    }
}

/// A variable byte integer and how many bytes it has; `None` while it is not whole.
pub(super) fn variable_integer(bytes: &[u8]) -> Result<Option<(u32, usize)>, Fault> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Fault::malformed("a length has more than four bytes")) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(variable_integer(&[0x80, 0x80, 0x80, 0x80]).unwrap_err().code, 0x81);
    }

    #[test]
    fn text_is_utf_8_without_nul() {
        assert_eq!(Reader::new(b"\0\x03a\xC3\xA9").text(), Ok("aé"));
        for bad in [&b"\0\x02\xC3\x28"[..], b"\0\x03a\0b", b"\0\x03\xED\xA0\x80", b"\0\x02a", b"\0", b""] {
            assert_eq!(Reader::new(bad).text().unwrap_err().code, 0x81, "{bad:02x?}");
        }
    }
}
