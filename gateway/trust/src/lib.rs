//! The application certificate of the gateway and the lists of certificates that it trusts, refuses, or has been shown and
//! not yet judged.
//!
//! OPC UA applications know each other by self-signed certificates, and nobody above them vouches for one: whoever runs the
//! plant says once which to trust. So everything here is a folder of files, the same for the driver, the server and
//! `tidegate trust`, read anew at every question: what is accepted on the command line counts for the next connection of a
//! gateway that runs.
//!
//! ```text
//! data_dir/opcua/
//!   own/cert.der         the certificate of this gateway, for other applications to trust
//!   private/private.pem  its key, PKCS #8, readable by its owner alone
//!   trusted/             a connection may be made; certificates put there by hand count too
//!   refused/             never, until somebody accepts it
//!   waiting/             shown to the gateway and not judged; at most 100, the oldest goes
//!   rejected/            where the OPC UA library puts what it does not know; `Trust::collect` empties it
//!   seen/                when and where each certificate was first seen
//!   .lock                held while the lists are changed
//! ```
//!
//! A certificate is in one list. Where somebody has put it into several, the strictest counts (refused, then trusted) and the
//! others are emptied of it: at the start, at each round of a server, and whenever it is accepted or refused.
//!
//! The names `own`, `private`, `trusted` and `rejected` and the names of the files in them are those of the library's own
//! certificate store, which is pointed at the same folder: it pins by comparing bytes with a file in `trusted`.

mod certificate;
mod error;
mod files;
mod fingerprint;
mod lists;
mod own;
mod seen;

pub use certificate::{Certificate, Unfit};
pub use error::TrustError;
pub use fingerprint::Fingerprint;
pub use lists::{Entry, Judgement, State, Trust, Verdict};
pub use own::{EXPIRY_WARNING_DAYS, OWN_CERTIFICATE, PRIVATE_KEY};
