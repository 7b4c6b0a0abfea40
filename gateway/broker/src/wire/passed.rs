//! The properties of a message that go on to its subscribers (MQTT 5.0 §3.3.2.3).

use bytes::{BufMut, Bytes};

use super::{
    Fault,
    properties::{Property, Value, id, next, read_all},
    reader::Reader,
};
use crate::topic;

/// Properties that are passed on: payload format, content type, response topic, correlation data and user properties, in
/// the order and as the bytes in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Passed(Bytes);

impl Passed {
    /// No properties.
    pub(crate) const NONE: Passed = Passed(Bytes::new());

    /// The properties one after the other, without their length.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Properties that were [`Passed::bytes`] once; `None` when they cannot have been.
    pub(crate) fn read(bytes: Bytes) -> Option<Passed> {
        read_all(Reader::new(&bytes), &PASSED, |property| check(&property)).ok()?;
        Some(Passed(bytes))
    }

    /// Properties that say `data` alone, which may have 65,535 bytes.
    pub(crate) fn correlation_alone(data: &[u8]) -> Passed {
        let mut bytes = Vec::with_capacity(3 + data.len());
        if let Ok(length) = u16::try_from(data.len()) {
            bytes.put_u8(id::CORRELATION_DATA);
            bytes.put_u16(length);
            bytes.put_slice(data);
        }
        Passed(bytes.into())
    }

    /// Where the publisher wants an answer.
    pub(crate) fn response_topic(&self) -> Option<&str> {
        match self.find(id::RESPONSE_TOPIC)? {
            Value::Text(topic) => Some(topic),
            _ => None,
        }
    }

    /// What the publisher wants back with the answer.
    pub(crate) fn correlation(&self) -> Option<Bytes> {
        match self.find(id::CORRELATION_DATA)? {
            Value::Data(data) => Some(self.0.slice_ref(data)),
            _ => None,
        }
    }

    fn find(&self, id: u8) -> Option<Value<'_>> {
        let mut reader = Reader::new(&self.0);
        while !reader.is_at_end() {
            let property = next(&mut reader).ok()?;
            if property.id == id {
                return Some(property.value);
            }
        }
        None
    }
}

/// Collects the properties of a packet that are passed on.
#[derive(Debug, Default)]
pub(super) struct Collected(Vec<u8>);

impl Collected {
    /// Adds a property, if it is one that is passed on; says whether it is.
    pub(super) fn add(&mut self, property: &Property<'_>) -> Result<bool, Fault> {
        if !is_passed(property.id) {
            return Ok(false);
        }
        check(property)?;
        self.0.extend_from_slice(property.raw);
        Ok(true)
    }

    pub(super) fn passed(self) -> Passed {
        Passed(self.0.into())
    }
}

/// Beside user properties.
const PASSED: [u8; 4] = [id::PAYLOAD_FORMAT, id::CONTENT_TYPE, id::RESPONSE_TOPIC, id::CORRELATION_DATA];

fn is_passed(found: u8) -> bool {
    found == id::USER_PROPERTY || PASSED.contains(&found)
}

/// Checks what is more than a type.
fn check(property: &Property<'_>) -> Result<(), Fault> {
    match (property.id, &property.value) {
        (id::PAYLOAD_FORMAT, value) => value.flag().map(|_| ()),
        // MQTT 5.0 §3.3.2.3.5.
        (id::RESPONSE_TOPIC, Value::Text(text)) if !topic::is_topic(text) => {
            Err(Fault::protocol("a response topic is empty or has a wildcard in it"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on_is_found_among_the_rest() {
        let bytes = Bytes::from_static(b"\x26\0\x01k\0\x01v\x01\x01\x08\0\x01r\x09\0\x02\0\xFF");
        let passed = Passed::read(bytes.clone()).unwrap();
        assert_eq!(passed.bytes(), &bytes[..]);
        assert_eq!(passed.response_topic(), Some("r"));
        assert_eq!(passed.correlation().unwrap(), &[0, 0xFF][..]);
        assert_eq!(Passed::default().response_topic(), None);
        assert_eq!(Passed::correlation_alone(b"x").correlation().unwrap(), "x");
    }

    #[test]
    fn what_cannot_have_been_passed_on_is_not_read() {
        for bad in [&b"\x02\0\0\0\x01"[..], b"\x08\0\x01#", b"\x01\x02", b"\x03\0\x05a", b"\x7F", b"\x01\x01\x01\x00"] {
            assert_eq!(Passed::read(Bytes::copy_from_slice(bad)), None, "{bad:02x?}");
        }
    }
}
