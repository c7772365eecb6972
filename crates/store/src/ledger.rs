//! The ledger's files: one committer that makes records durable, one thread that derives what is
//! served, and readers that need neither.
//!
//! ```text
//! <dir>/seg/<first index>.seg    frames; the only thing that is written before an acknowledgement
//! <dir>/tile/…, checkpoint       C2SP tiles, bundles and the published checkpoint; derived
//! <dir>/snap/<size>.snap         signed states to start from; derived
//! <head file>                    the last signed size and root, kept outside `<dir>`
//! ```

mod append;
mod commit;
mod derive;
mod disk;
mod engine;
mod head;
mod port;
mod read;
mod recover;
mod seal;
mod segment;
mod snapshot;
mod verify;

pub use append::{Append, AppendError};
pub use disk::{Disk, DiskFile, RealDisk};
pub use engine::{Engine, LedgerError, MissingHead, Opened, Options, Recovery};
pub use head::{Head, HeadError};
pub use read::{Filter, ReadError, Shown, ShownValue, checkpoint, log_key, prove, show, visit};
pub use seal::{OpeningKey, SealError};
pub use verify::{Problem, Report, VerifyOptions, verify};
