//! What a source names, so that a search has something to look through.

use cordon_core::{ActionName, Chain, PrincipalKind, Resource, ResourceKind};

use crate::PolicySet;
use crate::declarers::Credential;
use crate::schema::is_reserved_group;

impl PolicySet {
    /// The principals of a kind that `data/entities.json` lists, in order.
    pub fn known_principals(&self, kind: PrincipalKind) -> Vec<&str> {
        self.inner().directory.of_kind(kind)
    }

    /// The resources of a type that the source names, in order: the tools that have a manifest, and
    /// what `data/resources.json` lists.
    pub fn known_resources(&self, kind: &str) -> Vec<&str> {
        if kind == ResourceKind::TOOL {
            return self.manifests().map(|manifest| manifest.tool.as_str()).collect();
        }
        self.inner().resources.of_type(kind).collect()
    }

    /// The actions that the source declares, in order: the tools that have a manifest, and its
    /// schema's own actions, without those that are groups of others.
    pub fn known_actions(&self) -> Vec<ActionName> {
        let own = &self.inner().own;
        let is_group = |name: &str| own.values().any(|groups| groups.contains(name));
        let own = own.keys().filter(|name| !is_reserved_group(name) && !is_group(name));
        let own = own.filter_map(|name| name.parse::<ActionName>().ok());
        let mut actions: Vec<ActionName> =
            self.manifests().map(|manifest| manifest.tool.clone()).chain(own).collect();
        actions.sort();
        actions
    }

    /// Whether a caller may declare tools of its own for a session (`data/declarers.json`), by its
    /// credential and the principals that the credential is of.
    pub fn may_declare(&self, credential: Credential, chain: &Chain) -> bool {
        self.inner().declarers.admit(credential, chain, &self.inner().directory)
    }

    /// The resource with what `data/resources.json` says about it: signed attributes go before claimed
    /// ones, signed markings are added.
    pub fn complete(&self, resource: Resource) -> Resource {
        self.inner().resources.complete(resource)
    }
}
