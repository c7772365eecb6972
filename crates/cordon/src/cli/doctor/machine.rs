//! The kernel and what it lets an ordinary user do.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Need, Probe};

pub(super) fn probes() -> Vec<Probe> {
    let mut probes = lasting();
    probes.insert(1, clock());
    probes
}

/// What stays the same as long as the machine runs.
pub(super) fn lasting() -> Vec<Probe> {
    vec![kernel(), landlock(), seccomp(), user_namespaces(), cgroup(), bpf(), kvm()]
}

/// The first line of a small file under /proc or /sys.
fn line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.lines().next().unwrap_or_default().trim().to_owned())
}

fn kernel() -> Probe {
    let probe = Probe::new("kernel", Need::Now);
    match line("/proc/sys/kernel/osrelease") {
        Some(release) => {
            let meaning = "older kernels lack what the sockets and file locks rely on";
            if version(&release) >= Some((4, 18)) {
                probe.fine(format!("Linux {release}"), "")
            } else {
                probe.wrong(format!("Linux {release}, expected 4.18 or later"), meaning)
            }
        }
        None => probe.unknown("/proc/sys/kernel/osrelease cannot be read", "Cordon runs on Linux"),
    }
}

/// Major and minor number of a kernel release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn clock() -> Probe {
    use std::time::{Duration, Instant, SystemTime};
    let probe = Probe::new("clock", Need::Now);
    let meaning =
        "bundles and approvals expire by this clock; a wrong one refuses them or keeps them too long";
    // The first commit of this program; no machine with a right clock is earlier.
    let born = Duration::from_secs(1_767_225_600);
    let (wall, steady) = (SystemTime::now(), Instant::now());
    if wall.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since < born) {
        return probe.wrong("it is set before 2026, which cannot be", meaning);
    }
    std::thread::sleep(Duration::from_millis(20));
    let drift = match SystemTime::now().duration_since(wall) {
        Ok(passed) => passed.abs_diff(steady.elapsed()),
        Err(back) => back.duration(),
    };
    let now = cordon_guard::ports::Clock::now(&cordon_store::system::SystemClock);
    if drift > Duration::from_millis(5) {
        return probe.careful(format!("{now}; it jumped by {drift:?} within 20 ms"), meaning);
    }
    probe.fine(format!("{now}, steady"), meaning)
}

fn landlock() -> Probe {
    let probe = Probe::new("Landlock", Need::Later);
    let release = line("/proc/sys/kernel/osrelease").unwrap_or_default();
    let most = abi(version(&release));
    match (line("/sys/kernel/security/lsm"), most) {
        (Some(modules), Some(abi)) if modules.split(',').any(|module| module == "landlock") => probe.fine(
            format!("active; by its version the kernel has ABI {abi} or later"),
            "file access of a contained agent can be confined without root",
        ),
        (Some(modules), _) => probe.wrong(
            format!("not among the active security modules ({modules})"),
            "add landlock to the kernel's lsm= list to confine file access without root",
        ),
        (None, Some(abi)) => probe.unknown(
            format!("/sys/kernel/security is not mounted; the kernel's version would have ABI {abi}"),
            "mount securityfs to find out",
        ),
        (None, None) => probe.wrong("the kernel is older than 5.13", "no file confinement without root"),
    }
}

/// The Landlock ABI that mainline kernels of a version have (Documentation/userspace-api/landlock.rst).
fn abi(version: Option<(u32, u32)>) -> Option<u32> {
    const SINCE: [((u32, u32), u32); 7] =
        [((6, 15), 7), ((6, 12), 6), ((6, 10), 5), ((6, 7), 4), ((6, 2), 3), ((5, 19), 2), ((5, 13), 1)];
    let version = version?;
    SINCE.iter().find(|(since, _)| version >= *since).map(|(_, abi)| *abi)
}

fn seccomp() -> Probe {
    let probe = Probe::new("seccomp", Need::Later);
    match line("/proc/sys/kernel/seccomp/actions_avail") {
        Some(actions) if actions.split(' ').any(|action| action == "user_notif") => {
            probe.fine(format!("filters with {actions}"), "system calls can be filtered and referred")
        }
        Some(actions) => probe.careful(
            format!("filters with {actions}, without user_notif"),
            "system calls can be filtered, not referred to Cordon",
        ),
        None => probe.wrong("the kernel has no seccomp filters", "system calls cannot be filtered"),
    }
}

fn user_namespaces() -> Probe {
    let probe = Probe::new("user namespaces", Need::Later);
    let meaning = "without them an ordinary user cannot build the `process` tier";
    let tried = Command::new("unshare")
        .args(["--user", "--map-root-user", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match tried {
        Ok(status) if status.success() => probe.fine("made one with `unshare --user`", meaning),
        Ok(status) => {
            let why = line("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
                .filter(|value| value == "1")
                .map_or("", |_| "; AppArmor restricts them");
            probe.wrong(format!("`unshare --user` failed ({status}){why}"), meaning)
        }
        Err(_) => {
            let most =
                line("/proc/sys/user/max_user_namespaces").unwrap_or_else(|| "not readable".to_owned());
            probe.unknown(format!("there is no `unshare` to try with; the limit is {most}"), meaning)
        }
    }
}

fn cgroup() -> Probe {
    let probe = Probe::new("cgroup", Need::Later);
    let meaning = "limits on memory and processes, and killing a whole tree at once";
    let Some(controllers) = line("/sys/fs/cgroup/cgroup.controllers") else {
        let found =
            if Path::new("/sys/fs/cgroup/memory").exists() { "version 1 only" } else { "none mounted" };
        return probe.wrong(format!("{found}, expected version 2"), meaning);
    };
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
    let dir = Path::new("/sys/fs/cgroup").join(own).join(format!("cordon-doctor-{}", std::process::id()));
    match fs::create_dir(&dir).and_then(|()| fs::remove_dir(&dir)) {
        Ok(()) => probe.fine(format!("version 2 with {controllers}; made a group and removed it"), meaning),
        Err(error) => probe.careful(
            format!("version 2 with {controllers}; cannot make a group: {error}"),
            "start under a delegated group, such as `systemd-run --user --scope -p Delegate=yes`",
        ),
    }
}

fn bpf() -> Probe {
    let probe = Probe::new("BPF", Need::Later);
    let meaning = "cutting the network of one agent by a map write";
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    const CAP_BPF: u64 = 1 << 39;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let held = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    match held {
        Some(held) if held & (CAP_BPF | CAP_SYS_ADMIN) != 0 => {
            probe.fine("this process holds CAP_BPF or CAP_SYS_ADMIN", meaning)
        }
        Some(_) => match line("/proc/sys/kernel/unprivileged_bpf_disabled").as_deref() {
            Some("0") => probe.careful("only unprivileged programs", meaning),
            _ => probe.careful("neither the capability nor unprivileged BPF", meaning),
        },
        None => probe.unknown("/proc/self/status cannot be read", meaning),
    }
}

fn kvm() -> Probe {
    let probe = Probe::new("/dev/kvm", Need::Later);
    let meaning = "the `microvm` tier";
    match OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        Ok(_) => probe.fine("opened for reading and writing", meaning),
        Err(error) => probe.careful(format!("cannot be opened: {error}"), meaning),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_release_gives_its_version_and_the_landlock_abi_of_that_version() {
        assert_eq!(version("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(version("5.10.0"), Some((5, 10)));
        assert_eq!(version("linux"), None);
        assert_eq!(abi(version("6.18.44-fc-v669")), Some(7));
        assert_eq!(abi(version("5.15.0-generic")), Some(1));
        assert_eq!(abi(version("5.10.0")), None);
    }
}
