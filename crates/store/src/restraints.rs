//! Kill switches and the postures of sessions in SQLite, sealed like everything else that can hold content.

use cordon_core::cbor::Cbor;
use cordon_core::{Digest, Encode, KillId, KillSwitch, Posture, SessionId, ShapeError};
use cordon_guard::ports::{Restraints, StoreDown};
use cordon_guard::{Kill, Standing};
use rusqlite::{OptionalExtension, Row, params};

use crate::coding::{CodingError, bytes16, optional, optional_text, text, timestamp};
use crate::state::{State, down};

/// The tables; kill switches are one row, so that a single one cannot be taken out of it.
pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS kills (
    id INTEGER PRIMARY KEY CHECK (id = 1), sealed BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS standing (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, session BLOB NOT NULL UNIQUE, key BLOB,
    narrowed INTEGER NOT NULL, revision INTEGER NOT NULL, recorded INTEGER NOT NULL, sealed BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS standing_key ON standing (key, seq);
CREATE INDEX IF NOT EXISTS standing_narrowed ON standing (seq) WHERE narrowed = 1;
CREATE INDEX IF NOT EXISTS standing_unrecorded ON standing (seq) WHERE recorded = 0;
";

/// What the row of kill switches is sealed for.
const KILLS: &[u8] = b"cordon/kills/v1";

const STANDING: &str = "SELECT session, recorded, sealed FROM standing";

/// One row: session, whether it is recorded, and what is sealed.
type StandingRow = ([u8; 16], bool, Vec<u8>);

fn standing_row(row: &Row<'_>) -> rusqlite::Result<StandingRow> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

/// What a session's posture is sealed for: never the session itself.
fn place(session: &[u8; 16]) -> Vec<u8> {
    [b"cordon/posture/v1".as_slice(), session].concat()
}

fn broken(error: &CodingError) -> StoreDown {
    StoreDown(error.to_string())
}

impl Restraints for State {
    fn kills(&self) -> Result<Vec<Kill>, StoreDown> {
        let sealed: Option<Vec<u8>> = self
            .lock()
            .query_row("SELECT sealed FROM kills WHERE id = 1", [], |row| row.get(0))
            .optional()
            .map_err(down)?;
        let Some(sealed) = sealed else { return Ok(Vec::new()) };
        decode_kills(&self.open_at(KILLS, &sealed)?).map_err(|error| broken(&error))
    }

    fn keep_kills(&self, kills: &[Kill]) -> Result<(), StoreDown> {
        let sealed = self.seal_at(KILLS, &Cbor::Array(kills.iter().map(encode_kill).collect()).encode())?;
        self.lock()
            .execute("INSERT OR REPLACE INTO kills (id, sealed) VALUES (1, ?1)", [sealed])
            .map(drop)
            .map_err(down)
    }

    fn standing(&self, session: SessionId) -> Result<Option<Standing>, StoreDown> {
        let sql = format!("{STANDING} WHERE session = ?1");
        let row = self.lock().query_row(&sql, [session.as_bytes()], standing_row).optional().map_err(down)?;
        row.map(|row| self.read_standing(&row)).transpose()
    }

    fn standing_by_key(&self, key: &str) -> Result<Option<Standing>, StoreDown> {
        let sql = format!("{STANDING} WHERE key = ?1 ORDER BY seq DESC LIMIT 1");
        let key = *Digest::of(key.as_bytes()).as_bytes();
        let row = self.lock().query_row(&sql, [key], standing_row).optional().map_err(down)?;
        row.map(|row| self.read_standing(&row)).transpose()
    }

    fn standings(&self, most: u32) -> Result<Vec<Standing>, StoreDown> {
        self.read_standings(&format!("{STANDING} WHERE narrowed = 1 ORDER BY seq DESC LIMIT ?1"), most)
    }

    fn keep_standing(&self, standing: &Standing) -> Result<(), StoreDown> {
        let id = standing.session.as_bytes();
        let sealed = self.seal_at(&place(id), &encode_standing(standing))?;
        let key = standing.key.as_ref().map(|key| *Digest::of(key.as_bytes()).as_bytes());
        let revision = i64::try_from(standing.revision).unwrap_or(i64::MAX);
        self.lock()
            .execute(
                "INSERT OR REPLACE INTO standing (session, key, narrowed, revision, recorded, sealed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![id, key, !standing.posture.is_normal(), revision, standing.recorded, sealed],
            )
            .map(drop)
            .map_err(down)
    }

    fn standing_recorded(&self, session: SessionId, revision: u64) -> Result<(), StoreDown> {
        let revision = i64::try_from(revision).unwrap_or(i64::MAX);
        self.lock()
            .execute(
                "UPDATE standing SET recorded = 1 WHERE session = ?1 AND revision = ?2",
                params![session.as_bytes(), revision],
            )
            .map(drop)
            .map_err(down)
    }

    fn unrecorded(&self) -> Result<Vec<Standing>, StoreDown> {
        self.read_standings(&format!("{STANDING} WHERE recorded = 0 ORDER BY seq LIMIT ?1"), u32::MAX)
    }
}

impl State {
    fn read_standings(&self, sql: &str, most: u32) -> Result<Vec<Standing>, StoreDown> {
        let rows: Vec<StandingRow> = {
            let connection = self.lock();
            let mut statement = connection.prepare_cached(sql).map_err(down)?;
            let rows = statement.query_map([most], standing_row).map_err(down)?;
            rows.collect::<Result<_, _>>().map_err(down)?
        };
        rows.iter().map(|row| self.read_standing(row)).collect()
    }

    fn read_standing(&self, (session, recorded, sealed): &StandingRow) -> Result<Standing, StoreDown> {
        let plain = self.open_at(&place(session), sealed)?;
        let standing = decode_standing(SessionId::from_bytes(*session), &plain);
        Ok(Standing { recorded: *recorded, ..standing.map_err(|error| broken(&error))? })
    }
}

fn encode_kill(kill: &Kill) -> Cbor {
    Cbor::Array(vec![
        Cbor::bytes(*kill.id.as_bytes()),
        kill.switch.to_cbor(),
        (&*kill.by).into(),
        kill.since.as_micros().into(),
        Cbor::Bool(kill.recorded),
    ])
}

fn decode_kills(plain: &[u8]) -> Result<Vec<Kill>, CodingError> {
    let cbor = Cbor::decode(plain)?;
    let kill = |cbor: &Cbor| {
        let Some([id, switch, by, since, Cbor::Bool(recorded)]) = cbor.as_array() else {
            return Err(ShapeError("a kill switch of five parts").into());
        };
        Ok(Kill {
            id: KillId::from_bytes(bytes16(id)?),
            switch: KillSwitch::from_cbor(switch)?,
            by: text(by)?,
            since: timestamp(since)?,
            recorded: *recorded,
        })
    };
    cbor.as_array().ok_or(ShapeError("kill switches"))?.iter().map(kill).collect()
}

fn encode_standing(standing: &Standing) -> Vec<u8> {
    Cbor::Array(vec![
        optional(&standing.key),
        standing.posture.to_cbor(),
        standing.revision.into(),
        standing.changed.as_micros().into(),
        (&*standing.cause).into(),
    ])
    .encode()
}

fn decode_standing(session: SessionId, plain: &[u8]) -> Result<Standing, CodingError> {
    let cbor = Cbor::decode(plain)?;
    let Some([key, posture, Cbor::Uint(revision), changed, cause]) = cbor.as_array() else {
        return Err(ShapeError("a standing of five parts").into());
    };
    Ok(Standing {
        session,
        key: optional_text(key)?,
        posture: Posture::from_cbor(posture)?,
        revision: *revision,
        changed: timestamp(changed)?,
        cause: text(cause)?,
        recorded: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::sync::Arc;

    use cordon_core::{KillOrigin, PostureState, Timestamp};

    use crate::seal::SealingKey;
    use crate::system::SystemRandom;

    fn open(dir: &Path) -> State {
        let key = SealingKey::new(&[3; 32]).unwrap();
        State::open(&dir.join("state.db"), key, Arc::new(SystemRandom)).unwrap()
    }

    fn kill(target: &str) -> Kill {
        Kill {
            id: KillId::from_bytes([1; 16]),
            switch: KillSwitch {
                target: target.parse().unwrap(),
                agent: Some("CANARY-agent".into()),
                tenant: None,
                origin: KillOrigin::Bundle { epoch: 3 },
            },
            by: "CANARY-person".into(),
            since: Timestamp::from_micros(9),
            recorded: false,
        }
    }

    fn standing(session: u8, revision: u64, state: PostureState) -> Standing {
        Standing {
            session: SessionId::from_bytes([session; 16]),
            key: Some("CANARY-key".into()),
            posture: Posture::new(state, ["data.write".parse().unwrap()], [], []),
            revision,
            changed: Timestamp::from_micros(5),
            cause: "CANARY-cause".into(),
            recorded: false,
        }
    }

    #[test]
    fn kill_switches_survive_a_restart_all_or_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(open(dir.path()).kills(), Ok(Vec::new()));
        let kept = [kill("money.move"), kill("data.read:orders")];
        open(dir.path()).keep_kills(&kept).unwrap();
        let state = open(dir.path());
        assert_eq!(state.kills().unwrap(), kept);
        state.lock().execute("UPDATE kills SET sealed = zeroblob(40)", []).unwrap();
        assert!(state.kills().is_err(), "altered ones are not none");
    }

    #[test]
    fn a_posture_survives_and_the_last_change_under_a_name_counts() {
        let dir = tempfile::tempdir().unwrap();
        {
            let state = open(dir.path());
            state.keep_standing(&standing(1, 1, PostureState::Restricted)).unwrap();
            state.keep_standing(&standing(2, 1, PostureState::Quarantined)).unwrap();
            state.keep_standing(&standing(1, 2, PostureState::Terminated)).unwrap();
        }
        let state = open(dir.path());
        let last = standing(1, 2, PostureState::Terminated);
        assert_eq!(state.standing(last.session), Ok(Some(last.clone())));
        assert_eq!(state.standing_by_key("CANARY-key"), Ok(Some(last.clone())));
        assert_eq!(state.standing_by_key("another"), Ok(None));
        assert_eq!(state.unrecorded().unwrap().len(), 2);
        state.standing_recorded(last.session, 1).unwrap();
        assert_eq!(state.unrecorded().unwrap().len(), 2, "an older revision says nothing of this one");
        state.standing_recorded(last.session, 2).unwrap();
        assert_eq!(state.unrecorded().unwrap().len(), 1);
        assert_eq!(state.standings(10).unwrap().len(), 2);
        let released =
            Standing { posture: Posture::default(), recorded: true, ..standing(1, 3, PostureState::Normal) };
        state.keep_standing(&released).unwrap();
        assert_eq!(state.standings(10).unwrap().len(), 1);
        assert_eq!(state.standing_by_key("CANARY-key"), Ok(Some(released)));
    }

    #[test]
    fn nothing_of_it_reaches_the_disk_unsealed_or_opens_in_another_place() {
        let dir = tempfile::tempdir().unwrap();
        let state = open(dir.path());
        state.keep_kills(&[kill("money.move")]).unwrap();
        state.keep_standing(&standing(1, 1, PostureState::Restricted)).unwrap();
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let content = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!content.windows(6).any(|window| window == b"CANARY"));
        }
        let moved = "UPDATE standing SET session = ?1";
        state.lock().execute(moved, [[2u8; 16]]).unwrap();
        assert!(state.standing(SessionId::from_bytes([2; 16])).is_err(), "another session's posture");
    }
}
