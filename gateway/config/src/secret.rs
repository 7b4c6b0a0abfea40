//! Passwords and keys, which stand in the environment or in files of their own.

use std::{fmt, fs, io::Read};

use crate::{FromNode, Kind, Node, Origin, Report, from_node::wrong_kind};

/// A file with a secret is at most this long.
const MAX_BYTES: u64 = 64 * 1024;

/// A password or key, written as `env:NAME` or `file:PATH`; its text is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    reference: String,
    text: String,
}

impl Secret {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// How it is written in the file (`env:SCADA_PASSWORD`).
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// A secret that is not from a file, for tests and the demo.
    pub fn literal(text: impl Into<String>) -> Secret {
        Secret { reference: "literal".to_owned(), text: text.into() }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.reference)
    }
}

impl FromNode for Secret {
    fn from_node(node: &Node, key: &str, report: &mut Report) -> Option<Secret> {
        let Kind::Text(reference) = &node.kind else {
            report.hide(&node.origin);
            return wrong_kind(node, key, "\"env:NAME\" or \"file:PATH\"", report);
        };
        let found = match (reference.split_once(':'), &node.origin) {
            (Some(("env", name)), _) => from_environment(name, report),
            (Some(("file", path)), _) => from_file(path, report),
            (_, Origin::Environment(variable)) => {
                return Some(Secret { reference: format!("env:{variable}"), text: reference.clone() });
            }
            _ => {
                report.hide(&node.origin);
                let help =
                    "write \"env:NAME\" for a variable of the environment, or \"file:PATH\" for a file that holds it";
                let message = format!("`{key}` is a secret and may not stand in the file");
                report.error(&node.origin, message, Some(help.to_owned()));
                return None;
            }
        };
        match found {
            Ok(text) => Some(Secret { reference: reference.clone(), text }),
            Err((message, help)) => {
                report.error(&node.origin, format!("`{key}` has no value: {message}"), help);
                None
            }
        }
    }

    fn to_toml(&self) -> String {
        format!("{:?}", self.reference)
    }

    fn shown(node: &Node) -> String {
        match &node.kind {
            Kind::Text(text) if text.starts_with("env:") || text.starts_with("file:") => node.to_string(),
            _ => "\"***\"".to_owned(),
        }
    }
}

type Found = Result<String, (String, Option<String>)>;

fn from_environment(name: &str, report: &Report) -> Found {
    match report.variable(name) {
        Some("") => Err((format!("the environment variable {name} is empty"), None)),
        Some(text) => Ok(text.to_owned()),
        None => {
            let help = format!("set {name} where the gateway is started (service unit, compose file)");
            Err((format!("the environment variable {name} is not set"), Some(help)))
        }
    }
}

/// The file's text without the line end that editors leave behind.
fn from_file(path: &str, report: &Report) -> Found {
    let cannot = |why: String| (format!("the file {path} cannot be read: {why}"), None);
    let full = report.path_of(path);
    let about = fs::metadata(&full).map_err(|error| cannot(error.to_string()))?;
    if !about.is_file() {
        return Err(cannot("it is not a file".to_owned()));
    }
    // Counted while it is read: the files of the kernel are longer than they say.
    let mut text = String::new();
    let file = fs::File::open(&full).map_err(|error| cannot(error.to_string()))?;
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| cannot(error.to_string()))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(cannot(format!("it is longer than {MAX_BYTES} bytes")));
    }
    match text.trim_end_matches(['\n', '\r']) {
        "" => Err((format!("the file {path} is empty"), None)),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report::of_site(".", [("SCADA".to_owned(), "hunter2".to_owned())])
    }

    fn read(text: &str, origin: Origin, report: &mut Report) -> Option<Secret> {
        Secret::from_node(&Node { origin, kind: Kind::Text(text.to_owned()) }, "password", report)
    }

    #[test]
    fn a_secret_is_found_in_the_environment_and_never_printed() {
        let secret = read("env:SCADA", Origin::Default, &mut report()).unwrap();
        assert_eq!(secret.reveal(), "hunter2");
        assert_eq!(format!("{secret:?} {}", secret.to_toml()), "Secret(env:SCADA) \"env:SCADA\"");
    }

    #[test]
    fn a_secret_that_a_variable_overlays_is_the_variable_itself() {
        let origin = Origin::Environment("TIDEGATE__TARGET__CLOUD__PASSWORD".to_owned());
        let secret = read("correct horse", origin, &mut report()).unwrap();
        assert_eq!((secret.reveal(), secret.reference()), ("correct horse", "env:TIDEGATE__TARGET__CLOUD__PASSWORD"));
    }

    #[test]
    fn a_file_that_is_far_too_long_is_no_secret() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, &vec![b'x'; 64 * 1024 + 1]).unwrap();
        let mut report = report();
        assert_eq!(read(&format!("file:{}", file.path().display()), Origin::Default, &mut report), None);
        assert!(report.render().contains("it is longer than 65536 bytes"), "{}", report.render());
    }

    #[test]
    fn a_device_without_end_is_no_secret() {
        let mut report = report();
        assert_eq!(read("file:/dev/zero", Origin::Default, &mut report), None);
        assert!(report.has_errors());
    }
}
