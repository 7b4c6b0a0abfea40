//! Messages as Neuron publishes them in its values format:
//!
//! `{"timestamp":1700000000000,"node":"meter-1","group":"fast","values":{"voltage_l1":229.8},"errors":{"setpoint":3000},"metas":{}}`
//!
//! An error is one of Neuron's numbers. It has none for a doubtful value, so that is an error there and not a value.

use tidegate_codec::json;
use tidegate_model::{Column, Reason, Row, Slot, Timestamp};

use super::{integer, is_no_number, key};

/// Some samples of a row.
pub(crate) fn row<'a>(
    row: &Row,
    samples: impl Iterator<Item = (&'a Column, &'a Slot)> + Clone,
    time: Timestamp,
    out: &mut Vec<u8>,
) -> bool {
    if samples.clone().all(|(_, slot)| *slot == Slot::Unchanged) {
        return false;
    }
    out.extend_from_slice(b"{\"timestamp\":");
    integer(time.as_millis(), out);
    key("node", &mut false, out);
    json::text(row.stream.device().as_str(), out);
    key("group", &mut false, out);
    json::text(row.stream.group().as_str(), out);
    out.extend_from_slice(b",\"values\":{");
    let mut first = true;
    for (column, slot) in samples.clone() {
        if let Slot::Good(value) = slot
            && !is_no_number(value)
        {
            key(column.name.as_str(), &mut first, out);
            json::value(value, out);
        }
    }
    out.extend_from_slice(b"},\"errors\":{");
    let mut first = true;
    for (column, slot) in samples {
        if let Some(number) = error(slot) {
            key(column.name.as_str(), &mut first, out);
            integer(number, out);
        }
    }
    out.extend_from_slice(b"},\"metas\":{}}");
    true
}

fn error(slot: &Slot) -> Option<i64> {
    match slot {
        Slot::Unchanged => None,
        Slot::Good(value) => is_no_number(value).then_some(READ_FAILURE),
        Slot::Uncertain(_, reason) | Slot::Bad(reason) => Some(number(*reason)),
    }
}

const NO_SUCH_TAG: i64 = 2201;
const READ_FAILURE: i64 = 3000;
const DISCONNECTED: i64 = 3002;
const WRONG_TYPE: i64 = 3007;
const EXPIRED: i64 = 3008;
const NOT_READY: i64 = 3011;

/// Neuron's number for what comes nearest to the reason.
fn number(reason: Reason) -> i64 {
    match reason {
        Reason::Disconnected => DISCONNECTED,
        Reason::BadAddress => NO_SUCH_TAG,
        Reason::Stale => EXPIRED,
        Reason::NotYetRead => NOT_READY,
        Reason::InvalidValue => WRONG_TYPE,
        Reason::Timeout | Reason::DeviceFault | Reason::OutOfRange | Reason::NoResult => READ_FAILURE,
    }
}
