//! Prints pauses and holds.

use std::fmt::Write;

use anstyle::AnsiColor;
use answers::controls::{Holds, WasHeld, WasPaused, WasReleased, WasResumed};

use super::{Print, coloured, csv, filled, table};

/// A line with the sign of what is stopped.
fn stopped(line: &str, width: Option<u16>) -> String {
    coloured(AnsiColor::Magenta, filled(&format!("‖ {line}"), ["", "  "], width)) + "\n"
}

impl Print for Holds {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = String::new();
        for paused in &self.pauses {
            _ = write!(text, "\n{}", stopped(&paused.summary, width));
        }
        if self.holds.is_empty() {
            return if self.pauses.is_empty() { "Nothing is paused or on hold.\n".to_owned() } else { text };
        }
        let mut list = table(width, &["ID", "HOLD"], &[0]);
        for held in &self.holds {
            list.add_row([held.id.as_str(), held.summary.as_str()]);
        }
        _ = write!(text, "\n{list}\n");
        text
    }

    fn sheet(&self) -> Option<&'static csv::Sheet> {
        Some(&csv::HOLDS)
    }
}

impl Print for WasPaused {
    fn table(&self, width: Option<u16>) -> String {
        let line = |text: &str| filled(text, ["", "  "], width) + "\n";
        let replaced = self.replaced.as_ref().map(|before| line(&format!("It replaces: {}", before.summary)));
        let source = self.pause.pause.source.as_ref().map(|source| format!(" --source {source}")).unwrap_or_default();
        let next = line(&format!(
            "No deletion begins; a call to ECR that is under way is not interrupted. `ecr-lineage resume{source}` ends it."
        ));
        format!("{}{}{next}", stopped(&self.pause.summary, width), replaced.unwrap_or_default())
    }
}

impl Print for WasResumed {
    fn table(&self, width: Option<u16>) -> String {
        let pauses: String = self.pauses.iter().map(|pause| stopped(&pause.summary, width)).collect();
        format!("{}\n{pauses}", filled(&self.summary, ["", "  "], width))
    }
}

impl Print for WasHeld {
    fn table(&self, width: Option<u16>) -> String {
        let mut text: String = self.holds.iter().map(|held| stopped(&held.summary, width)).collect();
        _ = writeln!(text, "{}", filled(&self.effect, ["", "  "], width));
        for held in &self.holds {
            _ = writeln!(text, "`ecr-lineage release {}` ends it.", held.id);
        }
        text
    }
}

impl Print for WasReleased {
    fn table(&self, width: Option<u16>) -> String {
        format!("{}\n", filled(&self.summary, ["", "  "], width))
    }
}
