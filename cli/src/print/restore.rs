//! Prints the result of `restore`.

use std::fmt::Write;

use anstyle::AnsiColor;
use answers::restore::{RestoreOutcome, Restored};

use super::{Print, coloured};

impl Print for Restored {
    fn table(&self, _: Option<u16>) -> String {
        let what = format!("{} in {}", self.image, self.registry);
        match &self.outcome {
            RestoreOutcome::There => format!("{}: {what}\n", coloured(AnsiColor::Green, "● already present")),
            RestoreOutcome::UnderWay => {
                let sign = coloured(AnsiColor::Blue, "◐ being restored from the archive");
                format!("{sign}: {what}\nECR needs up to 20 minutes.\n")
            }
            RestoreOutcome::Gone { held_by, unknown, commands, .. } => {
                let mut text = format!("{}: {what}\n", coloured(AnsiColor::Red, "○ deleted"));
                for registry in held_by {
                    _ = writeln!(text, "  {} {registry} has it", coloured(AnsiColor::Green, "●"));
                }
                for registry in unknown {
                    _ = writeln!(
                        text,
                        "  {} {registry} has it archived, or could not be read",
                        coloured(AnsiColor::Yellow, "?")
                    );
                }
                if held_by.is_empty() {
                    text.push_str("No known registry has a copy to restore it from.\n");
                } else {
                    text.push_str("These commands restore it:\n");
                }
                for command in commands {
                    _ = writeln!(text, "  {command}");
                }
                text
            }
        }
    }
}
