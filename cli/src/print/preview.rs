//! Prints what a policy would do, and why.

use std::{collections::BTreeSet, fmt::Write};

use anstyle::AnsiColor;
use answers::preview::{
    ChangeTotal, EvaluatedPolicy, Explained, PolicyChange, PolicyDiff, Preview, PreviewAction, Total,
};
use domain::deletion::Check;
use indicatif::DecimalBytes;

use super::{HEADING, Print, coloured, csv, deletions::styled_status, filled, image_name, plural, styled, table, time};

pub(super) fn planned_action(planned_action: PreviewAction) -> String {
    let (colour, sign) = match planned_action {
        PreviewAction::Delete => (AnsiColor::Red, "○"),
        PreviewAction::Archive => (AnsiColor::Blue, "◐"),
        PreviewAction::Untag => (AnsiColor::Yellow, "○"),
        PreviewAction::Keep => (AnsiColor::Green, "●"),
        PreviewAction::Gone => (AnsiColor::BrightBlack, "·"),
        PreviewAction::Unknown => (AnsiColor::Yellow, "?"),
    };
    coloured(colour, format!("{sign} {}", planned_action.words()))
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
                image_name(&replica.image, replica.tag.as_ref()),
                replica.size_bytes.map(|bytes| DecimalBytes(bytes).to_string()).unwrap_or_default(),
                policies.join(", "),
                format!("{orphan}{}", replica.why),
            ]);
        }
        let mut text = format!("\n{list}\n\n");
        for (kind, total) in &self.totals {
            _ = writeln!(text, "{}: {}", planned_action(*kind), amount(total));
        }
        text.push_str("This is a preview: nothing was changed.\n");
        text
    }

    fn sheet(&self) -> Option<&'static csv::Sheet> {
        Some(&csv::PREVIEW)
    }
}

/// The number and the size of replicas.
pub(super) fn amount(Total { images, bytes }: &Total) -> String {
    let size = if *bytes > 0 { format!(", {}", DecimalBytes(*bytes)) } else { String::new() };
    format!("{images} {}{size}", plural(*images, "replica"))
}

impl Print for PolicyDiff {
    fn table(&self, width: Option<u16>) -> String {
        if self.changes.is_empty() && self.unchanged.is_empty() {
            return "No deletions are recorded in this period, and there are no orphans.\n".to_owned();
        }
        let mut text = String::new();
        if !self.changes.is_empty() {
            let headings = ["BEFORE", "AFTER", "REGISTRY", "IMAGE", "REASON BEFORE", "REASON AFTER"];
            let mut list = table(width, &headings, &[0, 1, 2]);
            for PolicyChange { before, policies_before, why_before, after } in &self.changes {
                let orphan = if after.recorded { "" } else { "orphan: " };
                let by = |policies: &BTreeSet<String>, action: PreviewAction| match action {
                    PreviewAction::Delete | PreviewAction::Archive | PreviewAction::Untag => {
                        format!(", by {}", policies.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
                    }
                    // The reason names the policies.
                    PreviewAction::Keep | PreviewAction::Gone | PreviewAction::Unknown => String::new(),
                };
                let [before_by, after_by] = [by(policies_before, *before), by(&after.policies, after.planned_action)];
                list.add_row([
                    planned_action(*before),
                    planned_action(after.planned_action),
                    after.registry.to_string(),
                    image_name(&after.image, after.tag.as_ref()),
                    format!("{orphan}before{before_by}: {why_before}"),
                    format!("after{after_by}: {}", after.why),
                ]);
            }
            text = format!("\n{list}\n\n");
        }
        for ChangeTotal { before, after, total } in &self.changed {
            let what = if before == after {
                format!("{}, for another reason", planned_action(*before))
            } else {
                format!("{} → {}", planned_action(*before), planned_action(*after))
            };
            _ = writeln!(text, "{what}: {}", amount(total));
        }
        if self.changes.is_empty() {
            text.push_str("Nothing changes.\n");
        }
        for (kind, total) in &self.unchanged {
            _ = writeln!(text, "unchanged, {}: {}", planned_action(*kind), amount(total));
        }
        text.push_str("This is a comparison: nothing was changed.\n");
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
                _ = writeln!(text, "  {} {} by {}", time(act.at), act.action.past_tense(), act.by_and_reason());
            }
        }
        let EvaluatedPolicy { name, sha256, mode, mirror_since } = &self.policy;
        let hash = sha256.as_deref().and_then(|hash| hash.get(..12)).map(|hash| format!(" (sha256 {hash}…)"));
        let runs = mirror_since.map(|since| format!(", as mirror runs since {}", time(since))).unwrap_or_default();
        _ = writeln!(text, "\nPolicy: {name}{}, mode {}{runs}", hash.unwrap_or_default(), mode.as_str());
        for judged in &self.now {
            let tag = judged.tag.as_ref().map(|tag| format!(" with tag {tag}")).unwrap_or_default();
            _ = writeln!(text, "\nEvaluated now{tag}: {}", planned_action(judged.planned_action));
            checks(&mut text, &judged.checks, width);
        }
        text
    }
}
