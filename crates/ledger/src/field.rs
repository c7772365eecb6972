//! The frozen registry of an entry's fields.
//!
//! A field's number, name and exposure never change; `spec/ledger.md` holds the same table and a test
//! compares the two. Whether a field is written in the clear or committed is a property of the field,
//! never a choice of its author, so that nothing personal can be written in the clear by mistake.

use std::fmt;

/// How a field's value is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exposure {
    /// In the entry itself; never personal.
    Clear,
    /// As a salted commitment in the entry; salt and value lie sealed beside it.
    Sealed,
}

/// Why a field has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AbsentReason {
    /// Nobody supplied one.
    NotProvided,
    /// There can be none for this record.
    NotApplicable,
    /// This enforcement point cannot tell.
    NotSupported,
    /// A rule forbids recording it.
    Withheld,
    /// There is one, and what it is could not be established.
    Unknown,
}

impl AbsentReason {
    /// Every reason.
    pub const ALL: &'static [Self] =
        &[Self::NotProvided, Self::NotApplicable, Self::NotSupported, Self::Withheld, Self::Unknown];

    /// The registered number.
    pub const fn code(self) -> u64 {
        match self {
            Self::NotProvided => 0,
            Self::NotApplicable => 1,
            Self::NotSupported => 2,
            Self::Withheld => 3,
            Self::Unknown => 4,
        }
    }

    /// The reason with this registered number.
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }

    /// The reason as written in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotProvided => "not_provided",
            Self::NotApplicable => "not_applicable",
            Self::NotSupported => "not_supported",
            Self::Withheld => "withheld",
            Self::Unknown => "unknown",
        }
    }
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal, $exposure:ident;)*) => {
        /// One field of an entry, by its registered number.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum FieldId {
            $($(#[$doc])* $name = $code,)*
        }

        impl FieldId {
            /// Every field, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The registered number.
            pub const fn code(self) -> u16 {
                match self { $(Self::$name => $code,)* }
            }

            /// The field with this registered number.
            pub const fn from_code(code: u64) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            /// The name in answers.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// How the field's value is kept.
            pub const fn exposure(self) -> Exposure {
                match self { $(Self::$name => Exposure::$exposure,)* }
            }
        }
    };
}

fields! {
    /// What the record is about: the number of a [`crate::Kind`].
    Kind = 1, "kind", Clear;
    /// The record's identifier, 16 bytes.
    Record = 2, "record", Clear;
    /// When it happened, in microseconds since the Unix epoch.
    Timestamp = 3, "timestamp", Clear;
    /// The tenant it belongs to.
    Tenant = 4, "tenant", Clear;
    /// The session it belongs to, 16 bytes.
    Session = 5, "session", Clear;
    /// Its place in the session: 8 bytes counter from 0, then the leaf hash of the session's entry before
    /// it, or zeros.
    Link = 6, "link", Clear;

    /// SHA-256 of the prompt. Committed, since a plain hash of a guessable text is that text.
    PromptHash = 16, "prompt_hash", Sealed;
    /// The prompt itself.
    PromptText = 17, "prompt_text", Sealed;
    /// The documents that were retrieved for it, with source and version.
    RetrievedDocuments = 18, "retrieved_documents", Sealed;
    /// The tool and its exact arguments.
    ToolInvocation = 19, "tool_invocation", Sealed;
    /// What led to it: a [`crate::ExecutionGraph`].
    ExecutionGraph = 20, "execution_graph", Clear;
    /// The policies that were asked: a [`crate::PolicyVersion`].
    PolicyVersion = 21, "policy_version", Clear;
    /// How sure the model said it was, in ten-thousandths.
    Confidence = 22, "confidence", Clear;
    /// The verdict and what was done: an [`crate::EnforcementDecision`].
    EnforcementDecision = 23, "enforcement_decision", Clear;
    /// The approval it rests on, with the people and their signed answers.
    HumanApproval = 24, "human_approval", Sealed;
    /// The key of the log that vouches for the record, and the agent's service identity where proven.
    CryptographicIdentity = 25, "cryptographic_identity", Clear;

    /// The W3C trace it is part of, 16 bytes.
    TraceId = 32, "trace_id", Clear;
    /// Its span: a [`crate::Span`].
    Span = 33, "span", Clear;
    /// The span or call that led to it, 8 or 16 bytes.
    ParentSpan = 34, "parent_span", Clear;
    /// The model: provider, name and version, as a map of texts.
    ModelVersion = 35, "model_version", Clear;
    /// The root over the salted commitments to what the model was given, 32 bytes.
    InputContextHash = 36, "input_context_hash", Clear;
    /// SHA-256 of the plan that the model gave out.
    OutputPlanHash = 37, "output_plan_hash", Sealed;
    /// Whether the policies' signatures held: the text of a [`crate::SignatureState`].
    PolicySignature = 38, "policy_signature", Clear;
    /// What made it unusual, as texts.
    EscalationFlags = 39, "escalation_flags", Clear;
    /// The capability classes that were granted, as texts.
    CapabilityGranted = 40, "capability_granted", Clear;
    /// The sandbox it ran in.
    SandboxId = 41, "sandbox_id", Clear;
    /// The network policy it ran under.
    NetworkPolicy = 42, "network_policy", Clear;
    /// What kind of result came back.
    ResultType = 43, "result_type", Clear;
    /// Whether the result satisfied its schema.
    ResultSchemaHeld = 44, "result_schema_held", Clear;

    /// The attempted action's identifier, 16 bytes.
    Call = 64, "call", Clear;
    /// The action's name, such as `mail/send`.
    Action = 65, "action", Clear;
    /// What is acted on.
    Resource = 66, "resource", Sealed;
    /// Who acts: owner, agent and user.
    Principals = 67, "principals", Sealed;
    /// The rules that made the verdict so: an array of [`crate::RuleReason`].
    Reasons = 68, "reasons", Clear;
    /// What the rules said, in words that may repeat content.
    Messages = 69, "messages", Sealed;
    /// The obligations, by type.
    Obligations = 70, "obligations", Clear;
    /// The action's effect: `read`, `write` or `irreversible`.
    Effect = 71, "effect", Clear;
    /// The action's capability classes, as texts.
    Classes = 72, "classes", Clear;
    /// The markings of what is acted on, as texts.
    Markings = 73, "markings", Clear;
    /// The approval's identifier, 16 bytes.
    Approval = 74, "approval", Clear;
    /// The digest of the exact call that an approval is bound to.
    ApprovalBinding = 75, "approval_binding", Sealed;
    /// A person's answer as signed: the signed bytes and the signature.
    Ballot = 76, "ballot", Sealed;
    /// What came of it, in one word.
    Outcome = 77, "outcome", Clear;
    /// SHA-256 of the result's exact bytes.
    ResultDigest = 78, "result_digest", Sealed;
    /// The result's size in bytes.
    ResultBytes = 79, "result_bytes", Clear;
    /// Whether the result says that the call failed.
    ResultIsError = 80, "result_is_error", Clear;
    /// Why the result was not shown.
    Withheld = 81, "withheld", Sealed;
    /// The record of the decision that this one follows from, 16 bytes.
    Decision = 82, "decision", Clear;
    /// When the matter ends by itself, in microseconds since the Unix epoch.
    Expires = 83, "expires", Clear;

    /// What a shadow bundle would have said: a [`crate::ShadowVerdict`].
    Shadow = 92, "shadow", Clear;

    /// What an administrative change is about, such as the tool's name or the bundle's role.
    Subject = 96, "subject", Clear;
    /// Who made the change.
    Author = 97, "author", Sealed;
    /// The digest before the change.
    Before = 98, "before", Clear;
    /// The digest after the change.
    After = 99, "after", Clear;
    /// The bundle's epoch.
    Epoch = 100, "epoch", Clear;
    /// More about the change, in words that may repeat content.
    Detail = 101, "detail", Sealed;
    /// What enforces: version, digests of program, bundle and configuration, and what the machine offers.
    Enforcer = 102, "enforcer", Clear;
    /// A TPM's quote over the digest of what enforces: `TPMS_ATTEST`, signature, key.
    Quote = 103, "quote", Clear;

    /// The log's origin.
    Origin = 112, "origin", Clear;
    /// The key that signs from the next frame on, as a note verifier key.
    LogKey = 113, "log_key", Clear;
    /// The key that signed until here, as a note verifier key.
    PreviousKey = 114, "previous_key", Clear;
    /// The previous key's signature over the handover, 64 bytes.
    KeySignature = 115, "key_signature", Clear;
    /// Bytes behind the last whole frame that were never acknowledged and are cut.
    DroppedBytes = 116, "dropped_bytes", Clear;
    /// The index of the last entry that was found, if any.
    LastIndex = 117, "last_index", Clear;
    /// How many times the log was opened.
    LogEpoch = 118, "log_epoch", Clear;
    /// Why the log was recovered, in one word.
    Cause = 119, "cause", Clear;

    /// The full request and facts, for replaying the decision.
    Attachment = 128, "attachment", Sealed;
}

impl FieldId {
    /// The eleven fields that every decision's evidence consists of.
    pub const EVIDENCE: &'static [Self] = &[
        Self::PromptHash,
        Self::PromptText,
        Self::RetrievedDocuments,
        Self::ToolInvocation,
        Self::ExecutionGraph,
        Self::PolicyVersion,
        Self::Confidence,
        Self::EnforcementDecision,
        Self::HumanApproval,
        Self::Timestamp,
        Self::CryptographicIdentity,
    ];

    /// The fields that place a decision in its chain of intent.
    pub const TRACE: &'static [Self] = &[
        Self::TraceId,
        Self::Span,
        Self::ParentSpan,
        Self::ModelVersion,
        Self::InputContextHash,
        Self::OutputPlanHash,
        Self::PolicySignature,
        Self::EscalationFlags,
        Self::CapabilityGranted,
        Self::SandboxId,
        Self::NetworkPolicy,
        Self::ResultType,
        Self::ResultSchemaHeld,
    ];

    /// Whether a draft's author may set the field; the others are the log's own.
    pub const fn is_authored(self) -> bool {
        !matches!(
            self,
            Self::Kind | Self::Record | Self::Timestamp | Self::Tenant | Self::Session | Self::Link
        )
    }
}

impl fmt::Display for FieldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_in_ascending_order_and_its_names_are_unique() {
        assert!(FieldId::ALL.windows(2).all(|pair| pair[0].code() < pair[1].code()));
        let names: std::collections::BTreeSet<_> = FieldId::ALL.iter().map(|field| field.as_str()).collect();
        assert_eq!(names.len(), FieldId::ALL.len());
        for field in FieldId::ALL {
            assert_eq!(FieldId::from_code(u64::from(field.code())), Some(*field));
        }
        assert_eq!(FieldId::from_code(7), None);
    }

    #[test]
    fn the_published_table_is_this_table() {
        let spec = include_str!("../../../spec/ledger.md");
        for field in FieldId::ALL {
            let exposure = match field.exposure() {
                Exposure::Clear => "clear",
                Exposure::Sealed => "sealed",
            };
            let row = format!("| {} | `{}` | {exposure} |", field.code(), field.as_str());
            assert!(spec.contains(&row), "spec/ledger.md lacks `{row}`");
        }
        for kind in crate::Kind::ALL {
            let row = format!("| {} | `{}` |", kind.code(), kind.as_str());
            assert!(spec.contains(&row), "spec/ledger.md lacks `{row}`");
        }
        for reason in AbsentReason::ALL {
            let row = format!("| {} | `{}` |", reason.code(), reason.as_str());
            assert!(spec.contains(&row), "spec/ledger.md lacks `{row}`");
        }
    }

    #[test]
    fn what_may_be_personal_is_sealed() {
        for field in [
            FieldId::PromptHash,
            FieldId::PromptText,
            FieldId::RetrievedDocuments,
            FieldId::ToolInvocation,
            FieldId::HumanApproval,
            FieldId::Principals,
            FieldId::Resource,
            FieldId::Messages,
            FieldId::Author,
            FieldId::Ballot,
            FieldId::ResultDigest,
            FieldId::Attachment,
        ] {
            assert_eq!(field.exposure(), Exposure::Sealed, "{field}");
        }
    }
}
