//! Sessions and approvals as deterministic CBOR, before they are sealed.

use std::collections::BTreeSet;
use std::sync::Arc;

use cordon_core::cbor::{Cbor, CborError};
use cordon_core::{
    ApprovalId, Capability, Chain, Digest, Encode, ObligationKind, Record, SessionId, ShapeError, Timestamp,
};
use cordon_guard::Opening;
use cordon_guard::ports::Shown;
use cordon_workflow::{Approval, ApprovalKind, Progress, Requirement, Terms, Vote};

/// Stored bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodingError {
    #[error("stored state is not CBOR: {0}")]
    Cbor(#[from] CborError),
    #[error("stored state has the wrong shape: {0}")]
    Shape(#[from] ShapeError),
}

/// Whether nothing can happen to the approval any more.
pub(crate) fn is_settled(progress: &Progress) -> bool {
    !matches!(progress, Progress::Pending { .. } | Progress::Granted { .. })
}

pub(crate) fn encode_opening(opening: &Opening) -> Vec<u8> {
    let supported = opening.supported.iter().map(|name| Cbor::from(*name)).collect();
    Cbor::Array(vec![
        opening.chain.to_cbor(),
        (&*opening.tenant).into(),
        optional(&opening.purpose),
        optional(&opening.project),
        optional(&opening.workflow),
        optional(&opening.task),
        opening.model.to_cbor(),
        Cbor::Array(supported),
        optional(&opening.key),
        opening.expires.as_micros().into(),
        opening.capability.as_deref().map_or(Cbor::Null, Encode::to_cbor),
        opening
            .tools
            .as_ref()
            .map_or(Cbor::Null, |tools| Cbor::Array(tools.iter().map(|tool| tool.as_str().into()).collect())),
        Cbor::Array(opening.declared.values().map(|text| (&**text).into()).collect()),
        Cbor::Array(opening.declared.keys().map(|tool| tool.as_str().into()).collect()),
        opening.assurance.as_str().into(),
    ])
    .encode()
}

pub(crate) fn opening(bytes: &[u8]) -> Result<Opening, CodingError> {
    let cbor = Cbor::decode(bytes)?;
    let Some([chain, tenant, purpose, project, workflow, task, model, rest @ ..]) = cbor.as_array() else {
        return Err(ShapeError("a session of fifteen parts").into());
    };
    let [supported, key, expires, capability, tools, manifests, declared, assurance] = rest else {
        return Err(ShapeError("a session of fifteen parts").into());
    };
    let (manifests, declared) = (texts(manifests)?, texts(declared)?);
    if manifests.len() != declared.len() {
        return Err(ShapeError("as many manifests as declared tools").into());
    }
    let tool = |name: &str| name.parse().map_err(|_| ShapeError("the name of a tool"));
    let known = |name: &str| ObligationKind::NAMES.iter().copied().find(|known| *known == name);
    Ok(Opening {
        chain: Chain::from_cbor(chain)?,
        tenant: text(tenant)?,
        purpose: optional_text(purpose)?,
        project: optional_text(project)?,
        workflow: optional_text(workflow)?,
        task: optional_text(task)?,
        model: Record::from_cbor(model)?,
        supported: texts(supported)?.iter().filter_map(|name| known(name)).collect(),
        key: optional_text(key)?,
        expires: timestamp(expires)?,
        assurance: text(assurance)?.parse().map_err(|_| ShapeError("how surely it is known who calls"))?,
        capability: match capability {
            Cbor::Null => None,
            shown => Some(Arc::new(Capability::from_cbor(shown)?)),
        },
        tools: match tools {
            Cbor::Null => None,
            named => Some(texts(named)?.iter().map(|name| tool(name)).collect::<Result<_, _>>()?),
        },
        declared: declared
            .iter()
            .zip(manifests)
            .map(|(name, text)| Ok((tool(name)?, text)))
            .collect::<Result<_, ShapeError>>()?,
    })
}

pub(crate) fn encode_approval(approval: &Approval, shown: &Shown) -> Vec<u8> {
    let terms = &approval.terms;
    let requirements = terms
        .requirements
        .iter()
        .map(|need| Cbor::Array(vec![(&*need.role).into(), u64::from(need.quorum).into()]))
        .collect();
    let terms = Cbor::Array(vec![
        Cbor::bytes(*terms.id.as_bytes()),
        terms.kind.as_str().into(),
        Cbor::bytes(*terms.binding.as_bytes()),
        Cbor::bytes(*terms.session.as_bytes()),
        all(&terms.requesters),
        Cbor::Array(requirements),
        terms.asked.as_micros().into(),
        terms.expires.as_micros().into(),
    ]);
    let shown = Cbor::Array(vec![
        (&*shown.action).into(),
        (&*shown.resource).into(),
        all(&shown.principals),
        (&*shown.arguments).into(),
        all(&shown.reasons),
        Cbor::bytes(*shown.bundle.as_bytes()),
    ]);
    Cbor::Array(vec![terms, encode_progress(&approval.progress), shown]).encode()
}

pub(crate) fn approval(bytes: &[u8]) -> Result<(Approval, Shown), CodingError> {
    let cbor = Cbor::decode(bytes)?;
    let Some([terms, progress, shown]) = cbor.as_array() else {
        return Err(ShapeError("an approval of three parts").into());
    };
    let progress = decode_progress(progress)?;
    Ok((Approval { terms: decode_terms(terms)?, progress }, decode_shown(shown)?))
}

fn decode_terms(cbor: &Cbor) -> Result<Terms, ShapeError> {
    let Some([id, Cbor::Text(kind), binding, session, requesters, requirements, asked, expires]) =
        cbor.as_array()
    else {
        return Err(ShapeError("terms of eight parts"));
    };
    if &**kind != ApprovalKind::Call.as_str() {
        return Err(ShapeError("a kind of approval"));
    }
    let requirement = |cbor: &Cbor| match cbor.as_array() {
        Some([Cbor::Text(role), Cbor::Uint(quorum)]) => Ok(Requirement {
            role: role.clone(),
            quorum: u32::try_from(*quorum).map_err(|_| ShapeError("a quorum"))?,
        }),
        _ => Err(ShapeError("a role and a quorum")),
    };
    let requirements = requirements.as_array().ok_or(ShapeError("requirements"))?;
    Ok(Terms {
        id: ApprovalId::from_bytes(bytes16(id)?),
        kind: ApprovalKind::Call,
        binding: digest(binding)?,
        session: SessionId::from_bytes(bytes16(session)?),
        requesters: texts(requesters)?.into_iter().collect(),
        requirements: requirements.iter().map(requirement).collect::<Result<_, _>>()?,
        asked: timestamp(asked)?,
        expires: timestamp(expires)?,
    })
}

fn decode_shown(cbor: &Cbor) -> Result<Shown, ShapeError> {
    let Some([action, resource, principals, arguments, reasons, bundle]) = cbor.as_array() else {
        return Err(ShapeError("what is shown, of six parts"));
    };
    Ok(Shown {
        action: text(action)?,
        resource: text(resource)?,
        principals: texts(principals)?,
        arguments: text(arguments)?,
        reasons: texts(reasons)?,
        bundle: digest(bundle)?,
    })
}

fn encode_progress(progress: &Progress) -> Cbor {
    let votes = |votes: &BTreeSet<Vote>| {
        Cbor::Array(
            votes.iter().map(|vote| Cbor::Array(vec![(&*vote.by).into(), all(&vote.roles)])).collect(),
        )
    };
    let detail = match progress {
        Progress::Pending { votes: given }
        | Progress::Granted { votes: given }
        | Progress::Spent { votes: given } => votes(given),
        Progress::Refused { by } => (&**by).into(),
        Progress::Expired => Cbor::Null,
    };
    Cbor::Array(vec![progress.as_str().into(), detail])
}

fn decode_progress(cbor: &Cbor) -> Result<Progress, ShapeError> {
    let Some([Cbor::Text(name), detail]) = cbor.as_array() else { return Err(ShapeError("a progress")) };
    let vote = |cbor: &Cbor| match cbor.as_array() {
        Some([Cbor::Text(by), roles]) => {
            Ok(Vote { by: by.clone(), roles: texts(roles)?.into_iter().collect() })
        }
        _ => Err(ShapeError("a vote")),
    };
    let votes = || -> Result<BTreeSet<Vote>, ShapeError> {
        detail.as_array().ok_or(ShapeError("votes"))?.iter().map(vote).collect()
    };
    Ok(match &**name {
        "pending" => Progress::Pending { votes: votes()? },
        "granted" => Progress::Granted { votes: votes()? },
        "spent" => Progress::Spent { votes: votes()? },
        "denied" => Progress::Refused { by: text(detail)? },
        "expired" => Progress::Expired,
        _ => return Err(ShapeError("a progress")),
    })
}

pub(crate) fn optional(text: &Option<Box<str>>) -> Cbor {
    text.as_deref().map_or(Cbor::Null, Cbor::from)
}

pub(crate) fn optional_text(cbor: &Cbor) -> Result<Option<Box<str>>, ShapeError> {
    if *cbor == Cbor::Null { Ok(None) } else { text(cbor).map(Some) }
}

fn all<'t>(texts: impl IntoIterator<Item = &'t Box<str>>) -> Cbor {
    Cbor::Array(texts.into_iter().map(|text| Cbor::from(&**text)).collect())
}

pub(crate) fn text(cbor: &Cbor) -> Result<Box<str>, ShapeError> {
    cbor.as_text().map(Into::into).ok_or(ShapeError("text"))
}

fn texts(cbor: &Cbor) -> Result<Vec<Box<str>>, ShapeError> {
    cbor.as_array().ok_or(ShapeError("an array of texts"))?.iter().map(text).collect()
}

pub(crate) fn timestamp(cbor: &Cbor) -> Result<Timestamp, ShapeError> {
    cbor.as_u64().map(Timestamp::from_micros).ok_or(ShapeError("a timestamp"))
}

pub(crate) fn bytes16(cbor: &Cbor) -> Result<[u8; 16], ShapeError> {
    cbor.as_bytes().and_then(|bytes| bytes.try_into().ok()).ok_or(ShapeError("16 bytes"))
}

fn digest(cbor: &Cbor) -> Result<Digest, ShapeError> {
    let bytes: Option<[u8; 32]> = cbor.as_bytes().and_then(|bytes| bytes.try_into().ok());
    bytes.map(Digest::from_bytes).ok_or(ShapeError("a digest"))
}
