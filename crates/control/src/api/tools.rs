//! Tools that servers listed: their standing, their definitions, and accepting a changed one.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::{Extension, Json};
use cordon_core::{ActionName, Digest, InvalidDigest, InvalidName};
use cordon_guard::{GuardError, Tool};
use serde::Deserialize;

use super::body::strict;
use super::{Refusal, Shared, Who};
use crate::Node;
use crate::view::{EntryView, ToolApproval, ToolDefinition, ToolShown, ToolView};

/// Which tools are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    server: Option<String>,
}

/// Which tool is shown.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    tool: String,
}

/// What stands behind `?`, or what is wrong with it.
type Asked<T> = Result<Query<T>, QueryRejection>;

fn unasked(rejection: QueryRejection) -> Refusal {
    Refusal::malformed(rejection.body_text())
}

pub(super) async fn list(State(node): Shared, filter: Asked<Filter>) -> Result<Json<Vec<ToolView>>, Refusal> {
    let Query(filter) = filter.map_err(unasked)?;
    let wanted = |tool: &Arc<Tool>| filter.server.as_deref().is_none_or(|name| tool.action.server() == name);
    let tools = node.guard().tools();
    Ok(Json(tools.iter().filter(|tool| wanted(tool)).map(|tool| view(&*node, tool)).collect()))
}

pub(super) async fn show(State(node): Shared, named: Asked<Named>) -> Result<Json<ToolShown>, Refusal> {
    let Query(named) = named.map_err(unasked)?;
    let name = action(&named.tool)?;
    let tool = node.guard().tool(&name).ok_or(GuardError::UnknownTool(name))?;
    Ok(Json(ToolShown {
        tool: view(&*node, &tool),
        listed: ToolDefinition::from(&*tool),
        accepted: node.accepted_definition(tool.action.as_str()),
    }))
}

pub(super) async fn approve(
    State(node): Shared,
    Extension(who): Who,
    body: Bytes,
) -> Result<Json<EntryView>, Refusal> {
    let ToolApproval { tool, pin } = strict(&body)?;
    let pin: Digest = pin.parse().map_err(|error: InvalidDigest| Refusal::malformed(error.to_string()))?;
    let receipt = node.guard().approve_tool(&action(&tool)?, pin, &who.name).await?;
    Ok(Json((&receipt).into()))
}

fn action(text: &str) -> Result<ActionName, Refusal> {
    text.parse().map_err(|error: InvalidName| Refusal::malformed(error.to_string()))
}

fn view(node: &dyn Node, tool: &Tool) -> ToolView {
    let policies = node.guard().policies();
    let manifest = policies.set.manifest(&tool.action);
    ToolView {
        tool: tool.action.to_string(),
        pin: tool.listed.pin.to_string(),
        standing: if tool.quarantine.is_some() { "quarantined" } else { "usable" }.to_owned(),
        why: tool.quarantine.as_ref().map(cordon_guard::Quarantine::describe),
        manifest: manifest.is_some(),
        classes: manifest
            .map(|manifest| manifest.classes.iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
        effect: manifest.map(|manifest| manifest.effect.to_string()),
    }
}
