//! Kill switches and postures in JSON.

use std::collections::BTreeMap;

use cordon_core::ed25519::Signature;
use cordon_core::{
    ActionName, Digest, KillOrder, KillOrigin, KillSwitch, Posture, PostureState, Restraint, SessionId,
    Timestamp,
};
use cordon_guard::{Kill, Narrowed, Standing};
use cordon_workflow::{Lift, LiftOf};
use serde::{Deserialize, Serialize};

use super::EntryView;

/// One kill switch that is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillView {
    /// Its name.
    pub id: String,
    /// The class, the part of one, or the effect.
    pub what: String,
    /// For this agent only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// In this tenant only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// `order`, `bundle` or `unreadable`.
    pub origin: String,
    /// The bundle's epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Who turned it.
    pub by: String,
    /// When.
    pub since: String,
    /// What an approver signs to lift it.
    pub binding: String,
    /// Whether the ledger has it.
    pub recorded: bool,
}

impl From<&Kill> for KillView {
    fn from(kill: &Kill) -> Self {
        let KillSwitch { target, agent, tenant, origin } = &kill.switch;
        let (origin, epoch) = match origin {
            KillOrigin::Order => ("order", None),
            KillOrigin::Bundle { epoch } => ("bundle", Some(*epoch)),
            KillOrigin::Unreadable => ("unreadable", None),
        };
        Self {
            id: kill.id.to_string(),
            what: target.to_string(),
            agent: agent.as_ref().map(ToString::to_string),
            tenant: tenant.as_ref().map(ToString::to_string),
            origin: origin.to_owned(),
            epoch,
            by: kill.by.to_string(),
            since: kill.since.to_string(),
            binding: kill.binding().to_string(),
            recorded: kill.recorded,
        }
    }
}

/// What is to be switched off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KillOrderView {
    /// The class, the part of one, or the effect.
    pub what: String,
    /// For this agent only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// In this tenant only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

impl KillOrderView {
    /// The order; else what is malformed.
    pub fn order(&self) -> Result<KillOrder, String> {
        let target = self.what.parse().map_err(|error| format!("`what`: {error}"))?;
        let named = |name: &str, value: &Option<String>| match value.as_deref() {
            Some(value) if value.is_empty() || value.len() > 256 || value.chars().any(char::is_control) => {
                Err(format!("`{name}`: expected 1 to 256 plain bytes, got `{}`", value.escape_debug()))
            }
            value => Ok(value.map(Into::into)),
        };
        Ok(KillOrder { target, agent: named("agent", &self.agent)?, tenant: named("tenant", &self.tenant)? })
    }
}

/// Something that was taken away, and is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NarrowedView<T> {
    /// What is in force.
    pub now: T,
    /// Its record, on its way; none when nothing changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryView>,
    /// Whether it survives a restart already.
    pub kept: bool,
    /// Whether every call has left that was just leaving when it came into force.
    pub departed: bool,
}

impl<T> NarrowedView<T> {
    /// What the guard says of a narrowing.
    pub fn new<N>(narrowed: &Narrowed<N>, departed: bool) -> Self
    where
        T: for<'n> From<&'n N>,
    {
        Self {
            now: (&narrowed.now).into(),
            entry: narrowed.receipt.as_ref().map(Into::into),
            kept: narrowed.kept,
            departed,
        }
    }
}

/// A signed word of an approver that something is given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiftView {
    /// The name of the approver's key.
    pub approver: String,
    /// When the approver signed, in microseconds since 1970.
    pub at: u64,
    /// The binding of what the approver was shown.
    pub binding: String,
    /// The Ed25519 signature over the word, in base64.
    pub signature: String,
}

impl LiftView {
    /// The word with its signature.
    pub fn new(lift: &Lift, signature: &Signature) -> Self {
        Self {
            approver: lift.approver.to_string(),
            at: lift.at.as_micros(),
            binding: lift.binding.to_string(),
            signature: signature.to_string(),
        }
    }

    /// The word about `of` and its signature, not yet verified; else what is malformed.
    pub fn lift(&self, of: LiftOf) -> Result<(Lift, Signature), String> {
        let binding: Digest = self.binding.parse().map_err(|error| format!("`binding`: {error}"))?;
        let signature = self.signature.parse().map_err(|error| format!("`signature`: {error}"))?;
        let (approver, at) = (self.approver.as_str().into(), Timestamp::from_micros(self.at));
        Ok((Lift { of, binding, approver, at }, signature))
    }
}

/// Something that was given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiftedView<T> {
    /// What it is now; for a kill switch, what it was.
    pub lifted: T,
    /// The record.
    pub entry: EntryView,
}

/// The files of a kill bundle, each in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KillBundleView {
    /// The content by path.
    pub files: BTreeMap<String, String>,
}

/// What came of a kill bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillsLoadedView {
    /// Its epoch.
    pub epoch: u64,
    /// How many switches it has.
    pub on: usize,
    /// How many of the bundle before it were lifted.
    pub lifted: usize,
    /// The record.
    pub entry: EntryView,
}

/// What a session may still do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostureView {
    /// The session.
    pub session: String,
    /// `normal`, `watched`, `restricted`, `quarantined` or `terminated`.
    pub state: String,
    /// The classes that were taken.
    pub revoked: Vec<String>,
    /// The tools that were taken.
    pub disabled: Vec<String>,
    /// `network_off`, `block_delegation`, `read_only`, `rotate_credentials`.
    pub restraints: Vec<String>,
    /// What made it so.
    pub cause: String,
    /// When.
    pub changed: String,
    /// What an approver signs to release the session.
    pub binding: String,
    /// Whether the ledger has it.
    pub recorded: bool,
}

impl From<&Standing> for PostureView {
    fn from(standing: &Standing) -> Self {
        let posture = &standing.posture;
        Self {
            session: standing.session.to_string(),
            state: posture.state().to_string(),
            revoked: posture.revoked().iter().map(ToString::to_string).collect(),
            disabled: posture.disabled().iter().map(ToString::to_string).collect(),
            restraints: posture.restraints().iter().map(|one| one.as_str().to_owned()).collect(),
            cause: standing.cause.to_string(),
            changed: standing.changed.to_string(),
            binding: standing.binding().to_string(),
            recorded: standing.recorded,
        }
    }
}

/// What is to be taken from a session; nothing named is everything, until it is released.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContainView {
    /// Classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revoke: Vec<String>,
    /// Tools, as `server/tool`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disable_tools: Vec<String>,
    /// `network_off`, `block_delegation`, `read_only`, `rotate_credentials`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restraints: Vec<String>,
    /// `watched` takes nothing, `quarantined` takes everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

impl ContainView {
    /// The posture to narrow to; else what is malformed.
    pub fn posture(&self) -> Result<Posture, String> {
        fn all<T: std::str::FromStr<Err: std::fmt::Display>>(
            name: &str,
            texts: &[String],
        ) -> Result<Vec<T>, String> {
            texts.iter().map(|text| text.parse().map_err(|error| format!("`{name}`: {error}"))).collect()
        }
        let state = match self.state.as_deref() {
            None if *self == Self::default() => PostureState::Quarantined,
            None => PostureState::Normal,
            Some(text) => text.parse().map_err(|error| format!("`state`: {error}"))?,
        };
        if state == PostureState::Terminated {
            return Err("`state`: a session is terminated by POST /v1/sessions/{id}/kill".to_owned());
        }
        let revoked = all("revoke", &self.revoke)?;
        let disabled: Vec<ActionName> = all("disable_tools", &self.disable_tools)?;
        let restraints: Vec<Restraint> = all("restraints", &self.restraints)?;
        Ok(Posture::new(state, revoked, disabled, restraints))
    }
}

/// A session that was never narrowed.
pub(crate) fn normal(session: SessionId) -> PostureView {
    PostureView {
        session: session.to_string(),
        state: PostureState::Normal.to_string(),
        revoked: Vec::new(),
        disabled: Vec::new(),
        restraints: Vec::new(),
        cause: String::new(),
        changed: String::new(),
        binding: String::new(),
        recorded: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containing_without_a_word_isolates_and_every_word_is_understood_or_refused() {
        let posture = |text: &str| serde_json::from_str::<ContainView>(text).unwrap().posture();
        assert_eq!(posture("{}").map(|posture| posture.state()), Ok(PostureState::Quarantined));
        let some = posture(r#"{"revoke":["data.write"],"restraints":["read_only"]}"#).unwrap();
        assert_eq!(some.to_string(), "restricted, without data.write, read_only");
        for bad in [r#"{"revoke":["everything"]}"#, r#"{"state":"terminated"}"#, r#"{"restraints":["nap"]}"#]
        {
            assert!(posture(bad).is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<ContainView>(r#"{"revokes":[]}"#).is_err());
    }
}
