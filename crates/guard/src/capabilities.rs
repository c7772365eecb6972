//! Capability tokens of this node: granted, used, and taken back.
//!
//! The issuer's key is drawn at start and never leaves the process, so that a token lives at most as
//! long as the run that knows whom it was granted for, what was used of it and what was taken back.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use cordon_capability::{CapabilityError, InvalidProof, Issuer, IssuerKey, Proof, Subject, Token};
use cordon_core::ed25519::VerifyingKey;
use cordon_core::{Capability, Caveat, Chain, Digest, Duration, Principal, Reason, Timestamp};
use cordon_ledger::Receipt;

use crate::authorize::builtin;
use crate::guard::{Guard, GuardError};
use crate::ports::{Draw, Random};
use crate::record::AdminAct;

/// A request for a token.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Who may be acted for and by whom: the chain of the credential that asks.
    pub chain: Chain,
    /// The tenant of that credential.
    pub tenant: Box<str>,
    /// Who may use it: whoever holds the private key.
    pub holder: VerifyingKey,
    /// What it is narrowed to from the beginning.
    pub caveats: Vec<Caveat>,
    /// When it ends; at most a day ahead.
    pub expires: Timestamp,
}

/// A token that was shown, with the principals that it stands for.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// What the token allows.
    pub capability: Arc<Capability>,
    /// The chain that it was granted for, as it is known now.
    pub chain: Chain,
    /// The tenant.
    pub tenant: Box<str>,
    /// Names the token's last block.
    pub id: Digest,
}

/// A token does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusedToken {
    /// It is none of this node.
    #[error(transparent)]
    Token(#[from] CapabilityError),
    /// Its holder did not show it.
    #[error(transparent)]
    Proof(#[from] InvalidProof),
    /// The proof was used before.
    #[error("the proof was used before")]
    Replayed,
    /// It was taken back, or nobody remembers that it was granted.
    #[error("the token was taken back or has expired")]
    Revoked,
    /// Too many are alive.
    #[error("too many tokens or proofs are alive")]
    Full,
}

/// How far the clocks of holders may be apart from this one, in seconds.
const LEEWAY_S: u64 = 30;
/// The longest life of a token, in seconds.
const LIFE_MAX_S: u64 = 86_400;
/// Most tokens that are alive, and most proofs that are remembered.
const TOKENS_MAX: usize = 100_000;
const PROOFS_MAX: usize = 1_000_000;

/// What is known of the tokens of this run. Each lock is held for one lookup.
pub(crate) struct Capabilities {
    issuer: Option<Issuer>,
    granted: Mutex<HashMap<Digest, Granted>>,
    verified: Mutex<HashMap<Digest, Arc<Capability>>>,
    revoked: Mutex<HashSet<Digest>>,
    used: Mutex<HashMap<Digest, u64>>,
    proofs: Mutex<HashMap<Digest, Timestamp>>,
}

#[derive(Clone)]
struct Granted {
    chain: Chain,
    tenant: Box<str>,
    expires: Timestamp,
}

impl Capabilities {
    pub(crate) fn new(random: &dyn Random) -> Self {
        let mut seed = [0; 32];
        cordon_core::Entropy::fill(&mut Draw(random), &mut seed);
        Self {
            issuer: Issuer::from_seed(&seed).ok(),
            granted: Mutex::default(),
            verified: Mutex::default(),
            revoked: Mutex::default(),
            used: Mutex::default(),
            proofs: Mutex::default(),
        }
    }

    fn issuer(&self) -> Result<&Issuer, RefusedToken> {
        self.issuer.as_ref().ok_or(RefusedToken::Token(CapabilityError::Key))
    }

    fn verify(&self, token: &Token, issuer: &IssuerKey) -> Result<Arc<Capability>, RefusedToken> {
        let digest = token.digest();
        let known = lock(&self.verified).get(&digest).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let capability = Arc::new(token.verify(issuer)?);
        let mut verified = lock(&self.verified);
        // It only saves the work of checking signatures again.
        if verified.len() >= TOKENS_MAX {
            verified.clear();
        }
        verified.insert(digest, Arc::clone(&capability));
        Ok(capability)
    }

    fn once(&self, proof: &Proof, holder: &VerifyingKey, now: Timestamp) -> Result<(), RefusedToken> {
        let mut proofs = lock(&self.proofs);
        let name = Digest::of(&[holder.as_bytes().as_slice(), proof.nonce()].concat());
        let until = proof.at().plus(Duration::from_secs(LEEWAY_S.saturating_add(1)));
        if proofs.len() >= PROOFS_MAX {
            proofs.retain(|_, until| *until > now);
        }
        if proofs.len() >= PROOFS_MAX {
            return Err(RefusedToken::Full);
        }
        match proofs.insert(name, until) {
            Some(before) if before > now => Err(RefusedToken::Replayed),
            _ => Ok(()),
        }
    }

    fn is_revoked(&self, capability: &Capability) -> bool {
        let revoked = lock(&self.revoked);
        capability.blocks.iter().any(|block| revoked.contains(&block.id))
    }

    /// The capability with what was used of it, for one decision; the reason why it counts no more.
    pub(crate) fn current(&self, capability: &Capability) -> Result<Capability, Reason> {
        if self.is_revoked(capability) {
            return Err(builtin("cordon:capability", "the capability token was taken back"));
        }
        let used = lock(&self.used);
        let mut current = capability.clone();
        for block in &mut current.blocks {
            block.used = used.get(&block.id).copied().unwrap_or(0);
        }
        Ok(current)
    }

    /// Counts a call that is let through, unless a budget was used up meanwhile.
    pub(crate) fn spend(&self, capability: &Capability) -> Result<(), Reason> {
        if self.is_revoked(capability) {
            return Err(builtin("cordon:capability", "the capability token was taken back"));
        }
        let mut used = lock(&self.used);
        let budgets = || {
            capability.blocks.iter().filter_map(|block| {
                let most = block.caveats.iter().filter_map(|caveat| match caveat {
                    Caveat::Calls(most) => Some(*most),
                    _ => None,
                });
                Some((block.id, most.min()?))
            })
        };
        if let Some((_, most)) = budgets().find(|(id, most)| used.get(id).copied().unwrap_or(0) >= *most) {
            let message = format!("the capability token was good for {most} calls, which were made");
            return Err(builtin("cordon:capability", &message));
        }
        for (id, _) in budgets() {
            let count = used.entry(id).or_default();
            *count = count.saturating_add(1);
        }
        Ok(())
    }
}

impl Guard {
    /// Grants a token, once that is recorded durably: nobody has it before. With the name of its block,
    /// by which it is taken back.
    pub async fn grant(&self, grant: Grant, author: &str) -> Result<(Token, Digest, Receipt), GuardError> {
        let now = self.now();
        let capabilities = &self.shared.capabilities;
        let latest = now.plus(Duration::from_secs(LIFE_MAX_S));
        let expires = grant.expires.min(latest);
        let mut caveats = grant.caveats;
        caveats.push(Caveat::Expires(expires.as_secs()));
        caveats.push(Caveat::Tenant(grant.tenant.clone()));
        let minted = capabilities.issuer().map_err(GuardError::Token)?.mint(
            &grant.holder,
            &caveats,
            &mut Draw(&*self.shared.random),
        );
        let token = minted.map_err(|error| GuardError::Token(error.into()))?;
        let issuer = capabilities.issuer().map_err(GuardError::Token)?.key();
        let capability = capabilities.verify(&token, &issuer).map_err(GuardError::Token)?;
        let Some(first) = capability.blocks.first().map(|block| block.id) else {
            return Err(GuardError::Token(RefusedToken::Revoked));
        };
        let said: Vec<String> = caveats.iter().map(ToString::to_string).collect();
        let detail = said.join("; ").into();
        let receipt = self
            .administer(AdminAct::Capability { before: None, after: Some(first), detail }, author)
            .await?;
        let mut granted = lock(&capabilities.granted);
        if granted.len() >= TOKENS_MAX {
            granted.retain(|_, granted| granted.expires > now);
        }
        if granted.len() >= TOKENS_MAX {
            return Err(GuardError::Token(RefusedToken::Full));
        }
        granted.insert(first, Granted { chain: grant.chain, tenant: grant.tenant, expires });
        Ok((token, first, receipt))
    }

    /// Takes a token that its holder shows: for `method` and `target` with this body, now, once.
    pub fn admit(
        &self,
        token: &Token,
        proof: &Proof,
        [method, target]: [&str; 2],
        body: Digest,
    ) -> Result<Admitted, RefusedToken> {
        let now = self.now();
        let capabilities = &self.shared.capabilities;
        let capability = capabilities.verify(token, &capabilities.issuer()?.key())?;
        let subject = Subject { token, method, target, body };
        proof.verify(&capability.holder, &subject, now, LEEWAY_S)?;
        capabilities.once(proof, &capability.holder, now)?;
        let (first, last) = (capability.blocks.first(), capability.blocks.last());
        let (Some(first), Some(last)) = (first, last) else { return Err(RefusedToken::Revoked) };
        let granted = lock(&capabilities.granted).get(&first.id).cloned();
        let granted = granted.filter(|granted| granted.expires > now).ok_or(RefusedToken::Revoked)?;
        if capabilities.is_revoked(&capability) {
            return Err(RefusedToken::Revoked);
        }
        let id = last.id;
        let Granted { chain, tenant, .. } = granted;
        Ok(Admitted { capability, chain: chain.at(now), tenant, id })
    }

    /// Takes a block back, and with it every token that has it. In force when this returns, before its
    /// record.
    pub fn revoke(&self, block: Digest, author: &str) {
        lock(&self.shared.capabilities.revoked).insert(block);
        let act = AdminAct::Capability { before: Some(block), after: None, detail: "taken back".into() };
        let draft = crate::record::admin(&self.shared, &act, author);
        drop(self.shared.ledger.append(draft, cordon_ledger::Level::Accepted));
    }
}

impl Admitted {
    /// The chain of a caller that authenticated by itself and shows a token that was passed on to it: it
    /// acts, for those whom the token stands for, and whoever the token was granted to passed the work
    /// on. `None` where it acts for somebody else, or through too many.
    pub fn shown_by(&self, caller: &Chain) -> Option<Chain> {
        let same = |one: Option<&Principal>, other: Option<&Principal>| {
            one.is_none_or(|one| other.is_some_and(|other| one.kind == other.kind && one.id == other.id))
        };
        if !same(caller.on_behalf_of(), self.chain.on_behalf_of()) || !caller.via().is_empty() {
            return None;
        }
        let (acting, granted) = (caller.agent()?, self.chain.agent()?);
        if acting.id == granted.id {
            return Some(self.chain.clone());
        }
        let via = std::iter::once(granted).chain(self.chain.via()).cloned().collect();
        let (owner, user) = (self.chain.owner().cloned(), self.chain.on_behalf_of().cloned());
        Chain::new(owner, Some(acting.clone()), user).ok()?.with_via(via).ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
