//! Sessions, approvals, tool pins and bundle epochs in SQLite; content is sealed.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cordon_core::{ActionName, ApprovalId, Digest, SessionId, Timestamp};
use cordon_guard::Session;
use cordon_guard::ports::{Random, Shown, Store, StoreDown};
use cordon_workflow::{Approval, Event};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::coding;
use crate::seal::SealingKey;
use crate::{observations, restraints};

/// The state of one node in one SQLite file (WAL, `synchronous=FULL`, one writer).
pub struct State {
    connection: Mutex<Connection>,
    key: SealingKey,
    random: Arc<dyn Random>,
}

/// The version of the tables; an older program would not see what was switched off.
const VERSION: i64 = 2;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS session (
    id BLOB PRIMARY KEY, key BLOB, opened INTEGER NOT NULL, expires INTEGER NOT NULL, closed INTEGER,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS session_key ON session (key, opened) WHERE closed IS NULL;
CREATE TABLE IF NOT EXISTS approval (
    id BLOB PRIMARY KEY, session BLOB NOT NULL, binding BLOB NOT NULL, settled INTEGER NOT NULL,
    expires INTEGER NOT NULL, sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS approval_binding ON approval (binding) WHERE settled = 0;
CREATE INDEX IF NOT EXISTS approval_session ON approval (session, expires) WHERE settled = 0;
CREATE TABLE IF NOT EXISTS pin (tool TEXT PRIMARY KEY, pin BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS epoch (
    role TEXT PRIMARY KEY, epoch INTEGER NOT NULL, digest BLOB NOT NULL
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 2;
";

impl State {
    /// Opens the state in `file`, making it if there is none.
    pub fn open(file: &Path, key: SealingKey, random: Arc<dyn Random>) -> Result<Self, StoreDown> {
        let connection = Connection::open(file).map_err(down)?;
        connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(down)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(down)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(down)?;
        let version: i64 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(down)?;
        if version > VERSION {
            return Err(StoreDown(format!(
                "{} was written by a newer version of Cordon (state version {version}, this one knows {VERSION})",
                file.display()
            )));
        }
        connection.execute_batch(restraints::SCHEMA).map_err(down)?;
        connection.execute_batch(observations::SCHEMA).map_err(down)?;
        connection.execute_batch(SCHEMA).map_err(down)?;
        Ok(Self { connection: Mutex::new(connection), key, random })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seal(&self, place: &[u8; 16], plain: &[u8]) -> Result<Vec<u8>, StoreDown> {
        self.seal_at(place, plain)
    }

    fn unseal(&self, place: &[u8; 16], sealed: &[u8]) -> Result<Vec<u8>, StoreDown> {
        self.open_at(place, sealed)
    }

    /// Seals what belongs to this place and no other.
    pub(crate) fn seal_at(&self, place: &[u8], plain: &[u8]) -> Result<Vec<u8>, StoreDown> {
        self.key.seal(place, plain, &*self.random).map_err(|error| StoreDown(error.to_string()))
    }

    /// Opens what was sealed for this place.
    pub(crate) fn open_at(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreDown> {
        self.key.open(place, sealed).map_err(|error| StoreDown(error.to_string()))
    }

    fn read_session(&self, row: SessionRow) -> Result<Session, StoreDown> {
        let plain = self.unseal(&row.id, &row.sealed)?;
        let opening = coding::opening(&plain).map_err(|error| StoreDown(error.to_string()))?;
        let at = |micros: i64| Timestamp::from_micros(micros.unsigned_abs());
        Ok(Session {
            id: SessionId::from_bytes(row.id),
            opening,
            opened: at(row.opened),
            closed: row.closed.map(at),
        })
    }

    fn read_approval(&self, id: [u8; 16], sealed: &[u8]) -> Result<(Approval, Shown), StoreDown> {
        let plain = self.unseal(&id, sealed)?;
        coding::approval(&plain).map_err(|error| StoreDown(error.to_string()))
    }
}

struct SessionRow {
    id: [u8; 16],
    opened: i64,
    closed: Option<i64>,
    sealed: Vec<u8>,
}

fn session_row(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    Ok(SessionRow { id: row.get(0)?, opened: row.get(1)?, closed: row.get(2)?, sealed: row.get(3)? })
}

const SESSION: &str = "SELECT id, opened, closed, sealed FROM session";

impl Store for State {
    fn insert_session(&self, session: &Session) -> Result<(), StoreDown> {
        let sealed = self.seal(session.id.as_bytes(), &coding::encode_opening(&session.opening))?;
        // Keys name agents and servers; their digest is enough to find a session again.
        let key = session.opening.key.as_ref().map(|key| *Digest::of(key.as_bytes()).as_bytes());
        self.lock()
            .execute(
                "INSERT INTO session (id, key, opened, expires, closed, sealed) VALUES (?1, ?2, ?3, ?4, NULL, ?5)",
                params![
                    session.id.as_bytes(),
                    key,
                    micros(session.opened),
                    micros(session.opening.expires),
                    sealed
                ],
            )
            .map(drop)
            .map_err(down)
    }

    fn session(&self, id: SessionId) -> Result<Option<Session>, StoreDown> {
        let row = self
            .lock()
            .query_row(&format!("{SESSION} WHERE id = ?1"), [id.as_bytes()], session_row)
            .optional()
            .map_err(down)?;
        row.map(|row| self.read_session(row)).transpose()
    }

    fn session_by_key(&self, key: &str) -> Result<Option<Session>, StoreDown> {
        let sql = format!("{SESSION} WHERE key = ?1 AND closed IS NULL ORDER BY opened DESC LIMIT 1");
        let key = *Digest::of(key.as_bytes()).as_bytes();
        let row = self.lock().query_row(&sql, [key], session_row).optional().map_err(down)?;
        row.map(|row| self.read_session(row)).transpose()
    }

    fn sessions(&self, most: u32) -> Result<Vec<Session>, StoreDown> {
        let sql = format!("{SESSION} ORDER BY closed IS NOT NULL, opened DESC LIMIT ?1");
        let rows: Vec<SessionRow> = {
            let connection = self.lock();
            let mut statement = connection.prepare_cached(&sql).map_err(down)?;
            let rows = statement.query_map([most], session_row).map_err(down)?;
            rows.collect::<Result<_, _>>().map_err(down)?
        };
        rows.into_iter().map(|row| self.read_session(row)).collect()
    }

    fn close_session(&self, id: SessionId, at: Timestamp) -> Result<(), StoreDown> {
        self.lock()
            .execute(
                "UPDATE session SET closed = ?2 WHERE id = ?1 AND closed IS NULL",
                params![id.as_bytes(), micros(at)],
            )
            .map(drop)
            .map_err(down)
    }

    fn insert_approval(&self, approval: &Approval, shown: &Shown) -> Result<(), StoreDown> {
        let sealed = self.seal(approval.terms.id.as_bytes(), &coding::encode_approval(approval, shown))?;
        self.lock()
            .execute(
                "INSERT INTO approval (id, session, binding, settled, expires, sealed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    approval.terms.id.as_bytes(),
                    approval.terms.session.as_bytes(),
                    approval.terms.binding.as_bytes(),
                    coding::is_settled(&approval.progress),
                    micros(approval.terms.expires),
                    sealed
                ],
            )
            .map(drop)
            .map_err(down)
    }

    fn approval(&self, id: ApprovalId) -> Result<Option<(Approval, Shown)>, StoreDown> {
        let sealed: Option<Vec<u8>> = self
            .lock()
            .query_row("SELECT sealed FROM approval WHERE id = ?1", [id.as_bytes()], |row| row.get(0))
            .optional()
            .map_err(down)?;
        sealed.map(|sealed| self.read_approval(*id.as_bytes(), &sealed)).transpose()
    }

    fn approval_for(&self, binding: Digest, now: Timestamp) -> Result<Option<Approval>, StoreDown> {
        let found: Option<([u8; 16], Vec<u8>)> = self
            .lock()
            .query_row(
                "SELECT id, sealed FROM approval WHERE binding = ?1 AND settled = 0 AND expires > ?2
                 ORDER BY id DESC LIMIT 1",
                params![binding.as_bytes(), micros(now)],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(down)?;
        found.map(|(id, sealed)| Ok(self.read_approval(id, &sealed)?.0)).transpose()
    }

    fn approvals_waiting(&self, session: SessionId, now: Timestamp) -> Result<u32, StoreDown> {
        self.lock()
            .query_row(
                "SELECT count(*) FROM approval WHERE session = ?1 AND settled = 0 AND expires > ?2",
                params![session.as_bytes(), micros(now)],
                |row| row.get(0),
            )
            .map_err(down)
    }

    fn approvals(&self, most: u32) -> Result<Vec<(Approval, Shown)>, StoreDown> {
        let rows: Vec<([u8; 16], Vec<u8>)> = {
            let connection = self.lock();
            let mut statement = connection
                .prepare_cached("SELECT id, sealed FROM approval ORDER BY settled, id DESC LIMIT ?1")
                .map_err(down)?;
            let rows = statement.query_map([most], |row| Ok((row.get(0)?, row.get(1)?))).map_err(down)?;
            rows.collect::<Result<_, _>>().map_err(down)?
        };
        rows.into_iter().map(|(id, sealed)| self.read_approval(id, &sealed)).collect()
    }

    fn apply(
        &self,
        id: ApprovalId,
        event: Event,
        now: Timestamp,
    ) -> Result<Option<(Approval, Approval)>, StoreDown> {
        // One connection under one lock and one transaction: two callers never both see the same step.
        let mut connection = self.lock();
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(down)?;
        let sealed: Option<Vec<u8>> = transaction
            .query_row("SELECT sealed FROM approval WHERE id = ?1", [id.as_bytes()], |row| row.get(0))
            .optional()
            .map_err(down)?;
        let Some(sealed) = sealed else { return Ok(None) };
        let (before, shown) = self.read_approval(*id.as_bytes(), &sealed)?;
        let after = before.clone().apply(event, now);
        if before != after {
            let sealed = self.seal(id.as_bytes(), &coding::encode_approval(&after, &shown))?;
            transaction
                .execute(
                    "UPDATE approval SET settled = ?2, sealed = ?3 WHERE id = ?1",
                    params![id.as_bytes(), coding::is_settled(&after.progress), sealed],
                )
                .map_err(down)?;
        }
        transaction.commit().map_err(down)?;
        Ok(Some((before, after)))
    }

    fn pin(&self, tool: &ActionName) -> Result<Option<Digest>, StoreDown> {
        self.lock()
            .query_row("SELECT pin FROM pin WHERE tool = ?1", [tool.as_str()], |row| row.get(0))
            .optional()
            .map(|pin| pin.map(Digest::from_bytes))
            .map_err(down)
    }

    fn accept_pin(&self, tool: &ActionName, pin: Digest) -> Result<(), StoreDown> {
        self.lock()
            .execute(
                "INSERT INTO pin (tool, pin) VALUES (?1, ?2) ON CONFLICT (tool) DO UPDATE SET pin = excluded.pin",
                params![tool.as_str(), pin.as_bytes()],
            )
            .map(drop)
            .map_err(down)
    }

    fn last_epoch(&self, role: &str) -> Result<Option<(u64, Digest)>, StoreDown> {
        self.lock()
            .query_row("SELECT epoch, digest FROM epoch WHERE role = ?1", [role], |row| {
                Ok((row.get::<_, i64>(0)?.unsigned_abs(), Digest::from_bytes(row.get(1)?)))
            })
            .optional()
            .map_err(down)
    }

    fn accept_epoch(&self, role: &str, epoch: u64, digest: Digest) -> Result<(), StoreDown> {
        let epoch = i64::try_from(epoch).map_err(|_| StoreDown(format!("the epoch {epoch} is too large")))?;
        self.lock()
            .execute(
                "INSERT INTO epoch (role, epoch, digest) VALUES (?1, ?2, ?3)
                 ON CONFLICT (role) DO UPDATE SET epoch = excluded.epoch, digest = excluded.digest
                 WHERE excluded.epoch > epoch.epoch",
                params![role, epoch, digest.as_bytes()],
            )
            .map(drop)
            .map_err(down)
    }
}

/// SQLite integers are signed; no timestamp of this era comes near the sign.
fn micros(at: Timestamp) -> i64 {
    i64::try_from(at.as_micros()).unwrap_or(i64::MAX)
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function in `map_err`")]
pub(crate) fn down(error: rusqlite::Error) -> StoreDown {
    StoreDown(error.to_string())
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_core::{Chain, Duration, Principal, PrincipalKind, Record, Value};
    use cordon_guard::Opening;
    use cordon_workflow::{Answer, ApprovalKind, Progress, Requirement, Terms, Vote};
    use std::collections::BTreeSet;

    use crate::system::SystemRandom;

    fn open(dir: &Path) -> State {
        let key = SealingKey::new(&[3; 32]).unwrap();
        State::open(&dir.join("state.db"), key, Arc::new(SystemRandom)).unwrap()
    }

    fn session(id: u8) -> Session {
        let mut agent = Principal::new(PrincipalKind::Agent, "bot");
        agent.attributes.insert("note".into(), Value::text("CANARY-attribute"));
        Session {
            id: SessionId::from_bytes([id; 16]),
            opening: Opening {
                chain: Chain::new(
                    Some(Principal::new(PrincipalKind::User, "CANARY-user")),
                    Some(agent),
                    None,
                )
                .unwrap(),
                tenant: "default".into(),
                assurance: cordon_core::Assurance::Credential,
                capability: None,
                purpose: Some("CANARY-purpose".into()),
                project: None,
                workflow: None,
                task: None,
                model: Record::new(),
                tools: Some(["crm/find".parse().unwrap()].into()),
                declared: [("crm/find".parse().unwrap(), "CANARY-manifest".into())].into(),
                supported: BTreeSet::from(["log"]),
                key: Some("CANARY-key".into()),
                expires: Timestamp::from_micros(1_000_000),
            },
            opened: Timestamp::from_micros(u64::from(id)),
            closed: None,
        }
    }

    fn approval(id: u8) -> (Approval, Shown) {
        let approval = Approval::ask(Terms {
            id: ApprovalId::from_bytes([id; 16]),
            kind: ApprovalKind::Call,
            binding: Digest::of(b"call"),
            session: SessionId::from_bytes([1; 16]),
            requesters: BTreeSet::from(["bot".into()]),
            requirements: vec![Requirement { role: "approver".into(), quorum: 1 }],
            asked: Timestamp::from_micros(1),
            expires: Timestamp::from_micros(100),
        });
        let shown = Shown {
            action: "bank/pay".into(),
            resource: "Tool bank/pay".into(),
            principals: vec!["agent Agent:bot".into()],
            arguments: r#"{"to":"CANARY-argument"}"#.into(),
            reasons: vec!["CANARY-reason".into()],
            bundle: Digest::of(b"bundle"),
        };
        (approval, shown)
    }

    #[test]
    fn sessions_and_approvals_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (asked, shown) = approval(4);
        {
            let state = open(dir.path());
            state.insert_session(&session(1)).unwrap();
            state.insert_session(&session(2)).unwrap();
            state.close_session(session(2).id, Timestamp::from_micros(9)).unwrap();
            state.insert_approval(&asked, &shown).unwrap();
        }
        let state = open(dir.path());
        assert_eq!(state.session(session(1).id), Ok(Some(session(1))));
        assert_eq!(state.session_by_key("CANARY-key"), Ok(Some(session(1))));
        assert_eq!(state.session_by_key("another"), Ok(None));
        let listed: Vec<_> = state.sessions(10).unwrap().into_iter().map(|session| session.id).collect();
        assert_eq!(listed, [session(1).id, session(2).id], "open ones first");
        assert_eq!(state.approval(asked.terms.id), Ok(Some((asked.clone(), shown))));
        let now = Timestamp::from_micros(50);
        assert_eq!(state.approval_for(asked.terms.binding, now), Ok(Some(asked.clone())));
        assert_eq!(state.approval_for(asked.terms.binding, asked.terms.expires), Ok(None));
        assert_eq!(state.approvals_waiting(asked.terms.session, now), Ok(1));
        assert_eq!(state.approvals_waiting(session(2).id, now), Ok(0));
        assert_eq!(state.approvals_waiting(asked.terms.session, asked.terms.expires), Ok(0));
    }

    #[test]
    fn of_two_callers_exactly_one_spends_a_grant() {
        let dir = tempfile::tempdir().unwrap();
        let state = Arc::new(open(dir.path()));
        let (asked, shown) = approval(4);
        state.insert_approval(&asked, &shown).unwrap();
        let now = Timestamp::from_micros(50);
        let vote = Vote { by: "ann".into(), roles: BTreeSet::from(["approver".into()]) };
        state.apply(asked.terms.id, Event::Answered { vote, answer: Answer::Grant }, now).unwrap();
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (state, id) = (Arc::clone(&state), asked.terms.id);
                std::thread::spawn(move || {
                    let (before, after) = state.apply(id, Event::Spent, now).unwrap().unwrap();
                    before != after
                })
            })
            .collect();
        let spent = threads.into_iter().map(|thread| thread.join().unwrap()).filter(|won| *won);
        assert_eq!(spent.count(), 1);
        let (after, _) = state.approval(asked.terms.id).unwrap().unwrap();
        assert!(matches!(after.progress, Progress::Spent { .. }));
        assert_eq!(state.approval_for(asked.terms.binding, now), Ok(None));
    }

    #[test]
    fn an_older_epoch_is_never_written_over_a_newer_one() {
        let dir = tempfile::tempdir().unwrap();
        let state = open(dir.path());
        assert_eq!(state.last_epoch("policy"), Ok(None));
        state.accept_epoch("policy", 5, Digest::of(b"5")).unwrap();
        state.accept_epoch("policy", 4, Digest::of(b"4")).unwrap();
        assert_eq!(state.last_epoch("policy"), Ok(Some((5, Digest::of(b"5")))));
        state.accept_epoch("policy", 6, Digest::of(b"6")).unwrap();
        assert_eq!(state.last_epoch("policy"), Ok(Some((6, Digest::of(b"6")))));
    }

    #[test]
    fn no_content_reaches_the_disk_unsealed() {
        let dir = tempfile::tempdir().unwrap();
        let state = open(dir.path());
        state.insert_session(&session(1)).unwrap();
        let (asked, shown) = approval(4);
        state.insert_approval(&asked, &shown).unwrap();
        state.apply(asked.terms.id, Event::Tick, asked.terms.expires.plus(Duration::from_secs(1))).unwrap();
        let mut bytes = 0;
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let content = std::fs::read(file.unwrap().path()).unwrap();
            bytes += content.len();
            assert!(!content.windows(6).any(|window| window == b"CANARY"));
        }
        assert!(bytes > 4_096, "something was written");
    }

    #[test]
    fn state_of_a_newer_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        let connection = Connection::open(dir.path().join("state.db")).unwrap();
        connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
        drop(connection);
        let key = SealingKey::new(&[3; 32]).unwrap();
        let error = State::open(&dir.path().join("state.db"), key, Arc::new(SystemRandom)).unwrap_err();
        assert!(error.to_string().contains("newer version"), "{error}");
    }
}
