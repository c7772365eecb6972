//! One text for one object less some members; and names that some readers cannot tell apart.

use std::borrow::Cow;

use cordon_core::json::{Node, fold, quote};

use super::Problem;

/// The canonical text of an object without the members named in `skip`.
pub(super) fn without(object: &Node, skip: &[&str]) -> String {
    let mut members: Vec<_> = object.members().iter().filter(|(name, _)| !skip.contains(&&**name)).collect();
    members.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut out = String::from("{");
    for (n, (name, member)) in members.into_iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        out.push_str(&quote(name));
        out.push(':');
        out.push_str(&member.canonical());
    }
    out.push('}');
    out
}

/// Refuses a member whose name is one of `known` but for letter case.
pub(super) fn letter_case(object: &Node, known: &[&'static str]) -> Result<(), Problem> {
    for (name, _) in object.members() {
        if known.contains(&&**name) {
            continue;
        }
        // The known names are ASCII, so a name that is ASCII too need not be folded.
        let folded = if name.is_ascii() { Cow::Borrowed(&**name) } else { Cow::Owned(fold(name)) };
        if let Some(meant) = known.iter().find(|meant| meant.eq_ignore_ascii_case(&folded)) {
            return Err(Problem::LetterCase { got: name.chars().take(80).collect::<String>().into(), meant });
        }
    }
    Ok(())
}

/// Appends the paths of objects in which two names differ only by letter case; at most 16.
pub(super) fn look_alikes(node: &Node, path: &str, found: &mut Vec<String>) {
    if found.len() >= 16 {
        return;
    }
    let members = node.members();
    let mut folded: Vec<String> = members.iter().map(|(name, _)| fold(name)).collect();
    folded.sort_unstable();
    if folded.windows(2).any(|pair| pair.first() == pair.last()) {
        found.push(path.to_owned());
    }
    for (name, member) in members {
        if member.is_object() || !member.items().is_empty() {
            look_alikes(member, &format!("{path}/{}", super::observe::escape(name)), found);
        }
    }
    for (n, item) in node.items().iter().enumerate() {
        if item.is_object() || !item.items().is_empty() {
            look_alikes(item, &format!("{path}/{n}"), found);
        }
    }
}
