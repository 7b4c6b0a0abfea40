//! `[gateway]`.

use std::path::{Path, PathBuf};

use tidegate_model::Name;

use super::{library::Library, location::location, section};
use crate::{At, Gateway, Origin, Report, Table};

/// Reads `[gateway]` and opens its profile folders.
pub(super) fn gateway(root: &Table, report: &mut Report) -> (Gateway, Library) {
    let table = section(root, "gateway", report);
    let id = if root.peek_table("gateway").is_some() {
        table.require::<Name>("id", "\"line3\"", report).map(|id| id.value)
    } else if root.has("gateway") {
        table.take("id", report).map(|id| id.value)
    } else {
        let help = "add `[gateway]` with `id = \"line3\"`, a name that is unique in the company".to_owned();
        report.missing(root.origin(), "`[gateway]` is missing".to_owned(), Some(help));
        None
    };
    let data_dir = table.take_or("data_dir", PathBuf::from("data"), report);
    let default = || At { value: PathBuf::from("profiles"), origin: Origin::Default };
    let profiles = table.take_or("profiles", vec![default()], report).value;
    let folders: Vec<At<PathBuf>> = profiles.into_iter().map(|folder| check_folder(folder, report)).collect();
    // `include` was read before everything else.
    table.note_default("include", "[]", report);
    table.node("include", report);
    let location = location(table.table("location", "gateway.location", report), report);
    table.finish(report);
    let gateway = Gateway {
        id: id.unwrap_or_else(Name::placeholder),
        data_dir: if data_dir.origin == Origin::Default { report.path_of(data_dir.value) } else { data_dir.value },
        profiles: folders.iter().map(|folder| folder.value.clone()).collect(),
        location,
    };
    (gateway, Library::new(folders))
}

/// A folder that somebody named has to be there; the default folder only when a device needs it.
fn check_folder(folder: At<PathBuf>, report: &mut Report) -> At<PathBuf> {
    if folder.origin == Origin::Default {
        return folder.map(|path| report.path_of(path));
    }
    if !is_folder(&folder.value) {
        report.error(&folder.origin, format!("there is no folder {}", folder.value.display()), None);
    }
    folder
}

fn is_folder(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.is_dir()
}
