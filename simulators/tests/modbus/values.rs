//! A foreign client reads what the simulator says that it holds.

use std::{
    fmt::Write,
    sync::atomic::{AtomicBool, Ordering},
};

use tidegate_config::{Report, Source, parse_profile};
use tidegate_model::Value;
use tidegate_simulators::{
    SimulatorError,
    modbus::{ModbusOptions, ModbusSimulator, UnitRange},
};
use tokio_modbus::{
    client::{Context, tcp},
    prelude::{Reader, Slave, Writer},
};

use crate::rig::{Client, first, hex, profile, start, unit};

/// A type, its registers, and the byte orders by the letters of its bytes as they travel.
const TYPES: [(&str, usize, &[&str]); 10] = [
    ("u16", 1, &["AB", "BA"]),
    ("i16", 1, &["AB", "BA"]),
    ("u32", 2, &["ABCD", "CDAB", "BADC", "DCBA"]),
    ("i32", 2, &["ABCD", "CDAB", "BADC", "DCBA"]),
    ("f32", 2, &["ABCD", "CDAB", "BADC", "DCBA"]),
    ("u64", 4, &["ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"]),
    ("i64", 4, &["ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"]),
    ("f64", 4, &["ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"]),
    ("bcd16", 1, &["AB", "BA"]),
    ("bcd32", 2, &["ABCD", "CDAB"]),
];

async fn connect(simulator: &ModbusSimulator, port: usize, slave: u8) -> Context {
    tcp::connect_slave(simulator.addresses()[port], Slave(slave)).await.unwrap()
}

/// The bytes of a value from the highest to the lowest, found without the driver.
fn bytes(value: &Value, registers: usize) -> Vec<u8> {
    let whole = match value {
        Value::F32(number) => return number.to_be_bytes().to_vec(),
        Value::F64(number) => return number.to_be_bytes().to_vec(),
        Value::Int(number) => number.to_be_bytes(),
        Value::Uint(number) => number.to_be_bytes(),
        other => panic!("{other:?} is no number"),
    };
    whole[8 - 2 * registers..].to_vec()
}

/// A number as its decimal digits, four bits each.
fn digits(value: &Value, registers: usize) -> Vec<u8> {
    let Value::Uint(number) = value else { panic!("{value:?} is no number of digits") };
    let text = format!("{number:0width$}", width = 4 * registers);
    hex(&text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect::<Vec<_>>().join(" "))
}

/// The registers when byte `A` is the highest one and the letters say in which order they travel.
fn registers(bytes: &[u8], letters: &str) -> Vec<u16> {
    let travelling: Vec<u8> = letters.bytes().map(|letter| bytes[usize::from(letter - b'A')]).collect();
    travelling.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

#[tokio::test]
async fn each_type_in_each_byte_order_is_read_as_the_simulator_says() {
    let mut tags = String::new();
    let mut cases = Vec::new();
    for (table, kind, count, orders) in ["input", "holding"]
        .into_iter()
        .flat_map(|table| TYPES.map(|(kind, count, orders)| (table, kind, count, orders)))
    {
        for order in orders {
            let name = format!("{table}_{kind}_{order}");
            let address = u16::try_from(cases.len() * 4).unwrap();
            writeln!(
                tags,
                "[[tag]]\nname = \"{name}\"\ngroup = \"all\"\ntable = \"{table}\"\ntype = \"{kind}\"\n\
                 address = {address}\nbyte_order = \"{order}\""
            )
            .unwrap();
            cases.push((name, table, kind, address, count, *order));
        }
    }
    let simulator = start(&tags, |_| {});
    let mut client = connect(&simulator, 0, 1).await;
    for (name, table, kind, address, count, order) in cases {
        let length = u16::try_from(count).unwrap();
        let read = match table {
            "input" => client.read_input_registers(address, length).await,
            _ => client.read_holding_registers(address, length).await,
        };
        let value = first(&simulator).value(&name).unwrap();
        let bytes = if kind.starts_with("bcd") { digits(&value, count) } else { bytes(&value, count) };
        assert_eq!(read.unwrap().unwrap(), registers(&bytes, order), "{name} is {value:?}");
        assert!(bytes.iter().any(|byte| *byte != 0), "{name} is {value:?}");
    }
}

#[tokio::test]
async fn bits_bytes_and_texts_are_read_as_the_simulator_says() {
    let simulator = start(
        r#"
        [defaults]
        group = "all"
        table = "holding"
        address = 0
        type = "bool"
        [[tag]]
        name = "bit_3"
        bit = 3
        [[tag]]
        name = "bit_15"
        bit = 15
        [[tag]]
        name = "high"
        address = 1
        type = "u8"
        byte = "high"
        [[tag]]
        name = "low"
        address = 1
        type = "i8"
        byte = "low"
        [[tag]]
        name = "text"
        address = 2
        type = "string"
        length = 5
        [[tag]]
        name = "swapped"
        address = 5
        type = "string"
        length = 4
        byte_order = "BA"
        [[tag]]
        name = "bytes"
        address = 7
        type = "bytes"
        length = 3
        byte_order = "BA"
        [[tag]]
        name = "coil"
        table = "coil"
        [[tag]]
        name = "discrete"
        table = "discrete"
        "#,
        |_| {},
    );
    let device = first(&simulator);
    assert_eq!(device.value("bytes").unwrap(), Value::Bytes((*b"byt").into()), "a name before anything is set");
    for (tag, value) in [
        ("bit_3", Value::Bool(true)),
        ("bit_15", Value::Bool(true)),
        ("high", Value::Uint(0xa5)),
        ("low", Value::Int(-2)),
        ("text", Value::Text("tide".into())),
        ("swapped", Value::Text("gate".into())),
        ("bytes", Value::Bytes([0xff, 0x00, 0x20].into())),
        ("coil", Value::Bool(true)),
        ("discrete", Value::Bool(true)),
    ] {
        device.set(tag, &value).unwrap();
        assert_eq!(device.value(tag).unwrap(), value, "{tag}");
    }
    let mut client = connect(&simulator, 0, 1).await;
    let read = client.read_holding_registers(0, 9).await.unwrap().unwrap();
    assert_eq!(read, [0x8008, 0xa5fe, 0x7469, 0x6465, 0x0000, 0x6167, 0x6574, 0x00ff, 0x0020]);
    assert_eq!(client.read_coils(0, 1).await.unwrap().unwrap(), [true]);
    assert_eq!(client.read_discrete_inputs(0, 1).await.unwrap().unwrap(), [true]);
    device.set("bit_15", &Value::Bool(false)).unwrap();
    assert_eq!(client.read_holding_registers(0, 1).await.unwrap().unwrap(), [0x0008]);
}

const SETPOINT: &str = r#"
    [[tag]]
    name = "setpoint"
    group = "all"
    table = "holding"
    address = 4
    type = "i16"
    scale = 0.1
    access = "read_write"
    minimum = 0.0
    maximum = 100.0
    [[tag]]
    name = "actual"
    group = "all"
    table = "input"
    address = 4
    type = "f32"
    unit = "bar"
"#;

#[tokio::test]
async fn what_a_client_writes_is_what_is_read() {
    let simulator = start(SETPOINT, |options| options.still = false);
    let mut client = connect(&simulator, 0, 1).await;
    assert_eq!(client.read_holding_registers(4, 1).await.unwrap().unwrap(), [500]);
    client.write_single_register(4, 425).await.unwrap().unwrap();
    assert_eq!(first(&simulator).raw("setpoint").unwrap(), Value::Int(425));
    assert_eq!(first(&simulator).value("setpoint").unwrap(), Value::F64(42.5));
    assert_eq!(client.read_holding_registers(4, 1).await.unwrap().unwrap(), [425]);
    client.write_multiple_registers(4, &[0xfff6]).await.unwrap().unwrap();
    assert_eq!(first(&simulator).value("setpoint").unwrap(), Value::F64(-1.0));
}

#[tokio::test]
async fn each_unit_of_each_port_is_a_device_of_its_own() {
    let simulator = start(SETPOINT, |options| {
        options.ports = 3;
        options.units = UnitRange::new(unit(1), unit(10)).unwrap();
        options.workers = 2;
    });
    let mut seen = std::collections::BTreeSet::new();
    for port in 0..3 {
        let mut client = connect(&simulator, port, 1).await;
        for number in 1..=10 {
            tokio_modbus::slave::SlaveContext::set_slave(&mut client, Slave(number));
            let read = client.read_input_registers(4, 2).await.unwrap().unwrap();
            let value = simulator.device(port, unit(number)).unwrap().value("actual").unwrap();
            assert_eq!(read, registers(&bytes(&value, 2), "ABCD"), "port {port} unit {number}");
            seen.insert(read);
        }
    }
    assert_eq!(seen.len(), 30);
    assert_eq!(simulator.devices().count(), 30);
}

#[test]
fn the_same_seed_shows_the_same_values_in_another_process_life() {
    let actual = |seed| {
        let simulator = start(SETPOINT, |options| options.seed = seed);
        first(&simulator).value("actual").unwrap()
    };
    assert_eq!(actual(7), actual(7));
    assert_ne!(actual(7), actual(8));
}

#[test]
fn a_clock_tag_shows_the_time_of_day() {
    let options = ModbusOptions::new(profile(
        r#"
        [[tag]]
        name = "clock"
        group = "clocked"
        table = "input"
        address = 0
        type = "u32"
        [[tag]]
        name = "other"
        group = "all"
        table = "input"
        address = 2
        type = "u16"
        [[group]]
        name = "clocked"
        interval = "1s"
        device_time = "clock"
        device_time_unit = "s"
        "#,
    ));
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let simulator = ModbusSimulator::start(options).unwrap();
    let shown = first(&simulator).value("clock").unwrap();
    assert_eq!(first(&simulator).value("clock").unwrap().as_f64().unwrap().fract(), 0.0);
    let Value::Uint(shown) = shown else { panic!("{shown:?}") };
    assert!((before..before + 60).contains(&shown), "{shown} at {before}");
}

#[test]
fn a_value_of_several_registers_is_never_torn() {
    let simulator =
        start("[[tag]]\nname = \"wide\"\ngroup = \"all\"\ntable = \"input\"\ntype = \"u64\"\naddress = 0\n", |_| {});
    let device = first(&simulator);
    device.set("wide", &Value::Uint(0)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in (0..).take_while(|_| !done.load(Ordering::Relaxed)) {
                let value = if number % 2 == 0 { u64::MAX } else { 0 };
                device.set("wide", &Value::Uint(value)).unwrap();
            }
        });
        let mut client = Client::of(&simulator);
        let answers: Vec<Vec<u8>> = (0..2_000).map(|_| client.ask(1, &hex("04 00 00 00 04"))).collect();
        done.store(true, Ordering::Relaxed);
        let torn = answers.iter().find(|answer| answer[2..] != [0; 8] && answer[2..] != [255; 8]);
        assert_eq!(torn, None);
    });
}

#[test]
fn a_stopped_simulator_closes_its_ports_and_connections() {
    let simulator = start(SETPOINT, |_| {});
    let mut client = Client::of(&simulator);
    assert_eq!(client.ask(1, &hex("04 00 04 00 02"))[..2], hex("04 04"));
    assert_eq!(simulator.connections_accepted(0), 1);
    drop(simulator);
    assert!(client.rest().is_empty());
}

#[test]
fn a_simulator_without_a_port_or_of_another_protocol_does_not_start() {
    let mut options = ModbusOptions::new(profile(SETPOINT));
    options.ports = 0;
    assert!(matches!(ModbusSimulator::start(options), Err(SimulatorError::Ports(0, _))));
    let text = "profile = { manufacturer = \"M\", model = \"X\", driver = \"opcua\" }\n\
        [[group]]\nname = \"all\"\ninterval = \"1s\"\n[[tag]]\nname = \"a\"\ngroup = \"all\"\n";
    let mut report = Report::new();
    let other = parse_profile(&Source::new("other", text), &mut report);
    assert!(!report.has_errors(), "{}", report.render());
    let started = ModbusSimulator::start(ModbusOptions::new(other));
    assert!(matches!(started, Err(SimulatorError::OtherProtocol(protocol)) if protocol == "opcua"));
}
