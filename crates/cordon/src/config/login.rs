//! Who is logged in, by the kernel's word and not the environment's.

/// The name of the user this process runs as; `uid-1000` when no account has it.
pub(super) fn name() -> Box<str> {
    let uid = rustix::process::getuid().as_raw();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = accounts.lines().find_map(|line| account(line, uid));
    named.unwrap_or_else(|| format!("uid-{uid}").into())
}

/// The name in a line of passwd(5) that is about `uid`.
fn account(line: &str, uid: u32) -> Option<Box<str>> {
    let mut fields = line.split(':');
    let (name, _password, have) = (fields.next()?, fields.next()?, fields.next()?);
    (have.parse() == Ok(uid) && !name.is_empty()).then(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_number_only() {
        assert_eq!(account("alice:x:1000:1000::/home/alice:/bin/sh", 1000).as_deref(), Some("alice"));
        for line in ["alice:x:1001:1000::", "1000:x:alice", "", "::1000", "alice:1000"] {
            assert_eq!(account(line, 1000), None, "{line}");
        }
    }
}
