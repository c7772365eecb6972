//! `kills.toml`: the one file of a kill bundle, which can say nothing but what is switched off.

use std::collections::BTreeSet;

use cordon_core::{KillOrder, KillTarget};

use crate::Diagnostic;
use crate::tree::{self, Reader, Tree, member};

/// The one file of a kill bundle.
pub const KILLS_FILE: &str = "kills.toml";

/// Most switches in one bundle.
const KILLS_MAX: usize = 1_000;

/// Reads the text of a `kills.toml` strictly.
pub fn parse_kills(text: &str) -> Result<BTreeSet<KillOrder>, Vec<Diagnostic>> {
    let root = tree::from_toml(KILLS_FILE, text).map_err(|finding| vec![*finding])?;
    let mut reader = Reader::new(KILLS_FILE, text);
    let members = reader.table("the file", &root).unwrap_or_default();
    reader.known("a kill bundle", members, &["kill"]);
    let mut orders = BTreeSet::new();
    if let Some(kills) = member(members, "kill") {
        let kills = reader.list("kill", kills).unwrap_or_default();
        if kills.len() > KILLS_MAX {
            reader.refuse(&root.span, format!("more than {KILLS_MAX} kill switches"));
        }
        for tree in kills {
            orders.extend(kill(&mut reader, tree));
        }
    }
    if reader.findings.is_empty() { Ok(orders) } else { Err(reader.findings) }
}

fn kill(reader: &mut Reader<'_>, tree: &Tree) -> Option<KillOrder> {
    let members = reader.table("a kill switch", tree)?;
    reader.known("a kill switch", members, &["what", "agent", "tenant"]);
    let Some(what) = member(members, "what") else {
        let help = "write `what = \"money.move\"`: a capability class, a part of one, or an effect";
        reader.refuse_help(&tree.span, "`what` is missing".to_owned(), help);
        return None;
    };
    let target: KillTarget = reader.parsed("what", what)?;
    let mut named = |name: &str| match member(members, name) {
        None => Some(None),
        Some(tree) => {
            let text = reader.text(name, tree)?;
            if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
                reader.refuse(&tree.span, format!("`{name}` is not 1 to 256 plain bytes"));
                return None;
            }
            Some(Some(text))
        }
    };
    Some(KillOrder { target, agent: named("agent")?, tenant: named("tenant")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_switches_can_be_said_and_each_word_is_understood_or_refused() {
        let read = |text: &str| parse_kills(text).map(|orders| orders.len());
        assert_eq!(read(""), Ok(0));
        assert_eq!(
            read("[[kill]]\nwhat = \"money.move\"\n[[kill]]\nwhat = \"write\"\nagent = \"a\"\n"),
            Ok(2)
        );
        for bad in [
            "[[kill]]\n",
            "[[kill]]\nwhat = \"everything\"\n",
            "[[kill]]\nwhat = \"admin\"\nagents = \"a\"\n",
            "[[kill]]\nwhat = \"admin\"\nagent = \"\"\n",
            "[[kill]]\nwhat = \"admin\"\nagent = 7\n",
            "[[permit]]\nwhat = \"admin\"\n",
            "kill = \"admin\"\n",
            "kill = [",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
