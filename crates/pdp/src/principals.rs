//! Who must permit what: `data/principals.json`, declared for each capability class.

use std::collections::{BTreeMap, BTreeSet};

use cordon_core::{Action, Chain, Class, Reason, ReasonKind, Role, RuleRef};

use crate::Diagnostic;
use crate::tree::{self, Reader, Tree, TreeValue, member};

/// The file's path in a source.
pub(crate) const FILE: &str = "data/principals.json";

/// Which principals must permit an action, by capability class.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Principals {
    /// Whether the source says anything about it.
    declared: bool,
    default: Demand,
    classes: BTreeMap<Class, Demand>,
}

/// Which principals must permit an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Every principal that the request names.
    everyone: bool,
    /// These must be named, and permit it.
    must: BTreeSet<Role>,
    /// Whether an agent may act for no user.
    autonomous: bool,
}

impl Default for Demand {
    fn default() -> Self {
        Self { everyone: true, must: BTreeSet::new(), autonomous: false }
    }
}

impl Demand {
    /// Both demands at once.
    fn and(mut self, other: &Self) -> Self {
        self.everyone |= other.everyone;
        self.must.extend(&other.must);
        self.autonomous &= other.autonomous;
        self
    }

    /// Whether a principal in any of these roles must permit the action. The agents' own scope
    /// always caps.
    pub(crate) fn counts(&self, roles: &[Role]) -> bool {
        let counts = |role: &Role| {
            self.everyone || self.must.contains(role) || matches!(role, Role::Agent | Role::Via)
        };
        roles.iter().any(counts)
    }
}

impl Principals {
    /// What the action needs: of each of its classes the entry of the part, else of the class, else
    /// the default; all of them together.
    pub(crate) fn demand(&self, action: &Action) -> Demand {
        if !action.is_declared() {
            // It could be of any class, in any part.
            return self.classes.values().fold(self.default.clone(), |all, one| all.and(one));
        }
        let of = |class: &Class| {
            let whole = || self.classes.get(&Class::whole(class.kind()));
            self.classes.get(class).or_else(whole).unwrap_or(&self.default)
        };
        let mut demands = action.classes().iter().map(of);
        let first = demands.next().unwrap_or(&self.default).clone();
        demands.fold(first, Demand::and)
    }

    /// Whether the source has the file.
    pub(crate) fn is_declared(&self) -> bool {
        self.declared
    }

    /// What the chain lacks for the action. A source that declares nothing takes the principals that
    /// are named as they are.
    pub(crate) fn lacking(&self, chain: &Chain, action: &Action, demand: &Demand) -> Vec<Reason> {
        let mut reasons = Vec::new();
        for role in [Role::Owner, Role::Agent] {
            let named = chain.members().any(|(named, _)| named == role);
            if demand.must.contains(&role) && !named {
                reasons.push(missing(role, action));
            }
        }
        if chain.on_behalf_of().is_none() {
            if self.declared && chain.agent().is_some() && !demand.autonomous {
                reasons.push(no_user(action));
            } else if chain.agent().is_none() && demand.must.contains(&Role::OnBehalfOf) {
                reasons.push(missing(Role::OnBehalfOf, action));
            }
        }
        reasons
    }
}

/// The reason for refusing an agent that acts for nobody.
pub(crate) fn no_user(action: &Action) -> Reason {
    Reason {
        kind: ReasonKind::NotPermitted,
        rule: RuleRef { file: FILE.into(), ..RuleRef::builtin("cordon:no-user") },
        principal: Some(Role::OnBehalfOf),
        message: format!("the agent acts for no user, and nothing lets it do `{}` by itself", action.name())
            .into(),
        remedy: Some(
            format!("act for a user, or set `\"autonomous\": true` for {} in {FILE}", classes(action)).into(),
        ),
    }
}

fn missing(role: Role, action: &Action) -> Reason {
    let who = name_of(role);
    Reason {
        kind: ReasonKind::NotPermitted,
        rule: RuleRef { file: FILE.into(), ..RuleRef::builtin("cordon:principal-missing") },
        principal: Some(role),
        message: format!("the request names no {who}, who must permit `{}`", action.name()).into(),
        remedy: Some(format!("name the {who}, or leave it out of `must` for {}", classes(action)).into()),
    }
}

fn classes(action: &Action) -> String {
    let classes: Vec<String> = action.classes().iter().map(|class| format!("`{class}`")).collect();
    if classes.is_empty() || !action.is_declared() { "`default`".to_owned() } else { classes.join(", ") }
}

/// The role as the file names it.
pub(crate) const fn name_of(role: Role) -> &'static str {
    match role {
        Role::Owner => "owner",
        Role::Agent => "agent",
        Role::OnBehalfOf => "user",
        Role::Via => "via",
    }
}

/// Reads `data/principals.json`: `{"<class>" | "default": {"must"?: [owner, agent, user],
/// "autonomous"?: bool}}`.
pub(crate) fn read(file: &str, text: &str) -> Result<Principals, Vec<Diagnostic>> {
    let root = tree::from_json_text(file, text).map_err(|finding| vec![*finding])?;
    let mut reader = Reader::new(file, text);
    let mut principals = Principals { declared: true, ..Principals::default() };
    for (name, tree) in reader.table("the file", &root).unwrap_or_default() {
        let Some(demand) = demand(&mut reader, tree) else { continue };
        if &*name.text == "default" {
            principals.default = demand;
        } else if let Ok(class) = name.text.parse::<Class>() {
            principals.classes.insert(class, demand);
        } else {
            let help = "write a class such as `data.read`, a part such as `data.read:orders`, or `default`";
            let message = format!("`{}` is not a capability class", name.text);
            reader.refuse_help(&tree.span, message, help);
        }
    }
    if reader.findings.is_empty() { Ok(principals) } else { Err(reader.findings) }
}

fn demand(reader: &mut Reader<'_>, tree: &Tree) -> Option<Demand> {
    let members = reader.table("an entry", tree)?;
    reader.known("an entry", members, &["must", "autonomous"]);
    let mut demand = Demand::default();
    if let Some(tree) = member(members, "must") {
        demand.everyone = false;
        for item in reader.list("must", tree)? {
            let text = reader.text("must", item)?;
            match [Role::Owner, Role::Agent, Role::OnBehalfOf]
                .into_iter()
                .find(|role| name_of(*role) == &*text)
            {
                Some(role) => {
                    demand.must.insert(role);
                }
                None => reader.refuse(&item.span, format!("`{text}` is not `owner`, `agent` or `user`")),
            }
        }
        if demand.must.is_empty() && reader.findings.is_empty() {
            reader.refuse(&tree.span, "somebody must permit it: `must` names `owner`, `agent` or `user`");
        }
    }
    if let Some(tree) = member(members, "autonomous") {
        match &tree.value {
            TreeValue::Bool(value) => demand.autonomous = *value,
            _ => reader.refuse(&tree.span, "`autonomous` is true or false"),
        }
    }
    Some(demand)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_core::Effect;

    fn principals(text: &str) -> Principals {
        read(FILE, text).unwrap()
    }

    fn action(classes: &[&str]) -> Action {
        let classes = classes.iter().map(|class| class.parse().unwrap());
        Action::declared("a/b".parse().unwrap(), classes, Effect::Read)
    }

    #[test]
    fn a_part_goes_before_its_class_and_classes_add_up() {
        let found = principals(
            r#"{"data.read":{"must":["user"],"autonomous":true},"data.read:pay":{"must":["owner","user"]},
                "files.read":{"must":["agent"],"autonomous":true}}"#,
        );
        let counts = |classes: &[&str], role| found.demand(&action(classes)).counts(&[role]);
        assert!(!counts(&["data.read"], Role::Owner));
        assert!(!counts(&["data.read:orders"], Role::Owner), "a part without an entry is its class");
        assert!(counts(&["data.read:pay"], Role::Owner));
        assert!(counts(&["data.read", "data.read:pay"], Role::Owner));
        assert!(!counts(&["files.read"], Role::OnBehalfOf));
        assert!(counts(&["files.read", "data.read"], Role::OnBehalfOf));
        assert!(counts(&["files.read", "message.send"], Role::Owner), "the default is everyone");
        let autonomous = |classes: &[&str]| found.demand(&action(classes)).autonomous;
        assert!(autonomous(&["files.read", "data.read"]));
        assert!(!autonomous(&["files.read", "data.read:pay"]));
        assert!(!autonomous(&[]));
    }

    #[test]
    fn the_agents_always_count_and_an_undeclared_action_needs_what_any_class_needs() {
        let found =
            principals(r#"{"default":{"must":["user"],"autonomous":true},"admin":{"must":["owner"]}}"#);
        assert!(found.demand(&action(&["data.read"])).counts(&[Role::Agent]));
        assert!(found.demand(&action(&["data.read"])).counts(&[Role::Via]));
        let undeclared = Action::undeclared("a/b".parse().unwrap());
        assert!(found.demand(&undeclared).counts(&[Role::Owner]));
        assert!(!found.demand(&undeclared).autonomous);
        assert!(found.demand(&action(&["data.read"])).autonomous);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, want) in [
            ("[]", "expected a table"),
            (r#"{"data.reed":{}}"#, "not a capability class"),
            (r#"{"effect:read":{}}"#, "not a capability class"),
            (r#"{"data.read":{"must":[]}}"#, "somebody must permit it"),
            (r#"{"data.read":{"must":["team"]}}"#, "not `owner`, `agent` or `user`"),
            (r#"{"data.read":{"autonomous":"yes"}}"#, "true or false"),
            (r#"{"data.read":{"autonomus":true}}"#, "did you mean `autonomous`?"),
            (r#"{"data.read":{},"data.read":{}}"#, "data/principals.json:1:"),
        ] {
            let finding = read(FILE, text).unwrap_err().remove(0).to_string();
            assert!(finding.contains(want), "{text}: {finding}");
        }
    }
}
