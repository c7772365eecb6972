//! Which values a rule mentions, found over its syntax tree.

use std::collections::BTreeSet;

use cedar_policy::pst::{BinaryOp, Expr, Literal, Var};

use crate::cedar_text::NAMESPACE;

/// What the conditions of one rule mention.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mentions {
    /// Paths below `context`; the empty path is the whole of it.
    pub(crate) context: BTreeSet<Vec<Box<str>>>,
    /// Names of attributes that may be read from an entity.
    pub(crate) attributes: BTreeSet<Box<str>>,
    /// Action groups that the conditions ask about.
    pub(crate) groups: BTreeSet<Box<str>>,
    /// Entity types that the conditions name.
    pub(crate) types: BTreeSet<Box<str>>,
    /// Actions that the conditions name.
    pub(crate) actions: BTreeSet<Box<str>>,
}

/// Stands for a group that is not written as a literal.
const ANY_GROUP: &str = "*";

impl Mentions {
    /// Adds what `expr` mentions; a kind of expression that is not known is an error.
    pub(crate) fn add(&mut self, expr: &Expr) -> Result<(), String> {
        if let Some(path) = chain(expr) {
            return self.add_chain(path);
        }
        match expr {
            Expr::Literal(literal) => self.literal(literal),
            Expr::Var(Var::Context) => {
                self.context.insert(Vec::new());
            }
            // A bare entity is compared by its identity; attributes are only read by name.
            Expr::Var(_) => {}
            Expr::UnaryOp { expr, .. } | Expr::Like { expr, .. } => self.add(expr)?,
            Expr::BinaryOp { op, left, right } => {
                if *op == BinaryOp::In {
                    self.membership(left, right);
                }
                self.add(left)?;
                self.add(right)?;
            }
            Expr::GetAttr { .. } | Expr::HasAttr { .. } => {}
            Expr::Is { expr, entity_type, in_expr } => {
                self.types.insert(entity_type.to_string().into());
                self.add(expr)?;
                if let Some(group) = in_expr {
                    self.membership(expr, group);
                    self.add(group)?;
                }
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                for part in [cond, then_expr, else_expr] {
                    self.add(part)?;
                }
            }
            Expr::Set(items) => items.iter().try_for_each(|item| self.add(item))?,
            Expr::Record(members) => members.values().try_for_each(|member| self.add(member))?,
            other => return Err(format!("the expression `{other}` is not supported by this version")),
        }
        Ok(())
    }

    /// Whether the rule could read the unknown value at `path` below `context`.
    pub(crate) fn context_path(&self, path: &[Box<str>]) -> bool {
        self.context.iter().any(|mentioned| {
            // A prefix reads everything below it; an extension reads a part of what is unknown.
            mentioned.iter().zip(path).all(|(a, b)| a == b)
        })
    }

    /// Whether the rule could read an entity's attribute of this name.
    pub(crate) fn attribute(&self, name: &str) -> bool {
        self.attributes.contains(name)
    }

    fn add_chain(&mut self, (root, path): (&Expr, Vec<Box<str>>)) -> Result<(), String> {
        match root {
            Expr::Var(Var::Context) => {
                // A context value may be an entity, whose attributes are then read by name.
                self.attributes.extend(path.iter().cloned());
                self.context.insert(path);
            }
            Expr::Var(_) => self.attributes.extend(path),
            root => {
                self.attributes.extend(path);
                self.add(root)?;
            }
        }
        Ok(())
    }

    fn literal(&mut self, literal: &Literal) {
        if let Literal::EntityUID(uid) = literal {
            let kind = uid.ty.to_string();
            if kind == format!("{NAMESPACE}::Action") {
                self.actions.insert(uid.eid.as_str().into());
            }
            self.types.insert(kind.into());
        }
    }

    /// Notes the action groups in `left in right`.
    fn membership(&mut self, left: &Expr, right: &Expr) {
        match left {
            // Only these are never an action.
            Expr::Var(Var::Principal | Var::Resource | Var::Context) => return,
            Expr::Literal(Literal::EntityUID(_)) => return,
            _ => {}
        }
        let mut add = |expr: &Expr| match expr {
            Expr::Literal(Literal::EntityUID(uid)) => {
                if uid.ty.to_string() == format!("{NAMESPACE}::Action") {
                    self.groups.insert(uid.eid.as_str().into());
                }
            }
            _ => {
                self.groups.insert(ANY_GROUP.into());
            }
        };
        match right {
            Expr::Set(items) => items.iter().for_each(|item| add(item)),
            other => add(other),
        }
    }
}

/// The root and the names of `root.a.b` or `root.a has b`.
pub(crate) fn chain(expr: &Expr) -> Option<(&Expr, Vec<Box<str>>)> {
    let (mut inner, mut names): (&Expr, Vec<Box<str>>) = match expr {
        Expr::GetAttr { expr, attr } => (expr, vec![attr.as_str().into()]),
        Expr::HasAttr { expr, attrs } => {
            (expr, attrs.iter().rev().map(|attr| attr.as_str().into()).collect())
        }
        _ => return None,
    };
    while let Expr::GetAttr { expr, attr } = inner {
        names.push(attr.as_str().into());
        inner = expr;
    }
    names.reverse();
    Some((inner, names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedar_policy::Policy;

    fn mentions(condition: &str) -> Mentions {
        let text = format!("permit(principal, action, resource) when {{ {condition} }};");
        let policy = Policy::parse(None, text).unwrap().to_pst().unwrap();
        let mut mentions = Mentions::default();
        for clause in policy.body().clauses() {
            let (cedar_policy::pst::Clause::When(expr) | cedar_policy::pst::Clause::Unless(expr)) = clause;
            mentions.add(expr).unwrap();
        }
        mentions
    }

    fn path(text: &str) -> Vec<Box<str>> {
        text.split('.').filter(|part| !part.is_empty()).map(Into::into).collect()
    }

    #[test]
    fn a_mention_covers_what_is_below_it_and_what_it_is_below_and_nothing_beside() {
        for (condition, unknown, want) in [
            ("context.args.to == \"a\"", "args.to", true),
            ("context.args.to == \"a\"", "args.cc", false),
            ("context.args.to == \"a\"", "args", true),
            ("context.args.to.host == \"a\"", "args.to", true),
            ("context.args == principal.x", "args.to", true),
            ("context.args has to", "args.to", true),
            ("context.args has to.host", "args.to", true),
            ("context[\"args\"][\"to\"] == 1", "args.to", true),
            ("context has purpose && context.purpose == \"x\"", "args.to", false),
            ("(if context.a then context.args else context.b).to == 1", "args.to", true),
            ("(if context.a then context else context).args.to == 1", "args.to", true),
            ("[context.args.to].contains(1)", "args.to", true),
            ("{a: context.args.to}.a == 1", "args.to", true),
            ("context == {}", "purpose", true),
            ("context.args.to like \"*\"", "args.to", true),
            ("!(context.args.to)", "args.to", true),
            ("principal.args.to == 1", "args.to", false),
        ] {
            assert_eq!(mentions(condition).context_path(&path(unknown)), want, "{condition} {unknown}");
        }
    }

    #[test]
    fn attributes_are_found_by_name_wherever_they_are_read() {
        for condition in [
            "principal.level > 1",
            "principal has level",
            "resource.owner.level > 1",
            "Cordon::User::\"a\".level > 1",
            "(if true then principal else principal).level > 1",
            "context.args.user.level > 1",
        ] {
            assert!(mentions(condition).attribute("level"), "{condition}");
        }
        for condition in ["principal == resource", "principal in resource", "principal is Cordon::User"] {
            assert!(!mentions(condition).attribute("level"), "{condition}");
        }
    }

    #[test]
    fn action_groups_in_conditions_are_found() {
        let groups = |condition: &str| -> Vec<String> {
            mentions(condition).groups.iter().map(ToString::to_string).collect()
        };
        assert_eq!(groups("action in Cordon::Action::\"admin\""), ["admin"]);
        assert_eq!(
            groups("action in [Cordon::Action::\"a/b\", Cordon::Action::\"admin\"]"),
            ["a/b", "admin"]
        );
        assert_eq!(groups("(if true then action else action) in Cordon::Action::\"admin\""), ["admin"]);
        assert_eq!(groups("action in context.groups"), ["*"]);
        assert!(groups("principal in Cordon::Team::\"admin\"").is_empty());
        assert!(groups("action == Cordon::Action::\"a/b\"").is_empty());
    }
}
