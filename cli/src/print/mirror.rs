//! Deletions, breakers and policies for people.

use std::fmt::Write;

use anstyle::AnsiColor;
use domain::{
    deletion::{Check, Deletion, DeletionStatus},
    image::{Image, Tag},
};
use indicatif::DecimalBytes;

use super::{HEADING, Print, coloured, filled, styled, table, time};
use answers::{
    audit::NativeDeletes,
    deletions::{Acted, Breakers, Deletions, WasReset},
    preview::{Explained, Preview, PreviewAction},
    restore::{RestoreOutcome, Restored},
};

use crate::policies::CheckedPolicies;

/// A deletion's status with its sign.
fn styled_status(status: DeletionStatus) -> String {
    let (colour, sign, word) = match status {
        DeletionStatus::Pending => (AnsiColor::Yellow, "◔", "pending"),
        DeletionStatus::Held => (AnsiColor::Magenta, "‖", "held"),
        DeletionStatus::AwaitingApproval => (AnsiColor::Magenta, "?", "waiting for approval"),
        DeletionStatus::Executing => (AnsiColor::Yellow, "◔", "under way"),
        DeletionStatus::Done => (AnsiColor::Red, "○", "done"),
        DeletionStatus::Kept => (AnsiColor::Green, "●", "kept"),
        DeletionStatus::Failed => (AnsiColor::Red, "!", "failed"),
    };
    coloured(colour, format!("{sign} {word}"))
}

fn name(image: &Image, tag: Option<&Tag>) -> String {
    let tag = tag.map(|tag| format!(", tag {tag}")).unwrap_or_default();
    format!("{}@{}{tag}", image.repository, image.digest.short())
}

/// What is or was to happen, and why: one line.
pub(super) fn reason(deletion: &Deletion) -> String {
    let last = deletion.checks.last().map(|check| check.why.clone()).unwrap_or_default();
    let policies: Vec<_> = deletion.policies.iter().map(String::as_str).collect();
    let by = if policies.is_empty() { String::new() } else { format!(" (policy {})", policies.join(", ")) };
    match (deletion.status, deletion.action) {
        (DeletionStatus::Pending, Some(action)) if last.is_empty() => format!("would {action} it then{by}"),
        (DeletionStatus::Pending, None) if last.is_empty() => "as far as is known, no policy permits it".to_owned(),
        (DeletionStatus::Done, Some(action)) => format!("{action}: {last}{by}"),
        _ => last,
    }
}

/// A deletion below the registry of its replica.
pub(super) fn below(deletion: &Deletion, width: Option<u16>) -> String {
    let tag = deletion.tag.as_ref().map(|tag| format!(" of tag {tag}")).unwrap_or_default();
    let due = deletion.due.filter(|_| deletion.status == DeletionStatus::Pending);
    let due = due.map(|due| format!(", due {}", time(due))).unwrap_or_default();
    let line = format!("deletion{tag} {}{due}: {}", styled_status(deletion.status), reason(deletion));
    filled(&line, ["    ", "      "], width) + "\n"
}

/// The rows of some deletions.
fn rows(deletions: &[Deletion], width: Option<u16>) -> String {
    let mut list = table(width, &["STATUS", "WHEN (UTC)", "REPLICA IN", "IMAGE", "WHY"], &[0, 1, 2]);
    for deletion in deletions {
        let at = match deletion.due.filter(|_| deletion.status == DeletionStatus::Pending) {
            Some(due) => format!("due {}", time(due)),
            None => time(deletion.changed_at),
        };
        list.add_row([
            styled_status(deletion.status),
            at,
            deletion.registry.to_string(),
            name(&deletion.image, deletion.tag.as_ref()),
            reason(deletion),
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
        format!("\n{}\n{count} {}\n", rows(&self.deletions, width), plural(count, "deletion"))
    }
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

impl Print for Acted {
    fn table(&self, width: Option<u16>) -> String {
        format!("\n{}\n{}: by {}\n", rows(&self.deletions, width), self.action.as_str(), self.by)
    }
}

impl Print for Breakers {
    fn table(&self, _: Option<u16>) -> String {
        if self.breakers.is_empty() {
            return "All breakers are closed, and nothing was counted.\n".to_owned();
        }
        let mut text = String::new();
        for (source, status) in &self.breakers {
            let state = match &status.breaker.opened {
                Some(opened) => coloured(AnsiColor::Red, format!("‖ open since {}: {}", time(opened.at), opened.why)),
                None => coloured(AnsiColor::Green, "● closed"),
            };
            _ = writeln!(text, "\n{}  {state}", styled(HEADING, source));
            if status.held > 0 {
                _ = writeln!(text, "  holds {} {}", status.held, plural(status.held, "deletion"));
            }
            for (class, registries) in &status.counted {
                for (registry, images) in registries {
                    let images_word = plural(*images as usize, "image");
                    _ = writeln!(text, "  {images} {images_word} in {registry} in 24 hours ({})", class.as_str());
                }
            }
            if let Some(reset) = &status.breaker.reset {
                let allow = reset.allow.map(|images| format!(", which allowed {images} images")).unwrap_or_default();
                _ = writeln!(text, "  closed {} by {}{allow}", time(reset.at), reset.by);
            }
        }
        text
    }
}

impl Print for WasReset {
    fn table(&self, _: Option<u16>) -> String {
        let allow = self.allow.map(|images| format!("; {images} images may go in the next window")).unwrap_or_default();
        format!(
            "closed the breaker of {} by {}, {} {} judged again{allow}\n",
            self.source,
            self.by,
            self.released,
            plural(self.released, "deletion")
        )
    }
}

impl Print for CheckedPolicies {
    fn table(&self, _: Option<u16>) -> String {
        let mut text = String::new();
        for file in &self.files {
            if file.problems.is_empty() {
                _ = writeln!(text, "{} {}", coloured(AnsiColor::Green, "● usable"), file.file.display());
            }
            for problem in &file.problems {
                let place = format!("{}:{}:{}", file.file.display(), problem.line, problem.column);
                _ = writeln!(
                    text,
                    "{} {}: {}",
                    coloured(AnsiColor::Red, "! wrong"),
                    styled(HEADING, place),
                    problem.message
                );
                if let Some(suggestion) = &problem.suggestion {
                    _ = writeln!(text, "    {suggestion}");
                }
            }
        }
        text
    }
}

fn planned_action(planned_action: PreviewAction) -> String {
    let (colour, sign, word) = match planned_action {
        PreviewAction::Delete => (AnsiColor::Red, "○", "delete"),
        PreviewAction::Archive => (AnsiColor::Blue, "◐", "archive"),
        PreviewAction::Untag => (AnsiColor::Yellow, "○", "untag"),
        PreviewAction::Keep => (AnsiColor::Green, "●", "keep"),
        PreviewAction::Gone => (AnsiColor::BrightBlack, "·", "gone already"),
        PreviewAction::Unknown => (AnsiColor::Yellow, "?", "cannot tell"),
    };
    coloured(colour, format!("{sign} {word}"))
}

impl Print for Preview {
    fn table(&self, width: Option<u16>) -> String {
        if self.replicas.is_empty() {
            return "No deletions are recorded in this time, and there are no orphans.\n".to_owned();
        }
        let mut list = table(width, &["WOULD", "REPLICA IN", "IMAGE", "SIZE", "POLICIES", "WHY"], &[0, 1, 3]);
        for replica in &self.replicas {
            let policies: Vec<_> = replica.policies.iter().map(String::as_str).collect();
            let orphan = if replica.recorded { "" } else { "orphan: " };
            list.add_row([
                planned_action(replica.planned_action),
                replica.registry.to_string(),
                name(&replica.image, replica.tag.as_ref()),
                replica.size_bytes.map(|bytes| DecimalBytes(bytes).to_string()).unwrap_or_default(),
                policies.join(", "),
                format!("{orphan}{}", replica.why),
            ]);
        }
        let mut text = format!("\n{list}\n\n");
        for (kind, total) in &self.totals {
            let size = if total.bytes > 0 { format!(", {}", DecimalBytes(total.bytes)) } else { String::new() };
            _ = writeln!(text, "{}: {} {}{size}", planned_action(*kind), total.images, plural(total.images, "replica"));
        }
        text.push_str("Nothing was touched.\n");
        text
    }
}

fn checks(text: &mut String, checks: &[Check], width: Option<u16>) {
    for check in checks {
        let sign = if check.passed { coloured(AnsiColor::Green, "✓") } else { coloured(AnsiColor::Yellow, "✗") };
        let line = format!("{sign} {:<9} {}", check.check.as_str(), check.why);
        _ = writeln!(text, "{}", filled(&line, ["  ", "              "], width));
    }
}

impl Print for Explained {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = format!("\n{} in {}\n", styled(HEADING, &self.image), styled(HEADING, &self.registry));
        for deletion in &self.recorded {
            let tag = deletion.tag.as_ref().map(|tag| format!(" of tag {tag}")).unwrap_or_default();
            let due = deletion.due.map(|due| format!(", due {}", time(due))).unwrap_or_default();
            let since = format!("without its source since {}", time(deletion.since));
            _ = writeln!(text, "\nDeletion{tag}: {}, {since}{due}", styled_status(deletion.status));
            checks(&mut text, &deletion.checks, width);
            for act in &deletion.actions {
                _ = writeln!(text, "  {} {} by {}", time(act.at), act.action.as_str(), act.by);
            }
        }
        for judged in &self.now {
            let tag = judged.tag.as_ref().map(|tag| format!(" with tag {tag}")).unwrap_or_default();
            _ = writeln!(text, "\nAsked now{tag}: {}", planned_action(judged.planned_action));
            checks(&mut text, &judged.checks, width);
        }
        text
    }
}

impl Print for Restored {
    fn table(&self, _: Option<u16>) -> String {
        let what = format!("{} in {}", self.image, self.registry);
        match &self.outcome {
            RestoreOutcome::There => format!("{}: {what}\n", coloured(AnsiColor::Green, "● there already")),
            RestoreOutcome::UnderWay => {
                let sign = coloured(AnsiColor::Blue, "◐ on its way back from the archive");
                format!("{sign}: {what}\nECR takes up to 20 minutes.\n")
            }
            RestoreOutcome::Gone { held_by, unknown, commands, .. } => {
                let mut text = format!("{}: {what}\n", coloured(AnsiColor::Red, "○ deleted"));
                for registry in held_by {
                    _ = writeln!(text, "  {} {registry} has it", coloured(AnsiColor::Green, "●"));
                }
                for registry in unknown {
                    _ = writeln!(
                        text,
                        "  {} {registry} has it archived, or cannot be read",
                        coloured(AnsiColor::Yellow, "?")
                    );
                }
                if held_by.is_empty() {
                    text.push_str("No registry that is known has it to copy from.\n");
                } else {
                    text.push_str("This brings it back:\n");
                }
                for command in commands {
                    _ = writeln!(text, "  {command}");
                }
                text
            }
        }
    }
}

impl Print for NativeDeletes {
    fn table(&self, _: Option<u16>) -> String {
        let mut text = String::new();
        for rule in &self.rules {
            let on = match rule.on {
                true => coloured(AnsiColor::Red, "! the switch is on"),
                false => coloured(AnsiColor::Green, "● the switch is off"),
            };
            _ = writeln!(text, "\n{}  {on}", styled(HEADING, format!("rule {} of {}", rule.rule, rule.source)));
            let prefixes = if rule.prefixes.is_empty() { "everything".to_owned() } else { rule.prefixes.join(", ") };
            let to: Vec<_> = rule.destinations.iter().map(ToString::to_string).collect();
            _ = writeln!(text, "  copies {prefixes} to {}", to.join(", "));
            _ = writeln!(text, "  {} {} looked at", rule.replicas, plural(rule.replicas, "replica"));
            for only in &rule.replica_only_tags {
                let tags: Vec<_> = only.tags.iter().map(Tag::as_str).collect();
                let what = name(&only.image, None);
                _ = writeln!(
                    text,
                    "  {} {what} in {} alone has {}",
                    coloured(AnsiColor::Yellow, "!"),
                    only.registry,
                    tags.join(", ")
                );
            }
            for pulled in &rule.pulled {
                let what = name(&pulled.image, None);
                let at = time(pulled.last_pulled_at);
                _ = writeln!(
                    text,
                    "  {} {what} was pulled in {} {at}",
                    coloured(AnsiColor::Yellow, "!"),
                    pulled.registry
                );
            }
        }
        for (registry, why) in &self.unread {
            _ = writeln!(text, "\n{} {registry} could not be read: {why}", coloured(AnsiColor::Yellow, "?"));
        }
        if text.is_empty() { "No registry that is known replicates anything.\n".to_owned() } else { text }
    }
}
