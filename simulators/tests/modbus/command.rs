//! `tidegate-sim` as it is called.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Output, Stdio},
};

use crate::rig::{Client, hex};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate-sim");

/// Ends the program with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

fn bench_profile(folder: &tempfile::TempDir) -> String {
    let printed = run(&["profile", "--tags", "10", "--type", "u16"]);
    assert!(printed.status.success());
    let file = folder.path().join("bench.toml");
    std::fs::write(&file, printed.stdout).unwrap();
    file.display().to_string()
}

#[test]
fn a_printed_profile_is_served_and_every_port_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = bench_profile(&folder);
    let faults = ["--fault", "unit=2 exception code=4"];
    let mut command = Command::new(PROGRAM);
    command.args(["modbus", "--profile", &file, "--ports", "3", "--units", "1..10"]).args(faults);
    let mut running = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(running.0.stdout.take().unwrap()).lines().take(3);
    let mut addresses = Vec::new();
    for line in lines {
        let line = line.unwrap();
        let address = line.strip_prefix("listening modbus-tcp ").and_then(|rest| rest.strip_suffix(" units 1-10"));
        addresses.push(address.unwrap_or_else(|| panic!("{line}")).parse().unwrap());
    }
    assert_eq!(addresses.len(), 3);
    for address in addresses {
        let mut client = Client::connect(address);
        assert_eq!(client.ask(10, &hex("04 00 00 00 0a"))[..2], hex("04 14"));
        assert_eq!(client.ask(2, &hex("04 00 00 00 0a")), hex("84 04"));
    }
}

#[test]
fn a_wrong_profile_a_wrong_fault_and_a_taken_port_are_named_and_nothing_starts() {
    let folder = tempfile::tempdir().unwrap();
    let good = bench_profile(&folder);
    let bad = folder.path().join("bad.toml").display().to_string();
    std::fs::write(&bad, std::fs::read_to_string(&good).unwrap().replace("u16", "u17")).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let cases: [(&[&str], &str); 5] = [
        (&["--profile", &bad], "bad.toml:9:8: "),
        (&["--profile", "/nonexistent.toml"], "/nonexistent.toml cannot be read"),
        (&["--profile", &good, "--fault", "silense"], "did you mean \"silence\"?"),
        (&["--profile", &good, "--script", "/nonexistent.toml"], "/nonexistent.toml: the file cannot be read"),
        (&["--profile", &good, "--listen", &taken], "listen on 127.0.0.1:"),
    ];
    for (arguments, message) in cases {
        let output = run(&[&["modbus"], arguments].concat());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(text.contains("failed to start the simulator") && text.contains(message), "{arguments:?}: {text}");
    }
}
