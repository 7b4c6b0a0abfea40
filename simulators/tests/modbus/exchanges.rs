//! Requests and answers byte by byte. The examples are those of Modbus Application Protocol 1.1b3 §6.

use tidegate_model::Value;
use tidegate_simulators::modbus::{Fill, ModbusSimulator, UnknownUnit};

use crate::rig::{Client, first, hex, start};

/// Everything that the examples of the specification ask for.
const MEMORY: &str = r#"
    [defaults]
    group = "all"
    type = "u16"
    [[tag]]
    name = "outputs"
    table = "coil"
    type = "bool"
    address = 19
    count = 19
    access = "read_write"
    [[tag]]
    name = "output_173"
    table = "coil"
    type = "bool"
    address = 172
    access = "read_write"
    [[tag]]
    name = "switches"
    table = "discrete"
    type = "bool"
    address = 196
    count = 22
    [[tag]]
    name = "level"
    table = "input"
    address = 8
    [[tag]]
    name = "low"
    table = "holding"
    address = 1
    count = 8
    access = "read_write"
    [[tag]]
    name = "high"
    table = "holding"
    address = 14
    count = 3
    access = "read_write"
    [[tag]]
    name = "measured"
    table = "holding"
    address = 107
    count = 3
"#;

fn memory(fill: Fill) -> ModbusSimulator {
    start(MEMORY, |options| options.fill = fill)
}

fn numbers(numbers: &[u16]) -> Value {
    Value::Array(numbers.iter().map(|number| Value::Uint((*number).into())).collect())
}

/// Bits as the specification prints them: bytes, the lowest bit of the first one first.
fn bits(bytes: &[u8], count: usize) -> Value {
    let bits = bytes.iter().flat_map(|byte| (0..8).map(move |bit| (byte >> bit) & 1 == 1));
    Value::Array(bits.take(count).map(Value::Bool).collect())
}

#[test]
fn coils_and_discrete_inputs_are_read() {
    let simulator = memory(Fill::Tags);
    first(&simulator).set("outputs", &bits(&[0xcd, 0x6b, 0x05], 19)).unwrap();
    first(&simulator).set("switches", &bits(&[0xac, 0xdb, 0x35], 22)).unwrap();
    let mut client = Client::of(&simulator);
    assert_eq!(client.ask(1, &hex("01 00 13 00 13")), hex("01 03 cd 6b 05"));
    assert_eq!(client.ask(1, &hex("02 00 c4 00 16")), hex("02 03 ac db 35"));
}

#[test]
fn holding_and_input_registers_are_read() {
    let simulator = memory(Fill::Tags);
    first(&simulator).set("measured", &numbers(&[0x022b, 0, 0x64])).unwrap();
    first(&simulator).set("level", &Value::Uint(10)).unwrap();
    let mut client = Client::of(&simulator);
    assert_eq!(client.ask(1, &hex("03 00 6b 00 03")), hex("03 06 02 2b 00 00 00 64"));
    assert_eq!(client.ask(1, &hex("04 00 08 00 01")), hex("04 02 00 0a"));
}

#[test]
fn a_single_coil_and_a_single_register_are_written_and_come_back() {
    let simulator = memory(Fill::Tags);
    let mut client = Client::of(&simulator);
    assert_eq!(client.ask(1, &hex("05 00 ac ff 00")), hex("05 00 ac ff 00"));
    assert_eq!(first(&simulator).value("output_173").unwrap(), Value::Bool(true));
    assert_eq!(client.ask(1, &hex("05 00 ac 00 00")), hex("05 00 ac 00 00"));
    assert_eq!(first(&simulator).value("output_173").unwrap(), Value::Bool(false));
    assert_eq!(client.ask(1, &hex("06 00 01 00 03")), hex("06 00 01 00 03"));
    assert_eq!(client.ask(1, &hex("03 00 01 00 01")), hex("03 02 00 03"));
}

#[test]
fn several_coils_and_several_registers_are_written() {
    let simulator = memory(Fill::Tags);
    first(&simulator).set("outputs", &bits(&[0, 0, 0], 19)).unwrap();
    let mut client = Client::of(&simulator);
    assert_eq!(client.ask(1, &hex("0f 00 13 00 0a 02 cd 01")), hex("0f 00 13 00 0a"));
    assert_eq!(first(&simulator).value("outputs").unwrap(), bits(&[0xcd, 0x01, 0x00], 19));
    assert_eq!(client.ask(1, &hex("10 00 01 00 02 04 00 0a 01 02")), hex("10 00 01 00 02"));
    assert_eq!(client.ask(1, &hex("03 00 01 00 02")), hex("03 04 00 0a 01 02"));
}

#[test]
fn a_mask_changes_some_bits_of_a_register() {
    let simulator = memory(Fill::Tags);
    first(&simulator).set("low", &numbers(&[0, 0, 0, 0x12, 0, 0, 0, 0])).unwrap();
    let mut client = Client::of(&simulator);
    assert_eq!(client.ask(1, &hex("16 00 04 00 f2 00 25")), hex("16 00 04 00 f2 00 25"));
    assert_eq!(client.ask(1, &hex("03 00 04 00 01")), hex("03 02 00 17"));
}

#[test]
fn registers_are_written_before_others_are_read_in_one_request() {
    let simulator = memory(Fill::Tags);
    first(&simulator).set("low", &numbers(&[0, 0, 0xfe, 0x0acd, 1, 3, 13, 0xff])).unwrap();
    let mut client = Client::of(&simulator);
    let answer = client.ask(1, &hex("17 00 03 00 06 00 0e 00 03 06 00 ff 00 ff 00 ff"));
    assert_eq!(answer, hex("17 0c 00 fe 0a cd 00 01 00 03 00 0d 00 ff"));
    assert_eq!(first(&simulator).value("high").unwrap(), numbers(&[0xff, 0xff, 0xff]));
    // What is read has been written just before, when it is the same register.
    assert_eq!(client.ask(1, &hex("17 00 0e 00 01 00 0e 00 01 02 12 34")), hex("17 02 12 34"));
}

#[test]
fn an_unknown_function_is_exception_1() {
    let simulator = memory(Fill::Tags);
    let mut client = Client::of(&simulator);
    assert_eq!(client.ask(1, &hex("2b 0e 01 00")), hex("ab 01"));
    assert_eq!(client.ask(1, &hex("07")), hex("87 01"));
}

#[test]
fn an_address_that_the_profile_has_not_got_is_exception_2() {
    let simulator = memory(Fill::Tags);
    let mut client = Client::of(&simulator);
    assert_eq!(client.ask(1, &hex("03 00 00 00 01")), hex("83 02"));
    assert_eq!(client.ask(1, &hex("03 00 08 00 02")), hex("83 02"));
    assert_eq!(client.ask(1, &hex("04 00 08 00 02")), hex("84 02"));
    assert_eq!(client.ask(1, &hex("04 ff ff 00 02")), hex("84 02"));
    assert_eq!(client.ask(1, &hex("01 00 26 00 01")), hex("81 02"));
}

#[test]
fn what_may_not_be_written_is_exception_2_and_changes_nothing() {
    let simulator = memory(Fill::Everything);
    first(&simulator).set("measured", &numbers(&[1, 2, 3])).unwrap();
    let mut client = Client::of(&simulator);
    assert_eq!(client.ask(1, &hex("06 00 6b 00 09")), hex("86 02"));
    assert_eq!(client.ask(1, &hex("10 00 08 00 02 04 00 09 00 09")), hex("90 02"));
    assert_eq!(client.ask(1, &hex("17 00 01 00 01 00 6b 00 01 02 00 09")), hex("97 02"));
    assert_eq!(first(&simulator).value("measured").unwrap(), numbers(&[1, 2, 3]));
    assert_eq!(client.ask(1, &hex("03 00 00 00 01")), hex("03 02 00 00"));
}

#[test]
fn a_request_that_contradicts_itself_is_exception_3() {
    let simulator = memory(Fill::Everything);
    let mut client = Client::of(&simulator);
    for request in ["03 00 00 00 00", "03 00 00 00 7e", "01 00 00 07 d1", "05 00 ac 12 34", "10 00 01 00 02 02 00 0a"] {
        let request = hex(request);
        assert_eq!(client.ask(1, &request), [request[0] | 0x80, 3], "{request:02x?}");
    }
}

#[test]
fn what_the_quirks_forbid_is_refused() {
    let quirks = "[quirks]\nmax_registers = 4\nsingle_writes = false\n";
    let simulator = start(&format!("{quirks}{}", MEMORY.replace("count = 8", "count = 4")), |_| {});
    let mut client = Client::of(&simulator);
    assert_eq!(client.ask(1, &hex("03 00 01 00 04"))[..2], hex("03 08"));
    assert_eq!(client.ask(1, &hex("03 00 01 00 05")), hex("83 03"));
    assert_eq!(client.ask(1, &hex("06 00 01 00 03")), hex("86 01"));
    assert_eq!(client.ask(1, &hex("10 00 01 00 01 02 00 03")), hex("10 00 01 00 01"));
}

#[test]
fn a_gap_that_the_profile_reads_along_holds_zeros() {
    let simulator = start(MEMORY, |options| options.fill = Fill::Gaps);
    first(&simulator).set("low", &numbers(&[1; 8])).unwrap();
    first(&simulator).set("high", &numbers(&[2; 3])).unwrap();
    let mut client = Client::of(&simulator);
    assert_eq!(client.ask(1, &hex("03 00 08 00 07")), hex("03 0e 00 01 00 00 00 00 00 00 00 00 00 00 00 02"));
    assert_eq!(client.ask(1, &hex("03 00 11 00 01")), hex("83 02"));
}

#[test]
fn a_unit_that_is_not_there_is_exception_11_or_silence() {
    let simulator = start(MEMORY, |options| options.unknown_unit = UnknownUnit::Exception);
    let mut client = Client::of(&simulator);
    assert_eq!(client.ask(9, &hex("04 00 08 00 01")), hex("84 0b"));
    let simulator = start(MEMORY, |options| options.unknown_unit = UnknownUnit::Silent);
    let mut client = Client::of(&simulator);
    client.send(1, 9, &hex("04 00 08 00 01"));
    // The next answer is that of the unit that is there.
    assert_eq!(client.ask(1, &hex("04 00 08 00 01"))[..2], hex("04 02"));
}

#[test]
fn requests_in_one_packet_are_answered_in_order_and_a_split_one_waits() {
    use std::io::Write;
    let simulator = memory(Fill::Tags);
    let mut client = Client::of(&simulator);
    let read = hex("04 00 08 00 01");
    let mut bytes = Vec::new();
    for transaction in 0..100 {
        bytes.extend(crate::rig::frame(transaction, 1, &read));
    }
    for piece in bytes.chunks(7) {
        client.0.write_all(piece).unwrap();
    }
    for transaction in 0..100 {
        assert_eq!(client.frame().0, transaction);
    }
}

#[test]
fn a_frame_of_another_protocol_ends_the_connection() {
    use std::io::Write;
    let simulator = memory(Fill::Tags);
    let mut client = Client::of(&simulator);
    client.0.write_all(&hex("00 01 00 07 00 06 01 04 00 08 00 01")).unwrap();
    assert!(client.rest().is_empty());
}
