//! Faults in words: `unit=3 silence after=10s for=30s` on the command line, `[[fault]]` tables in a script.

use std::{path::Path, time::Duration};

use tidegate_config::{At, Report, Table};
use tidegate_driver_modbus::{PrimaryTable, RegisterAddress, UnitId};

use super::faults::{Fault, FaultKind, LONGEST_DELAY, SHORTEST_FLOOD};
use crate::{SimulatorError, fault_words};

/// The words for what goes wrong, each with what it takes.
const KINDS: [(&str, Word); 13] = [
    ("delay", Word::Delay),
    ("silence", Word::Silence),
    ("exception", Word::Exception),
    ("wrong-unit", Word::WrongUnit),
    ("wrong-transaction", Word::WrongTransaction),
    ("wrong-function", Word::WrongFunction),
    ("wrong-length", Word::WrongLength),
    ("cut", Word::Cut),
    ("late", Word::Late),
    ("flood", Word::Flood),
    ("refuse", Word::Refuse),
    ("close", Word::Close),
    ("illegal-address", Word::IllegalAddress),
];

/// A [`FaultKind`] whose numbers are not read yet.
#[derive(Debug, Clone, Copy)]
enum Word {
    Delay,
    Silence,
    Exception,
    WrongUnit,
    WrongTransaction,
    WrongFunction,
    WrongLength,
    Cut,
    Late,
    Flood,
    Refuse,
    Close,
    IllegalAddress,
}

/// Reads one fault as it is written on a command line: words with `=` are its keys, the one without is its kind.
///
/// # Errors
///
/// [`SimulatorError::Faults`] with every mistake in it.
pub fn parse_fault(text: &str) -> Result<Fault, SimulatorError> {
    fault_words::parse_words(text, fault)
}

/// Reads a script: a TOML file with a `[[fault]]` table for each fault.
///
/// # Errors
///
/// [`SimulatorError::Faults`] with every mistake in it.
pub fn parse_script(file: &Path) -> Result<Vec<Fault>, SimulatorError> {
    fault_words::parse_file(file, fault)
}

fn fault(table: &Table, report: &mut Report) -> Option<Fault> {
    let word = fault_words::kind(table, &KINDS, report);
    let port: Option<At<u16>> = table.take("port", report);
    let unit: Option<At<u8>> = table.take("unit", report);
    let after: Option<At<Duration>> = table.take("after", report);
    let lasts: Option<At<Duration>> = table.take("for", report);
    let every_nth = table.take_within("nth", 1_u32, 1..=u32::MAX, report).value;
    let kind = word.as_ref().and_then(|word| kind(word.value, table, report));
    // Without a kind nobody knows which other keys it has.
    if let Some(word) = &word {
        table.finish(report);
        check_unit(word, unit.as_ref(), report);
    }
    Some(Fault {
        kind: kind?,
        port: port.map(|port| usize::from(port.value)),
        unit: unit.map(|unit| UnitId::from(unit.value)),
        after: after.map_or(Duration::ZERO, |after| after.value),
        lasts: lasts.map(|lasts| lasts.value),
        every_nth,
    })
}

fn check_unit(word: &At<Word>, unit: Option<&At<u8>>, report: &mut Report) {
    if let (Word::Flood | Word::Refuse, Some(unit)) = (word.value, unit) {
        let message = "this fault concerns a whole port, it has no unit";
        report.error(&unit.origin, message, Some("use `port`, counted from 0, or leave both out".to_owned()));
    }
}

/// The kind with the keys that it takes.
fn kind(word: Word, table: &Table, report: &mut Report) -> Option<FaultKind> {
    Some(match word {
        Word::Silence => FaultKind::Silence,
        Word::WrongUnit => FaultKind::WrongUnit,
        Word::WrongTransaction => FaultKind::WrongTransaction,
        Word::WrongFunction => FaultKind::WrongFunction,
        Word::WrongLength => FaultKind::WrongLength,
        Word::Refuse => FaultKind::Refuse,
        Word::Delay => FaultKind::Delay { by: delay(table, report)? },
        Word::Late => FaultKind::Late { by: delay(table, report)? },
        Word::Cut => FaultKind::Cut { bytes: table.require::<u16>("bytes", "5", report)?.value },
        Word::Close => FaultKind::Close { bytes: table.take_or("bytes", 0_u16, report).value },
        Word::Exception => FaultKind::Exception { code: code(table, report)? },
        Word::Flood => {
            let bounds = (SHORTEST_FLOOD, LONGEST_DELAY);
            FaultKind::Flood { every: fault_words::time(table, "every", "\"10ms\"", bounds, report)? }
        }
        Word::IllegalAddress => {
            let memory = if table.has("table") {
                table.choice("table", &PrimaryTable::CHOICES, report)
            } else {
                table.require::<String>("table", "\"holding\"", report);
                None
            };
            let first: Option<At<u16>> = table.require("from", "100", report);
            let count = table.take_within("count", 1_u16, 1..=u16::MAX, report).value;
            FaultKind::IllegalAddress { table: memory?.value, first: RegisterAddress::from(first?.value), count }
        }
    })
}

fn code(table: &Table, report: &mut Report) -> Option<u8> {
    let code: At<u8> = table.require("code", "4", report)?;
    if code.value == 0 {
        report.error(&code.origin, "`code` has to be between 1 and 255, but is 0", None);
        return None;
    }
    Some(code.value)
}

fn delay(table: &Table, report: &mut Report) -> Option<Duration> {
    fault_words::time(table, "by", "\"200ms\"", (Duration::ZERO, LONGEST_DELAY), report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> String {
        parse_fault(text).unwrap_err().to_string()
    }

    #[test]
    fn a_fault_of_the_command_line_is_read() {
        let fault = parse_fault("unit=3  silence after=10s for=30s").unwrap();
        let silence = Fault::new(FaultKind::Silence).of_unit(UnitId::from(3));
        assert_eq!(fault, silence.after(Duration::from_secs(10)).lasting(Duration::from_secs(30)));
        let fault = parse_fault("late by=2s port=0 nth=10").unwrap();
        assert_eq!(fault, Fault::new(FaultKind::Late { by: Duration::from_secs(2) }).of_port(0).every_nth(10));
    }

    #[test]
    fn every_kind_has_its_words() {
        let millis = Duration::from_millis;
        let illegal = FaultKind::IllegalAddress { table: PrimaryTable::Holding, first: 100.into(), count: 10 };
        let kinds = [
            ("delay by=200ms", FaultKind::Delay { by: millis(200) }),
            ("silence", FaultKind::Silence),
            ("exception code=6", FaultKind::Exception { code: 6 }),
            ("wrong-unit", FaultKind::WrongUnit),
            ("wrong-transaction", FaultKind::WrongTransaction),
            ("wrong-function", FaultKind::WrongFunction),
            ("wrong-length", FaultKind::WrongLength),
            ("cut bytes=5", FaultKind::Cut { bytes: 5 }),
            ("late by=2s", FaultKind::Late { by: millis(2_000) }),
            ("flood every=10ms", FaultKind::Flood { every: millis(10) }),
            ("refuse", FaultKind::Refuse),
            ("close bytes=3", FaultKind::Close { bytes: 3 }),
            ("close", FaultKind::Close { bytes: 0 }),
            ("illegal-address table=holding from=100 count=10", illegal),
        ];
        for (text, kind) in kinds {
            assert_eq!(parse_fault(text).unwrap(), Fault::new(kind), "{text}");
        }
    }

    #[test]
    fn a_mistake_names_its_place_and_the_nearest_word() {
        let text = mistakes("unit=3 silense");
        assert!(text.contains("--fault:1:8: "), "{text}");
        assert!(text.contains("did you mean \"silence\"?"), "{text}");
        assert!(mistakes("silence uint=3").contains("did you mean `unit`?"));
        assert!(mistakes("silence unit=300").contains("between 0 and 255"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, why) in [
            ("unit=3", "does not say what goes wrong"),
            ("silence silence", "`kind` is there twice"),
            ("flood every=1us", "`every`"),
            ("flood every=0ms", "`every` has to be between 1ms"),
            ("flood every=1s unit=3", "whole port"),
            ("late by=11m", "`by` has to be between"),
            ("exception code=0", "`code` has to be between 1 and 255"),
            ("exception", "`code` is missing"),
            ("cut", "`bytes` is missing"),
            ("illegal-address from=1", "`table` is missing"),
            ("silence nth=0", "`nth` has to be between 1"),
        ] {
            assert!(mistakes(text).contains(why), "{text}: {}", mistakes(text));
        }
    }

    #[test]
    fn a_script_is_read_and_all_its_mistakes_come_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("script.toml");
        let good = "[[fault]]\nkind = \"silence\"\nunit = 3\nafter = \"1s\"\n[[fault]]\nkind = \"refuse\"\nport = 1\n";
        std::fs::write(&file, good).unwrap();
        let silence = Fault::new(FaultKind::Silence).of_unit(UnitId::from(3)).after(Duration::from_secs(1));
        assert_eq!(parse_script(&file).unwrap(), [silence, Fault::new(FaultKind::Refuse).of_port(1)]);

        std::fs::write(&file, "[[fault]]\nkind = \"cut\"\n[[fault]]\nkind = \"late\"\nby = 3\n").unwrap();
        let text = parse_script(&file).unwrap_err().to_string();
        assert!(text.contains("script.toml:1:"), "{text}");
        assert!(text.contains("script.toml:5:6"), "{text}");
        assert!(parse_script(Path::new("/nonexistent.toml")).is_err());
    }
}
