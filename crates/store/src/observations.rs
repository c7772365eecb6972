//! What the guard observed of agents and sessions, in SQLite and sealed.

use cordon_core::Digest;
use cordon_guard::ports::{Observations, StoreDown};
use rusqlite::{OptionalExtension, params};

use crate::state::{State, down};

/// The table; names are digests, so that nobody reads there which agents there are.
pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS observation (name BLOB PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
";

/// What an observation is sealed for: never another name.
fn place(name: &Digest) -> Vec<u8> {
    [b"cordon/observation/v1".as_slice(), name.as_bytes()].concat()
}

impl Observations for State {
    fn observation(&self, name: &str) -> Result<Option<Vec<u8>>, StoreDown> {
        let name = Digest::of(name.as_bytes());
        let sealed: Option<Vec<u8>> = self
            .lock()
            .query_row("SELECT sealed FROM observation WHERE name = ?1", [name.as_bytes()], |row| row.get(0))
            .optional()
            .map_err(down)?;
        sealed.map(|sealed| self.open_at(&place(&name), &sealed)).transpose()
    }

    fn keep_observation(&self, name: &str, observed: &[u8]) -> Result<(), StoreDown> {
        let name = Digest::of(name.as_bytes());
        let sealed = self.seal_at(&place(&name), observed)?;
        self.lock()
            .execute(
                "INSERT OR REPLACE INTO observation (name, sealed) VALUES (?1, ?2)",
                params![name.as_bytes(), sealed],
            )
            .map(drop)
            .map_err(down)
    }
}
