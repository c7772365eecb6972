//! Level R0: the path of every call, rebuilt from the entries alone.

use std::collections::{HashMap, HashSet};

use cordon_core::cbor::Cbor;
use cordon_core::{Digest, RecordId, SessionId};
use cordon_ledger::{ApprovalStep, FieldId, Kind};
use cordon_store::ledger::Shown;

/// Most faults that are listed; the rest is counted.
const LISTED_MAX: usize = 1_000;

/// What was seen so far, and what does not follow from it.
///
/// Checked: indices without gaps; each session's entries chained by number and hash; every result
/// belongs to an earlier permit of the same call; every permit that a rule wanted a person for names an
/// approval that was granted before and that no other permit spent.
#[derive(Default)]
pub(super) struct Paths {
    next: u64,
    sessions: HashMap<SessionId, (u64, Digest)>,
    permitted: HashMap<RecordId, Option<[u8; 16]>>,
    granted: HashSet<[u8; 16]>,
    spent: HashSet<[u8; 16]>,
    listed: Vec<String>,
    faults: u64,
}

impl Paths {
    /// Takes the next entry.
    pub(super) fn take(&mut self, entry: &Shown) {
        if entry.index != self.next {
            self.fault(format!("entries {} to {} are missing", self.next, entry.index.saturating_sub(1)));
        }
        self.next = entry.index.saturating_add(1);
        self.follow_session(entry);
        match entry.kind {
            Kind::Approval(ApprovalStep::Granted) => {
                self.granted.extend(identifier(entry, FieldId::Approval));
            }
            Kind::Decision => self.follow_decision(entry),
            Kind::Result => self.follow_result(entry),
            _ => {}
        }
    }

    /// How many faults there are.
    pub(super) const fn faults(&self) -> u64 {
        self.faults
    }

    /// The first faults.
    pub(super) fn listed(&self) -> impl Iterator<Item = &str> {
        self.listed.iter().map(String::as_str)
    }

    fn follow_session(&mut self, entry: &Shown) {
        let Some((session, number)) = entry.session else { return };
        let before = clear(entry, FieldId::Link).and_then(Cbor::as_bytes).and_then(|link| link.get(8..));
        let held = match self.sessions.get(&session) {
            // A log forgets sessions that were closed or unused for long; they begin again.
            _ if number == 0 => before == Some(&[0; 32]),
            Some((last, leaf)) => {
                last.checked_add(1) == Some(number) && before == Some(leaf.as_bytes().as_slice())
            }
            None => false,
        };
        if !held {
            self.fault(format!(
                "entry {} has the number {number} in {session} and does not follow the one before",
                entry.index
            ));
        }
        self.sessions.insert(session, (number, entry.leaf));
    }

    fn follow_decision(&mut self, entry: &Shown) {
        let decision = clear(entry, FieldId::EnforcementDecision);
        let part = |key: u64| decision.and_then(|decision| decision.get(key)).and_then(Cbor::as_text);
        let (Some(verdict), Some("permitted")) = (part(1), part(2)) else { return };
        self.permitted.insert(entry.id, identifier(entry, FieldId::Call));
        let approval = identifier(entry, FieldId::Approval);
        match (verdict, approval) {
            ("allow", None) => {}
            ("ask", Some(approval)) => {
                if !self.granted.contains(&approval) {
                    self.fault(format!(
                        "entry {} was permitted on an approval that nobody granted",
                        entry.index
                    ));
                }
                if !self.spent.insert(approval) {
                    self.fault(format!("entry {} spent an approval a second time", entry.index));
                }
            }
            _ => {
                self.fault(format!("entry {} was permitted although the verdict is `{verdict}`", entry.index))
            }
        }
    }

    fn follow_result(&mut self, entry: &Shown) {
        let decision = identifier(entry, FieldId::Decision).map(RecordId::from_bytes);
        let permit = decision.and_then(|decision| self.permitted.get(&decision));
        match permit {
            None => self.fault(format!("entry {} is a result that no earlier entry permitted", entry.index)),
            Some(call) if *call != identifier(entry, FieldId::Call) => {
                self.fault(format!("entry {} is the result of another call than was permitted", entry.index));
            }
            Some(_) => {}
        }
    }

    fn fault(&mut self, text: String) {
        self.faults = self.faults.saturating_add(1);
        if self.listed.len() < LISTED_MAX {
            self.listed.push(text);
        }
    }
}

fn clear(entry: &Shown, field: FieldId) -> Option<&Cbor> {
    entry.fields.iter().find(|(id, _)| *id == field).and_then(|(_, value)| value.value())
}

fn identifier(entry: &Shown, field: FieldId) -> Option<[u8; 16]> {
    clear(entry, field)?.as_bytes()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use cordon_core::Timestamp;
    use cordon_ledger::Level;
    use cordon_store::ledger::ShownValue;

    use super::*;

    /// An entry outside any session.
    fn entry(index: u64, kind: Kind, fields: &[(FieldId, Cbor)]) -> Shown {
        Shown {
            index,
            leaf: Digest::of(&index.to_be_bytes()),
            level: Level::Durable,
            kind,
            id: RecordId::from_bytes([u8::try_from(index).unwrap(); 16]),
            at: Timestamp::from_micros(index),
            session: None,
            fields: fields.iter().map(|(id, value)| (*id, ShownValue::Clear(value.clone()))).collect(),
        }
    }

    fn permit(index: u64, verdict: &str, approval: Option<u8>) -> Shown {
        let decision = Cbor::map([(1, verdict.into()), (2, "permitted".into())]);
        let mut fields =
            vec![(FieldId::Call, Cbor::bytes([7; 16])), (FieldId::EnforcementDecision, decision)];
        fields.extend(approval.map(|id| (FieldId::Approval, Cbor::bytes([id; 16]))));
        entry(index, Kind::Decision, &fields)
    }

    fn result(index: u64, decision: u8, call: u8) -> Shown {
        let fields =
            [(FieldId::Call, Cbor::bytes([call; 16])), (FieldId::Decision, Cbor::bytes([decision; 16]))];
        entry(index, Kind::Result, &fields)
    }

    fn grant(index: u64, approval: u8) -> Shown {
        let fields = [(FieldId::Approval, Cbor::bytes([approval; 16]))];
        entry(index, Kind::Approval(ApprovalStep::Granted), &fields)
    }

    fn check(entries: &[Shown], want: Option<&str>) {
        let mut paths = Paths::default();
        entries.iter().for_each(|entry| paths.take(entry));
        let listed: Vec<&str> = paths.listed().collect();
        match (want, &listed[..]) {
            (None, []) => {}
            (Some(want), [fault]) if fault.contains(want) => {}
            _ => panic!("{listed:?}, expected {want:?}"),
        }
    }

    #[test]
    fn what_ran_was_permitted_and_what_waited_was_granted_once() {
        check(&[permit(0, "allow", None), result(1, 0, 7)], None);
        check(&[grant(0, 9), permit(1, "ask", Some(9)), result(2, 1, 7)], None);
        check(&[permit(0, "ask", Some(9))], Some("nobody granted"));
        check(&[grant(0, 8), permit(1, "ask", Some(9))], Some("nobody granted"));
        check(&[grant(0, 9), permit(1, "ask", Some(9)), permit(2, "ask", Some(9))], Some("second time"));
        check(&[permit(0, "deny", None)], Some("although the verdict is `deny`"));
        check(&[permit(0, "ask", None)], Some("although the verdict is `ask`"));
        check(&[result(0, 3, 7)], Some("no earlier entry permitted"));
        check(&[permit(0, "allow", None), result(1, 0, 8)], Some("another call"));
    }

    #[test]
    fn a_missing_entry_is_named() {
        check(&[permit(0, "allow", None), permit(2, "allow", None)], Some("entries 1 to 1 are missing"));
    }

    #[test]
    fn a_session_is_a_chain() {
        let linked = |index: u64, number: u64, before: Digest| {
            let link = [number.to_be_bytes().as_slice(), before.as_bytes()].concat();
            let mut entry = entry(
                index,
                Kind::Session(cordon_ledger::SessionStep::Opened),
                &[(FieldId::Link, Cbor::bytes(link))],
            );
            entry.session = Some((SessionId::from_bytes([1; 16]), number));
            entry
        };
        let first = linked(0, 0, Digest::from_bytes([0; 32]));
        let leaf = first.leaf;
        check(&[first.clone(), linked(1, 1, leaf)], None);
        check(&[first.clone(), linked(1, 2, leaf)], Some("does not follow"));
        check(&[first, linked(1, 1, Digest::of(b"another"))], Some("does not follow"));
    }
}
