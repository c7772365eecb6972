//! Threat intelligence as signed data: `data/threats.json`.

use cordon_core::{Signal, Timestamp};

use crate::Diagnostic;
use crate::risk::matches_host;
use crate::tree::{self, Reader, Tree, member};

/// What is known of hosts, tools and agents as threats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threats {
    as_of: Timestamp,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    about: About,
    score: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum About {
    /// A host, an address, or `*.domain`.
    Host(Box<str>),
    /// `server/tool`.
    Tool(Box<str>),
    /// An agent's identifier.
    Agent(Box<str>),
}

impl Threats {
    /// When the list was last true.
    pub const fn as_of(&self) -> Timestamp {
        self.as_of
    }

    /// The highest score of anything that is listed, from 0 to 1000; 0 when nothing is.
    pub fn score<'h>(
        &self,
        hosts: impl Iterator<Item = &'h str> + Clone,
        tool: &str,
        agent: Option<&str>,
    ) -> u16 {
        let meets = |entry: &&Entry| match &entry.about {
            About::Host(known) => hosts.clone().any(|host| matches_host(known, host)),
            About::Tool(known) => **known == *tool,
            About::Agent(known) => agent == Some(known),
        };
        self.entries.iter().filter(meets).map(|entry| entry.score).max().unwrap_or_default()
    }
}

/// Reads `data/threats.json`: `{"as_of": time, "entries": [{"host"|"tool"|"agent": name, "score":
/// 0..=1000, "why"?: text}]}`.
pub(crate) fn read(file: &str, text: &str) -> Result<Threats, Vec<Diagnostic>> {
    let root = tree::from_json_text(file, text).map_err(|finding| vec![*finding])?;
    let mut reader = Reader::new(file, text);
    let members = reader.table("the file", &root).unwrap_or_default();
    reader.known("data/threats.json", members, &["as_of", "entries"]);
    let as_of = member(members, "as_of").and_then(|tree| time(&mut reader, tree));
    let list = member(members, "entries").and_then(|tree| reader.list("entries", tree)).unwrap_or_default();
    let entries = list.iter().filter_map(|tree| entry(&mut reader, tree)).collect();
    if as_of.is_none() && reader.findings.is_empty() {
        reader.refuse_help(&root.span, "`as_of` is missing".to_owned(), "when the list was last true");
    }
    match as_of {
        Some(as_of) if reader.findings.is_empty() => Ok(Threats { as_of, entries }),
        _ => Err(reader.findings),
    }
}

fn time(reader: &mut Reader<'_>, tree: &Tree) -> Option<Timestamp> {
    let text = reader.text("as_of", tree)?;
    let time = Timestamp::parse_rfc3339(&text);
    if time.is_none() {
        reader.refuse(&tree.span, format!("`{text}` is not a time such as `2026-01-01T12:00:00Z`"));
    }
    time
}

fn entry(reader: &mut Reader<'_>, tree: &Tree) -> Option<Entry> {
    let members = reader.table("an entry", tree)?;
    reader.known("an entry", members, &["host", "tool", "agent", "score", "why"]);
    let mut named = |name| member(members, name).and_then(|tree| reader.text(name, tree));
    let (host, tool, agent) = (named("host"), named("tool"), named("agent"));
    named("why");
    let about = match (host, tool, agent) {
        (Some(host), None, None) => About::Host(host.to_ascii_lowercase().into()),
        (None, Some(tool), None) => About::Tool(tool),
        (None, None, Some(agent)) => About::Agent(agent),
        _ => {
            reader.refuse(&tree.span, "an entry is about one `host`, one `tool` or one `agent`");
            return None;
        }
    };
    let Some(score) = member(members, "score") else {
        reader.refuse(&tree.span, "an entry has a `score` from 0 to 1000");
        return None;
    };
    let score = reader.integer("score", score, 0, i64::from(Signal::MAX))?;
    Some(Entry { about, score: u16::try_from(score).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "data/threats.json";

    const LIST: &str = r#"{"as_of": "2026-11-01T00:00:00Z", "entries": [
        {"host": "*.Evil.test", "score": 900, "why": "phishing"}, {"host": "198.51.100.7", "score": 800},
        {"tool": "web/fetch", "score": 100}, {"agent": "old-bot", "score": 700}]}"#;

    #[test]
    fn what_is_listed_is_found_and_its_neighbour_is_not() {
        let threats = read(FILE, LIST).unwrap();
        for (host, tool, agent, want) in [
            ("a.evil.test", "crm/find", "bot", 900),
            ("evil.test", "crm/find", "bot", 0),
            ("notevil.test", "crm/find", "bot", 0),
            ("198.51.100.7", "crm/find", "bot", 800),
            ("198.51.100.70", "crm/find", "bot", 0),
            ("good.test", "web/fetch", "bot", 100),
            ("a.evil.test", "web/fetch", "old-bot", 900),
            ("good.test", "crm/find", "old-bot", 700),
        ] {
            assert_eq!(threats.score([host].into_iter(), tool, Some(agent)), want, "{host} {tool} {agent}");
        }
    }

    #[test]
    fn a_list_that_is_not_understood_is_refused() {
        for (text, say) in [
            (r#"{"entries": []}"#, "`as_of` is missing"),
            (r#"{"as_of": "yesterday"}"#, "not a time"),
            (
                r#"{"as_of": "2026-11-01T00:00:00Z", "entries": [{"host": "a", "tool": "b", "score": 1}]}"#,
                "about one",
            ),
            (r#"{"as_of": "2026-11-01T00:00:00Z", "entries": [{"host": "a"}]}"#, "has a `score`"),
            (r#"{"as_of": "2026-11-01T00:00:00Z", "entries": [{"host": "a", "score": 1001}]}"#, "0 to 1000"),
            (r#"{"as_of": "2026-11-01T00:00:00Z", "entries": [{"hots": "a", "score": 1}]}"#, "unknown field"),
        ] {
            let found = read(FILE, text).unwrap_err();
            assert!(found.iter().any(|finding| finding.message.contains(say)), "{text}: {found:?}");
        }
    }
}
