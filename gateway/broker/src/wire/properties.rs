//! The properties of MQTT 5 packets (MQTT 5.0 §2.2.2).

use super::{Fault, reader::Reader};

/// Identifiers of properties (MQTT 5.0 §2.2.2.2).
pub(crate) mod id {
    pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
    pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
    pub(crate) const CONTENT_TYPE: u8 = 0x03;
    pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
    pub(crate) const CORRELATION_DATA: u8 = 0x09;
    pub(crate) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
    pub(crate) const SESSION_EXPIRY: u8 = 0x11;
    pub(crate) const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(crate) const AUTHENTICATION_METHOD: u8 = 0x15;
    pub(crate) const AUTHENTICATION_DATA: u8 = 0x16;
    pub(crate) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub(crate) const WILL_DELAY: u8 = 0x18;
    pub(crate) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    pub(crate) const REASON_STRING: u8 = 0x1F;
    pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(crate) const TOPIC_ALIAS: u8 = 0x23;
    pub(crate) const USER_PROPERTY: u8 = 0x26;
    pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
}

/// One property.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Property<'a> {
    pub(crate) id: u8,
    pub(crate) value: Value<'a>,
    /// The whole property as it is on the wire.
    pub(crate) raw: &'a [u8],
}

/// What a property says. A pair, of which nobody here reads the parts, is only checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Number(u32),
    Data(&'a [u8]),
    Text(&'a str),
    Pair,
}

impl<'a> Value<'a> {
    /// A number, whatever its width; 0 for what is none.
    pub(crate) fn number(&self) -> u32 {
        if let Value::Number(number) = self { *number } else { 0 }
    }

    /// A flag: 0 or 1.
    pub(crate) fn flag(&self) -> Result<bool, Fault> {
        match self.number() {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Fault::protocol("a property that is 0 or 1 is something else")),
        }
    }

    /// A number of two bytes.
    pub(crate) fn two(&self) -> u16 {
        u16::try_from(self.number()).unwrap_or(u16::MAX)
    }
}

/// Reads the properties of a packet, with their length before them. Those not in `allowed` do not belong to it, and each but
/// the user property may come once.
pub(crate) fn read<'a>(
    reader: &mut Reader<'a>,
    allowed: &[u8],
    each: impl FnMut(Property<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let length = usize::try_from(reader.number()?).unwrap_or(usize::MAX);
    read_all(Reader::new(reader.take(length)?), allowed, each)
}

/// The same for properties without their length.
pub(crate) fn read_all<'a>(
    mut reader: Reader<'a>,
    allowed: &[u8],
    mut each: impl FnMut(Property<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut seen = 0_u64;
    while !reader.is_at_end() {
        let property = next(&mut reader)?;
        if property.id != id::USER_PROPERTY && !allowed.contains(&property.id) {
            return Err(Fault::protocol("a property does not belong to this packet"));
        }
        let bit = 1 << property.id;
        if seen & bit != 0 && property.id != id::USER_PROPERTY {
            return Err(Fault::protocol("a property comes twice"));
        }
        seen |= bit;
        each(property)?;
    }
    Ok(())
}

/// The next property, whichever it is.
pub(crate) fn next<'a>(reader: &mut Reader<'a>) -> Result<Property<'a>, Fault> {
    let before = reader.rest();
    let id = reader.byte()?;
    let value = match id {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => Value::Number(reader.byte()?.into()),
        0x13 | 0x21..=0x23 => Value::Number(reader.two()?.into()),
        0x02 | 0x11 | 0x18 | 0x27 => Value::Number(reader.four()?),
        0x0B => Value::Number(reader.number()?),
        0x03 | 0x08 | 0x12 | 0x15 | 0x1A | 0x1C | 0x1F => Value::Text(reader.text()?),
        0x09 | 0x16 => Value::Data(reader.data()?),
        0x26 => {
            reader.text()?;
            reader.text()?;
            Value::Pair
        }
        _ => return Err(Fault::malformed("a property has an unknown identifier")),
    };
    let raw = before.get(..before.len() - reader.rest().len()).unwrap_or_default();
    Ok(Property { id, value, raw })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(bytes: &[u8], allowed: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut ids = Vec::new();
        read(&mut Reader::new(bytes), allowed, |property| {
            ids.push(property.id);
            Ok(())
        })?;
        Ok(ids)
    }

    #[test]
    fn each_property_may_come_once_and_user_properties_often() {
        let twice = b"\x0E\x26\0\x01k\0\x01v\x26\0\x01k\0\x01v";
        assert_eq!(ids(twice, &[]), Ok(vec![0x26, 0x26]));
        assert_eq!(ids(b"\x05\x11\0\0\0\x01", &[0x11]), Ok(vec![0x11]));
        assert_eq!(ids(b"\x06\x21\0\x01\x21\0\x01", &[0x21]).unwrap_err().code, 0x82);
        assert_eq!(ids(b"\x03\x21\0\x01", &[0x22]).unwrap_err().code, 0x82);
        assert_eq!(ids(b"\x02\x7F\0", &[0x7F]).unwrap_err().code, 0x81);
        for cut in 1..twice.len() {
            assert_eq!(ids(&twice[..cut], &[]).unwrap_err().code, 0x81, "{cut}");
        }
    }
}
