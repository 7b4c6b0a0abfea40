//! Each fault does what it says. Unit 1 has it, unit 2 behind the same port has not.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use tidegate_driver_modbus::PrimaryTable;
use tidegate_model::Value;
use tidegate_simulators::modbus::{Fault, FaultKind, ModbusSimulator, UnitRange};

use crate::rig::{Client, first, frame, hex, start, unit};

const TAGS: &str = r#"
    [defaults]
    group = "all"
    table = "holding"
    type = "u16"
    access = "read_write"
    [[tag]]
    name = "a"
    address = 0
    [[tag]]
    name = "b"
    address = 1
"#;

/// Reads both registers of unit 1, of unit 2.
const READ: [u8; 5] = [3, 0, 0, 0, 2];
const LONG: Duration = Duration::from_secs(20);

fn with(kind: FaultKind) -> (ModbusSimulator, Client) {
    let simulator = start(TAGS, |options| {
        options.units = UnitRange::new(unit(1), unit(2)).unwrap();
        options.faults = vec![Fault::new(kind).of_unit(unit(1))];
    });
    for number in [1_u8, 2] {
        let device = simulator.device(0, unit(number)).unwrap();
        device.set("a", &Value::Uint(number.into())).unwrap();
        device.set("b", &Value::Uint(0xbeef)).unwrap();
    }
    let client = Client::of(&simulator);
    (simulator, client)
}

fn answer(number: u8) -> Vec<u8> {
    vec![3, 4, 0, number, 0xbe, 0xef]
}

#[test]
fn a_silent_unit_gives_no_answer_and_does_nothing() {
    let (simulator, mut client) = with(FaultKind::Silence);
    client.send(1, 1, &hex("06 00 00 12 34"));
    assert_eq!(client.ask(2, &READ), answer(2));
    assert_eq!(first(&simulator).value("a").unwrap(), Value::Uint(1));
    assert_eq!(first(&simulator).requests(), 1);
    simulator.set_faults([]);
    assert_eq!(client.ask(1, &READ), answer(1));
}

#[test]
fn an_exception_is_the_answer_and_nothing_is_done() {
    let (simulator, mut client) = with(FaultKind::Exception { code: 6 });
    assert_eq!(client.ask(1, &hex("06 00 00 12 34")), hex("86 06"));
    assert_eq!(first(&simulator).value("a").unwrap(), Value::Uint(1));
    assert_eq!(client.ask(2, &READ), answer(2));
}

#[test]
fn a_delayed_answer_comes_later_and_holds_up_the_next() {
    let by = Duration::from_millis(80);
    let (_simulator, mut client) = with(FaultKind::Delay { by });
    let asked = Instant::now();
    client.send(1, 1, &READ);
    client.send(2, 2, &READ);
    assert_eq!(client.frame(), (1, 1, answer(1)));
    assert_eq!(client.frame(), (2, 2, answer(2)));
    assert!(asked.elapsed() >= by);
}

#[test]
fn a_late_answer_comes_behind_the_answers_to_later_questions() {
    let by = Duration::from_millis(80);
    let (_simulator, mut client) = with(FaultKind::Late { by });
    let asked = Instant::now();
    // At once: a client that stood still in between would have its late answer before it asks again.
    client.0.write_all(&[frame(1, 1, &READ), frame(2, 2, &READ)].concat()).unwrap();
    assert_eq!(client.frame(), (2, 2, answer(2)));
    assert_eq!(client.frame(), (1, 1, answer(1)));
    assert!(asked.elapsed() >= by);
}

#[test]
fn a_wrong_unit_a_wrong_transaction_and_a_wrong_function_are_those_of_no_request() {
    let (_simulator, mut client) = with(FaultKind::WrongUnit);
    client.send(7, 1, &READ);
    assert_eq!(client.frame(), (7, 2, answer(1)));
    let (_simulator, mut client) = with(FaultKind::WrongTransaction);
    client.send(7, 1, &READ);
    assert_eq!(client.frame(), (0x8007, 1, answer(1)));
    let (_simulator, mut client) = with(FaultKind::WrongFunction);
    client.send(7, 1, &READ);
    assert_eq!(client.frame(), (7, 1, vec![4, 4, 0, 1, 0xbe, 0xef]));
}

#[test]
fn a_wrong_length_is_a_whole_frame_with_less_in_it() {
    let (_simulator, mut client) = with(FaultKind::WrongLength);
    client.send(7, 1, &READ);
    assert_eq!(client.frame(), (7, 1, vec![3, 2, 0, 1]));
    client.send(8, 1, &hex("06 00 00 12 34"));
    assert_eq!(client.frame(), (8, 1, hex("06 00 00")));
    client.send(9, 1, &hex("03 00 00 00 01"));
    assert_eq!(client.frame(), (9, 1, hex("03 00")));
    assert_eq!(client.ask(2, &READ), answer(2));
}

#[test]
fn a_cut_answer_stops_and_the_connection_goes_on() {
    let (_simulator, mut client) = with(FaultKind::Cut { bytes: 5 });
    client.send(1, 1, &READ);
    client.send(2, 2, &READ);
    assert_eq!(client.receive(5), hex("00 01 00 00 00"));
    assert_eq!(client.frame(), (2, 2, answer(2)));
}

#[test]
fn a_connection_is_closed_in_the_middle_of_a_frame() {
    let (_simulator, mut client) = with(FaultKind::Close { bytes: 9 });
    client.send(1, 1, &READ);
    assert_eq!(client.rest(), hex("00 01 00 00 00 07 01 03 04"));
    let (_simulator, mut client) = with(FaultKind::Close { bytes: 0 });
    client.send(1, 1, &READ);
    assert!(client.rest().is_empty());
}

#[test]
fn an_illegal_address_refuses_what_touches_it_and_nothing_else() {
    let kind = FaultKind::IllegalAddress { table: PrimaryTable::Holding, first: 1.into(), count: 1 };
    let (simulator, mut client) = with(kind);
    assert_eq!(client.ask(1, &READ), hex("83 02"));
    assert_eq!(client.ask(1, &hex("03 00 00 00 01")), hex("03 02 00 01"));
    assert_eq!(client.ask(1, &hex("06 00 01 00 00")), hex("86 02"));
    assert_eq!(first(&simulator).value("b").unwrap(), Value::Uint(0xbeef));
    assert_eq!(client.ask(2, &READ), answer(2));
}

#[test]
fn a_flood_sends_frames_that_nobody_asked_for() {
    let (simulator, mut client) = with(FaultKind::Silence);
    simulator.set_faults([Fault::new(FaultKind::Flood { every: Duration::from_millis(1) })]);
    let numbers: Vec<u16> = (0..20).map(|_| client.frame().0).collect();
    assert_eq!(numbers, (0xf000..0xf014).collect::<Vec<u16>>());
    client.send(1, 2, &READ);
    let asked = (0..10_000).map(|_| client.frame()).find(|(transaction, ..)| *transaction == 1);
    assert_eq!(asked, Some((1, 2, answer(2))));
}

#[test]
fn a_refusing_port_drops_its_connections_and_takes_no_new_one() {
    let (simulator, mut client) = with(FaultKind::Silence);
    let address = simulator.addresses()[0];
    assert_eq!(client.ask(2, &READ), answer(2));
    simulator.set_faults([Fault::new(FaultKind::Refuse)]);
    let ended = client.0.read(&mut [0; 16]);
    assert!(matches!(ended, Ok(0)) || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    let deadline = Instant::now() + LONG;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "the port stays open");
    }
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    simulator.set_faults([]);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "the port stays closed");
    }
    assert_eq!(Client::of(&simulator).ask(1, &READ), answer(1));
}

#[test]
fn a_port_that_refuses_from_the_start_opens_when_its_time_is_over() {
    let simulator = start(TAGS, |options| {
        options.faults = vec![Fault::new(FaultKind::Refuse).lasting(Duration::from_millis(100))];
    });
    let deadline = Instant::now() + LONG;
    while TcpStream::connect(simulator.addresses()[0]).is_err() {
        assert!(Instant::now() < deadline, "the port stays closed");
    }
}

#[test]
fn a_fault_ends_by_itself() {
    let (simulator, mut client) = with(FaultKind::Silence);
    let time = Duration::from_millis(50);
    let fault = Fault::new(FaultKind::Exception { code: 4 });
    simulator.set_faults([fault]);
    assert_eq!(client.ask(1, &READ), hex("83 04"));
    simulator.set_faults([fault.lasting(time)]);
    let deadline = Instant::now() + LONG;
    while client.ask(1, &READ) != answer(1) {
        assert!(Instant::now() < deadline, "the fault does not end");
    }
}

#[test]
fn only_every_nth_request_is_hit() {
    let (simulator, mut client) = with(FaultKind::Silence);
    simulator.set_faults([Fault::new(FaultKind::Exception { code: 4 }).every_nth(3)]);
    let hit: Vec<bool> = (0..9).map(|_| client.ask(1, &READ) == hex("83 04")).collect();
    assert_eq!(hit, [false, false, true, false, false, true, false, false, true]);
}

#[test]
fn a_fault_of_a_port_leaves_the_others_alone() {
    let simulator = start(TAGS, |options| {
        options.ports = 2;
        options.faults = vec![Fault::new(FaultKind::Exception { code: 4 }).of_port(1)];
    });
    let [good, bad] = simulator.addresses() else { panic!("two ports") };
    assert_eq!(Client::connect(*good).ask(1, &READ)[0], 3);
    assert_eq!(Client::connect(*bad).ask(1, &READ), hex("83 04"));
}
