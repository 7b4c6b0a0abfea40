//! The frame of Modbus TCP (Modbus Messaging on TCP/IP Implementation Guide 1.0b §3.1.3).

/// Bytes before the unit: transaction, protocol, length.
const PREFIX: usize = 6;
/// Largest value of the length field: the unit and a protocol data unit of 253 bytes.
const LONGEST: u16 = 254;

/// One request as it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    /// The client's number for the exchange.
    pub(crate) transaction: u16,
    /// The device behind the connection.
    pub(crate) unit: u8,
    /// Function code and data.
    pub(crate) pdu: &'a [u8],
}

/// What stands at the begin of the received bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// A whole frame, and how many bytes it took.
    Frame(Request<'a>, usize),
    /// The begin of a frame.
    NeedMore,
    /// No Modbus frame; where the next one would begin is unknown, so the connection is over.
    Broken,
}

/// Reads the first frame of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let Some((&[t0, t1, p0, p1, l0, l1], rest)) = bytes.split_first_chunk::<PREFIX>() else { return Parsed::NeedMore };
    let length = u16::from_be_bytes([l0, l1]);
    if [p0, p1] != [0, 0] || !(2..=LONGEST).contains(&length) {
        return Parsed::Broken;
    }
    let length = usize::from(length);
    match rest.get(..length).and_then(<[u8]>::split_first) {
        Some((&unit, pdu)) => {
            Parsed::Frame(Request { transaction: u16::from_be_bytes([t0, t1]), unit, pdu }, PREFIX + length)
        }
        None => Parsed::NeedMore,
    }
}

/// Appends a frame; `pdu` writes function code and data behind it. Returns where in `out` the frame begins.
pub(crate) fn write(out: &mut Vec<u8>, transaction: u16, unit: u8, pdu: impl FnOnce(&mut Vec<u8>)) -> usize {
    let begin = out.len();
    let [t0, t1] = transaction.to_be_bytes();
    out.extend_from_slice(&[t0, t1, 0, 0, 0, 0, unit]);
    pdu(out);
    let length = out.len() - begin - PREFIX;
    let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    if let Some(field) = out.get_mut(begin + 4..begin + 6) {
        field.copy_from_slice(&length);
    }
    begin
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of Modbus Messaging on TCP/IP Implementation Guide 1.0b §4.4.2: read register 5 of unit 0xFF.
    const READ: [u8; 12] = [0x15, 0x01, 0x00, 0x00, 0x00, 0x06, 0xff, 0x03, 0x00, 0x04, 0x00, 0x01];

    #[test]
    fn a_whole_frame_is_read() {
        let request = Request { transaction: 0x1501, unit: 0xff, pdu: &[0x03, 0x00, 0x04, 0x00, 0x01] };
        assert_eq!(parse(&READ), Parsed::Frame(request, READ.len()));
    }

    #[test]
    fn a_frame_cut_at_any_byte_waits_for_more() {
        for cut in 0..READ.len() {
            assert_eq!(parse(&READ[..cut]), Parsed::NeedMore, "cut at {cut}");
        }
    }

    #[test]
    fn a_foreign_protocol_or_an_impossible_length_is_broken() {
        for (at, value) in [(2, 1), (3, 1), (4, 1), (5, 0), (5, 1), (5, 255)] {
            let mut bytes = READ;
            bytes[at] = value;
            assert_eq!(parse(&bytes), Parsed::Broken, "byte {at} = {value}");
        }
    }

    #[test]
    fn a_written_frame_is_read_as_the_same() {
        let mut out = vec![0xaa];
        let begin = write(&mut out, 0x1501, 0xff, |out| out.extend_from_slice(&READ[7..]));
        assert_eq!(begin, 1);
        assert_eq!(&out[1..], READ);
    }
}
