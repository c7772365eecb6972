//! What the demo shows: on a terminal in colour and at a pace to follow, otherwise plain and at once.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::agent::{Answer, Because};
use crate::cli::Format;
use crate::term::{self, Tone, safe, short};

/// Where the demo is shown.
pub(super) struct Screen {
    shown: bool,
    pause: Duration,
}

impl Screen {
    /// The screen for an output format: programs are shown nothing but the outcome.
    pub(super) fn new(format: Format) -> Self {
        let shown = format == Format::Text;
        let watched = shown && std::io::stdout().is_terminal();
        Self { shown, pause: if watched { Duration::from_millis(250) } else { Duration::ZERO } }
    }

    pub(super) fn title(&self) {
        self.line(&format!(
            "{}",
            Tone::Strong.paint("Cordon: every action of an agent is one decision, before it happens")
        ));
        self.line("An office assistant works through `cordon mcp`; its server has mail, files and payments.");
        self.line("Only the agent's attempts are scripted. Each verdict is what the guard answered.");
    }

    /// Begins a scene.
    pub(super) fn scene(&self, number: u32, title: &str) {
        self.line("");
        self.line(&format!("{}", Tone::Strong.paint(&format!("{number}. {title}"))));
    }

    /// Says something about what happens.
    pub(super) fn aside(&self, text: &str) {
        self.line(&format!("   {}", Tone::Faint.paint(text)));
    }

    /// Shows what somebody would type.
    pub(super) fn typed(&self, command: &str) {
        self.line(&format!("   $ {}", Tone::Strong.paint(command)));
    }

    /// Shows one call and what became of it.
    pub(super) fn call(&self, tool: &str, arguments: &Value, answer: &Answer) {
        let arguments = arguments.as_object().map_or(String::new(), |fields| {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect();
            fields.join(" ")
        });
        let (word, tone) = match answer {
            Answer::Done { .. } => ("allow", Tone::Good),
            Answer::Held { .. } => ("ask  ", Tone::Caution),
            Answer::Denied { .. } => ("deny ", Tone::Bad),
        };
        let call = format!("{:<11} {}", safe(tool), short(&arguments, 88));
        self.line(&format!("   {}  {}", tone.paint(word), call.trim_end()));
        match answer {
            Answer::Done { .. } => {}
            Answer::Held { approval, because, .. } => {
                self.because(because);
                self.line(&format!("          {}", Tone::Faint.paint(&format!("held as {approval}"))));
            }
            Answer::Denied { because, .. } => self.because(because),
        }
        std::thread::sleep(self.pause);
    }

    /// Shows the first lines of what a tool returned.
    pub(super) fn quote(&self, text: &str) {
        for line in text.lines().filter(|line| !line.trim().is_empty()).take(6) {
            self.line(&format!("          {}", Tone::Faint.paint(&format!("│ {}", short(line, 100)))));
        }
    }

    /// Shows a good or a bad outcome.
    pub(super) fn outcome(&self, good: bool, text: &str) {
        let mark = if good { Tone::Good.paint("ok   ") } else { Tone::Bad.paint("found") };
        self.line(&format!("   {mark}  {}", safe(text)));
        std::thread::sleep(self.pause);
    }

    /// Ends with what to try next.
    pub(super) fn farewell(&self, kept: Option<&Path>) {
        self.line("");
        self.line(&format!("{}", Tone::Strong.paint("next")));
        if let Some(dir) = kept {
            let dir = dir.display();
            self.line(&format!("   look around in  {dir}"));
            self.line(&format!("   cordon --config {dir}/cordon.toml ledger show"));
        }
        self.line("   cordon init                                  a configuration and a policy of your own");
        self.line("   cordon mcp --name NAME -- SERVER COMMAND…    in the MCP configuration of your agent");
        self.line("   cordon doctor                                what this machine can enforce");
        if kept.is_none() {
            self.line(
                "   cordon demo --keep                           keep keys, policy and ledger to look at",
            );
        }
    }

    fn because(&self, because: &[Because]) {
        for Because { rule, place, message } in because {
            let place = if place.is_empty() { String::new() } else { format!(" ({place})") };
            self.line(&format!("          {}", safe(message)));
            self.line(&format!("          {}", Tone::Faint.paint(&format!("rule {rule}{place}"))));
        }
    }

    fn line(&self, text: &str) {
        if self.shown {
            // A closed pipe ends the showing, not the demo.
            let _ = term::say(text);
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| format!("{text:?}"))
}
