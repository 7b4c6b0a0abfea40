//! What is below `.tidegate` in a folder of Parquet files: the ledger, the journal, schemas, and the quarantine.
//!
//! Readers of Parquet folders leave names with a dot at the beginning alone.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_codec::block::{Decoder, SchemaId};
use tidegate_export::Table;
use tidegate_model::Name;

use super::files::{self, Made};
use crate::{
    IngestError, Report,
    error::file,
    ledger::Ledger,
    nodes::{self, Nodes},
    piece::{self, Known, Piece, Refused},
    report::StreamReport,
    sink::{Remembered, SinkError, Trouble, Written, disk, taken::Taken},
};

/// Blocks that may be in the quarantine, and their bytes.
const MOST: u64 = 10_000;
const MOST_BYTES: u64 = 1 << 30;
/// Blocks that are taken out of the quarantine in one go.
const RELEASED: usize = 64;
/// Bytes of memory that they take, and one block more.
const MOST_RELEASED: usize = 16 << 20;

/// The folder and what is known of it.
pub(crate) struct Folder {
    root: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
    schemas: HashMap<(Name, SchemaId), Arc<Known>>,
    quarantined: u64,
    quarantined_bytes: u64,
    /// Schemas that have come, for blocks in the quarantine.
    arrived: Vec<Arc<Known>>,
    /// What has been seen of edge nodes.
    nodes: Nodes,
}

impl Folder {
    /// Opens the folder, or makes it, and keeps others out.
    pub(crate) fn open(root: &Path) -> Result<Folder, IngestError> {
        let own = root.join(OWN);
        for folder in [own.join(QUARANTINE), own.join(SCHEMAS), own.join(NEW)] {
            fs::create_dir_all(&folder).map_err(file("make", &folder))?;
        }
        let path = own.join("lock");
        let lock = File::create(&path).map_err(file("make", &path))?;
        if lock.try_lock().is_err() {
            return Err(IngestError::InUse { path: root.to_owned() });
        }
        let mut folder = Folder {
            root: root.to_owned(),
            _lock: lock,
            schemas: HashMap::new(),
            quarantined: 0,
            quarantined_bytes: 0,
            arrived: Vec::new(),
            nodes: nodes_of(root)?,
        };
        folder.load_schemas()?;
        for entry in entries(&own.join(QUARANTINE))? {
            folder.quarantined += 1;
            folder.quarantined_bytes += entry.metadata().map_or(0, |metadata| metadata.len());
        }
        Ok(folder)
    }

    fn load_schemas(&mut self) -> Result<(), IngestError> {
        let folder = self.root.join(OWN).join(SCHEMAS);
        for gateway in entries(&folder)? {
            let Ok(name) = gateway.file_name().to_string_lossy().parse::<Name>() else { continue };
            for schema in entries(&gateway.path())? {
                let path = schema.path();
                let document = fs::read(&path).map_err(file("read", &path))?;
                if let Ok(known) = Known::read(name.clone(), document.into()) {
                    self.schemas.insert((name.clone(), known.id), Arc::new(known));
                }
            }
        }
        Ok(())
    }

    /// What is in the files. Without the file of the ledger, the files themselves tell.
    pub(crate) fn ledger(&self) -> Result<Ledger, IngestError> {
        ledger(&self.root)
    }

    /// Writes the ledger.
    pub(crate) fn put_ledger(&self, ledger: &Ledger) -> io::Result<()> {
        disk::put(&self.root.join(OWN).join(LEDGER), &ledger.encode()?)
    }

    /// Where the values are that were taken from edge nodes.
    pub(crate) fn taken(&self) -> Taken {
        Taken::new(self.root.join(OWN).join(""))
    }

    /// The folder of the Parquet files.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The journal of the blocks that come after `filed`.
    pub(crate) fn journal(&self, filed: &Ledger) -> PathBuf {
        journal(&self.root, filed)
    }

    /// The list of the files that are being put in their places.
    pub(crate) fn list(&self, filed: &Ledger) -> PathBuf {
        self.root.join(OWN).join(format!("{LIST}{:08}.json", filed.rotations + 1))
    }

    /// The files of a rotation that was begun and is not completed; `None` when there is no list of them.
    pub(crate) fn listed(&self, filed: &Ledger) -> Result<Option<Vec<Made>>, IngestError> {
        let path = self.list(filed);
        match fs::read(&path) {
            Ok(list) => serde_json::from_slice(&list)
                .map(Some)
                .map_err(|error| IngestError::Damaged { path: path.clone(), why: error.to_string() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file("read", &path)(error)),
        }
    }

    /// Removes the journals and lists of the rotations that the ledger has.
    pub(crate) fn clear(&self, filed: &Ledger) -> io::Result<()> {
        let is_done = |number: u64| number <= filed.rotations;
        for entry in fs::read_dir(self.root.join(OWN))? {
            let entry = entry?;
            let name = entry.file_name();
            if [JOURNAL, LIST].into_iter().any(|kind| number_of(&name, kind).is_some_and(is_done)) {
                disk::remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Where files are made.
    pub(crate) fn new_files(&self) -> PathBuf {
        self.root.join(OWN).join(NEW)
    }

    /// A schema that is kept here.
    pub(crate) fn schema(&self, gateway: &Name, id: SchemaId) -> Option<Arc<Known>> {
        self.schemas.get(&(gateway.clone(), id)).map(Arc::clone)
    }

    /// Keeps a schema, so that the journal can be read by it.
    pub(crate) fn keep_schema(&mut self, known: &Arc<Known>) -> io::Result<()> {
        let place = (known.key.gateway.clone(), known.id);
        if self.schemas.get(&place).is_some_and(|kept| kept.document == known.document) {
            return Ok(());
        }
        let folder = self.root.join(OWN).join(SCHEMAS).join(known.key.gateway.as_str());
        disk::make_folders(&folder)?;
        disk::put(&folder.join(format!("{}.json", known.id)), &known.document)?;
        self.schemas.insert(place, Arc::clone(known));
        Ok(())
    }

    /// Whether another schema with the same checksum is kept: what is in the journal is read by that.
    pub(crate) fn has_other(&self, known: &Known) -> bool {
        let kept = self.schemas.get(&(known.key.gateway.clone(), known.id));
        kept.is_some_and(|kept| kept.document != known.document)
    }

    /// Refuses rows that no table can be made of, before they are in the journal.
    pub(crate) fn check(&self, known: &Known) -> Result<(), SinkError> {
        let kept = self.schemas.get(&(known.key.gateway.clone(), known.id));
        if kept.is_some_and(|kept| kept.document == known.document) {
            return Ok(());
        }
        let refused =
            |error: tidegate_export::ExportError| SinkError { trouble: Trouble::Values, text: error.to_string() };
        table(known).map(drop).map_err(refused)
    }

    /// What the folder remembers.
    pub(crate) fn remembered(&self) -> Result<Remembered, IngestError> {
        let mut wanted = HashSet::new();
        for entry in entries(&self.root.join(OWN).join(QUARANTINE))? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let mut parts = name.split('~');
            if let (Some(gateway), Some("unknown_schema"), Some(schema)) = (parts.next(), parts.next(), parts.next()) {
                wanted.extend(schema.parse().map(|schema| (gateway.to_owned(), schema)));
            }
        }
        let again = |known: &Arc<Known>| Known::read(known.key.gateway.clone(), known.document.clone()).ok();
        let schemas = self.schemas.values().filter_map(again).collect();
        Ok(Remembered { schemas, wanted, nodes: self.nodes.clone(), ..Remembered::default() })
    }

    /// Enters what has been seen of edge nodes, and keeps it.
    pub(crate) fn enter_nodes(&mut self, news: &Nodes) -> io::Result<()> {
        let mut nodes = self.nodes.clone();
        nodes::enter(&mut nodes, news);
        if nodes != self.nodes {
            let stored = StoredNodes { version: NODES_VERSION, nodes };
            disk::put(&self.root.join(OWN).join(NODES), &serde_json::to_vec(&stored)?)?;
            self.nodes = stored.nodes;
        }
        Ok(())
    }

    /// Puts a block into the quarantine. One that is there already is there once.
    pub(crate) fn put_aside(&mut self, refused: &Refused, written: &mut Written) -> io::Result<()> {
        let length = u64::try_from(refused.frame.len()).unwrap_or(u64::MAX);
        let path = self.root.join(OWN).join(QUARANTINE).join(quarantine_name(refused));
        if path.exists() {
            return Ok(());
        }
        if self.quarantined >= MOST || self.quarantined_bytes.saturating_add(length) > MOST_BYTES {
            written.lost += 1;
            return Ok(());
        }
        disk::put(&path, &refused.frame)?;
        self.quarantined += 1;
        self.quarantined_bytes += length;
        written.quarantined += 1;
        Ok(())
    }

    /// Blocks of the quarantine that can be read now, with their files. The files are to be removed once the blocks are written.
    pub(crate) fn released(&mut self, arrived: &[Arc<Known>], decoder: &mut Decoder) -> Vec<(Piece, PathBuf)> {
        self.arrived.extend(arrived.iter().map(Arc::clone));
        let mut released = Vec::new();
        let Some(known) = self.arrived.last() else { return released };
        if let Err(error) = self.check(known) {
            tracing::error!(stream = %known.key, %error.text, "no table can be made of blocks whose schema has come; they stay in the quarantine");
            self.arrived.pop();
            return released;
        }
        let wanted = format!("{}~unknown_schema~{}~", known.key.gateway, known.id);
        let files = entries(&self.root.join(OWN).join(QUARANTINE)).unwrap_or_default();
        let is_wanted = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&wanted);
        let mut bytes = 0_usize;
        for path in files.iter().filter(|entry| is_wanted(entry)).map(fs::DirEntry::path).take(RELEASED) {
            let Ok(frame) = fs::read(&path).map(Bytes::from) else { continue };
            for (_, whole) in piece::blocks(&frame).0 {
                // What cannot be read by its own schema stays where it is.
                let Ok(piece) = whole.unpack(known, decoder) else { continue };
                bytes = bytes.saturating_add(piece.bytes());
                released.push((piece, path.clone()));
            }
            if bytes >= MOST_RELEASED {
                break;
            }
        }
        if released.is_empty() {
            self.arrived.pop();
        }
        released
    }

    /// A block has left the quarantine.
    pub(crate) fn forget(&mut self, path: &Path) {
        let length = fs::metadata(path).map_or(0, |metadata| metadata.len());
        if disk::remove(path).is_ok() {
            self.quarantined = self.quarantined.saturating_sub(1);
            self.quarantined_bytes = self.quarantined_bytes.saturating_sub(length);
        }
    }
}

const OWN: &str = ".tidegate";
const LEDGER: &str = "ledger.json";
const QUARANTINE: &str = "quarantine";
const SCHEMAS: &str = "schemas";
const NEW: &str = "new";
const JOURNAL: &str = "journal-";
const LIST: &str = "list-";

/// The table that rows of this schema are written to.
pub(crate) fn table(known: &Known) -> Result<Table, tidegate_export::ExportError> {
    let columns = known.schema.columns.clone();
    Table::new(Some(known.key.gateway.clone()), known.key.device.clone(), known.key.group.clone(), columns)
}

/// What the ledger of a folder says, with what is in its journal. Nothing is changed.
pub(crate) fn report(root: &Path) -> Result<Report, IngestError> {
    if !root.join(OWN).is_dir() {
        return Err(IngestError::NoLedger { place: root.display().to_string() });
    }
    let filed = ledger(root)?;
    let journal = journal(root, &filed);
    let ledger = super::replay(root, filed, journal)?;
    let streams = ledger.iter().map(|(key, account)| StreamReport::new(key.clone(), account)).collect();
    let quarantined = entries(&root.join(OWN).join(QUARANTINE))?.len();
    Ok(Report::new(streams, nodes_of(root)?, u64::try_from(quarantined).unwrap_or(u64::MAX)))
}

/// The file of what has been seen of edge nodes.
const NODES: &str = "nodes.json";
const NODES_VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct StoredNodes {
    version: u32,
    #[serde(with = "nodes::stored")]
    nodes: Nodes,
}

/// What a folder says of edge nodes.
fn nodes_of(root: &Path) -> Result<Nodes, IngestError> {
    let path = root.join(OWN).join(NODES);
    let damaged = |why: String| IngestError::Damaged { path: path.clone(), why };
    match fs::read(&path) {
        Ok(bytes) => {
            let stored: StoredNodes = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
            match stored.version {
                NODES_VERSION => Ok(stored.nodes),
                found => Err(damaged(format!("it has version {found}, known is {NODES_VERSION}"))),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Nodes::new()),
        Err(error) => Err(file("read", &path)(error)),
    }
}

/// A schema that a folder has kept.
pub(crate) fn stored_schema(root: &Path, gateway: &Name, id: SchemaId) -> Option<Arc<Known>> {
    let path = root.join(OWN).join(SCHEMAS).join(gateway.as_str()).join(format!("{id}.json"));
    Known::read(gateway.clone(), fs::read(path).ok()?.into()).ok().map(Arc::new)
}

fn ledger(root: &Path) -> Result<Ledger, IngestError> {
    let path = root.join(OWN).join(LEDGER);
    match fs::read(&path) {
        Ok(bytes) => {
            Ledger::decode(&bytes).map_err(|error| IngestError::Damaged { path: path.clone(), why: error.to_string() })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut ledger = files::ledger_of(root)?;
            // A rotation that has a list is not completed, however many of its files are in their places.
            let listed = entries(&root.join(OWN))?.iter().filter_map(|entry| number_of(&entry.file_name(), LIST)).min();
            ledger.rotations = listed.map_or(ledger.rotations, |number| number.saturating_sub(1));
            Ok(ledger)
        }
        Err(error) => Err(file("read", &path)(error)),
    }
}

fn journal(root: &Path, filed: &Ledger) -> PathBuf {
    root.join(OWN).join(format!("{JOURNAL}{:08}", filed.rotations + 1))
}

/// `list-00000012.json` is of rotation 12, as is `journal-00000012`.
fn number_of(name: &OsStr, kind: &str) -> Option<u64> {
    let rest = name.to_str()?.strip_prefix(kind)?;
    rest.strip_suffix(".json").unwrap_or(rest).parse().ok()
}

/// The entries of a folder that are no leftovers of a write that was killed.
fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>, IngestError> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = entries.map_err(file("read", folder))?;
    entries.retain(|entry| entry.path().extension().is_none_or(|extension| extension != "part"));
    Ok(entries)
}

/// `line3~checksum~none~0a1b2c3d-117.block`: gateway, fault, schema, and what tells two blocks apart.
fn quarantine_name(refused: &Refused) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    let gateway: String = refused.gateway.chars().take(64).map(clean).collect();
    let schema = refused.schema.map_or("none".to_owned(), |schema| schema.to_string());
    let sum = crc32c::crc32c(&refused.frame);
    format!("{gateway}~{}~{schema}~{sum:08x}-{}.block", refused.fault, refused.frame.len())
}
