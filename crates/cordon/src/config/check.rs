//! From `cordon.toml` as written to the configuration as used; each finding with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use cordon_core::Digest;
use cordon_core::ed25519::VerifyingKey;
use cordon_gateway::auth::{ClaimAge, ClaimOf, ClaimRule, TokenRules};
use cordon_guard::policy::{BundleRole, Diagnostic, RoleTrust, Trust};
use cordon_guard::{Approver, Approvers};
use cordon_store::datadir::DataDir;
use toml::Spanned;

use super::raw::{
    RawApprover, RawAttribute, RawConfig, RawIdentity, RawOauth, RawRoleTrust, RawServe, RawServer, RawSpiffe,
};
use super::{Config, ConfigLimits, Identity, Jwks, McpServer, Oauth, Serve, Spiffe, Tls, Upstream, login};

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7070);
const APPROVER_ROLE: &str = "approver";

/// The configuration that `text`, the content of `file`, describes, or everything that is wrong with it.
pub(super) fn check(text: &str, file: &Path) -> Result<Config, Vec<Diagnostic>> {
    let mut checker = Checker { text, file, base: file.parent().unwrap_or(file), findings: Vec::new() };
    let raw: RawConfig = match toml::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            checker.wrong(error.span().unwrap_or_default(), error.message());
            return Err(checker.findings);
        }
    };
    let config = checker.config(raw);
    if checker.findings.is_empty() { Ok(config) } else { Err(checker.findings) }
}

struct Checker<'t> {
    text: &'t str,
    file: &'t Path,
    base: &'t Path,
    findings: Vec<Diagnostic>,
}

impl Checker<'_> {
    fn wrong(&mut self, at: Range<usize>, message: impl Into<Box<str>>) {
        let file = self.file.display().to_string();
        self.findings.push(Diagnostic::error(&file, message).at(self.text, at));
    }

    fn config(&mut self, raw: RawConfig) -> Config {
        let trust = self.trust([
            (BundleRole::Policy, raw.trust.policy),
            (BundleRole::Tools, raw.trust.tools),
            (BundleRole::Kill, raw.trust.kill),
        ]);
        let tls = raw.serve.tls.is_some();
        Config {
            file: self.file.to_owned(),
            digest: Digest::of(self.text.as_bytes()),
            data: DataDir::at(self.path(raw.data.dir.as_deref().unwrap_or(".cordon"))),
            policy: raw.policy.path.map(|path| self.path(path.as_ref())),
            shadow: raw.policy.shadow.map(|path| self.path(path.as_ref())),
            trust,
            approvers: self.approvers(raw.trust.approvers),
            login: login::name(),
            identity: self.identity(raw.identity),
            serve: self.serve(raw.serve),
            servers: self.servers(raw.mcp.server),
            hold_s: self.bounded(raw.mcp.hold_s.as_ref(), 30, 0..=3_600, "seconds"),
            session_h: self.bounded(raw.mcp.session_h.as_ref(), 168, 1..=8_760, "hours"),
            issuers: self.issuers(raw.auth.oauth.into_iter().chain(raw.auth.issuer)),
            spiffe: raw.auth.spiffe.map(|spiffe| self.spiffe(spiffe, tls)),
            limits: ConfigLimits {
                sessions_max: self.bounded(
                    raw.limits.sessions_max.as_ref(),
                    100_000,
                    1..=10_000_000,
                    "sessions",
                ),
                connections_max: self.bounded(
                    raw.limits.connections_max.as_ref(),
                    1_024,
                    1..=100_000,
                    "connections",
                ),
                message_bytes_max: self.bounded(
                    raw.limits.message_bytes_max.as_ref(),
                    4 << 20,
                    1_024..=64 << 20,
                    "bytes",
                ),
            },
            approval_s: self.bounded(raw.approvals.expires_s.as_ref(), 900, 1..=2_592_000, "seconds"),
            idle_s: self.bounded(raw.owner.idle_s.as_ref(), 60, 1..=86_400, "seconds"),
        }
    }

    fn path(&self, text: &str) -> PathBuf {
        self.base.join(text)
    }

    fn bounded(
        &mut self,
        value: Option<&Spanned<u32>>,
        default: u32,
        range: std::ops::RangeInclusive<u32>,
        unit: &str,
    ) -> u32 {
        let Some(value) = value else { return default };
        let (low, high) = (*range.start(), *range.end());
        if !range.contains(value.as_ref()) {
            let got = *value.as_ref();
            self.wrong(value.span(), format!("{got} is not between {low} and {high} {unit}"));
        }
        *value.as_ref()
    }

    /// A name that stands in policies, records and addresses.
    fn name(&mut self, value: &Spanned<String>, what: &str) -> Box<str> {
        let text = value.as_ref();
        let plain = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '"' | '\\' | '/');
        if text.is_empty() || text.len() > 128 || !text.chars().all(plain) {
            let message = format!(
                "`{}` is not {what}: 1 to 128 characters without spaces, quotes and slashes",
                text.escape_debug()
            );
            self.wrong(value.span(), message);
        }
        text.as_str().into()
    }

    fn key(&mut self, text: &Spanned<String>) -> Option<VerifyingKey> {
        match text.as_ref().parse() {
            Ok(key) => Some(key),
            Err(error) => {
                self.wrong(text.span(), format!("{error}; `cordon keys ls` prints the public keys"));
                None
            }
        }
    }

    fn trust(&mut self, roles: [(BundleRole, Option<RawRoleTrust>); 3]) -> Trust {
        let mut trust = Trust::new();
        for (role, raw) in roles {
            let Some(raw) = raw else { continue };
            let span = raw.keys.span();
            let keys: Vec<VerifyingKey> = raw.keys.as_ref().iter().filter_map(|key| self.key(key)).collect();
            let distinct: BTreeSet<_> = keys.iter().collect();
            if distinct.len() != raw.keys.as_ref().len() && self.findings.is_empty() {
                self.wrong(span.clone(), "the same key is listed twice; it counts once");
            }
            let threshold = raw.threshold.as_ref().map_or(1, |threshold| *threshold.as_ref());
            match RoleTrust::new(threshold, keys) {
                Ok(found) => trust = trust.with(role, found),
                Err(error) if self.findings.is_empty() => {
                    self.wrong(raw.threshold.map_or(span, |threshold| threshold.span()), error.to_string());
                }
                Err(_) => {}
            }
        }
        trust
    }

    fn approvers(&mut self, raw: BTreeMap<String, RawApprover>) -> Approvers {
        let mut keys = BTreeMap::new();
        let mut approvers = Vec::new();
        for (name, approver) in raw {
            let Some(key) = self.key(&approver.key) else { continue };
            // Two names for one key would let one person count twice in a quorum.
            if let Some(other) = keys.insert(key, name.clone()) {
                self.wrong(approver.key.span(), format!("`{other}` has the same key; one person, one key"));
            }
            let roles: BTreeSet<Box<str>> = match &approver.roles {
                None => BTreeSet::from([APPROVER_ROLE.into()]),
                Some(roles) => roles.as_ref().iter().map(|role| role.as_str().into()).collect(),
            };
            if let Some(written) = approver.roles.as_ref().filter(|_| roles.is_empty()) {
                self.wrong(written.span(), "an approver has at least one role, such as `approver`");
            }
            approvers.push((name.into(), Approver { key, roles }));
        }
        Approvers::new(approvers)
    }

    fn identity(&mut self, raw: RawIdentity) -> Identity {
        let mut named = |value: Option<Spanned<String>>, what| value.map(|value| self.name(&value, what));
        let owner = named(raw.owner, "an owner").unwrap_or_else(login::name);
        Identity {
            user: named(raw.user, "a user").unwrap_or_else(|| owner.clone()),
            agent: named(raw.agent, "an agent").unwrap_or_else(|| "agent".into()),
            tenant: named(raw.tenant, "a tenant").unwrap_or_else(|| "default".into()),
            owner,
        }
    }

    fn serve(&mut self, raw: RawServe) -> Serve {
        let listen = match &raw.listen {
            None => LISTEN,
            Some(text) => text.as_ref().parse().unwrap_or_else(|_| {
                let got = text.as_ref().escape_debug().to_string();
                self.wrong(text.span(), format!("`{got}` is not an address and port such as `{LISTEN}`"));
                LISTEN
            }),
        };
        if let Some(url) = &raw.public_url {
            self.url(url, &["https://", "http://"]);
        }
        Serve {
            listen,
            tls: raw.tls.map(|tls| Tls { cert: self.path(&tls.cert), key: self.path(&tls.key) }),
            hosts: raw.hosts.iter().map(|host| host.as_ref().to_ascii_lowercase().into()).collect(),
            origins: raw.origins.iter().map(|origin| origin.as_ref().as_str().into()).collect(),
            public_url: raw.public_url.map(|url| url.into_inner().into()),
        }
    }

    fn servers(&mut self, raw: Vec<Spanned<RawServer>>) -> Vec<McpServer> {
        let mut names = BTreeSet::new();
        let mut servers = Vec::new();
        for server in raw {
            let span = server.span();
            let server = server.into_inner();
            let name = self.name(&server.name, "a server's name");
            if name.contains("__") || matches!(&*name, "mcp" | "cordon") {
                let message = format!("`{name}` is reserved: a server's name has no `__` and is not `mcp`");
                self.wrong(server.name.span(), message);
            }
            if !names.insert(name.clone()) {
                self.wrong(server.name.span(), format!("two servers have the name `{name}`"));
            }
            let open_loopback = server.open_loopback;
            if let Some(upstream) = self.upstream(server, span) {
                servers.push(McpServer { name, upstream, open_loopback });
            }
        }
        servers
    }

    fn upstream(&mut self, raw: RawServer, span: Range<usize>) -> Option<Upstream> {
        let boxed = |text: String| -> Box<str> { text.into() };
        match (raw.command, raw.url) {
            (Some(command), None) => {
                if raw.bearer_file.is_some() || raw.header.is_some() {
                    self.wrong(span, "`bearer_file` and `header` are for servers with a `url`");
                }
                Some(Upstream::Stdio {
                    command: boxed(command.into_inner()),
                    args: raw.args.into_iter().map(boxed).collect(),
                    env: raw.env.into_iter().map(|(name, value)| (boxed(name), boxed(value))).collect(),
                    pass_env: raw.pass_env.into_iter().map(boxed).collect(),
                    cwd: raw.cwd.map(|cwd| self.path(&cwd)),
                })
            }
            (None, Some(url)) => {
                if !raw.args.is_empty() || !raw.env.is_empty() || raw.cwd.is_some() {
                    self.wrong(span.clone(), "`args`, `env` and `cwd` are for servers with a `command`");
                }
                if raw.bearer_file.is_some() && raw.header.is_some() {
                    self.wrong(span, "a server takes one credential: `bearer_file` or `header`");
                }
                self.url(&url, &["https://", "http://"]);
                Some(Upstream::Http {
                    url: boxed(url.into_inner()),
                    bearer_file: raw.bearer_file.map(|file| self.path(file.as_ref())),
                    header: raw.header.map(|header| (boxed(header.name), boxed(header.value))),
                })
            }
            _ => {
                self.wrong(span, "a server has either a `command` or a `url`");
                None
            }
        }
    }

    fn issuers(&mut self, raw: impl Iterator<Item = RawOauth>) -> Vec<Oauth> {
        let mut names = BTreeSet::new();
        let mut issuers = Vec::new();
        for raw in raw {
            // Two sets of rules for one issuer would let a token be judged by the milder one.
            if !names.insert(raw.issuer.as_ref().clone()) {
                let message = format!("two sets of rules are for the issuer `{}`", raw.issuer.as_ref());
                self.wrong(raw.issuer.span(), message);
            }
            issuers.push(self.oauth(raw));
        }
        issuers
    }

    fn spiffe(&mut self, raw: RawSpiffe, tls: bool) -> Spiffe {
        if !tls {
            self.wrong(raw.ca.span(), "client certificates need `[serve] tls`");
        }
        let domain = raw.trust_domain.as_ref();
        if !cordon_core::is_trust_domain(domain) {
            let got = domain.escape_debug();
            self.wrong(
                raw.trust_domain.span(),
                format!("`{got}` is not a trust domain such as `prod.example`"),
            );
        }
        Spiffe {
            ca: self.path(raw.ca.as_ref()),
            trust_domain: raw.trust_domain.into_inner().into(),
            required: raw.required,
        }
    }

    fn oauth(&mut self, raw: RawOauth) -> Oauth {
        self.url(&raw.issuer, &["https://"]);
        let jwks = match (raw.jwks_file, raw.jwks_url) {
            (Some(file), None) => Jwks::File(self.path(file.as_ref())),
            (None, Some(url)) => {
                self.url(&url, &["https://", "http://127.0.0.1", "http://[::1]"]);
                Jwks::Url(url.into_inner().into())
            }
            _ => {
                self.wrong(raw.issuer.span(), "the issuer's keys come from either `jwks_file` or `jwks_url`");
                Jwks::File(PathBuf::new())
            }
        };
        let leeway_s = self.bounded(raw.leeway_s.as_ref(), 30, 0..=60, "seconds");
        let rules = self.token_rules(raw.types, raw.algorithms, raw.age_max_s.as_ref(), raw.attributes);
        Oauth {
            issuer: raw.issuer.into_inner().into(),
            audience: raw.audience.map(Into::into),
            jwks,
            scopes: raw.scopes.into_iter().map(Into::into).collect(),
            leeway_s,
            one_time: raw.one_time,
            rules,
        }
    }

    fn token_rules(
        &mut self,
        types: Option<Spanned<Vec<String>>>,
        algorithms: Option<Spanned<Vec<String>>>,
        age_max_s: Option<&Spanned<u32>>,
        attributes: BTreeMap<String, Spanned<RawAttribute>>,
    ) -> TokenRules {
        let mut rules = TokenRules::default();
        if let Some(algorithms) = algorithms {
            let known = rules.algorithms.clone();
            if algorithms.as_ref().is_empty()
                || !algorithms.as_ref().iter().all(|name| known.iter().any(|known| **known == **name))
            {
                let message = format!("`algorithms` are some of `{}`", known.join("`, `"));
                self.wrong(algorithms.span(), message);
            }
            rules.algorithms = algorithms.into_inner().into_iter().map(Into::into).collect();
        }
        if let Some(types) = types {
            let plain = |text: &String| {
                !text.is_empty()
                    && text
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
            };
            if types.as_ref().is_empty() || !types.as_ref().iter().all(plain) {
                self.wrong(types.span(), "`types` are media types such as `at+jwt`, without `application/`");
            }
            rules.types = types.into_inner().into_iter().map(Into::into).collect();
        }
        rules.age_max_s = age_max_s.map(|_| self.bounded(age_max_s, 0, 1..=31_536_000, "seconds").into());
        rules.claims = attributes.into_iter().map(|(name, raw)| self.claim(name, raw)).collect();
        rules
    }

    /// A claim that becomes the attribute `name`.
    fn claim(&mut self, name: String, raw: Spanned<RawAttribute>) -> ClaimRule {
        let span = raw.span();
        let raw = raw.into_inner();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts || !name.chars().all(plain) || matches!(&*name, "id" | "tenant" | "markings" | "spiffe_id")
        {
            self.wrong(
                span.clone(),
                format!("`{}` is not an attribute that claims may set", name.escape_debug()),
            );
        }
        for pointer in [Some(&raw.claim), raw.since.as_ref()].into_iter().flatten() {
            if !pointer.starts_with('/') || pointer.contains('*') {
                let message = format!("`{}` is not a JSON Pointer such as `/groups`", pointer.escape_debug());
                self.wrong(span.clone(), message);
            }
        }
        if raw.since.is_some() && raw.max_age_s.is_none() {
            self.wrong(span.clone(), "`since` says how old a claim is; `max_age_s` says how old it may be");
        }
        let of = match raw.of.as_deref() {
            None | Some("user") => ClaimOf::User,
            Some("agent") => ClaimOf::Agent,
            Some(other) => {
                let message = format!("`of` is `{}`, expected `user` or `agent`", other.escape_debug());
                self.wrong(span, message);
                ClaimOf::User
            }
        };
        let max_s = raw.max_age_s.map(|age| self.bounded(Some(&age), 0, 1..=31_536_000, "seconds").into());
        let since = raw.since.map(Into::into);
        let age = max_s.map(|max_s| ClaimAge { max_s, since });
        ClaimRule { claim: raw.claim.into(), of, attribute: name.into(), age }
    }

    fn url(&mut self, url: &Spanned<String>, schemes: &[&str]) {
        let text = url.as_ref();
        let host = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
        let whole = host.is_some() && text.split("://").nth(1).is_some_and(|rest| !rest.is_empty());
        if !whole || text.contains(char::is_whitespace) {
            let schemes = schemes.join("` or `");
            self.wrong(
                url.span(),
                format!("`{}` is not a URL that begins with `{schemes}`", text.escape_debug()),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    /// Checks a configuration: `want` is a part of the first finding as `line:column: message`, or `ok`.
    fn check(text: &str, want: &str) {
        let text = text.replace("KEY", KEY);
        let got = match super::check(&text, Path::new("/etc/cordon.toml")) {
            Ok(_) => "ok".to_owned(),
            Err(findings) => {
                let first = findings.first().unwrap();
                assert_eq!(&*first.file, "/etc/cordon.toml");
                format!("{}:{}: {}", first.line, first.column, first.message)
            }
        };
        assert!(got.contains(want), "{text}\n-> {got}\n   {want}");
    }

    #[test]
    fn an_empty_file_is_a_configuration_with_safe_defaults() {
        let config = super::check("", Path::new("/etc/cordon.toml")).unwrap();
        assert!(config.serve.listen.ip().is_loopback());
        assert_eq!(config.data.path(), Path::new("/etc/.cordon"));
        assert_eq!((config.hold_s, config.approval_s, config.idle_s), (30, 900, 60));
        assert!(config.trust.role(BundleRole::Policy).is_none(), "nobody is trusted unless named");
        assert_eq!(config.approvers.iter().count(), 0);
    }

    #[test]
    fn an_unknown_table_or_key_is_refused_where_it_stands() {
        check("[polcy]\npath = 'p'", "1:2: unknown field `polcy`");
        check("[policy]\npaht = 'p'", "2:1: unknown field `paht`");
        check("[[mcp.server]]\nname='a'\ncommand='b'\nshell=true", "4:1: unknown field `shell`");
        check("[policy]\npath = 7", "2:8: invalid type");
        check("[policy", "1:8:");
    }

    #[test]
    fn trust_needs_real_keys_and_a_threshold_that_they_can_meet() {
        check("[trust.policy]\nkeys = ['KEY']", "ok");
        check("[trust.policy]\nkeys = ['KEY', 'ed25519:AAAA']", "2:65: expected `ed25519:`");
        check("[trust.policy]\nthreshold = 2\nkeys = ['KEY']", "2:13:");
        check("[trust.policy]\nthreshold = 0\nkeys = ['KEY']", "2:13:");
        check("[trust.policy]\nkeys = []", "2:8:");
        check("[trust.policy]\nthreshold = 2\nkeys = ['KEY', 'KEY']", "3:8: the same key is listed twice");
    }

    #[test]
    fn one_person_has_one_key_and_at_least_one_role() {
        check("[trust.approvers.alice]\nkey = 'KEY'", "ok");
        check("[trust.approvers.alice]\nkey = 'KEY'\nroles = []", "3:9: an approver has at least one role");
        check(
            "[trust.approvers.alice]\nkey='KEY'\n[trust.approvers.bob]\nkey='KEY'",
            "4:5: `alice` has the same key",
        );
        check("[trust.approvers.alice]\nkey='KEY'\n[trust.approvers.alice]\nkey='KEY'", "duplicate");
    }

    #[test]
    fn a_server_is_reached_in_one_way_under_one_name() {
        check("[[mcp.server]]\nname='mail'\ncommand='m'", "ok");
        check("[[mcp.server]]\nname='mail'\nurl='https://x'", "ok");
        check("[[mcp.server]]\nname='mail'\nurl='https://x'\ncommand='m'", "either a `command` or a `url`");
        check("[[mcp.server]]\nname='mail'", "either a `command` or a `url`");
        check(
            "[[mcp.server]]\nname='mail'\nurl='file:///etc/passwd'",
            "3:5: `file:///etc/passwd` is not a URL",
        );
        check("[[mcp.server]]\nname='a b'\ncommand='m'", "2:6: `a b` is not a server's name");
        check("[[mcp.server]]\nname='mcp'\ncommand='m'", "2:6: `mcp` is reserved");
        let twice = "[[mcp.server]]\nname='a'\ncommand='m'\n[[mcp.server]]\nname='a'\ncommand='m'";
        check(twice, "5:6: two servers have the name `a`");
    }

    #[test]
    fn an_issuer_has_one_set_of_rules_and_each_of_them_is_checked() {
        let with = |rules: &str| {
            format!("[auth.oauth]\nissuer='https://login.example'\njwks_file='k.json'\n{rules}")
        };
        let second = "[[auth.issuer]]\nissuer='https://login.example'\njwks_file='k.json'";
        check(&with(""), "ok");
        check(&with("types=['jwt']\nalgorithms=['ES256']\nleeway_s=60\nage_max_s=600\none_time=true"), "ok");
        check(&with("types=['JWT']"), "4:7: `types` are media types");
        check(&with("types=[]"), "4:7: `types` are media types");
        check(&with("algorithms=['HS256']"), "4:12: `algorithms` are some of");
        check(&with("algorithms=['none']"), "4:12: `algorithms` are some of");
        check(&with("leeway_s=61"), "4:10: 61 is not between 0 and 60 seconds");
        check(&with(&second.replace("login", "other")), "ok");
        check(&with(second), "5:8: two sets of rules are for the issuer");
        let attribute = |rule: &str| with(&format!("[auth.oauth.attributes]\n{rule}"));
        check(&attribute("groups={claim='/groups',of='user',max_age_s=60,since='/auth_time'}"), "ok");
        check(&attribute("groups={claim='groups'}"), "5:8: `groups` is not a JSON Pointer");
        check(&attribute("groups={claim='/groups',of='owner'}"), "`of` is `owner`");
        check(&attribute("id={claim='/groups'}"), "`id` is not an attribute that claims may set");
        check(&attribute("groups={claim='/groups',since='/iat'}"), "`max_age_s` says how old it may be");
    }

    #[test]
    fn client_certificates_need_tls_and_a_trust_domain() {
        let tls = "[serve]\ntls={cert='c.pem',key='k.pem'}\n[auth.spiffe]\nca='ca.pem'\n";
        check(&format!("{tls}trust_domain='prod.example'"), "ok");
        check(
            &format!("{tls}trust_domain='spiffe://prod.example'"),
            "5:14: `spiffe://prod.example` is not a trust",
        );
        check("[auth.spiffe]\nca='ca.pem'\ntrust_domain='prod.example'", "2:4: client certificates need");
    }

    #[test]
    fn numbers_and_addresses_are_bounded() {
        check("[serve]\nlisten = 'localhost'", "2:10: `localhost` is not an address and port");
        check("[approvals]\nexpires_s = 0", "2:13: 0 is not between 1 and 2592000 seconds");
        check("[mcp]\nhold_s = 3601", "2:10: 3601 is not between");
        check("[mcp]\nhold_s = -1", "2:10:");
    }
}
