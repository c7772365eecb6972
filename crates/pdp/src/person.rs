//! The principals of a request that are judged.

use std::fmt::Write as _;

use cordon_core::{Principal, Request, Role};

use crate::few::Few;

/// One principal to judge, with every part it plays.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Person<'r> {
    pub(crate) principal: &'r Principal,
    roles: [Role; Role::ALL.len()],
    parts: usize,
}

impl<'r> Person<'r> {
    /// Every part it plays in the chain, in order, each once.
    pub(crate) fn roles(&self) -> &[Role] {
        self.roles.get(..self.parts).unwrap_or_default()
    }

    /// The first part it plays.
    pub(crate) fn role(&self) -> Option<Role> {
        self.roles().first().copied()
    }

    /// An entity as policies write it, without the namespace.
    pub(crate) fn shown(&self) -> String {
        let mut text = String::new();
        self.show(&mut text);
        text
    }

    /// Writes what [`Self::shown`] gives.
    pub(crate) fn show(&self, out: &mut String) {
        show(out, self.principal.kind.as_str(), &self.principal.id);
    }

    fn play(&mut self, role: Role) {
        if !self.roles().contains(&role)
            && let Some(open) = self.roles.get_mut(self.parts)
        {
            *open = role;
            self.parts = self.parts.saturating_add(1);
        }
    }
}

/// The principals to judge, in order of their first parts. One that plays two parts is judged once,
/// unless a rule asks for the part (`per_role`).
pub(crate) fn people(request: &Request, per_role: bool) -> Few<Person<'_>> {
    let mut people: Few<Person<'_>> = Few::default();
    for (role, principal) in request.chain.members() {
        let known = people.iter_mut().find(|one| !per_role && same(one.principal, principal));
        match known {
            Some(one) => one.play(role),
            None => people.push(Person { principal, roles: [role; Role::ALL.len()], parts: 1 }),
        }
    }
    people
}

/// Writes an entity as policies do, without the namespace: `User::"alice"`.
pub(crate) fn show(out: &mut String, kind: &str, id: &str) {
    out.push_str(kind);
    out.push_str("::");
    // What needs no escape is most of what there is.
    if id.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
        out.push('"');
        out.push_str(id);
        out.push('"');
    } else {
        // Writing to a `String` cannot fail.
        let _ = write!(out, "{id:?}");
    }
}

/// Whether two entries of a chain name one principal.
pub(crate) fn same(one: &Principal, other: &Principal) -> bool {
    (one.kind, &one.id) == (other.kind, &other.id)
}
