//! Messages to bytes and back.

use prost::Message;

use crate::{
    bounds::{self, Bounds},
    wire::Payload,
};

/// Why bytes are no message. Each completes "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// It is larger than is taken.
    #[error("take a message of {bytes} bytes; at most {most} are taken")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// How many are taken.
        most: usize,
    },
    /// It has more metrics or more parts than are taken.
    #[error("take a message with that many metrics or parts")]
    TooMany,
    /// Its messages are within one another too deeply.
    #[error("take a message whose parts are within one another that deeply")]
    TooDeep,
    /// It is a birth with which the node would have more than is kept of it.
    #[error("keep a birth that is beyond the limits on devices, metrics and bytes of names; nothing of it is taken")]
    Beyond,
    /// It is no Sparkplug B payload.
    #[error("read a Sparkplug B payload: {0}")]
    Malformed(String),
}

/// Reads a message.
///
/// # Errors
///
/// [`PayloadError`]; nothing is allocated for a message beyond the bounds.
pub fn decode(bytes: &[u8], bounds: Bounds) -> Result<Payload, PayloadError> {
    bounds::check(bytes, bounds)?;
    Payload::decode(bytes).map_err(|error| PayloadError::Malformed(error.to_string()))
}

/// The bytes of a message.
pub fn encode(payload: &Payload) -> Vec<u8> {
    payload.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Metric, MetricValue, PropertyContent, PropertySet, Template};

    fn message() -> Payload {
        let mut properties = PropertySet::default();
        properties.add("engUnit", crate::DataType::String, PropertyContent::String("V".to_owned()));
        let metric = Metric {
            name: Some("voltage".to_owned()),
            alias: Some(300),
            timestamp: Some(1_700_000_000_000),
            datatype: Some(10),
            is_historical: Some(true),
            properties: Some(properties),
            value: Some(MetricValue::Double(229.8)),
            ..Metric::default()
        };
        Payload { timestamp: Some(1), metrics: vec![metric], seq: Some(7), ..Payload::default() }
    }

    /// Written by hand from the field numbers of §6.4.1.
    #[test]
    fn a_message_is_the_bytes_that_the_field_numbers_say() {
        let expected: [&[u8]; 12] = [
            &[0x08, 0x01],
            &[0x12, 50, 0x0A, 7],
            b"voltage",
            &[0x10, 0xAC, 0x02, 0x18, 0x80, 0xD0, 0x95, 0xFF, 0xBC, 0x31],
            &[0x20, 0x0A],
            &[0x28, 0x01],
            &[0x4A, 16, 0x0A, 7],
            b"engUnit",
            &[0x12, 5, 0x08, 0x0C, 0x42, 0x01, b'V'],
            &[0x69],
            &229.8_f64.to_le_bytes(),
            &[0x18, 0x07],
        ];
        let expected = expected.concat();
        assert_eq!(encode(&message()), expected);
        assert_eq!(decode(&expected, Bounds::default()), Ok(message()));
    }

    #[test]
    fn a_cut_at_any_byte_is_an_error_or_a_shorter_message_and_never_a_panic() {
        let bytes = encode(&message());
        for end in 0..bytes.len() {
            if let Ok(cut) = decode(&bytes[..end], Bounds::default()) {
                assert_ne!(cut, message(), "cut at {end}");
            }
        }
    }

    #[test]
    fn fields_that_we_do_not_know_are_passed_over() {
        let mut bytes = encode(&message());
        // Field 99, a number; field 6 of the extensions, a text.
        bytes.extend_from_slice(&[0x98, 0x06, 0x05, 0x32, 0x02, b'h', b'i']);
        assert_eq!(decode(&bytes, Bounds::default()), Ok(message()));
    }

    #[test]
    fn a_message_beyond_the_bounds_is_refused_before_memory_is_taken_for_it() {
        let metrics = [0x12, 0x00].repeat(200_001);
        assert_eq!(decode(&metrics, Bounds::default()), Err(PayloadError::TooMany));
        // A metric with a table of a million empty rows.
        let rows = [0x22, 0x00].repeat(1_000_001);
        let mut table = vec![0x12, 0x87, 0x89, 0x7A, 0x8A, 0x01, 0x82, 0x89, 0x7A];
        table.extend_from_slice(&rows);
        assert_eq!(decode(&table, Bounds::default()), Err(PayloadError::TooMany));
        let small = Bounds { bytes: 10, ..Bounds::default() };
        assert_eq!(decode(&[0; 11], small), Err(PayloadError::TooLarge { bytes: 11, most: 10 }));
    }

    #[test]
    fn structures_within_structures_end_somewhere() {
        let mut metric = Metric { name: Some("end".to_owned()), ..Metric::default() };
        for depth in 0..40 {
            let payload = Payload { metrics: vec![metric.clone()], ..Payload::default() };
            let read = decode(&encode(&payload), Bounds::default());
            assert_eq!(read.is_ok(), depth < 8, "{depth} deep: {read:?}");
            let template = Template { metrics: vec![metric], ..Template::default() };
            metric = Metric { value: Some(MetricValue::Template(template)), ..Metric::default() };
        }
    }

    #[test]
    fn a_name_that_is_not_utf8_is_malformed() {
        assert!(matches!(decode(&[0x12, 3, 0x0A, 1, 0xFF], Bounds::default()), Err(PayloadError::Malformed(_))));
    }
}
