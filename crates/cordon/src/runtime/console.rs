//! The console: a page of static files, entered by a link that works once.
//!
//! The page is open to everyone and holds nothing. A link's secret stands in the fragment of its
//! address, which browsers send to no server; the page trades it for a token that it keeps in the
//! tab and sends as `Authorization: Bearer`. There is no cookie: one would go to every port of the
//! host, and an agent may listen on another.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cordon_core::{Digest, Duration, Timestamp};
use cordon_guard::ports::Random;

/// How long a link may be used.
const LINK_LASTS: Duration = Duration::from_secs(10 * 60);
/// How long a console stays open.
const SEAT_LASTS: Duration = Duration::from_secs(8 * 3_600);
/// Most links that wait, and most consoles that are open; the oldest make room.
const KEPT_MAX: usize = 64;
/// What a console's token begins with, so that no other kind of token is taken for one.
const TOKEN_PREFIX: &str = "cordon-console.";

/// What may be loaded by the page: its own files and nothing else, and no text becomes markup.
pub(crate) const CONTENT_SECURITY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// Where a link's secret is traded for a token.
pub(crate) const ENTER_PATH: &str = "/console/enter";

/// Who may use the console of one node; forgotten when the process ends.
#[derive(Debug, Default)]
pub(crate) struct Console {
    links: Mutex<Vec<Pass>>,
    seats: Mutex<Vec<Pass>>,
}

/// A secret that counts until a time; only its digest is kept.
#[derive(Debug, Clone, Copy)]
struct Pass {
    digest: Digest,
    until: Timestamp,
}

/// An open console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seat {
    /// The bearer token.
    pub(crate) token: String,
    /// Until when it counts.
    pub(crate) until: Timestamp,
}

impl Console {
    /// The secret of a new link, and until when it may be used.
    pub(crate) fn link(&self, now: Timestamp, random: &dyn Random) -> (String, Timestamp) {
        let (secret, until) = (secret(random), now.plus(LINK_LASTS));
        keep(&self.links, &secret, now, until);
        (secret, until)
    }

    /// Opens a console for a link's secret, which then opens no other.
    pub(crate) fn enter(&self, once: &str, now: Timestamp, random: &dyn Random) -> Option<Seat> {
        let digest = Digest::of(once.as_bytes());
        {
            let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            let at = links.iter().position(|pass| pass.digest == digest && now < pass.until)?;
            links.swap_remove(at);
        }
        let token = format!("{TOKEN_PREFIX}{}", secret(random));
        let until = now.plus(SEAT_LASTS);
        keep(&self.seats, &token, now, until);
        Some(Seat { token, until })
    }

    /// Whether a bearer token is an open console's.
    pub(crate) fn holds(&self, token: &str, now: Timestamp) -> bool {
        if !token.starts_with(TOKEN_PREFIX) {
            return false;
        }
        let digest = Digest::of(token.as_bytes());
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.iter().any(|pass| pass.digest == digest && now < pass.until)
    }

    /// The file of the page at `path`: its content type and text.
    pub(crate) fn file(path: &str) -> Option<(&'static str, &'static str)> {
        FILES.iter().find(|(at, ..)| *at == path).map(|(_, kind, text)| (*kind, *text))
    }
}

fn secret(random: &dyn Random) -> String {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn keep(passes: &Mutex<Vec<Pass>>, secret: &str, now: Timestamp, until: Timestamp) {
    let mut passes = passes.lock().unwrap_or_else(PoisonError::into_inner);
    passes.retain(|pass| now < pass.until);
    if passes.len() >= KEPT_MAX {
        passes.remove(0);
    }
    passes.push(Pass { digest: Digest::of(secret.as_bytes()), until });
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($at:literal $kind:ident $file:literal;)*) => {
        /// Every file of the page: where it is served, its content type, its text.
        const FILES: &[(&str, &str, &str)] =
            &[$(($at, $kind, include_str!(concat!("../../../../console/", $file))),)*];
    };
}

files! {
    "/" HTML "index.html";
    "/console/style.css" CSS "style.css";
    "/console/main.js" SCRIPT "main.js";
    "/console/node.js" SCRIPT "node.js";
    "/console/text.js" SCRIPT "text.js";
    "/console/ballot.js" SCRIPT "ballot.js";
    "/console/keys.js" SCRIPT "keys.js";
    "/console/rows.js" SCRIPT "rows.js";
    "/console/kills.js" SCRIPT "kills.js";
    "/console/decisions.js" SCRIPT "decisions.js";
    "/console/approvals.js" SCRIPT "approvals.js";
    "/console/sessions.js" SCRIPT "sessions.js";
    "/console/health.js" SCRIPT "health.js";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU8, Ordering};

    struct Counting(AtomicU8);

    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0.fetch_add(1, Ordering::Relaxed));
        }
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_micros(secs.saturating_mul(1_000_000))
    }

    #[test]
    fn a_link_opens_one_console_and_only_in_time() {
        let (console, random) = (Console::default(), Counting(AtomicU8::new(1)));
        let (once, until) = console.link(at(0), &random);
        assert_eq!(console.enter("another", at(1), &random), None);
        let seat = console.enter(&once, at(1), &random).unwrap();
        assert!(console.holds(&seat.token, at(2)));
        assert!(!console.holds(&once, at(2)) && !console.holds(&seat.token, seat.until));
        assert_eq!(console.enter(&once, at(2), &random), None, "it was used");
        let (late, _) = console.link(at(0), &random);
        assert_eq!(console.enter(&late, until, &random), None, "it has expired");
    }

    #[test]
    fn a_flood_of_links_keeps_the_newest() {
        let (console, random) = (Console::default(), Counting(AtomicU8::new(1)));
        let links: Vec<_> = (0..=KEPT_MAX).map(|_| console.link(at(0), &random).0).collect();
        assert_eq!(console.enter(&links[0], at(1), &random), None);
        assert!(console.enter(&links[KEPT_MAX], at(1), &random).is_some());
    }

    #[test]
    fn the_page_loads_only_files_that_are_served_and_none_runs_inline() {
        let (_, page) = Console::file("/").unwrap();
        for quoted in page.split(['"', '\'']).filter(|part| part.starts_with("/console/")) {
            assert!(Console::file(quoted).is_some(), "{quoted}");
        }
        for inline in ["<script>", "<style", " style=", " onclick=", " onload=", "javascript:"] {
            assert!(!page.contains(inline), "{inline}");
        }
        let scripts = FILES.iter().filter(|(_, kind, _)| *kind == SCRIPT);
        for (at, _, text) in scripts {
            for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(sink), "{at}: {sink}");
            }
            for import in text.split('"').filter(|part| part.starts_with("./") && part.ends_with(".js")) {
                let path = import.replacen("./", "/console/", 1);
                assert!(Console::file(&path).is_some(), "{at}: {path}");
            }
        }
    }
}
