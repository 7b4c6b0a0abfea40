//! The three lists of other applications' certificates, and how one goes from list to list.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    fs::File,
    path::{Path, PathBuf},
};

use tidegate_model::Timestamp;
use tracing::warn;

use crate::{
    Certificate, Fingerprint, TrustError, files,
    files::Readers,
    fingerprint::digits,
    own::{self, EXPIRY_WARNING_DAYS},
    seen,
};

/// Certificates that wait to be judged, at most.
const WAITING: usize = 100;
/// Files that one round takes out of the library's folder, so that a flood holds nobody up for long.
const ROUND: usize = 1000;
/// Held while the lists are changed.
const LOCK: &str = ".lock";
/// Milliseconds after which a file is not being written any more.
const SETTLED: i64 = 10_000;

/// The folder of certificates. It keeps nothing in memory: every call reads the files. Calls block for the time of some
/// small files, and while somebody else changes the lists (30 s at most, then they fail); those that make a key (`own` the
/// first time, `renew`) for up to some seconds on a small machine.
#[derive(Debug, Clone)]
pub struct Trust {
    root: PathBuf,
    gateway: String,
}

/// Where a certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The gateway's.
    Own,
    /// Shown to the gateway and not judged.
    Waiting,
    /// Connections may be made.
    Trusted,
    /// Connections may not be made.
    Refused,
}

/// A certificate of the lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it says.
    pub certificate: Certificate,
    /// Which list it is in.
    pub state: State,
    /// When and where it was first seen; `None` when somebody put it into its folder.
    pub seen: Option<(Timestamp, String)>,
}

/// Whether a connection may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Yes: somebody has accepted this very certificate.
    Trusted,
    /// No: somebody has refused it.
    Refused,
    /// Not yet: nobody has judged it. `new` when it has just come onto the list, which is worth a line in the log.
    Waiting {
        /// Whether it was not on the list before.
        new: bool,
    },
}

/// The answer about a certificate that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Whether a connection may be made.
    pub verdict: Verdict,
    /// What the certificate says.
    pub certificate: Certificate,
}

impl State {
    /// As it is written in lists: `own`, `waiting`, `trusted`, `refused`.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Own => "own",
            State::Waiting => "waiting",
            State::Trusted => "trusted",
            State::Refused => "refused",
        }
    }
}

impl Trust {
    /// The folder of certificates of a gateway, `data_dir/opcua`, made when it is not there. Certificates that somebody has
    /// put into `trusted` or `refused` under a name of their own, DER or PEM, get the name under which they are found.
    ///
    /// # Errors
    ///
    /// [`TrustError::File`] when the folder cannot be made or read.
    pub fn open(root: &Path, gateway: &str) -> Result<Trust, TrustError> {
        let trust = Trust { root: root.to_owned(), gateway: gateway.to_owned() };
        for name in ["trusted", "refused", "waiting", "rejected", "seen"] {
            files::folder(&root.join(name), Readers::All)?;
        }
        let _alone = trust.alone()?;
        trust.adopt(State::Trusted)?;
        trust.adopt(State::Refused)?;
        trust.settle()?;
        seen::forget_others(root, &trust.known()?)?;
        Ok(trust)
    }

    /// The folder, to be given to the OPC UA library.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The name of this gateway among OPC UA applications: `urn:<host>:tidegate:<gateway>`, or what its certificate says
    /// where that was brought from elsewhere or made under another host name.
    pub fn application_uri(&self) -> String {
        let certificate = own::certificate(&self.root).ok().flatten();
        let uri = certificate.and_then(|certificate| certificate.uri().map(str::to_owned));
        uri.unwrap_or_else(|| own::application_uri(&self.gateway))
    }

    /// The certificate of the gateway, made when there is none: RSA 2048, valid for 10 years, self-signed, for this host's
    /// names and addresses. It is never made anew by itself.
    ///
    /// # Errors
    ///
    /// [`TrustError::Mismatch`] when the key does not belong to the certificate or one of them is missing;
    /// [`TrustError::File`], [`TrustError::Make`].
    pub fn own(&self, now: Timestamp) -> Result<Certificate, TrustError> {
        own::ensure(&self.root, &self.gateway, now)
    }

    /// Makes a new key and certificate for the gateway. Every application that trusted the old one must be told; a server or
    /// link that runs uses it from its next start on.
    ///
    /// # Errors
    ///
    /// [`TrustError::File`], [`TrustError::Make`].
    pub fn renew(&self, now: Timestamp) -> Result<Certificate, TrustError> {
        own::renew(&self.root, &self.gateway, now)
    }

    /// Says whether a connection to or from the holder of this certificate may be made, and puts it onto the waiting list
    /// when nobody has judged it. `place` is where it was seen: `link press, opc.tcp://10.0.0.7:4840`. Whether the
    /// certificate is valid now and for that host is another question: [`Certificate::check`].
    ///
    /// # Errors
    ///
    /// [`TrustError::NotACertificate`], [`TrustError::File`].
    pub fn judge(&self, der: &[u8], place: &str, now: Timestamp) -> Result<Judgement, TrustError> {
        let certificate = Certificate::from_der(der)?;
        let verdict = match self.known_as(&certificate, der)? {
            Some(verdict) => verdict,
            None => self.file(&certificate, der, place, now)?,
        };
        Ok(Judgement { verdict, certificate })
    }

    /// What the lists say of a certificate; `None` when it is in none.
    fn known_as(&self, certificate: &Certificate, der: &[u8]) -> Result<Option<Verdict>, TrustError> {
        let file = certificate.file();
        let verdict = if files::read(&self.folder(State::Refused).join(file))?.is_some() {
            Verdict::Refused
        } else if files::read(&self.folder(State::Trusted).join(file))?.is_some_and(|known| known == der) {
            Verdict::Trusted
        } else if files::read(&self.folder(State::Waiting).join(file))?.is_some_and(|known| known == der) {
            Verdict::Waiting { new: false }
        } else {
            return Ok(None);
        };
        Ok(Some(verdict))
    }

    /// Puts a certificate onto the waiting list, unless somebody else has been faster.
    fn file(&self, certificate: &Certificate, der: &[u8], place: &str, now: Timestamp) -> Result<Verdict, TrustError> {
        let _alone = self.alone()?;
        if let Some(verdict) = self.known_as(certificate, der)? {
            return Ok(verdict);
        }
        self.make_room()?;
        seen::note(&self.root, certificate.fingerprint(), place, now)?;
        if let Err(error) = files::write(&self.folder(State::Waiting).join(certificate.file()), der, Readers::All) {
            // Of what is in no list, nothing is known. The first error tells more than a second one.
            let _ = seen::forget(&self.root, certificate.fingerprint());
            return Err(error);
        }
        Ok(Verdict::Waiting { new: true })
    }

    /// Judges what the OPC UA library has put into its folder `rejected`, and empties it, and settles certificates that lie in
    /// several lists. Returns those that are new on the waiting list. To be called every second or so while a server runs: until then, the library takes each for refused.
    ///
    /// # Errors
    ///
    /// [`TrustError::File`]. A file that is no certificate is no error; it is removed once it is some seconds old.
    pub fn collect(&self, place: &str, now: Timestamp) -> Result<Vec<Certificate>, TrustError> {
        // The library looks into `trusted` alone: what somebody has put into `refused` must not be there.
        self.alone().and_then(|_alone| self.settle())?;
        let (mut new, mut failed, mut kept) = (Vec::new(), None, 0);
        for path in files::list(&self.root.join("rejected"))?.into_iter().take(ROUND) {
            let judged = match files::read(&path)? {
                Some(der) => self.judge(&der, place, now),
                None => continue,
            };
            // One that is only being written looks like none; it is whole at the next time.
            let is_young = |written: i64| (now.as_millis() - written).abs() < SETTLED;
            if matches!(judged, Err(TrustError::NotACertificate(_))) && files::written(&path).is_some_and(is_young) {
                continue;
            }
            match judged {
                Ok(Judgement { verdict: Verdict::Waiting { new: true }, certificate }) => {
                    new.push(certificate);
                    // Strangers without end must not keep the links from their lists.
                    files::give_way();
                }
                Ok(_) | Err(TrustError::NotACertificate(_)) => {}
                // It stays for the next round. Too many would hide those behind them.
                Err(error) => {
                    failed = failed.or(Some(error));
                    kept += 1;
                    if kept <= WAITING {
                        continue;
                    }
                }
            }
            if let Err(error) = files::remove(&path) {
                failed = failed.or(Some(error));
            }
        }
        match failed {
            Some(error) if new.is_empty() => Err(error),
            _ => Ok(new),
        }
    }

    /// All certificates: the gateway's, those that wait (the newest first), the trusted, the refused.
    ///
    /// # Errors
    ///
    /// [`TrustError::File`]. A file that is no certificate is left out.
    pub fn list(&self) -> Result<Vec<Entry>, TrustError> {
        let mut entries = Vec::new();
        if let Some(certificate) = own::certificate(&self.root)? {
            entries.push(Entry { certificate, state: State::Own, seen: None });
        }
        for state in [State::Waiting, State::Trusted, State::Refused] {
            let first = entries.len();
            entries.extend(self.entries(state)?.into_iter().map(|(_, entry)| entry));
            if let (State::Waiting, Some(waiting)) = (state, entries.get_mut(first..)) {
                waiting.sort_by_key(|entry| std::cmp::Reverse(entry.seen.as_ref().map(|(time, _)| *time)));
            }
        }
        Ok(entries)
    }

    /// Trusts the certificate whose fingerprint begins so, whichever list it is in.
    ///
    /// # Errors
    ///
    /// [`TrustError::NoFingerprint`], [`TrustError::Unknown`], [`TrustError::Ambiguous`], [`TrustError::File`].
    pub fn accept(&self, fingerprint: &str) -> Result<Entry, TrustError> {
        self.put(fingerprint, State::Trusted)
    }

    /// Refuses the certificate whose fingerprint begins so, whichever list it is in. It stays refused until it is accepted.
    ///
    /// # Errors
    ///
    /// As [`Trust::accept`].
    pub fn refuse(&self, fingerprint: &str) -> Result<Entry, TrustError> {
        self.put(fingerprint, State::Refused)
    }

    /// The gateway's and the trusted certificates that expire within [`EXPIRY_WARNING_DAYS`] days, or have.
    ///
    /// # Errors
    ///
    /// [`TrustError::File`].
    pub fn expiring(&self, now: Timestamp) -> Result<Vec<Entry>, TrustError> {
        let mut entries = self.list()?;
        entries.retain(|entry| {
            let used = matches!(entry.state, State::Own | State::Trusted);
            used && entry.certificate.days_left(now) < EXPIRY_WARNING_DAYS
        });
        Ok(entries)
    }

    /// Keeps everybody else from changing the lists, in this process and beside it, until what it gives is dropped: what is only half
    /// filed looks like something to tidy up.
    fn alone(&self) -> Result<Option<File>, TrustError> {
        files::lock(&self.root.join(LOCK))
    }

    fn folder(&self, state: State) -> PathBuf {
        self.root.join(state.as_str())
    }

    fn put(&self, fingerprint: &str, state: State) -> Result<Entry, TrustError> {
        let _alone = self.alone()?;
        let digits = digits(fingerprint).ok_or_else(|| TrustError::NoFingerprint(fingerprint.to_owned()))?;
        let mut found = Vec::new();
        for list in [State::Waiting, State::Trusted, State::Refused] {
            found.extend(self.entries(list)?.into_iter().filter(|(_, e)| e.certificate.fingerprint().begins(&digits)));
        }
        let mut fingerprints: Vec<_> = found.iter().map(|(_, entry)| entry.certificate.fingerprint()).collect();
        fingerprints.sort_unstable();
        fingerprints.dedup();
        if fingerprints.len() > 1 {
            return Err(TrustError::Ambiguous { prefix: fingerprint.to_owned(), count: fingerprints.len() });
        }
        // The strongest list is the last. It goes in one step; if the machine stops before the others are gone, it is as it was or
        // as it was wanted, but never accepted when it was to be refused.
        let Some((path, entry)) = found.pop() else { return Err(TrustError::Unknown(fingerprint.to_owned())) };
        let place = self.folder(state).join(entry.certificate.file());
        if path != place {
            files::rename(&path, &place)?;
        }
        for (path, _) in found.into_iter().filter(|(path, _)| *path != place) {
            files::remove(&path)?;
        }
        Ok(Entry { state, ..entry })
    }

    /// Leaves each certificate in one list: what is refused is not trusted, and what somebody has judged does not wait.
    fn settle(&self) -> Result<(), TrustError> {
        for (judged, others) in
            [(State::Refused, &[State::Trusted, State::Waiting][..]), (State::Trusted, &[State::Waiting])]
        {
            let names = names(&self.folder(judged))?;
            if names.is_empty() {
                continue;
            }
            for other in others {
                for path in files::list(&self.folder(*other))? {
                    let doubled = path.file_name().is_some_and(|name| names.contains(name));
                    // A file of the same name may be anything that somebody has put there.
                    let Some(certificate) = doubled.then(|| of_file(&path)).transpose()?.flatten() else { continue };
                    files::remove(&path)?;
                    warn!(
                        fingerprint = %certificate.fingerprint(), subject = certificate.subject(), list = judged.as_str(),
                        was_also = other.as_str(), "a certificate lay in two lists; it is in the stricter one now"
                    );
                }
            }
        }
        Ok(())
    }

    /// The fingerprints of all certificates of the lists.
    fn known(&self) -> Result<HashSet<Fingerprint>, TrustError> {
        let mut known = HashSet::new();
        for state in [State::Waiting, State::Trusted, State::Refused] {
            known.extend(self.entries(state)?.into_iter().map(|(_, entry)| entry.certificate.fingerprint()));
        }
        Ok(known)
    }

    /// The certificates of a list with their files.
    fn entries(&self, state: State) -> Result<Vec<(PathBuf, Entry)>, TrustError> {
        let mut entries = Vec::new();
        for path in files::list(&self.folder(state))? {
            let Some(certificate) = of_file(&path)? else { continue };
            let seen = seen::read(&self.root, certificate.fingerprint());
            entries.push((path, Entry { certificate, state, seen }));
        }
        Ok(entries)
    }

    /// Lets the oldest of a full waiting list go.
    fn make_room(&self) -> Result<(), TrustError> {
        if files::list(&self.folder(State::Waiting))?.len() < WAITING {
            return Ok(());
        }
        let mut waiting = self.entries(State::Waiting)?;
        waiting.sort_by_key(|(_, entry)| entry.seen.as_ref().map(|(time, _)| *time));
        let surplus = waiting.len().saturating_sub(WAITING - 1);
        for (path, entry) in waiting.into_iter().take(surplus) {
            files::remove(&path)?;
            seen::forget(&self.root, entry.certificate.fingerprint())?;
        }
        Ok(())
    }

    /// Gives the certificates that somebody has put into a list the names under which the library looks for them.
    fn adopt(&self, state: State) -> Result<(), TrustError> {
        for path in files::list(&self.folder(state))? {
            let Some(bytes) = files::read(&path)? else { continue };
            let Ok(der) = binary(bytes) else { continue };
            let Ok(certificate) = Certificate::from_der(&der) else { continue };
            let named = self.folder(state).join(certificate.file());
            if path != named {
                files::write(&named, &der, Readers::All)?;
                files::remove(&path)?;
            }
        }
        Ok(())
    }
}

/// The names of the files in a folder.
fn names(folder: &Path) -> Result<HashSet<OsString>, TrustError> {
    Ok(files::list(folder)?.iter().filter_map(|path| path.file_name().map(OsStr::to_owned)).collect())
}

/// The certificate in a file, if it is one.
fn of_file(path: &Path) -> Result<Option<Certificate>, TrustError> {
    Ok(files::read(path)?.and_then(|der| Certificate::from_der(&der).ok()))
}

/// The DER bytes of a file that somebody has put there, which may be PEM.
fn binary(bytes: Vec<u8>) -> Result<Vec<u8>, opcua::crypto::X509Error> {
    match bytes.starts_with(b"-----BEGIN") {
        true => opcua::crypto::X509::from_pem(&bytes)?.to_der(),
        false => Ok(bytes),
    }
}
