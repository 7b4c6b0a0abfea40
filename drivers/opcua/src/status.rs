//! What a status code of OPC UA means for a tag.

use opcua::types::StatusCode;
use tidegate_driver_api::model::Reason;

/// Bits of a status code that say what it is; the others are about the value's limits and the sample.
const CODE: u32 = 0xFFFF_0000;

/// Whether codes say the same, whatever their additional bits.
pub(crate) fn same(status: StatusCode, code: StatusCode) -> bool {
    status.bits() & CODE == code.bits() & CODE
}

/// Why a tag whose value has this bad status has none.
pub(crate) fn bad(status: StatusCode) -> Reason {
    if is_bad_address(status) {
        return Reason::BadAddress;
    }
    let is = |codes: &[StatusCode]| codes.iter().any(|code| same(status, *code));
    if is(&[StatusCode::BadWaitingForInitialData, StatusCode::BadNoData]) {
        Reason::NotYetRead
    } else if is(&[StatusCode::BadNoCommunication, StatusCode::BadNotConnected, StatusCode::BadCommunicationError]) {
        Reason::Disconnected
    } else if is(&[StatusCode::BadTimeout, StatusCode::BadRequestTimeout]) {
        Reason::Timeout
    } else if is(&[StatusCode::BadOutOfRange]) {
        Reason::OutOfRange
    } else if is(&[StatusCode::BadTypeMismatch, StatusCode::BadDecodingError, StatusCode::BadDataEncodingInvalid]) {
        Reason::InvalidValue
    } else {
        Reason::DeviceFault
    }
}

/// Why a value with this uncertain status is doubtful.
pub(crate) fn uncertain(status: StatusCode) -> Reason {
    let is = |codes: &[StatusCode]| codes.iter().any(|code| same(status, *code));
    if is(&[StatusCode::UncertainEngineeringUnitsExceeded]) {
        Reason::OutOfRange
    } else if is(&[
        StatusCode::UncertainLastUsableValue,
        StatusCode::UncertainNoCommunicationLastUsableValue,
        StatusCode::UncertainInitialValue,
        StatusCode::UncertainSubstituteValue,
    ]) {
        Reason::Stale
    } else {
        Reason::DeviceFault
    }
}

/// Whether the status says that the node is not there, or cannot be read by this user at all: asking again soon is no use.
pub(crate) fn is_bad_address(status: StatusCode) -> bool {
    [
        StatusCode::BadNodeIdUnknown,
        StatusCode::BadNodeIdInvalid,
        StatusCode::BadAttributeIdInvalid,
        StatusCode::BadNotReadable,
        StatusCode::BadUserAccessDenied,
        StatusCode::BadNoMatch,
        StatusCode::BadIndexRangeInvalid,
        StatusCode::BadIndexRangeNoData,
        StatusCode::BadBrowseNameInvalid,
    ]
    .into_iter()
    .any(|code| same(status, code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additional_bits_do_not_change_what_a_status_means() {
        let limited = StatusCode::BadNodeIdUnknown.set_overflow(true);
        assert_eq!(bad(limited), Reason::BadAddress);
        assert_eq!(bad(StatusCode::BadSensorFailure), Reason::DeviceFault);
        assert_eq!(uncertain(StatusCode::UncertainLastUsableValue), Reason::Stale);
    }
}
