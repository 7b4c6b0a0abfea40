//! The ability to write: one request, sent once, confirmed by its echo.

use tidegate_driver_api::{Cx, Lost, Poll, Writer, Written, async_trait, model::Value};

use crate::{
    Encoded, Point, WriteWith,
    session::TcpSession,
    wire::{Answer, Header, Request},
};

#[async_trait]
impl Writer for TcpSession<'_> {
    async fn write(&mut self, cx: &Cx, poll: Poll, column: usize, raw: &Value) -> Result<Written, Lost> {
        let Some((device, transaction)) = self.link.request_to(poll.device) else {
            return Ok(Written::Refused("there is no such device".to_owned()));
        };
        let Some(point) = device.plan.group(poll.group).and_then(|group| group.writable(column)) else {
            return Ok(Written::Refused("the tag may not be written".to_owned()));
        };
        let encoded = match point.encode(raw) {
            Ok(encoded) => encoded,
            Err(refusal) => return Ok(Written::Refused(refusal.to_string())),
        };
        let Some(request) = request(point, &encoded) else {
            return Ok(Written::Refused(
                "the tag cannot be written with the request that its profile chose".to_owned(),
            ));
        };
        let header = Header { transaction, unit: device.unit };
        let turnaround = device.plan.quirks().turnaround;
        let answer = match self.connection.exchange(cx, header, &request, turnaround).await {
            Ok(answer) => answer,
            Err(fault) => return Err(fault.lost(&device.describe(), &request.to_string(), cx.timeout())),
        };
        Ok(match answer {
            Answer::Written => Written::Confirmed,
            Answer::Data(data) => read_back(point, &encoded, data),
            Answer::Exception(exception) if exception.leaves_open() => {
                Written::Unknown(format!("{} answered {request} with {exception}", device.describe()))
            }
            Answer::Exception(exception) => {
                Written::Refused(format!("{} answered {request} with {exception}", device.describe()))
            }
        })
    }
}

/// The request that writes what was encoded; `None` when the two do not go together, which the profile's check prevents.
fn request<'e>(point: &Point, encoded: &'e Encoded) -> Option<Request<'e>> {
    let address = point.address();
    Some(match (point.write()?, encoded) {
        (WriteWith::Single, Encoded::Coils(values)) => {
            let [on] = values.as_slice() else { return None };
            Request::WriteCoil { address, on: *on }
        }
        (WriteWith::Single, Encoded::Registers(values)) => {
            let [value] = values.as_slice() else { return None };
            Request::WriteRegister { address, value: *value }
        }
        (WriteWith::Multiple, Encoded::Coils(values)) => Request::WriteCoils { address, values },
        (WriteWith::Multiple, Encoded::Registers(values)) => Request::WriteRegisters { address, values },
        (WriteWith::ReadWrite, Encoded::Registers(values)) => Request::WriteAndRead { address, values },
        (WriteWith::Mask, Encoded::Part { keep, set }) => Request::MaskRegister { address, keep: *keep, set: *set },
        _ => return None,
    })
}

/// What became of a write whose registers came back with the answer. A device that holds something else has not refused it:
/// it may have bounded the value, or be about to take it.
fn read_back(point: &Point, encoded: &Encoded, data: &[u8]) -> Written {
    let Encoded::Registers(sent) = encoded else { return Written::Confirmed };
    let held = data.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair));
    if held.eq(sent.iter().copied()) {
        return Written::Confirmed;
    }
    let value = match point.items() {
        None => point.format().decode(data),
        Some(items) => point.format().decode_array(data, items),
    };
    let holds =
        value.map_or_else(|| "something that is no value of its type".to_owned(), |value| crate::encode::shown(&value));
    Written::Unknown(format!("the device took the request, but reads back {holds}"))
}
