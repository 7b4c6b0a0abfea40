//! Reading the site file and what it includes.

use std::{
    collections::HashSet,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use crate::{At, Kind, Origin, Place, Report, Source, Table};

/// A configuration file is at most this long.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// A site includes at most this many files.
const MAX_INCLUDES: usize = 1000;

/// The files that were read.
#[derive(Default)]
pub(super) struct Files {
    read: Vec<PathBuf>,
    /// The same by their real path, so that no file is included twice.
    known: HashSet<PathBuf>,
}

impl Files {
    /// The top table of a file; `origin` is where the file is named.
    pub(super) fn read_table(&mut self, path: &Path, origin: &Origin, report: &mut Report) -> Option<Table> {
        // The site file itself may also come through a pipe.
        let bytes = match read_bounded(path, self.read.is_empty()) {
            Ok(bytes) => bytes,
            Err(why) => {
                report.error(origin, format!("the file {} cannot be read: {why}", path.display()), None);
                return None;
            }
        };
        self.read.push(path.to_owned());
        self.known.extend(path.canonicalize());
        let shown = path.display().to_string();
        match String::from_utf8(bytes) {
            // The mark that some editors put before the text is no column of the first line.
            Ok(text) => Some(Table::parse(&Source::new(shown, text.strip_prefix('\u{feff}').unwrap_or(&text)), report)),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let source = Source::new(shown, String::from_utf8_lossy(error.as_bytes()));
                report.note_source(&source);
                let here = Origin::File(Place::new(&source, valid..valid + 3));
                report.syntax_error(&here, "the file is not UTF-8 text", Some("save it as UTF-8".to_owned()));
                Some(Table::empty("", Origin::File(Place::new(&source, 0..0))))
            }
        }
    }

    /// The tables of all files that `include` of the site file names, in order.
    pub(super) fn includes(&mut self, root: &Table, report: &mut Report) -> Vec<Table> {
        let Some(gateway) = root.peek_table("gateway") else { return Vec::new() };
        let patterns: Vec<At<String>> =
            gateway.clone().named("gateway", "gateway").take("include", report).map_or(Vec::new(), |at| at.value);
        let mut tables = Vec::new();
        for pattern in patterns {
            for path in expand(&pattern, report) {
                if path.canonicalize().is_ok_and(|real| self.known.contains(&real)) {
                    continue;
                }
                if self.read.len() > MAX_INCLUDES {
                    report.error(&pattern.origin, format!("more than {MAX_INCLUDES} files are included"), None);
                    return tables;
                }
                tables.extend(self.read_included(&path, &pattern.origin, report));
            }
        }
        tables
    }

    fn read_included(&mut self, path: &Path, origin: &Origin, report: &mut Report) -> Option<Table> {
        let mut table = self.read_table(path, origin, report)?;
        for entry in table.entries_mut() {
            let (Kind::Table(gateway), "gateway") = (&mut entry.node.kind, entry.key.as_str()) else { continue };
            if let Some(include) = gateway.entries_mut().iter().find(|entry| entry.key == "include") {
                let help = "move it to the site file".to_owned();
                report.error(&include.key_origin, "only the site file may include others", Some(help));
            }
            // It would be merged with the site file's own.
            gateway.entries_mut().retain(|entry| entry.key != "include");
        }
        Some(table)
    }

    /// Every file that was read, in order.
    pub(super) fn take_read(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.read)
    }
}

/// The bytes of a file that is not too long; unless it may be a pipe, it has to be a file.
fn read_bounded(path: &Path, may_be_pipe: bool) -> Result<Vec<u8>, String> {
    let about = fs::metadata(path).map_err(|error| error.to_string())?;
    if about.is_dir() {
        return Err("it is a folder".to_owned());
    }
    if !about.is_file() && !may_be_pipe {
        return Err("it is not a file".to_owned());
    }
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(format!("it is longer than {} MiB", MAX_BYTES >> 20));
    }
    Ok(bytes)
}

/// The files that a pattern of `include` means, by name. `*` stands for any characters in the last part of the path.
fn expand(pattern: &At<String>, report: &mut Report) -> Vec<PathBuf> {
    let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern.value.as_str()));
    if folder.contains('*') {
        let help = "name each folder, or put the files into one folder".to_owned();
        report.error(&pattern.origin, "`*` may stand only in the last part of an include", Some(help));
        return Vec::new();
    }
    // `/*.toml` is in the root, `*.toml` is not.
    let folder = if pattern.starts_with('/') && folder.is_empty() { "/" } else { folder };
    let folder = report.path_of(folder);
    if !name.contains('*') {
        return vec![folder.join(name)];
    }
    // A relative site file in the working directory has an empty folder.
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder.as_path() };
    let entries = match fs::read_dir(listed) {
        Ok(entries) => entries,
        Err(error) => {
            let message = format!("the folder {} cannot be read: {error}", listed.display());
            report.error(&pattern.origin, message, None);
            return Vec::new();
        }
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|found| matches(name, found)).collect();
    names.sort();
    names.into_iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect()
}

/// Whether a file's name fits a pattern with `*`. A hidden file fits only a pattern that begins with a dot.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_characters() {
        assert!(matches("*.toml", "press.toml"));
        assert!(matches("line-*-b*.toml", "line-3-bus.toml"));
        assert!(matches("*", "x"));
        assert!(matches("a*a", "aa"));
        assert!(!matches("a*a", "a"));
        assert!(!matches("*.toml", "press.toml.bak"));
        assert!(!matches("*b*c", "xcxb"));
    }

    #[test]
    fn hidden_files_are_not_included_by_accident() {
        assert!(!matches("*.toml", ".press.toml"));
        assert!(matches(".*.toml", ".press.toml"));
    }
}
