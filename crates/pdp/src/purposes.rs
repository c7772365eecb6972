//! What work may be for, and who may say so: `data/purposes.json`.

use std::collections::{BTreeMap, BTreeSet};

use cordon_core::{Chain, Principal, PrincipalKind, Reason, ReasonKind, Role, RuleRef};

use crate::Diagnostic;
use crate::data::{Directory, principal_kind, teams};
use crate::principals::name_of;
use crate::tree::{self, Reader, Tree, member};

/// The file's path in a source.
pub(crate) const FILE: &str = "data/purposes.json";

/// The purposes that there are; none is declared where a source has no registry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Purposes(Option<BTreeMap<Box<str>, Claimants>>);

/// Who may claim a purpose: for each role that is listed, one of these.
type Claimants = BTreeMap<Role, BTreeSet<(PrincipalKind, Box<str>)>>;

const ROLES: [Role; 3] = [Role::Owner, Role::Agent, Role::OnBehalfOf];

impl Purposes {
    /// Whether the source has a registry.
    pub(crate) fn is_declared(&self) -> bool {
        self.0.is_some()
    }

    /// Why these principals may not work for this purpose; nothing where there is no registry.
    pub(crate) fn refusal(&self, purpose: &str, chain: &Chain, directory: &Directory) -> Option<Reason> {
        let registry = self.0.as_ref()?;
        let Some(claimants) = registry.get(purpose) else {
            let message = format!("the purpose `{}` is not in the registry", purpose.escape_debug());
            return Some(refused(None, message, "use a registered purpose, or add it to data/purposes.json"));
        };
        for (role, admitted) in claimants {
            let member = chain.members().find(|(named, _)| named == role);
            if !member.is_some_and(|(_, principal)| is_one_of(principal, admitted, directory)) {
                let who = name_of(*role);
                let message = format!("this {who} may not claim the purpose `{purpose}`");
                let remedy = format!("list the {who} or its team for `{purpose}` in {FILE}");
                return Some(refused(Some(*role), message, &remedy));
            }
        }
        None
    }
}

fn is_one_of(
    principal: &Principal,
    admitted: &BTreeSet<(PrincipalKind, Box<str>)>,
    directory: &Directory,
) -> bool {
    admitted.contains(&(principal.kind, principal.id.clone()))
        || teams(directory, principal).into_iter().any(|team| admitted.contains(&(PrincipalKind::Team, team)))
}

fn refused(principal: Option<Role>, message: String, remedy: &str) -> Reason {
    Reason {
        kind: ReasonKind::Refused,
        rule: RuleRef { file: FILE.into(), ..RuleRef::builtin("cordon:purpose") },
        principal,
        message: message.into(),
        remedy: Some(remedy.into()),
    }
}

/// Reads `data/purposes.json`: `{"<purpose>": {"owner"?: […], "agent"?: […], "user"?: […]}}`, each
/// list of identifiers or `Type:identifier`.
pub(crate) fn read(file: &str, text: &str) -> Result<Purposes, Vec<Diagnostic>> {
    let root = tree::from_json_text(file, text).map_err(|finding| vec![*finding])?;
    let mut reader = Reader::new(file, text);
    let mut registry = BTreeMap::new();
    for (name, tree) in reader.table("the file", &root).unwrap_or_default() {
        if name.text.is_empty() || name.text.len() > 128 || name.text.chars().any(char::is_control) {
            reader.refuse(&tree.span, "a purpose is a text of 1 to 128 bytes without control characters");
        }
        if let Some(claimants) = claimants(&mut reader, tree) {
            registry.insert(name.text.clone(), claimants);
        }
    }
    if reader.findings.is_empty() { Ok(Purposes(Some(registry))) } else { Err(reader.findings) }
}

fn claimants(reader: &mut Reader<'_>, tree: &Tree) -> Option<Claimants> {
    let members = reader.table("a purpose", tree)?;
    reader.known("a purpose", members, &ROLES.map(name_of));
    let mut claimants = Claimants::new();
    for role in ROLES {
        let Some(tree) = member(members, name_of(role)) else { continue };
        let default = if role == Role::Agent { PrincipalKind::Agent } else { PrincipalKind::User };
        let admitted = reader.texts(name_of(role), tree).into_iter().map(|text| {
            let typed = text.split_once(':').and_then(|(kind, id)| Some((principal_kind(kind)?, id.into())));
            typed.unwrap_or((default, text))
        });
        claimants.insert(role, admitted.collect());
    }
    Some(claimants)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::entities;

    fn check(registry: &str, purpose: &str, user: Option<&str>, want: Option<&str>) {
        let directory = entities(
            "data/entities.json",
            r#"[{"type":"User","id":"ann","teams":["ward"]},{"type":"Team","id":"ward","teams":["care"]}]"#,
        )
        .unwrap();
        let agent = Principal::new(PrincipalKind::Agent, "scribe");
        let user = user.map(|id| Principal::new(PrincipalKind::User, id));
        let chain = Chain::new(None, Some(agent), user).unwrap();
        let found = read(FILE, registry).unwrap().refusal(purpose, &chain, &directory);
        let message = found.map(|reason| reason.message.to_string());
        match want {
            None => assert_eq!(message, None, "{registry} {purpose}"),
            Some(want) => assert!(message.as_ref().is_some_and(|text| text.contains(want)), "{message:?}"),
        }
    }

    #[test]
    fn a_purpose_is_claimed_by_those_who_may_and_by_nobody_else() {
        let care = r#"{"care":{"agent":["scribe"],"user":["Team:care"]}}"#;
        check(care, "care", Some("ann"), None);
        check(care, "care", Some("bob"), Some("this user may not claim"));
        check(care, "care", None, Some("this user may not claim"));
        check(care, "Care", Some("ann"), Some("not in the registry"));
        check(care, "billing", Some("ann"), Some("not in the registry"));
        check(r#"{"care":{"agent":["clerk"]}}"#, "care", Some("ann"), Some("this agent may not claim"));
        check(r#"{"care":{"agent":[]}}"#, "care", Some("ann"), Some("this agent may not claim"));
        check(r#"{"care":{"agent":["User:scribe"]}}"#, "care", Some("ann"), Some("this agent may not"));
        check(r#"{"care":{}}"#, "care", None, None);
        check("{}", "care", Some("ann"), Some("not in the registry"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "[]",
            r#"{"care":["ann"]}"#,
            r#"{"care":{"users":["ann"]}}"#,
            r#"{"":{}}"#,
            r#"{"a":{"user":[1]}}"#,
        ] {
            assert!(read(FILE, text).is_err(), "{text}");
        }
    }
}
