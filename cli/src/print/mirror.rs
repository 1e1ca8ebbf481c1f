//! Prints deletions, breakers and policies.

use std::fmt::Write;

use anstyle::AnsiColor;
use domain::{
    deletion::{Check, Deletion, DeletionStatus, OperatorAction},
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

fn name(image: &Image, tag: Option<&Tag>) -> String {
    let tag = tag.map(|tag| format!(", tag {tag}")).unwrap_or_default();
    format!("{}@{}{tag}", image.repository, image.digest.short())
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
fn rows(deletions: &[Deletion], width: Option<u16>) -> String {
    let due = |deletion: &Deletion| deletion.due.filter(|_| deletion.status == DeletionStatus::Pending);
    let pending = deletions.iter().filter(|deletion| due(deletion).is_some()).count();
    let (heading, prefix) = match pending {
        0 => ("CHANGED (UTC)", ""),
        all if all == deletions.len() => ("DUE (UTC)", ""),
        _ => ("DUE OR CHANGED (UTC)", "due "),
    };
    let mut list = table(width, &["STATUS", heading, "REGISTRY", "IMAGE", "REASON"], &[0, 1, 2]);
    for deletion in deletions {
        list.add_row([
            styled_status(deletion.status),
            due(deletion).map_or_else(|| time(deletion.changed_at), |due| format!("{prefix}{}", time(due))),
            deletion.registry.to_string(),
            name(&deletion.image, deletion.tag.as_ref()),
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
        format!("\n{}\n{count} {}\n", rows(&self.deletions, width), plural(count, "deletion"))
    }
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

impl Print for Acted {
    fn table(&self, width: Option<u16>) -> String {
        let done = match self.action {
            OperatorAction::Hold => "put on hold",
            OperatorAction::Release => "released",
            OperatorAction::Approve => "approved",
            OperatorAction::Cancel => "cancelled",
        };
        let count = self.deletions.len();
        format!("\n{}\n{count} {} {done} by {}\n", rows(&self.deletions, width), plural(count, "deletion"), self.by)
    }
}

impl Print for Breakers {
    fn table(&self, _: Option<u16>) -> String {
        if self.breakers.is_empty() {
            return "Every circuit breaker is closed, and no image was counted.\n".to_owned();
        }
        let mut text = String::new();
        for (source, status) in &self.breakers {
            let state = match &status.breaker.opened {
                Some(opened) => coloured(AnsiColor::Red, format!("‖ open since {}: {}", time(opened.at), opened.why)),
                None => coloured(AnsiColor::Green, "● closed"),
            };
            _ = writeln!(text, "\n{}  {state}", styled(HEADING, source));
            if status.held > 0 {
                _ = writeln!(text, "  {} {} on hold", status.held, plural(status.held, "deletion"));
            }
            for (class, registries) in &status.counted {
                for (registry, images) in registries {
                    let images_word = plural(*images as usize, "image");
                    _ = writeln!(text, "  {images} {images_word} deleted in {registry} in 24 h ({})", class.as_str());
                }
            }
            if let Some(reset) = &status.breaker.reset {
                let allow =
                    reset.allow.map(|images| format!(", with an allowance of {images} images")).unwrap_or_default();
                _ = writeln!(text, "  closed {} by {}{allow}", time(reset.at), reset.by);
            }
        }
        text
    }
}

impl Print for WasReset {
    fn table(&self, _: Option<u16>) -> String {
        let (source, by, released) = (&self.source, &self.by, self.released);
        let re_evaluated = match released {
            0 => "no deletion was on hold".to_owned(),
            1 => "1 deletion is re-evaluated".to_owned(),
            many => format!("{many} deletions are re-evaluated"),
        };
        let allow = self.allow.map(|images| format!("; the next window allows {images} images")).unwrap_or_default();
        format!("breaker of {source} closed by {by}; {re_evaluated}{allow}\n")
    }
}

impl Print for CheckedPolicies {
    fn table(&self, _: Option<u16>) -> String {
        let mut text = String::new();
        for file in &self.files {
            if file.problems.is_empty() {
                _ = writeln!(text, "{} {}", coloured(AnsiColor::Green, "● OK"), file.file.display());
            }
            for problem in &file.problems {
                let place = format!("{}:{}:{}", file.file.display(), problem.line, problem.column);
                let error = coloured(AnsiColor::Red, "error:");
                _ = writeln!(text, "{}: {error} {}", styled(HEADING, place), problem.message);
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
        PreviewAction::Gone => (AnsiColor::BrightBlack, "·", "already gone"),
        PreviewAction::Unknown => (AnsiColor::Yellow, "?", "indeterminate"),
    };
    coloured(colour, format!("{sign} {word}"))
}

impl Print for Preview {
    fn table(&self, width: Option<u16>) -> String {
        if self.replicas.is_empty() {
            return "No deletions are recorded in this period, and there are no orphans.\n".to_owned();
        }
        let mut list = table(width, &["ACTION", "REGISTRY", "IMAGE", "SIZE", "POLICIES", "REASON"], &[0, 1, 3]);
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
        text.push_str("This is a preview: nothing was changed.\n");
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
            let since = format!("deleted at the source at {}", time(deletion.since));
            _ = writeln!(text, "\nDeletion{tag}: {}, {since}{due}", styled_status(deletion.status));
            checks(&mut text, &deletion.checks, width);
            for act in &deletion.actions {
                _ = writeln!(text, "  {} {} by {}", time(act.at), act.action.as_str(), act.by);
            }
        }
        for judged in &self.now {
            let tag = judged.tag.as_ref().map(|tag| format!(" with tag {tag}")).unwrap_or_default();
            _ = writeln!(text, "\nEvaluated now{tag}: {}", planned_action(judged.planned_action));
            checks(&mut text, &judged.checks, width);
        }
        text
    }
}

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

impl Print for NativeDeletes {
    fn table(&self, _: Option<u16>) -> String {
        let mut text = String::new();
        for rule in &self.rules {
            let on = match rule.on {
                true => coloured(AnsiColor::Red, "! native deletion replication enabled"),
                false => coloured(AnsiColor::Green, "● native deletion replication disabled"),
            };
            _ = writeln!(text, "\n{}  {on}", styled(HEADING, format!("rule {} of {}", rule.rule, rule.source)));
            let prefixes =
                if rule.prefixes.is_empty() { "every repository".to_owned() } else { rule.prefixes.join(", ") };
            let to: Vec<_> = rule.destinations.iter().map(ToString::to_string).collect();
            _ = writeln!(text, "  replicates {prefixes} to {}", to.join(", "));
            _ = writeln!(text, "  {} {} checked", rule.replicas, plural(rule.replicas, "replica"));
            for only in &rule.replica_only_tags {
                let tags: Vec<_> = only.tags.iter().map(Tag::as_str).collect();
                let what = name(&only.image, None);
                _ = writeln!(
                    text,
                    "  {} {what} in {} has tags that its source lacks: {}",
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
        if text.is_empty() { "No known registry has a replication rule.\n".to_owned() } else { text }
    }
}
