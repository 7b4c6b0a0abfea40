//! The Modbus driver against a server that others wrote (pymodbus), and the simulator against a client that others wrote
//! (mbpoll, on libmodbus).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without may end it"
)]

use std::{collections::BTreeMap, process::Command};

use tidegate_config::Report;
use tidegate_driver_api::Written;
use tidegate_driver_modbus::UnitId;
use tidegate_model::{Reason, Slot, Value};
use tidegate_simulators::modbus::{ModbusOptions, ModbusSimulator};
use tidegate_tests::{Child, Device, ModbusServer, Peers, Table, WordOrder};

/// A profile with one group and these tags, each a line of keys.
fn profile(tags: &[String]) -> String {
    let head = "[profile]\nmanufacturer = \"Acme\"\nmodel = \"Everything\"\ndriver = \"modbus\"\n\n\
                [[group]]\nname = \"all\"\ninterval = \"1s\"\n";
    let tags: String = tags.iter().map(|keys| format!("\n[[tag]]\ngroup = \"all\"\n{keys}\n")).collect();
    format!("{head}{tags}")
}

/// The keys of a tag, one a line.
fn tag(name: &str, keys: &[(&str, &str)]) -> String {
    let keys: String = keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    format!("name = \"{name}\"\n{keys}")
}

/// The value of a tag in our own notation.
fn shown(got: &BTreeMap<String, Slot>, tag: &str) -> String {
    match &got[tag] {
        Slot::Good(Value::Int(number)) => number.to_string(),
        Slot::Good(Value::Uint(number)) => number.to_string(),
        Slot::Good(Value::F32(number)) => number.to_string(),
        Slot::Good(Value::F64(number)) => number.to_string(),
        Slot::Good(Value::Text(text)) => text.to_string(),
        other => panic!("{tag} is {other:?}"),
    }
}

/// Our type, the type of pymodbus, registers, and values.
const NUMBERS: [(&str, &str, u16, [&str; 2]); 8] = [
    ("i16", "INT16", 1, ["-2", "32767"]),
    ("u16", "UINT16", 1, ["43981", "65535"]),
    ("i32", "INT32", 2, ["-16909060", "2147483647"]),
    ("u32", "UINT32", 2, ["16909060", "4294967295"]),
    ("i64", "INT64", 4, ["-72623859790382856", "9223372036854775807"]),
    ("u64", "UINT64", 4, ["72623859790382856", "18446744073709551615"]),
    ("f32", "FLOAT32", 2, ["229.8", "-0.001"]),
    ("f64", "FLOAT64", 4, ["229.80000000000001", "-1e-9"]),
];

/// Our byte orders that pymodbus has a name for.
const ORDERS: [(&str, WordOrder); 2] = [("ABCD", WordOrder::Big), ("CDAB", WordOrder::Little)];

/// A number of [`NUMBERS`] in one order, at an address of its own.
struct Cell {
    name: String,
    address: u16,
    kind: &'static str,
    foreign: &'static str,
    registers: u16,
    order: (&'static str, WordOrder),
    value: &'static str,
}

/// Every number of [`NUMBERS`] in every order.
fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut address = 3;
    for order in ORDERS {
        for (kind, foreign, registers, values) in NUMBERS {
            for value in values {
                let name = format!("t{}", cells.len());
                cells.push(Cell { name, address, kind, foreign, registers, order, value });
                address += registers;
            }
        }
    }
    cells
}

fn cell_tags(cells: &[Cell], access: &str) -> Vec<String> {
    let tag = |cell: &Cell| {
        let (address, kind) = (cell.address.to_string(), format!("{:?}", cell.kind));
        let order = format!("{:?}", cell.order.0);
        tag(
            &cell.name,
            &[
                ("table", "\"holding\""),
                ("address", &address),
                ("type", &kind),
                ("byte_order", &order),
                ("access", access),
            ],
        )
    };
    cells.iter().map(tag).collect()
}

#[test]
fn numbers_are_read_as_pymodbus_encodes_them() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut server = ModbusServer::start(&peers, &[17])?;
    let cells = cells();
    for cell in &cells {
        server.put(17, cell.address, cell.foreign, cell.order.1, cell.value)?;
    }
    let mut device = Device::of_text(&profile(&cell_tags(&cells, "\"read\"")), server.address(), 17)?;
    let got = device.poll("all")?;
    for cell in &cells {
        let (shown, value) = (shown(&got, &cell.name), cell.value);
        let equal = shown == value || shown.parse::<f64>() == value.parse::<f64>() && cell.kind.starts_with('f');
        assert!(equal, "{} {} {value}: {shown}", cell.kind, cell.order.0);
    }
    Ok(())
}

#[test]
fn numbers_are_written_so_that_pymodbus_decodes_them() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut server = ModbusServer::start(&peers, &[17])?;
    let cells = cells();
    let mut device = Device::of_text(&profile(&cell_tags(&cells, "\"read_write\"")), server.address(), 17)?;
    for cell in &cells {
        let value = match cell.value.parse::<i64>() {
            Ok(number) => Value::Int(number),
            Err(_) if cell.kind == "u64" => Value::Uint(cell.value.parse()?),
            Err(_) => Value::F64(cell.value.parse()?),
        };
        assert_eq!(device.write(&cell.name, &value)?, Written::Confirmed);
        let held = server.take(17, cell.address, cell.foreign, cell.order.1, cell.registers)?;
        // pymodbus widens a 32-bit float; narrowed again it is the number that was written.
        let equal = match cell.kind {
            "f32" => held.parse::<f32>()? == cell.value.parse::<f32>()?,
            "f64" => held.parse::<f64>()? == cell.value.parse::<f64>()?,
            _ => held == cell.value,
        };
        assert!(equal, "{} {} {}: pymodbus has {held}", cell.kind, cell.order.0, cell.value);
    }
    Ok(())
}

#[test]
fn swapped_bytes_parts_texts_and_arrays_are_read() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut server = ModbusServer::start(&peers, &[1])?;
    server.set(1, Table::Holding, 0, &[0x0201, 0x0403])?;
    server.set(1, Table::Holding, 2, &[0x0403, 0x0201])?;
    server.set(1, Table::Holding, 4, &[0x3412])?;
    server.set(1, Table::Holding, 5, &[0b0000_0100_0000_0001])?;
    server.set(1, Table::Holding, 6, &[0xFE7F])?;
    server.set(1, Table::Holding, 7, &[0x1234, 0x0098, 0x7654])?;
    server.put(1, 10, "STRING", WordOrder::Big, "Tidegate")?;
    server.set(1, Table::Holding, 14, &[u16::from_be_bytes(*b"iT"), u16::from_be_bytes(*b"ed")])?;
    server.set(1, Table::Input, 0, &[1, 2, 65_535])?;
    let (holding, f) = (("table", "\"holding\""), ("type", "\"u32\""));
    let tags = [
        tag("badc", &[holding, f, ("address", "0"), ("byte_order", "\"BADC\"")]),
        tag("dcba", &[holding, f, ("address", "2"), ("byte_order", "\"DCBA\"")]),
        tag("ba", &[holding, ("type", "\"u16\""), ("address", "4"), ("byte_order", "\"BA\"")]),
        tag("bit_0", &[holding, ("address", "5"), ("bit", "0")]),
        tag("bit_1", &[holding, ("address", "5"), ("bit", "1")]),
        tag("bit_10", &[holding, ("address", "5"), ("bit", "10")]),
        tag("high", &[holding, ("type", "\"i8\""), ("address", "6"), ("byte", "\"high\"")]),
        tag("low", &[holding, ("type", "\"u8\""), ("address", "6"), ("byte", "\"low\"")]),
        tag("bcd16", &[holding, ("type", "\"bcd16\""), ("address", "7")]),
        tag("bcd32", &[holding, ("type", "\"bcd32\""), ("address", "8")]),
        tag("text", &[holding, ("type", "\"string\""), ("address", "10"), ("length", "8")]),
        tag(
            "swapped",
            &[holding, ("type", "\"string\""), ("address", "14"), ("length", "4"), ("byte_order", "\"BA\"")],
        ),
        tag("array", &[("table", "\"input\""), ("type", "\"u16\""), ("address", "0"), ("count", "3")]),
    ];
    let got = Device::of_text(&profile(&tags), server.address(), 1)?.poll("all")?;
    let numbers = [
        ("badc", 0x0102_0304),
        ("dcba", 0x0102_0304),
        ("ba", 0x1234),
        ("low", 127),
        ("bcd16", 1234),
        ("bcd32", 987_654),
    ];
    for (tag, number) in numbers {
        assert_eq!(got[tag], Slot::Good(Value::Uint(number)), "{tag}");
    }
    assert_eq!(got["high"], Slot::Good(Value::Int(-2)));
    for (tag, on) in [("bit_0", true), ("bit_1", false), ("bit_10", true)] {
        assert_eq!(got[tag], Slot::Good(Value::Bool(on)), "{tag}");
    }
    assert_eq!((shown(&got, "text"), shown(&got, "swapped")), ("Tidegate".to_owned(), "Tide".to_owned()));
    let array = Value::Array([Value::Uint(1), Value::Uint(2), Value::Uint(65_535)].into());
    assert_eq!(got["array"], Slot::Good(array));
    Ok(())
}

#[test]
fn each_table_is_read_with_its_own_function_in_one_request() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut server = ModbusServer::start(&peers, &[1])?;
    server.set(1, Table::Coil, 100, &[1, 0, 1])?;
    server.set(1, Table::Discrete, 100, &[0, 1, 0])?;
    server.set(1, Table::Holding, 100, &[3])?;
    server.set(1, Table::Input, 100, &[4])?;
    let mut tags = Vec::new();
    for (table, keys) in [("coil", ""), ("discrete", ""), ("holding", "type = \"u16\""), ("input", "type = \"u16\"")] {
        for offset in if keys.is_empty() { 0..3 } else { 0..1 } {
            let address = 100 + offset;
            tags.push(format!("name = \"{table}_{offset}\"\ntable = \"{table}\"\naddress = {address}\n{keys}"));
        }
    }
    let got = Device::of_text(&profile(&tags), server.address(), 1)?.poll("all")?;
    for (tag, on) in [("coil_0", true), ("coil_1", false), ("coil_2", true)] {
        assert_eq!(got[tag], Slot::Good(Value::Bool(on)), "{tag}");
    }
    for (tag, on) in [("discrete_0", false), ("discrete_1", true), ("discrete_2", false)] {
        assert_eq!(got[tag], Slot::Good(Value::Bool(on)), "{tag}");
    }
    assert_eq!((shown(&got, "holding_0"), shown(&got, "input_0")), ("3".to_owned(), "4".to_owned()));
    let mut asked: Vec<(u16, u16, u16)> =
        server.requests()?.iter().map(|request| (request.function, request.address, request.count)).collect();
    asked.sort_unstable();
    assert_eq!(asked, [(1, 100, 3), (2, 100, 3), (3, 100, 1), (4, 100, 1)]);
    Ok(())
}

#[test]
fn each_way_to_write_arrives_as_its_own_function() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut server = ModbusServer::start(&peers, &[1])?;
    server.set(1, Table::Holding, 30, &[0b1010_0000_0000_0101])?;
    let (holding, coil) = (("table", "\"holding\""), ("table", "\"coil\""));
    let (written, word) = (("access", "\"read_write\""), ("type", "\"u16\""));
    let tags = [
        tag("switch", &[coil, written, ("address", "7")]),
        tag("switches", &[coil, written, ("address", "8"), ("count", "3")]),
        tag("number", &[holding, written, word, ("address", "10")]),
        tag("long", &[holding, written, ("type", "\"u32\""), ("address", "20")]),
        tag("bit", &[holding, written, ("address", "30"), ("bit", "1")]),
        tag("both", &[holding, written, word, ("address", "40"), ("write", "\"read_write\"")]),
    ];
    let mut device = Device::of_text(&profile(&tags), server.address(), 1)?;
    let on = Value::Bool(true);
    let switches = Value::Array([Value::Bool(true), Value::Bool(false), Value::Bool(true)].into());
    let writes = [
        ("switch", on.clone(), 5, Table::Coil, 7, vec![1]),
        ("switches", switches, 15, Table::Coil, 8, vec![1, 0, 1]),
        ("number", Value::Int(513), 6, Table::Holding, 10, vec![513]),
        ("long", Value::Int(0x0102_0304), 16, Table::Holding, 20, vec![0x0102, 0x0304]),
        ("bit", on, 22, Table::Holding, 30, vec![0b1010_0000_0000_0111]),
        ("both", Value::Int(99), 23, Table::Holding, 40, vec![99]),
    ];
    for (tag, value, function, table, address, held) in writes {
        assert_eq!(device.write(tag, &value)?, Written::Confirmed, "{tag}");
        let asked: Vec<(u16, u16)> = server.requests()?.iter().map(|seen| (seen.function, seen.address)).collect();
        assert_eq!(asked, [(function, address)], "{tag}");
        let count = u16::try_from(held.len())?;
        assert_eq!(server.get(1, table, address, count)?, held, "{tag}");
    }
    Ok(())
}

#[test]
fn an_address_that_pymodbus_does_not_have_leaves_its_neighbours_good() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut server = ModbusServer::start(&peers, &[1])?;
    for register in 0..40 {
        server.set(1, Table::Holding, register, &[register])?;
    }
    server.hole(1, 23, 1)?;
    let tags: Vec<String> = (0..40)
        .map(|register| format!("name = \"r{register}\"\ntable = \"holding\"\ntype = \"u16\"\naddress = {register}"))
        .collect();
    let mut device = Device::of_text(&profile(&tags), server.address(), 1)?;
    let got = device.poll("all")?;
    for register in 0..40 {
        let expected = if register == 23 { Slot::Bad(Reason::BadAddress) } else { Slot::Good(Value::Uint(register)) };
        assert_eq!(got[&format!("r{register}")], expected, "register {register}");
    }
    server.requests()?;
    device.poll("all")?;
    let asked: Vec<u16> = server.requests()?.iter().map(|request| request.count).collect();
    assert_eq!(asked, [23, 16], "what was learned about the address is remembered");
    Ok(())
}

/// What mbpoll prints for each reference it reads.
fn mbpoll(peers: &Peers, simulator: &ModbusSimulator, arguments: &[&str]) -> anyhow::Result<Vec<String>> {
    let port = simulator.addresses()[0].port().to_string();
    let mut command = Command::new(peers.program("mbpoll"));
    command.args(["-m", "tcp", "-p", &port, "-a", "1", "-1", "-q", "-0", "-B"]);
    let (before, after) =
        arguments.split_at(arguments.iter().position(|word| *word == "--").unwrap_or(arguments.len()));
    command.args(before).arg("127.0.0.1").args(after.iter().skip(1));
    let lines = Child::start("mbpoll", &mut command)?.finish()?;
    Ok(lines.iter().filter_map(|line| Some(line.text.split_once("]:")?.1.trim().to_owned())).collect())
}

#[test]
fn mbpoll_reads_and_writes_the_simulator() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let (rw, holding) = (("access", "\"read_write\""), ("table", "\"holding\""));
    let tags = [
        tag("voltage", &[("table", "\"input\""), ("type", "\"f32\""), ("address", "0")]),
        tag("count", &[("table", "\"input\""), ("type", "\"i32\""), ("address", "2")]),
        tag("setpoint", &[holding, rw, ("type", "\"i16\""), ("address", "200"), ("scale", "0.1")]),
        tag("pump", &[("table", "\"coil\""), rw, ("address", "5")]),
        tag("door", &[("table", "\"discrete\""), ("address", "6")]),
    ];
    let text = profile(&tags);
    let mut report = Report::new();
    let profile = tidegate_config::parse_profile(&tidegate_config::Source::new("text", text.as_str()), &mut report);
    let simulator = ModbusSimulator::start(ModbusOptions::new(profile))?;
    let plant = simulator.device(0, UnitId::DEFAULT).expect("the simulator has unit 1");
    plant.set("voltage", &Value::F32(230.5))?;
    plant.set("count", &Value::Int(-70_000))?;
    plant.set("setpoint", &Value::F64(42.5))?;
    plant.set("pump", &Value::Bool(false))?;
    plant.set("door", &Value::Bool(true))?;
    assert_eq!(mbpoll(&peers, &simulator, &["-t", "3:float", "-r", "0"])?, ["230.5"]);
    assert_eq!(mbpoll(&peers, &simulator, &["-t", "3:int", "-r", "2"])?, ["-70000"]);
    assert_eq!(mbpoll(&peers, &simulator, &["-t", "4", "-r", "200"])?, ["425"]);
    assert_eq!(mbpoll(&peers, &simulator, &["-t", "1", "-r", "6"])?, ["1"]);

    mbpoll(&peers, &simulator, &["-t", "4", "-r", "200", "--", "505"])?;
    mbpoll(&peers, &simulator, &["-t", "0", "-r", "5", "--", "1"])?;
    assert_eq!(plant.value("setpoint")?, Value::F64(50.5));
    assert_eq!(plant.value("pump")?, Value::Bool(true));
    let got = Device::of_text(&text, simulator.addresses()[0], 1)?.poll("all")?;
    assert_eq!(got["setpoint"], Slot::Good(Value::F64(50.5)));
    assert_eq!(got["voltage"], Slot::Good(Value::F32(230.5)));
    Ok(())
}
