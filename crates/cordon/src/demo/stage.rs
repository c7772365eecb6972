//! Where the demo plays: a directory of its own with keys, a signed policy, an owner and a ledger.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cordon_core::Duration as Span;
use cordon_guard::policy::{BundleRole, BundleTerms};
use cordon_guard::ports::{Clock, Random};
use cordon_store::datadir::DataDir;
use cordon_store::keyfile::{KeyRing, KeyRole};
use cordon_store::system::{SystemClock, SystemRandom};
use serde_json::Value;

use crate::bundle_files::{self, Files};
use crate::cli::Failure;
use crate::shipped;
use crate::signing;

/// The approver's name.
pub(super) const APPROVER: &str = "olivia";
/// The configured server's name.
pub(super) const SERVER: &str = "office";

/// Longest wait for the owner to answer or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// What becomes of the directory at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// It is removed.
    Remove,
    /// It stays.
    Keep,
}

/// The demo's own directory and the process that owns its data.
pub(super) struct Stage {
    dir: PathBuf,
    program: PathBuf,
    owner: Option<Child>,
    afterwards: Afterwards,
}

impl Stage {
    /// Makes the directory, keys, policy and configuration, and starts the owner.
    pub(super) fn build(afterwards: Afterwards) -> Result<Self, Failure> {
        let mut name = [0; 8];
        SystemRandom.fill(&mut name);
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let dir = std::env::temp_dir().join(format!("cordon-demo-{name}"));
        // A directory that is there already is not ours, whoever made it.
        DirBuilder::new().mode(0o700).create(&dir)?;
        let program = std::env::current_exe()?;
        let mut stage = Self { dir, program, owner: None, afterwards };
        stage.furnish()?;
        stage.owner = Some(stage.start_owner()?);
        Ok(stage)
    }

    /// The directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The ledger's directory.
    pub(super) fn ledger(&self) -> PathBuf {
        self.data().ledger()
    }

    /// A `cordon` command that sees nothing but the stage.
    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--config")
            .arg(self.dir.join("cordon.toml"))
            .args(args)
            .env("XDG_CONFIG_HOME", self.dir.join("config"))
            .env("XDG_STATE_HOME", self.dir.join("state"))
            .current_dir(&self.dir)
            .stdin(Stdio::null());
        command
    }

    /// What an agent's MCP configuration would start: the office server behind Cordon.
    pub(super) fn wrapped(&self) -> Command {
        let mut command = self.command(&["mcp", "--name", SERVER]);
        command.stderr(Stdio::null());
        command
    }

    /// Runs a `cordon` command and gives the JSON it printed, with its exit status.
    pub(super) fn ask(&self, args: &[&str]) -> Result<(Value, i32), Failure> {
        let mut all = vec!["--format", "json"];
        all.extend(args);
        let output = self.command(&all).output()?;
        let status = output.status.code().unwrap_or(-1);
        let value = serde_json::from_slice(&output.stdout).map_err(|_| {
            let said = String::from_utf8_lossy(&output.stderr);
            Failure::new(format!("`cordon {}` ended with {status}: {}", args.join(" "), said.trim()))
        })?;
        Ok((value, status))
    }

    /// Ends the owner; everything it acknowledged is on the disk.
    pub(super) fn close(&mut self) -> Result<(), Failure> {
        let Some(mut owner) = self.owner.take() else { return Ok(()) };
        let pid = rustix::process::Pid::from_child(&owner);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if owner.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        owner.kill()?;
        owner.wait()?;
        Err(Failure::new(format!("the owner did not end within {PATIENCE:?}")))
    }

    fn data(&self) -> DataDir {
        DataDir::at(self.dir.join("data"))
    }

    fn furnish(&self) -> Result<(), Failure> {
        let ring = KeyRing::at(self.dir.join("config").join("cordon").join("keys"));
        let signer = ring.generate(KeyRole::Policy, "demo", &SystemRandom)?;
        let approver = ring.generate(KeyRole::Approver, APPROVER, &SystemRandom)?;
        let policy = self.dir.join("policy");
        let files: Files =
            shipped::DEMO.iter().map(|(path, text)| ((*path).into(), text.as_bytes().to_vec())).collect();
        let now = signing::whole_second(SystemClock.now());
        let terms = BundleTerms {
            role: BundleRole::Policy,
            name: "demo".into(),
            tenant: "default".into(),
            epoch: 1,
            not_before: now,
            expires: now.plus(Span::from_secs(86_400)),
        };
        let signers = [("demo".to_owned(), signer.clone())];
        let built = signing::sign(files, terms, &signers)?;
        for (path, bytes) in &built.files {
            let file = policy.join(&**path);
            fs::create_dir_all(file.parent().unwrap_or(&policy))?;
            bundle_files::replace(&file, bytes)?;
        }
        let text =
            self.configuration(&signer.verifying_key().to_string(), &approver.verifying_key().to_string());
        Ok(bundle_files::replace(&self.dir.join("cordon.toml"), text.as_bytes())?)
    }

    fn configuration(&self, signer: &str, approver: &str) -> String {
        // The demo's agent does not wait for a person: it is told at once that the call is held.
        let program = toml::Value::from(self.program.to_string_lossy().into_owned());
        format!(
            "[data]\ndir = \"data\"\n\n[policy]\npath = \"policy\"\n\n\
             [trust.policy]\nthreshold = 1\nkeys = [\"{signer}\"]\n\n\
             [trust.approvers.{APPROVER}]\nkey = \"{approver}\"\nroles = [\"approver\"]\n\n\
             [identity]\nowner = \"omar\"\nagent = \"office-assistant\"\n\n\
             [mcp]\nhold_s = 0\n\n\
             [[mcp.server]]\nname = \"{SERVER}\"\ncommand = {program}\n\
             args = [\"fixture-server\", \"office\"]\nenv = {{ CORDON_FIXTURE_CHANGE_AFTER = \"1\" }}\n"
        )
    }

    fn start_owner(&self) -> Result<Child, Failure> {
        let log = fs::File::create(self.dir.join("owner.log"))?;
        let mut owner = self.command(&["serve", "--owner-only"]).stdout(Stdio::null()).stderr(log).spawn()?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let socket = self.data().socket();
            if socket.is_ok_and(|socket| std::os::unix::net::UnixStream::connect(socket.as_path()).is_ok()) {
                return Ok(owner);
            }
            if owner.try_wait()?.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = owner.kill();
        let _ = owner.wait();
        let said = fs::read_to_string(self.dir.join("owner.log")).unwrap_or_default();
        Err(Failure::new(format!("the demo's owner did not start: {}", said.trim())))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.close();
        if self.afterwards == Afterwards::Remove {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
