//! The faults of OPC UA in words.

use std::{path::Path, str::FromStr, time::Duration};

use opcua::types::{StatusCode, SubStatusCode};
use tidegate_config::{At, Report, Table};

use super::faults::{Fault, FaultKind, LONGEST_DELAY};
use crate::{SimulatorError, fault_words};

/// The words for what goes wrong.
const KINDS: [(&str, Word); 6] = [
    ("delay", Word::Delay),
    ("silence", Word::Silence),
    ("refuse", Word::Refuse),
    ("close", Word::Close),
    ("status", Word::Status),
    ("no-items", Word::NoItems),
];

/// A [`FaultKind`] whose keys are not read yet.
#[derive(Debug, Clone, Copy)]
enum Word {
    Delay,
    Silence,
    Refuse,
    Close,
    Status,
    NoItems,
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
    let after: Option<At<Duration>> = table.take("after", report);
    let lasts: Option<At<Duration>> = table.take("for", report);
    let every_nth = table.take_within("nth", 1_u32, 1..=u32::MAX, report).value;
    let kind = word.as_ref().and_then(|word| kind(word.value, table, report));
    // Without a kind nobody knows which other keys it has.
    if word.is_some() {
        table.finish(report);
    }
    Some(Fault {
        kind: kind?,
        after: after.map_or(Duration::ZERO, |after| after.value),
        lasts: lasts.map(|lasts| lasts.value),
        every_nth,
    })
}

/// The kind with the keys that it takes.
fn kind(word: Word, table: &Table, report: &mut Report) -> Option<FaultKind> {
    Some(match word {
        Word::Silence => FaultKind::Silence,
        Word::Refuse => FaultKind::Refuse,
        Word::Close => FaultKind::Close,
        Word::NoItems => FaultKind::NoItems,
        Word::Delay => {
            let bounds = (Duration::ZERO, LONGEST_DELAY);
            FaultKind::Delay { by: fault_words::time(table, "by", "\"200ms\"", bounds, report)? }
        }
        Word::Status => {
            let tag: Option<At<String>> = table.take("tag", report);
            FaultKind::Status { code: code(table, report)?, tag: tag.map(|tag| tag.value) }
        }
    })
}

/// A status code by its name in Part 6 §A.2 (`BadSensorFailure`).
fn code(table: &Table, report: &mut Report) -> Option<StatusCode> {
    let code: At<String> = table.require("code", "\"BadSensorFailure\"", report)?;
    let known = SubStatusCode::from_str(&code.value).ok().map(StatusCode::from_category);
    if known.is_none() {
        let message = format!("\"{}\" is no status code of OPC UA", code.value);
        report.error(&code.origin, message, Some("write its name, as in BadSensorFailure".to_owned()));
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_words() {
        let failure =
            |tag: Option<&str>| FaultKind::Status { code: StatusCode::BadSensorFailure, tag: tag.map(str::to_owned) };
        let kinds = [
            ("delay by=200ms", FaultKind::Delay { by: Duration::from_millis(200) }),
            ("silence", FaultKind::Silence),
            ("refuse", FaultKind::Refuse),
            ("close", FaultKind::Close),
            ("status code=BadSensorFailure", failure(None)),
            ("status code=BadSensorFailure tag=level", failure(Some("level"))),
            ("no-items", FaultKind::NoItems),
        ];
        for (text, kind) in kinds {
            assert_eq!(parse_fault(text).unwrap(), Fault::new(kind), "{text}");
        }
        let fault = parse_fault("silence after=10s for=30s").unwrap();
        let ten = Duration::from_secs(10);
        assert_eq!(fault, Fault::new(FaultKind::Silence).after(ten).lasting(ten * 3));
        assert_eq!(parse_fault("close nth=7").unwrap().every_nth, 7);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, why) in [
            ("after=1s", "does not say what goes wrong"),
            ("silense", "did you mean \"silence\"?"),
            ("status", "`code` is missing"),
            ("status code=BadTemper", "is no status code"),
            ("delay by=11m", "`by` has to be between"),
            ("silence tag=level", "unknown key `tag`"),
        ] {
            let text_of = parse_fault(text).unwrap_err().to_string();
            assert!(text_of.contains(why), "{text}: {text_of}");
        }
    }

    #[test]
    fn a_script_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("script.toml");
        std::fs::write(&file, "[[fault]]\nkind = \"refuse\"\nafter = \"1s\"\n[[fault]]\nkind = \"close\"\n").unwrap();
        let refuse = Fault::new(FaultKind::Refuse).after(Duration::from_secs(1));
        assert_eq!(parse_script(&file).unwrap(), [refuse, Fault::new(FaultKind::Close)]);
    }
}
