//! Drift for people.

use std::fmt::Write;

use anstyle::AnsiColor;
use domain::drift::Drift;

use super::{HEADING, Print, coloured, filled, styled, table, time};
use answers::answer::Orphans;

use crate::drift::{Backfilled, Drifted, Reconciled};

impl Print for Drifted {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = String::new();
        let mut image = None;
        for difference in &self.report.differences {
            if image != Some(&difference.image) {
                let short = format!("{}@{}", difference.image.repository, difference.image.digest.short());
                _ = writeln!(text, "\n{}", styled(HEADING, short));
                image = Some(&difference.image);
            }
            let (source, destination) = (&difference.source, &difference.destination);
            let line = match &difference.drift {
                Drift::Missing { pushed_at, expected: true } => {
                    let pushed = pushed_at.map(|at| format!(" since {}", time(at))).unwrap_or_default();
                    coloured(AnsiColor::Red, format!("! missing in {destination}, {source} has it{pushed}"))
                }
                Drift::Missing { expected: false, .. } => {
                    let line = format!("○ never copied to {destination}: {source} may have it from before the rule");
                    coloured(AnsiColor::Yellow, line)
                }
                Drift::Tags { only_at_source, only_at_replica } => {
                    let list = |tags: &std::collections::BTreeSet<domain::image::Tag>, registry| {
                        let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
                        (!tags.is_empty()).then(|| format!("{} only in {registry}", tags.join(", ")))
                    };
                    let parts = [list(only_at_source, source), list(only_at_replica, destination)];
                    let parts: Vec<_> = parts.into_iter().flatten().collect();
                    coloured(AnsiColor::Yellow, format!("≠ {}", parts.join("; ")))
                }
            };
            _ = writeln!(text, "{}", filled(&line, ["  ", "    "], width));
        }
        if self.report.differences.is_empty() {
            _ = writeln!(text, "\n{}", coloured(AnsiColor::Green, "● Every replica is as its source."));
        }
        if !self.orphans.is_empty() {
            text.push_str(&Orphans { orphans: self.orphans.clone(), next_cursor: None }.table(width));
        }
        let count = |what: fn(&Drift) -> bool| self.report.differences.iter().filter(|one| what(&one.drift)).count();
        let missing = count(|drift| matches!(drift, Drift::Missing { expected: true, .. }));
        let never = count(|drift| matches!(drift, Drift::Missing { expected: false, .. }));
        let tags = count(|drift| matches!(drift, Drift::Tags { .. }));
        _ = writeln!(text, "\n{missing} missing, {never} never copied, {tags} with other tags");
        if missing + never > 0 {
            text.push_str("→ `ecr-lineage backfill SOURCE DESTINATION` lets ECR copy what is missing\n");
        }
        _ = writeln!(text, "\n{}", styled(HEADING, "Last listed:"));
        for (registry, at) in &self.report.listed_at {
            let at = at.map_or_else(|| coloured(AnsiColor::Yellow, "never: only events are known"), time);
            _ = writeln!(text, "  {registry}  {at}");
        }
        for registry in &self.report.unread {
            let line = format!("what {registry} copies is not known: its settings were not read yet");
            _ = writeln!(text, "  {}", coloured(AnsiColor::Yellow, line));
        }
        text
    }
}

impl Print for Reconciled {
    fn table(&self, width: Option<u16>) -> String {
        let headings =
            ["REGISTRY", "IMAGES", "UNKNOWN", "VANISHED", "CHANGED", "MISSING", "NEVER COPIED", "TAGS", "ORPHANS"];
        let mut list = table(width, &headings, &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
        for (registry, run) in &self.registries {
            let (found, drifts) = (run.found, &run.drifts);
            let counts = [
                found.images,
                found.added,
                found.removed,
                found.updated,
                drifts.missing,
                drifts.never_copied,
                drifts.tags,
                drifts.orphans,
            ];
            list.add_row(std::iter::once(registry.to_string()).chain(counts.map(|count| count.to_string())));
        }
        let mut text = format!("\n{list}\n");
        text.push_str("\nUNKNOWN, VANISHED, CHANGED: what no event had told, and is recorded now\n");
        text.push_str("MISSING, NEVER COPIED, TAGS, ORPHANS: what is not as it should be (`ecr-lineage drift`)\n");
        text
    }
}

impl Print for Backfilled {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = String::new();
        let heading = styled(HEADING, format!("{} to {}", self.source, self.destination));
        let colour = if self.status == "COMPLETE" { AnsiColor::Green } else { AnsiColor::Red };
        let sign = if self.status == "COMPLETE" { "●" } else { "!" };
        let why = self.failure.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
        _ = writeln!(text, "\n{heading}  {}", coloured(colour, format!("{sign} {}{why}", self.status)));
        let (completed, failed, recorded) = (self.completed, self.failed.len(), self.recorded);
        _ = writeln!(text, "  {completed} copied, {failed} failed; {recorded} of these no event had told");
        for copy in &self.failed {
            let code = copy.code.as_deref().unwrap_or("no reason given");
            let image = format!("{}@{}", copy.image.repository, copy.image.digest.short());
            let line = coloured(AnsiColor::Red, format!("! {image}: {code}"));
            _ = writeln!(text, "{}", filled(&line, ["  ", "    "], width));
        }
        text
    }
}
