//! Prints deletions and breakers.

use std::fmt::Write;

use anstyle::AnsiColor;
use answers::{
    breakers::{Breakers, ResetPreview, WasReset},
    deletions::{Acted, Deletions, TaggedDeletion},
    registries::WasForgotten,
    schedule::Schedule,
};
use domain::{
    breaker::Opened,
    deletion::{Deletion, DeletionStatus},
    image::Registry,
};

use super::{HEADING, Print, coloured, csv, filled, image_name, plural, styled, table, time};

/// A deletion's status with its sign.
pub(super) fn styled_status(status: DeletionStatus) -> String {
    let (colour, sign) = match status {
        DeletionStatus::Pending | DeletionStatus::Executing => (AnsiColor::Yellow, "◔"),
        DeletionStatus::Held => (AnsiColor::Magenta, "‖"),
        DeletionStatus::AwaitingApproval => (AnsiColor::Magenta, "?"),
        DeletionStatus::Done => (AnsiColor::Red, "○"),
        DeletionStatus::Kept => (AnsiColor::Green, "●"),
        DeletionStatus::Failed => (AnsiColor::Red, "!"),
    };
    coloured(colour, format!("{sign} {}", status.words()))
}

/// A deletion, printed below the registry of its replica.
pub(super) fn below(deletion: &Deletion, width: Option<u16>) -> String {
    let tag = deletion.tag.as_ref().map(|tag| format!(" of tag {tag}")).unwrap_or_default();
    let due = deletion.due.filter(|_| deletion.status == DeletionStatus::Pending);
    let due = due.map(|due| format!(", due {}", time(due))).unwrap_or_default();
    let line = format!("deletion{tag} {}{due}: {}", styled_status(deletion.status), deletion.summary());
    filled(&line, ["    ", "      "], width) + "\n"
}

/// The rows of some deletions: with the time when each is due, or when it last changed.
fn rows<'a>(deletions: impl Iterator<Item = &'a Deletion> + Clone, width: Option<u16>) -> String {
    let due = |deletion: &Deletion| deletion.due.filter(|_| deletion.status == DeletionStatus::Pending);
    let pending = deletions.clone().filter(|deletion| due(deletion).is_some()).count();
    let (heading, prefix) = match pending {
        0 => ("CHANGED (UTC)", ""),
        all if all == deletions.clone().count() => ("DUE (UTC)", ""),
        _ => ("DUE OR CHANGED (UTC)", "due "),
    };
    let mut list = table(width, &["STATUS", heading, "REGISTRY", "IMAGE", "REASON"], &[0, 1, 2]);
    for deletion in deletions {
        list.add_row([
            styled_status(deletion.status),
            due(deletion).map_or_else(|| time(deletion.changed_at), |due| format!("{prefix}{}", time(due))),
            deletion.registry.to_string(),
            image_name(&deletion.image, deletion.tag.as_ref()),
            deletion.summary(),
        ]);
    }
    format!("{list}\n")
}

impl Print for Deletions {
    fn table(&self, width: Option<u16>) -> String {
        if self.deletions.is_empty() {
            return "No deletions.\n".to_owned();
        }
        let count = self.deletions.len();
        let deletions = self.deletions.iter().map(|tagged| &tagged.deletion);
        format!("\n{}\n{count} {}\n", rows(deletions, width), plural(count, "deletion"))
    }

    fn sheet(&self) -> Option<&'static csv::Sheet> {
        Some(&csv::DELETIONS)
    }
}

impl Print for Schedule {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = format!("\n{}\n", filled(&styled(HEADING, &self.summary), ["", "  "], width));
        if !self.deletions.is_empty() {
            let mut list = table(width, &["DUE (UTC)", "REGISTRY", "IMAGE", "TAGS", "REASON"], &[0, 1, 2]);
            for TaggedDeletion { deletion, tags } in &self.deletions {
                let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
                list.add_row([
                    deletion.due.map(time).unwrap_or_default(),
                    deletion.registry.to_string(),
                    image_name(&deletion.image, deletion.tag.as_ref()),
                    tags.join(", "),
                    deletion.summary(),
                ]);
            }
            _ = writeln!(text, "\n{list}");
        }
        for exception in &self.exceptions {
            _ = writeln!(text, "{}", filled(&coloured(AnsiColor::Yellow, format!("! {exception}")), ["", "  "], width));
        }
        text
    }

    fn sheet(&self) -> Option<&'static csv::Sheet> {
        Some(&csv::DELETIONS)
    }
}

impl Print for Acted {
    fn table(&self, width: Option<u16>) -> String {
        let shown = if self.deletions.is_empty() { &self.approved_before } else { &self.deletions };
        format!("\n{}\n{}\n", rows(shown.iter(), width), filled(&self.summary, ["", "  "], width))
    }
}

impl Print for Breakers {
    fn table(&self, width: Option<u16>) -> String {
        if self.breakers.is_empty() {
            return "Every circuit breaker is closed, and no image was counted.\n".to_owned();
        }
        let mut text = String::new();
        for (source, status) in &self.breakers {
            _ = writeln!(text, "\n{}", breaker_line(source, status.status_text, status.breaker.opened.as_ref(), width));
            if status.held > 0 {
                _ = writeln!(text, "  {} {} on hold:", status.held, plural(status.held, "deletion"));
            }
            let held = status.held_by.iter().map(|held| ("    ", &held.summary));
            for (indent, line) in held.chain(status.details.iter().map(|line| ("  ", line))) {
                _ = writeln!(text, "{}", filled(line, [indent, "      "], width));
            }
        }
        text
    }
}

/// A breaker and its state, in one line.
fn breaker_line(source: &Registry, status_text: &str, opened: Option<&Opened>, width: Option<u16>) -> String {
    let state = match opened {
        Some(Opened { at, why }) => coloured(AnsiColor::Red, format!("‖ {status_text} since {}: {why}", time(*at))),
        None => coloured(AnsiColor::Green, format!("● {status_text}")),
    };
    filled(&format!("{}  {state}", styled(HEADING, source)), ["", "  "], width)
}

impl Print for ResetPreview {
    fn table(&self, width: Option<u16>) -> String {
        let status_text = if self.opened.is_some() { "open" } else { "closed" };
        let mut text = breaker_line(&self.source, status_text, self.opened.as_ref(), width) + "\n";
        for held in &self.held_by {
            _ = writeln!(text, "{}", filled(&held.summary, ["    ", "      "], width));
        }
        for line in &self.consequences {
            _ = writeln!(text, "{}", filled(line, ["  ", "  "], width));
        }
        text
    }
}

impl Print for WasForgotten {
    fn table(&self, _: Option<u16>) -> String {
        format!("{}\n", self.summary)
    }
}

impl Print for WasReset {
    fn table(&self, width: Option<u16>) -> String {
        filled(&self.summary, ["", "  "], width) + "\n"
    }
}
