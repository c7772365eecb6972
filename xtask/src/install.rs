//! What the real counterparts need: Debian packages, a Python environment, Node packages.
//!
//! Everything lands under `target/real`, at the versions and hashes of the lock files in `tests/real`.
//! Nothing else of the machine is changed, except Debian packages when run as root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::Network;
use crate::process::{ask, show};

/// The oldest Python that the lock file was made for.
const PYTHON_MIN: (u32, u32) = (3, 11);

/// Directories and switches that every install step shares.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The repository.
    pub(crate) root: PathBuf,
    /// Where installed things go.
    pub(crate) real: PathBuf,
    /// Whether anything may be fetched.
    pub(crate) network: Network,
}

impl Places {
    /// The suites and their lock files.
    pub(crate) fn suites(&self) -> PathBuf {
        self.root.join("tests/real")
    }

    /// The directory of the Python environment's programs, `node` among them.
    pub(crate) fn programs(&self) -> PathBuf {
        self.real.join("venv/bin")
    }

    /// The installed Node packages.
    pub(crate) fn node_modules(&self) -> PathBuf {
        self.real.join("node/node_modules")
    }
}

/// A program: its name, the Debian package that it comes from, and a command that shows it is there.
type Program = (&'static str, &'static str, &'static [&'static str]);

/// Programs that the suites call.
const NEEDED: &[Program] = &[
    ("git", "git", &["git", "--version"]),
    (
        "python3 3.11 or newer",
        "python3",
        &["python3", "-c", "import sys; sys.exit(sys.version_info < (3, 11))"],
    ),
    ("python3's venv module", "python3-venv", &["python3", "-c", "import venv, ensurepip"]),
];

/// The browser that opens the console, and letters for it to show.
const BROWSER: &[Program] = &[
    ("chromium", "chromium", &["chromium", "--version"]),
    ("a font", "fonts-dejavu-core", &["test", "-d", "/usr/share/fonts/truetype/dejavu"]),
];

/// Makes sure the programs are there, installing Debian packages as root.
///
/// # Errors
/// What is missing and how to get it.
pub(crate) fn tools(places: &Places) -> Result<(), String> {
    debian(places, NEEDED)
}

/// The same for the browser.
///
/// # Errors
/// What is missing and how to get it.
pub(crate) fn browser(places: &Places) -> Result<(), String> {
    debian(places, BROWSER)
}

fn debian(places: &Places, programs: &[Program]) -> Result<(), String> {
    let missing = missing(programs);
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    let advice =
        format!("missing: {}; install with `apt-get install {}`", names.join(", "), packages.join(" "));
    if places.network == Network::Unused || !may_install() {
        return Err(advice);
    }
    let apt = |arguments: &[&str]| {
        // No service starts by being installed.
        show(
            Command::new("apt-get")
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .env("RUNLEVEL", "1"),
        )
    };
    apt(&["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(&packages);
    apt(&arguments)?;
    if self::missing(programs).is_empty() { Ok(()) } else { Err(advice) }
}

fn missing(programs: &[Program]) -> Vec<(&'static str, &'static str)> {
    let works = |words: &[&str]| match words {
        [program, arguments @ ..] => ask(Command::new(program).args(arguments)).is_ok_and(|ended| ended.ok),
        [] => false,
    };
    programs
        .iter()
        .filter(|(_, _, probe)| !works(probe))
        .map(|(name, package, _)| (*name, *package))
        .collect()
}

fn may_install() -> bool {
    let root = ask(Command::new("id").arg("-u")).is_ok_and(|ended| ended.text.trim() == "0");
    root && ask(Command::new("apt-get").arg("--version")).is_ok_and(|ended| ended.ok)
}

/// Makes the Python environment, anew when its lock files changed.
///
/// # Errors
/// What could not be installed.
pub(crate) fn venv(places: &Places) -> Result<(), String> {
    let suites = places.suites();
    let wanted =
        format!("{}{}", read(&suites.join("bootstrap.txt"))?, read(&suites.join("requirements.txt"))?);
    let venv = places.real.join("venv");
    let stamp = venv.join("installed.txt");
    if read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if places.network == Network::Unused {
        return Err(format!("`{}` is not installed and nothing may be fetched", venv.display()));
    }
    remove(&venv)?;
    make(&places.real)?;
    let (major, minor) = PYTHON_MIN;
    let failed = |what: &str| {
        format!("{what} failed; it needs python3 {major}.{minor} or newer and the index that pip uses")
    };
    must(Command::new("python3").args(["-m", "venv"]).arg(&venv), &failed("making the Python environment"))?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes", "-r"]);
    must(pip.arg(suites.join("bootstrap.txt")), &failed("installing uv"))?;
    let mut uv = Command::new(venv.join("bin/uv"));
    uv.args(["pip", "install", "-q", "--require-hashes", "--python"]).arg(venv.join("bin/python"));
    must(uv.arg("-r").arg(suites.join("requirements.txt")), &failed("installing the Python packages"))?;
    fs::write(&stamp, wanted).map_err(|error| format!("cannot write `{}`: {error}", stamp.display()))
}

/// Installs the Node packages, anew when their lock file changed. Their install scripts do not run.
///
/// # Errors
/// What could not be installed.
pub(crate) fn node(places: &Places) -> Result<(), String> {
    let suites = places.suites();
    let wanted = read(&suites.join("package-lock.json"))?;
    let node = places.real.join("node");
    let stamp = node.join("installed.json");
    if read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if places.network == Network::Unused {
        return Err(format!("`{}` is not installed and nothing may be fetched", node.display()));
    }
    remove(&node)?;
    make(&node)?;
    for name in ["package.json", "package-lock.json"] {
        let (from, to) = (suites.join(name), node.join(name));
        fs::copy(&from, &to).map_err(|error| format!("cannot copy `{}`: {error}", from.display()))?;
    }
    let mut npm = Command::new(places.programs().join("npm"));
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&node);
    npm.env("PATH", search_path(places));
    must(&mut npm, "`npm ci` failed; it needs the registry that npm uses")?;
    fs::write(&stamp, wanted).map_err(|error| format!("cannot write `{}`: {error}", stamp.display()))
}

/// `PATH` with the environment's own programs first.
pub(crate) fn search_path(places: &Places) -> std::ffi::OsString {
    let mut paths = vec![places.programs(), places.node_modules().join(".bin")];
    paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    std::env::join_paths(paths).unwrap_or_default()
}

fn must(command: &mut Command, failure: &str) -> Result<(), String> {
    let ended = show(command)?;
    if ended.ok { Ok(()) } else { Err(failure.to_owned()) }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))
}

fn make(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("cannot make `{}`: {error}", path.display()))
}

fn remove(path: &Path) -> Result<(), String> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove `{}`: {error}", path.display()))
        }
        _ => Ok(()),
    }
}
