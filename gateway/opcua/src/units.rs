//! Units of measurement as OPC UA knows them: UNECE Recommendation 20.

use opcua::types::{EUInformation, LocalizedText, UAString};

/// The name space of the codes below (OPC UA Part 8 §5.6.3.4).
const UNECE: &str = "http://www.opcfoundation.org/UA/units/un/cefact";

/// Units as profiles write them, with their UNECE common code.
const CODES: &[(&str, &str)] = &[
    ("%", "P1"),
    ("A", "AMP"),
    ("mA", "4K"),
    ("kA", "B22"),
    ("Ah", "AMH"),
    ("V", "VLT"),
    ("mV", "2Z"),
    ("kV", "KVT"),
    ("W", "WTT"),
    ("kW", "KWT"),
    ("MW", "MAW"),
    ("Wh", "WHR"),
    ("kWh", "KWH"),
    ("MWh", "MWH"),
    ("VA", "D46"),
    ("kVA", "KVA"),
    ("MVA", "MVA"),
    ("VAh", "K56"),
    ("kVAh", "C79"),
    ("var", "D44"),
    ("kvar", "KVR"),
    ("Mvar", "MAR"),
    ("varh", "N3"),
    ("kvarh", "KVH"),
    ("VAr", "D44"),
    ("kVAr", "KVR"),
    ("VArh", "N3"),
    ("kVArh", "KVH"),
    ("Hz", "HTZ"),
    ("kHz", "KHZ"),
    ("MHz", "MHZ"),
    ("°C", "CEL"),
    ("degC", "CEL"),
    ("℃", "CEL"),
    ("K", "KEL"),
    ("°F", "FAH"),
    ("degF", "FAH"),
    ("Pa", "PAL"),
    ("hPa", "A97"),
    ("kPa", "KPA"),
    ("MPa", "MPA"),
    ("bar", "BAR"),
    ("mbar", "MBR"),
    ("psi", "PS"),
    ("m", "MTR"),
    ("mm", "MMT"),
    ("cm", "CMT"),
    ("km", "KMT"),
    ("µm", "4H"),
    ("um", "4H"),
    ("m/s", "MTS"),
    ("mm/s", "C16"),
    ("km/h", "KMH"),
    ("m/min", "2X"),
    ("mm/min", "H81"),
    ("m/s²", "MSK"),
    ("m/s2", "MSK"),
    ("g", "GRM"),
    ("kg", "KGM"),
    ("t", "TNE"),
    ("mg", "MGM"),
    ("kg/h", "E93"),
    ("kg/s", "KGS"),
    ("l", "LTR"),
    ("L", "LTR"),
    ("ml", "MLT"),
    ("m³", "MTQ"),
    ("m3", "MTQ"),
    ("l/h", "E32"),
    ("l/min", "L2"),
    ("l/s", "G51"),
    ("m³/h", "MQH"),
    ("m3/h", "MQH"),
    ("m³/s", "MQS"),
    ("m3/s", "MQS"),
    ("s", "SEC"),
    ("ms", "C26"),
    ("µs", "B98"),
    ("us", "B98"),
    ("min", "MIN"),
    ("h", "HUR"),
    ("d", "DAY"),
    ("rpm", "RPM"),
    ("1/min", "RPM"),
    ("min⁻¹", "RPM"),
    ("N", "NEW"),
    ("kN", "B47"),
    ("Nm", "NU"),
    ("kNm", "B48"),
    ("J", "JOU"),
    ("kJ", "KJO"),
    ("MJ", "3B"),
    ("GJ", "GV"),
    ("Ω", "OHM"),
    ("ohm", "OHM"),
    ("kΩ", "B49"),
    ("kohm", "B49"),
    ("F", "FAR"),
    ("µF", "4O"),
    ("C", "COU"),
    ("H", "81"),
    ("°", "DD"),
    ("deg", "DD"),
    ("rad", "C81"),
    ("lx", "LUX"),
    ("lm", "LUM"),
    ("cd", "CDL"),
    ("W/m²", "D54"),
    ("W/m2", "D54"),
    ("kg/m³", "KMQ"),
    ("kg/m3", "KMQ"),
    ("g/m³", "A93"),
    ("mg/m³", "GP"),
    ("µg/m³", "GQ"),
    ("m²", "MTK"),
    ("m2", "MTK"),
    ("ppm", "59"),
    ("dB", "2N"),
    ("S/m", "D10"),
    ("Pa·s", "C65"),
];

/// The unit for a client: with its UNECE code where there is one, else with its text and the code −1.
pub(crate) fn information(unit: &str) -> EUInformation {
    let code = CODES.iter().find(|(text, _)| *text == unit).map(|(_, code)| *code);
    EUInformation {
        namespace_uri: code.map_or_else(UAString::null, |_| UAString::from(UNECE)),
        unit_id: code.map_or(-1, number),
        display_name: LocalizedText::new("", unit),
        description: LocalizedText::new("", unit),
    }
}

/// A code as a number: its characters as the bytes of an integer (OPC UA Part 8 §5.6.3.4).
fn number(code: &str) -> i32 {
    code.bytes().fold(0, |number, byte| (number << 8) | i32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_number_that_the_foundation_lists() {
        // UNECE_to_OPCUA.csv: CEL 4408652, BAR 4342098, KWH 4937544, P1 20529, 4K 13387.
        let ids = ["°C", "bar", "kWh", "%", "mA"].map(|unit| information(unit).unit_id);
        assert_eq!(ids, [4_408_652, 4_342_098, 4_937_544, 20_529, 13_387]);
    }

    #[test]
    fn a_unit_without_a_code_keeps_its_text() {
        let unit = information("pallets/h");
        assert_eq!((unit.unit_id, unit.display_name.text.as_ref()), (-1, "pallets/h"));
        assert!(unit.namespace_uri.is_null());
    }

    #[test]
    fn no_unit_is_listed_twice_and_codes_have_two_or_three_characters() {
        for (at, (unit, code)) in CODES.iter().enumerate() {
            assert!(!CODES[..at].iter().any(|(other, _)| other == unit), "{unit}");
            assert!((2..=3).contains(&code.len()), "{unit}");
        }
    }
}
