//! What is done: an operation, its capability classes and its effect.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::Resource;

/// The text does not name what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{got}` is not {expected}")]
pub struct InvalidName {
    /// What was expected, as a noun phrase.
    pub expected: &'static str,
    /// What came, cut to 80 characters.
    pub got: String,
}

impl InvalidName {
    /// Reports that `got` is not `expected`.
    pub fn new(expected: &'static str, got: &str) -> Self {
        Self { expected, got: got.chars().take(80).collect() }
    }
}

/// One operation: `server/tool` for tools, `protocol/method` for a protocol's own messages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionName(Box<str>);

impl ActionName {
    /// The name of tool `tool` on the configured server `server`.
    pub fn tool(server: &str, tool: &str) -> Result<Self, InvalidName> {
        format!("{server}/{tool}").parse()
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first `/`.
    pub fn server(&self) -> &str {
        self.0.split_once('/').map_or("", |(server, _)| server)
    }

    /// The part after the first `/`.
    pub fn operation(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(_, operation)| operation)
    }
}

impl fmt::Display for ActionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ActionName {
    type Err = InvalidName;

    /// At most 256 bytes of visible text; empty parts, white space and control characters are refused.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let ok = !text.is_empty()
            && text.len() <= 256
            && !text.starts_with('/')
            && !text.ends_with('/')
            && !text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '"' || c == '\\');
        ok.then(|| Self(text.into()))
            .ok_or_else(|| InvalidName::new("an action name such as `mail/send`", text))
    }
}

macro_rules! class_kinds {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// The closed set of capability classes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ClassKind {
            $(#[doc = concat!("`", $text, "`")] $(#[$doc])* $variant,)*
        }

        impl ClassKind {
            /// Every class, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The class as written in policies and manifests.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl FromStr for ClassKind {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(InvalidName::new("a capability class (`data.read`, `net.egress`, …)", text)),
                }
            }
        }
    };
}

class_kinds! {
    DataRead = "data.read",
    DataWrite = "data.write",
    FilesRead = "files.read",
    FilesWrite = "files.write",
    CodeExec = "code.exec",
    NetEgress = "net.egress",
    MessageSend = "message.send",
    MoneyMove = "money.move",
    SecretUse = "secret.use",
    AgentDelegate = "agent.delegate",
    ModelCall = "model.call",
    MemoryWrite = "memory.write",
    InfraChange = "infra.change",
    Admin = "admin",
}

/// A capability class, or a named part of one such as `data.read:orders`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class {
    kind: ClassKind,
    part: Option<Box<str>>,
}

impl Class {
    /// The whole class.
    pub const fn whole(kind: ClassKind) -> Self {
        Self { kind, part: None }
    }

    /// The class this is, or is a part of.
    pub const fn kind(&self) -> ClassKind {
        self.kind
    }

    /// The name of the part, if this is one.
    pub fn part(&self) -> Option<&str> {
        self.part.as_deref()
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        self.part.as_deref().map_or(Ok(()), |part| write!(f, ":{part}"))
    }
}

impl FromStr for Class {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (kind, part) = text.split_once(':').map_or((text, None), |(kind, part)| (kind, Some(part)));
        let kind = kind.parse()?;
        match part {
            None => Ok(Self::whole(kind)),
            Some(part)
                if (1..=64).contains(&part.len())
                    && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) =>
            {
                Ok(Self { kind, part: Some(part.into()) })
            }
            Some(_) => Err(InvalidName::new("a part of a capability class such as `data.read:orders`", text)),
        }
    }
}

/// What an action leaves behind, ordered by how hard it is to take back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Changes something that can be changed back.
    Write,
    /// Cannot be taken back.
    Irreversible,
}

impl Effect {
    /// Every effect, mildest first.
    pub const ALL: &'static [Self] = &[Self::Read, Self::Write, Self::Irreversible];

    /// The effect as written in policies and manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Irreversible => "irreversible",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Effect {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::ALL
            .iter()
            .copied()
            .find(|effect| effect.as_str() == text)
            .ok_or_else(|| InvalidName::new("an effect (`read`, `write` or `irreversible`)", text))
    }
}

/// One operation with what its signed manifest says about it.
// INVARIANT: an action without a manifest belongs to no class for a permit and to every class for
// a prohibition or an obligation, and its effect is irreversible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    name: ActionName,
    classes: BTreeSet<Class>,
    effect: Effect,
    declared: bool,
}

impl Action {
    /// An action whose classes and effect are known.
    pub fn declared(name: ActionName, classes: impl IntoIterator<Item = Class>, effect: Effect) -> Self {
        Self { name, classes: classes.into_iter().collect(), effect, declared: true }
    }

    /// An action that nobody described: the most dangerous thing it could be.
    pub fn undeclared(name: ActionName) -> Self {
        let classes = ClassKind::ALL.iter().copied().map(Class::whole).collect();
        Self { name, classes, effect: Effect::Irreversible, declared: false }
    }

    /// The operation's name.
    pub fn name(&self) -> &ActionName {
        &self.name
    }

    /// The classes it counts as when something is forbidden or required.
    pub fn classes(&self) -> &BTreeSet<Class> {
        &self.classes
    }

    /// The effect it counts as.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Whether the action is in `class` for whoever takes the class away.
    ///
    /// What nobody declared is in every class. A part is what declares it, and what is done under the
    /// whole class to a resource of that name.
    pub fn counts_as(&self, class: &Class, resource: &Resource) -> bool {
        !self.declared
            || self.classes.iter().filter(|own| own.kind == class.kind).any(|own| {
                match (class.part.as_deref(), own.part.as_deref()) {
                    (None, _) => true,
                    (Some(part), Some(own)) => own.eq_ignore_ascii_case(part),
                    (Some(part), None) => resource.is_named(part),
                }
            })
    }

    /// Whether a manifest describes it.
    pub fn is_declared(&self) -> bool {
        self.declared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_parse_whole_and_in_part() {
        for text in ["data.read", "data.read:orders", "admin"] {
            assert_eq!(text.parse::<Class>().map(|c| c.to_string()), Ok(text.to_owned()));
        }
        for text in ["data", "data.read:", "data.read:a b", "Data.read", ""] {
            assert!(text.parse::<Class>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_with_white_space_quotes_or_empty_ends_are_refused() {
        assert!("mail/send".parse::<ActionName>().is_ok());
        for text in ["", "/send", "mail/", "mail/se nd", "mail/\"x", "a\u{0}b", "x\\y"] {
            assert!(text.parse::<ActionName>().is_err(), "{text:?}");
        }
    }
}
