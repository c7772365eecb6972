//! Who may declare tools of their own for a session: `data/declarers.json`.

use std::collections::BTreeSet;

use cordon_core::{Chain, PrincipalKind, Role};

use crate::Diagnostic;
use crate::data::{Directory, principal_kind, teams};
use crate::tree::{self, Reader};

/// The word for the credential of an enforcement point.
const PEP: &str = "pep";

/// Who may declare tools; nobody where a source does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Declarers {
    pep: bool,
    principals: BTreeSet<(PrincipalKind, Box<str>)>,
}

/// What the credential of a caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// That of an enforcement point, which speaks for its own callers.
    Pep,
    /// Any other.
    Other,
}

impl Declarers {
    /// Whether a caller with this credential, and these principals by it, is among them.
    pub(crate) fn admit(&self, credential: Credential, chain: &Chain, directory: &Directory) -> bool {
        if credential == Credential::Pep && self.pep {
            return true;
        }
        // The user an agent acts for lends it no trust to say what a tool does.
        chain.members().filter(|(role, _)| matches!(role, Role::Owner | Role::Agent)).any(|(_, who)| {
            self.principals.contains(&(who.kind, who.id.clone()))
                || teams(directory, who)
                    .into_iter()
                    .any(|team| self.principals.contains(&(PrincipalKind::Team, team)))
        })
    }
}

/// Reads the file: a list of `pep` and `Type:identifier`.
pub(crate) fn read(file: &str, text: &str) -> Result<Declarers, Vec<Diagnostic>> {
    let root = tree::from_json_text(file, text).map_err(|finding| vec![*finding])?;
    let mut reader = Reader::new(file, text);
    let mut declarers = Declarers::default();
    for item in reader.list("the file", &root).unwrap_or_default() {
        let Some(text) = reader.text("an item", item) else { continue };
        let typed = text.split_once(':').and_then(|(kind, id)| Some((principal_kind(kind)?, id)));
        match typed.filter(|(_, id)| !id.is_empty()) {
            Some((kind, id)) => drop(declarers.principals.insert((kind, id.into()))),
            None if &*text == PEP => declarers.pep = true,
            None => reader
                .refuse(&item.span, format!("`{text}` is neither `pep` nor `User:…`, `Agent:…` or `Team:…`")),
        }
    }
    if reader.findings.is_empty() { Ok(declarers) } else { Err(reader.findings) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::entities;
    use cordon_core::Principal;

    const FILE: &str = "data/declarers.json";

    fn admits(text: &str, credential: Credential, owner: &str, agent: &str, user: &str) -> bool {
        let of = |kind, id: &str| Some(Principal::new(kind, id));
        let chain = Chain::new(
            of(PrincipalKind::User, owner),
            of(PrincipalKind::Agent, agent),
            of(PrincipalKind::User, user),
        );
        let people = r#"[{"type":"User","id":"ann","teams":["sdk"]},{"type":"Team","id":"sdk"}]"#;
        let directory = entities("data/entities.json", people).unwrap();
        read(FILE, text).unwrap().admit(credential, &chain.unwrap(), &directory)
    }

    #[test]
    fn those_who_are_listed_may_and_their_neighbours_may_not() {
        let list = r#"["pep","Agent:builder","Team:sdk"]"#;
        assert!(admits(list, Credential::Pep, "x", "y", "z"));
        assert!(!admits(list, Credential::Other, "x", "y", "z"));
        assert!(admits(list, Credential::Other, "x", "builder", "z"));
        assert!(!admits(list, Credential::Other, "builder", "y", "z"), "a user of an agent's name");
        assert!(admits(list, Credential::Other, "ann", "y", "z"), "by a team");
        assert!(!admits(list, Credential::Other, "x", "y", "ann"), "for whom it acts counts nothing");
        assert!(!admits("[]", Credential::Pep, "ann", "builder", "ann"));
        assert!(!admits(r#"["Agent:builder"]"#, Credential::Pep, "x", "y", "z"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in ["{}", r#"["agent"]"#, r#"["Agent:"]"#, r#"["Tool:a/b"]"#, "[7]"] {
            assert!(read(FILE, text).is_err(), "{text}");
        }
    }
}
