//! Prints the results of `restore`.

use std::fmt::Write;

use anstyle::AnsiColor;
use answers::restore::{Copied, CopyPlan, Drilled, RestoreOutcome, Restored, Return};
use indicatif::DecimalBytes;

use super::{Print, coloured, filled, image_name};

impl Print for Restored {
    fn table(&self, width: Option<u16>) -> String {
        let what = format!("{} in {}", self.image, self.registry);
        match &self.outcome {
            RestoreOutcome::There => format!("{}: {what}\n", coloured(AnsiColor::Green, "● already present")),
            RestoreOutcome::UnderWay => {
                let sign = coloured(AnsiColor::Blue, "◐ being restored from the archive");
                format!("{sign}: {what}\nECR needs up to 20 minutes.\n")
            }
            RestoreOutcome::Gone(found) => {
                format!("{}: {what}\n{}", coloured(AnsiColor::Red, "○ deleted"), missing(found, width))
            }
        }
    }
}

/// Who has a missing image, and how it comes back.
fn missing(found: &Return, width: Option<u16>) -> String {
    let mut text = String::new();
    for registry in &found.held_by {
        _ = writeln!(text, "  {} {registry} has it", coloured(AnsiColor::Green, "●"));
    }
    for registry in &found.archived_in {
        _ = writeln!(text, "  {} {registry} has it archived", coloured(AnsiColor::Blue, "◐"));
    }
    for (registry, why) in &found.unreadable {
        let line = format!("{} {registry} cannot be read: {why}", coloured(AnsiColor::Yellow, "?"));
        _ = writeln!(text, "{}", filled(&line, ["  ", "    "], width));
    }
    text += &notes(&found.notes, width);
    text.push_str(if found.commands.is_empty() {
        "No known registry has a copy that can be pulled.\n"
    } else {
        "These commands restore it:\n"
    });
    // A command stays whole, so that it can be pasted.
    for command in &found.commands {
        _ = writeln!(text, "  {command}");
    }
    text
}

fn notes(notes: &[String], width: Option<u16>) -> String {
    let lines = notes
        .iter()
        .map(|note| filled(&format!("{} {note}", coloured(AnsiColor::Yellow, "!")), ["  ", "    "], width) + "\n");
    lines.collect()
}

/// What a copy will do, before the question.
pub(crate) fn plan(plan: &CopyPlan, width: Option<u16>) -> String {
    let (layers, manifests) = (plan.layers.len(), plan.manifests());
    let size = DecimalBytes(plan.bytes());
    let tags: Vec<_> = plan.tags.iter().map(ToString::to_string).collect();
    let tags = if tags.is_empty() { "no tag".to_owned() } else { format!("tags: {}", tags.join(", ")) };
    let what = format!(
        "This will copy {} from {} to {}; manifests: {manifests}, layers: {layers} ({size}), {tags}.",
        plan.image, plan.from, plan.to
    );
    filled(&what, ["", ""], width) + "\n" + &notes(&plan.notes, width)
}

impl Print for Copied {
    fn table(&self, width: Option<u16>) -> String {
        let (progress, size) = (&self.progress, DecimalBytes(self.progress.bytes));
        let sign = coloured(AnsiColor::Green, "● copied back");
        let mut text = format!("{sign}: {} in {}\n", self.image, self.to);
        _ = writeln!(
            text,
            "  manifests: {}, layers: {} ({size}), from {}",
            progress.manifests, progress.layers, self.from
        );
        for tag in &self.tags {
            _ = writeln!(text, "  tag {tag}");
        }
        for (tag, now) in &self.left_out {
            _ = writeln!(
                text,
                "  {} tag {tag} means {} now: it was not moved",
                coloured(AnsiColor::Yellow, "!"),
                now.short()
            );
        }
        text + &notes(&self.notes, width)
    }
}

impl Print for Drilled {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = String::new();
        for deletion in &self.deletions {
            let sign =
                if deletion.restorable { coloured(AnsiColor::Green, "✓") } else { coloured(AnsiColor::Red, "✗") };
            let what = format!("{} in {}", image_name(&deletion.image, None), deletion.registry);
            _ = writeln!(text, "{}", filled(&format!("{sign} {what}: {}", deletion.why), ["", "    "], width));
        }
        if self.deletions.is_empty() {
            text.push_str("No deletion was done in that period: nothing was tried.\n");
        }
        text + &self.drill.summary() + "\n"
    }
}
