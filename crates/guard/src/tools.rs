//! The tools that servers listed: their pins, their schemas, and whether they may be used at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use cordon_core::{ActionName, Digest, ToolManifest};
use cordon_inspect::{Schema, SchemaLimits};

/// One tool as a server listed it, with the pin that the codec computed over its exact definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTool {
    /// Its name.
    pub name: Box<str>,
    /// Digest over name, description, schemas, annotations and icons.
    pub pin: Digest,
    /// Its `inputSchema`, as JSON text.
    pub input_schema: Option<Vec<u8>>,
    /// Its `outputSchema`, as JSON text.
    pub output_schema: Option<Vec<u8>>,
    /// Its description, for people.
    pub description: Box<str>,
}

/// Why a tool may not be used until a person has looked at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quarantine {
    /// Its definition differs from the one that was accepted.
    Changed {
        /// The accepted pin.
        accepted: Digest,
    },
    /// The server lists two tools of this name.
    Colliding,
    /// Another server already has a tool that a reader could take for this one.
    Shadowing {
        /// The other tool.
        other: ActionName,
    },
    /// Its name or schema cannot be used safely.
    Malformed {
        /// What is wrong.
        problem: Box<str>,
    },
}

impl Quarantine {
    /// The quarantine in one clause.
    pub fn describe(&self) -> String {
        match self {
            Self::Changed { accepted } => format!("its definition changed since {accepted} was accepted"),
            Self::Colliding => "its server lists two tools of this name".to_owned(),
            Self::Shadowing { other } => format!("it shadows the tool `{other}` of another server"),
            Self::Malformed { problem } => format!("its definition cannot be used: {problem}"),
        }
    }
}

/// One tool that a server listed.
#[derive(Debug)]
pub struct Tool {
    /// `server/tool`.
    pub action: ActionName,
    /// What the server listed.
    pub listed: ListedTool,
    /// Why it may not be used, if it may not.
    pub quarantine: Option<Quarantine>,
    pub(crate) input: Option<Schema>,
    pub(crate) output: Option<Schema>,
}

/// What changed when a server was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A tool without a signed pin was seen for the first time and its pin accepted.
    FirstSeen { tool: ActionName, pin: Digest },
    /// A tool was quarantined.
    Quarantined { tool: ActionName, pin: Digest, before: Option<Digest>, why: Quarantine },
}

/// The tools of every server.
#[derive(Debug, Default)]
pub(crate) struct Tools(RwLock<Servers>);

/// The tools that the bundle in force describes, as far as they were used: for enforcement points that
/// run tools themselves, which no server lists.
#[derive(Debug, Default)]
pub(crate) struct Described(RwLock<OfBundle>);

#[derive(Debug, Default)]
struct OfBundle {
    bundle: Option<Digest>,
    tools: BTreeMap<ActionName, Arc<Tool>>,
}

impl Described {
    /// The tool that `manifest` of the bundle `bundle` describes. A schema that cannot be used puts
    /// the tool into quarantine.
    pub(crate) fn get(&self, bundle: Digest, manifest: &ToolManifest) -> Arc<Tool> {
        {
            let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
            let same = known.bundle == Some(bundle);
            if let Some(tool) = known.tools.get(&manifest.tool).filter(|_| same) {
                return Arc::clone(tool);
            }
        }
        let tool = Arc::new(Tool::described(manifest, bundle));
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.bundle != Some(bundle) {
            *known = OfBundle { bundle: Some(bundle), tools: BTreeMap::new() };
        }
        known.tools.insert(manifest.tool.clone(), Arc::clone(&tool));
        tool
    }
}

/// The tools of each server, by the names of server and tool.
type Servers = BTreeMap<Box<str>, BTreeMap<Box<str>, Arc<Tool>>>;

/// Most tools that one server may list.
pub(crate) const TOOLS_MAX: usize = 4_096;

impl Tools {
    /// The tool `tool` of `server`, if the server listed it.
    pub(crate) fn get(&self, server: &str, tool: &str) -> Option<Arc<Tool>> {
        let servers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        servers.get(server)?.get(tool).cloned()
    }

    /// Every tool, by server and name.
    pub(crate) fn all(&self) -> Vec<Arc<Tool>> {
        let servers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        servers.values().flat_map(|tools| tools.values().cloned()).collect()
    }

    /// Takes a server's whole listing in place of the one before.
    pub(crate) fn listed(
        &self,
        server: &str,
        listing: Vec<ListedTool>,
        manifest: impl Fn(&ActionName) -> Option<ToolManifest>,
        accepted: impl Fn(&ActionName) -> Option<Digest>,
    ) -> Vec<Change> {
        let mut names = BTreeSet::new();
        let twice: BTreeSet<Box<str>> =
            listing.iter().filter(|tool| !names.insert(&*tool.name)).map(|tool| tool.name.clone()).collect();
        let mut changes = Vec::new();
        let mut tools = BTreeMap::new();
        let mut servers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = servers.get(server).cloned().unwrap_or_default();
        for listed in listing.into_iter().take(TOOLS_MAX) {
            // A name that is no action name has no identity to decide about; such a tool does not exist.
            let Ok(action) = ActionName::tool(server, &listed.name) else { continue };
            let signed = manifest(&action);
            let known = accepted(&action);
            let quarantine = if twice.contains(&listed.name) {
                Some(Quarantine::Colliding)
            } else {
                standing(&servers, server, &listed, signed.as_ref(), known)
            };
            let name = listed.name.clone();
            let tool = Tool::new(action, listed, quarantine);
            let already = before.get(&name).is_some_and(|old| old.quarantine == tool.quarantine);
            match &tool.quarantine {
                Some(why) if !already => changes.push(Change::Quarantined {
                    tool: tool.action.clone(),
                    pin: tool.listed.pin,
                    before: known.or(signed.and_then(|manifest| manifest.pin)),
                    why: why.clone(),
                }),
                None if known.is_none() && signed.is_none_or(|manifest| manifest.pin.is_none()) => {
                    changes.push(Change::FirstSeen { tool: tool.action.clone(), pin: tool.listed.pin });
                }
                _ => {}
            }
            tools.insert(name, Arc::new(tool));
        }
        servers.insert(server.into(), tools);
        changes
    }

    /// Lifts the quarantine of a tool whose present definition a person accepted.
    pub(crate) fn lift(&self, action: &ActionName, pin: Digest) -> bool {
        let mut servers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let tool = servers.get_mut(action.server()).and_then(|tools| tools.get_mut(action.operation()));
        match tool {
            Some(tool) if tool.listed.pin == pin => {
                *tool = Arc::new(Tool::new(action.clone(), tool.listed.clone(), None));
                tool.quarantine.is_none()
            }
            _ => false,
        }
    }
}

impl Tool {
    /// The tool that a manifest describes; `source` stands for its pin where it has none.
    pub(crate) fn described(manifest: &ToolManifest, source: Digest) -> Self {
        let text = |schema: &Option<Box<str>>| schema.as_ref().map(|text| text.as_bytes().to_vec());
        let listed = ListedTool {
            name: manifest.tool.operation().into(),
            pin: manifest.pin.unwrap_or(source),
            input_schema: text(&manifest.input_schema),
            output_schema: text(&manifest.output_schema),
            description: manifest.description.clone().unwrap_or_default(),
        };
        Self::new(manifest.tool.clone(), listed, None)
    }

    fn new(action: ActionName, listed: ListedTool, quarantine: Option<Quarantine>) -> Self {
        let limits = SchemaLimits::default();
        let compile =
            |text: &Option<Vec<u8>>| text.as_deref().map(|text| Schema::compile(text, &limits)).transpose();
        match (compile(&listed.input_schema), compile(&listed.output_schema)) {
            (Ok(input), Ok(output)) => Self { action, listed, quarantine, input, output },
            (Err(error), _) | (_, Err(error)) => {
                let problem = error.to_string().into();
                let quarantine = Some(quarantine.unwrap_or(Quarantine::Malformed { problem }));
                Self { action, listed, quarantine, input: None, output: None }
            }
        }
    }
}

/// Why a tool may not be used, given what was signed and what was accepted before.
fn standing(
    servers: &Servers,
    server: &str,
    listed: &ListedTool,
    signed: Option<&ToolManifest>,
    known: Option<Digest>,
) -> Option<Quarantine> {
    let signed_pin = signed.and_then(|manifest| manifest.pin);
    if known == Some(listed.pin) || signed_pin == Some(listed.pin) {
        return None;
    }
    if let Some(accepted) = known.or(signed_pin) {
        return Some(Quarantine::Changed { accepted });
    }
    // A signed manifest says that the operator means this tool; only an undescribed one can shadow.
    if signed.is_some() {
        return None;
    }
    let twin = skeleton(&listed.name);
    servers
        .iter()
        .filter(|(other, _)| &***other != server)
        .flat_map(|(_, tools)| tools.values())
        .find(|tool| tool.quarantine.is_none() && skeleton(&tool.listed.name) == twin)
        .map(|tool| Quarantine::Shadowing { other: tool.action.clone() })
}

/// A name as a hurried reader sees it: case, separators and the commonest look-alike digits folded.
fn skeleton(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '_' | '-' | '.' | ' '))
        .flat_map(char::to_lowercase)
        .map(|c| match c {
            '0' => 'o',
            '1' | 'i' | '|' => 'l',
            '5' => 's',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, pin: &str) -> ListedTool {
        ListedTool {
            name: name.into(),
            pin: Digest::of(pin.as_bytes()),
            input_schema: Some(br#"{"type":"object"}"#.to_vec()),
            output_schema: None,
            description: "".into(),
        }
    }

    fn check(
        tools: &Tools,
        server: &str,
        listing: Vec<ListedTool>,
        accepted: &[(&str, &str)],
    ) -> Vec<String> {
        let known = |action: &ActionName| {
            accepted
                .iter()
                .find(|(name, _)| *name == action.as_str())
                .map(|(_, pin)| Digest::of(pin.as_bytes()))
        };
        tools.listed(server, listing, |_| None, known);
        let quarantined = tools.all().into_iter().filter(|tool| tool.action.server() == server);
        quarantined
            .filter_map(|tool| Some(format!("{} {}", tool.listed.name, tool.quarantine.as_ref()?.describe())))
            .collect()
    }

    #[test]
    fn a_changed_tool_is_quarantined_until_its_new_pin_is_accepted() {
        let tools = Tools::default();
        assert!(check(&tools, "mail", vec![tool("send", "v1")], &[]).is_empty());
        let found = check(&tools, "mail", vec![tool("send", "v2")], &[("mail/send", "v1")]);
        assert!(found.iter().any(|text| text.contains("changed since")), "{found:?}");
        assert!(check(&tools, "mail", vec![tool("send", "v2")], &[("mail/send", "v2")]).is_empty());
    }

    #[test]
    fn two_tools_of_one_name_are_both_out() {
        let tools = Tools::default();
        let found = check(&tools, "mail", vec![tool("send", "a"), tool("send", "b"), tool("read", "c")], &[]);
        assert_eq!(found.len(), 1, "one entry is kept for the name, quarantined: {found:?}");
        assert!(tools.get("mail", "read").is_some_and(|tool| tool.quarantine.is_none()));
    }

    #[test]
    fn a_look_alike_of_another_servers_tool_is_quarantined_and_an_unlike_one_is_not() {
        let tools = Tools::default();
        assert!(check(&tools, "mail", vec![tool("send_mail", "a")], &[]).is_empty());
        for twin in ["send_mail", "Send-Mail", "sendMa1l"] {
            let found = check(&tools, "evil", vec![tool(twin, "b")], &[]);
            assert!(found.iter().any(|text| text.contains("shadows")), "{twin}: {found:?}");
        }
        assert!(check(&tools, "evil", vec![tool("send_male", "b")], &[]).is_empty());
    }
}
