//! The node as the administration API sees it.

use std::collections::BTreeMap;

use cordon_control::view::{
    ApproverView, ConsoleView, KeysView, KillBundleView, KillsLoadedView, LedgerView, PolicyView,
    RoleTrustView, RotatedView, StatusView, ToolDefinition,
};
use cordon_control::{Answered, Caller, Event, Node, NodeFuture, Refusal};
use cordon_gateway::authzen::Endpoint;
use cordon_guard::Guard;
use cordon_guard::policy::BundleRole;
use cordon_store::system::SystemRandom;
use tokio::sync::broadcast;

use super::listen::gateway_caller;
use super::owner::Owner;

impl Node for Owner {
    fn guard(&self) -> &Guard {
        &self.guard
    }

    fn status(&self) -> StatusView {
        let problems = self.problems();
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            data: self.config.data.path().display().to_string(),
            config: self.config.file.display().to_string(),
            started: self.started.to_string(),
            listen: self.listening().map(|address| address.to_string()).into_iter().collect(),
            ready: problems.is_empty(),
            problems,
        }
    }

    fn policy(&self) -> PolicyView {
        let policies = self.guard.policies();
        let in_force = self.in_force();
        let counts = in_force.counts;
        let count = |name: &str, count: usize| (name.to_owned(), count as u64);
        PolicyView {
            bundle: policies.set.digest().to_string(),
            epoch: policies.epoch,
            signed: policies.signed,
            expires: policies.epoch.map(|_| in_force.expires.to_string()),
            path: self.source().path(),
            counts: BTreeMap::from([
                count("permissions", counts.permissions),
                count("prohibitions", counts.prohibitions),
                count("obligations", counts.obligations),
                count("manifests", counts.manifests),
                count("tests", counts.tests),
            ]),
            refused: in_force.refused,
            shadow: self.shadow_view(),
        }
    }

    fn reload<'n>(&'n self, author: &'n str) -> NodeFuture<'n, Result<PolicyView, String>> {
        Box::pin(async move {
            Self::reload(self, author).await?;
            Ok(self.policy())
        })
    }

    fn keys(&self) -> KeysView {
        let approver = |(name, approver): (&str, &cordon_guard::Approver)| ApproverView {
            name: name.to_owned(),
            key: approver.key.to_string(),
            roles: approver.roles.iter().map(ToString::to_string).collect(),
        };
        let bundles = BundleRole::ALL.iter().filter_map(|role| {
            let trust = self.source().trust().role(*role)?;
            Some((role.to_string(), RoleTrustView::new(trust.threshold(), trust.keys())))
        });
        KeysView {
            approvers: self.guard.approvers().iter().map(approver).collect(),
            bundles: bundles.collect(),
            log: Some(self.engine.key().to_string()),
        }
    }

    fn rotate(&self) -> NodeFuture<'_, Result<RotatedView, String>> {
        Box::pin(async move {
            let log = self.rotate_log_key().await.map_err(|failure| failure.text().to_owned())?;
            Ok(RotatedView { log })
        })
    }

    fn console(&self) -> Result<ConsoleView, String> {
        let address =
            self.listening().ok_or("this node listens on no network address; run `cordon serve`")?;
        let config = &self.config.serve;
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let base =
            config.public_url.as_deref().map_or_else(|| format!("{scheme}://{address}"), str::to_owned);
        let (once, until) = self.console.link(self.guard.now(), &SystemRandom);
        Ok(ConsoleView {
            url: format!("{}/#once={once}", base.trim_end_matches('/')),
            until: until.to_string(),
        })
    }

    fn ledger(&self) -> NodeFuture<'_, Result<LedgerView, String>> {
        Box::pin(async move {
            let signed = self.engine.head().ok_or("the ledger has no entry yet")?;
            Ok(LedgerView {
                size: signed.checkpoint.size,
                root: signed.checkpoint.root.hex(),
                checkpoint: signed.note(&self.engine.key()),
            })
        })
    }

    fn accepted_definition(&self, tool: &str) -> Option<ToolDefinition> {
        self.definitions.find(tool)
    }

    fn decide<'n>(&'n self, body: &'n [u8], caller: &'n Caller) -> NodeFuture<'n, Answered> {
        Box::pin(async move {
            let Some(caller) = gateway_caller(&self.config, caller.role) else {
                let body = r#"{"error":{"code":"forbidden","message":"no principals are configured"}}"#;
                return Answered { status: 403, body: body.to_owned() };
            };
            let answer = Endpoint::new(self.guard.clone()).evaluation(body, &caller).await;
            Answered { status: answer.status, body: answer.body }
        })
    }

    fn load_kills(&self, bundle: KillBundleView) -> NodeFuture<'_, Result<KillsLoadedView, Refusal>> {
        Box::pin(self.load_kill_bundle(bundle))
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.recorder.listen()
    }
}

impl Owner {
    /// What keeps calls from being permitted.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(stopped) = self.engine.stopped() {
            problems.push(format!("the ledger takes no records: {stopped}"));
        } else if self.recorder.counts().is_down() {
            problems.push("the last record could not be written".to_owned());
        }
        let late = self.guard.unrecorded();
        if late > 0 {
            problems.push(format!("{late} changes are in force and not on record yet"));
        }
        if self.guard.policies().epoch.is_none() {
            let why = self.in_force().refused.unwrap_or_else(|| "no bundle is in force".to_owned());
            problems.push(why);
        }
        problems
    }

    /// The metrics in the Prometheus text format (version 0.0.4).
    pub(crate) fn metrics(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::new();
        let policies = self.guard.policies();
        let quarantined = self.guard.tools().iter().filter(|tool| tool.quarantine.is_some()).count();
        for (name, help, value) in [
            ("cordon_ready", "Whether calls can be permitted.", u64::from(self.problems().is_empty())),
            (
                "cordon_bundle_epoch",
                "The epoch of the bundle in force; 0 without one.",
                policies.epoch.unwrap_or(0),
            ),
            ("cordon_ledger_entries", "Durable entries in the ledger.", self.engine.size()),
            ("cordon_kill_switches", "Kill switches that are on.", self.guard.kills().len() as u64),
            (
                "cordon_changes_unrecorded",
                "Changes that are in force and could not be recorded yet.",
                self.guard.unrecorded() as u64,
            ),
            ("cordon_tools_quarantined", "Tools that wait for a person.", quarantined as u64),
            (
                "cordon_bundle_expires_seconds",
                "When the bundle expires (Unix time).",
                self.in_force().expires.as_secs(),
            ),
        ] {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
        self.recorder.counts().render(&mut out);
        out
    }
}
