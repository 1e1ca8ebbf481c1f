//! Prints drift, and the results of `reconcile` and `backfill`.

use std::fmt::Write;

use anstyle::AnsiColor;
use domain::drift::Drift;

use super::{HEADING, Print, coloured, filled, styled, time};
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
                    let pushed = pushed_at.map(|at| format!(", pushed at {}", time(at))).unwrap_or_default();
                    coloured(AnsiColor::Red, format!("! missing in {destination}: {source} has it{pushed}"))
                }
                Drift::Missing { expected: false, .. } => {
                    let line = format!("○ never copied to {destination}: {source} may have had it before the rule");
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
            _ = writeln!(text, "\n{}", coloured(AnsiColor::Green, "● Every replica matches its source."));
        }
        if !self.orphans.is_empty() {
            text.push_str(&Orphans { orphans: self.orphans.clone(), next_cursor: None }.table(width));
        }
        let count = |what: fn(&Drift) -> bool| self.report.differences.iter().filter(|one| what(&one.drift)).count();
        let missing = count(|drift| matches!(drift, Drift::Missing { expected: true, .. }));
        let never = count(|drift| matches!(drift, Drift::Missing { expected: false, .. }));
        let tags = count(|drift| matches!(drift, Drift::Tags { .. }));
        _ = writeln!(text, "\n{missing} missing, {never} never copied, {tags} with different tags");
        if missing + never > 0 {
            text.push_str("→ `ecr-lineage backfill SOURCE DESTINATION` makes ECR copy the missing images\n");
        }
        _ = writeln!(text, "\n{}", styled(HEADING, "Last listed:"));
        for (registry, at) in &self.report.listed_at {
            let at = at.map_or_else(|| coloured(AnsiColor::Yellow, "never: only its events are recorded"), time);
            _ = writeln!(text, "  {registry}  {at}");
        }
        for registry in &self.report.unread {
            let line = format!("{registry}: its replication rules are not known, they were not read yet");
            _ = writeln!(text, "  {}", coloured(AnsiColor::Yellow, line));
        }
        text
    }
}

impl Print for Reconciled {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = String::new();
        for (registry, run) in &self.registries {
            let (found, drifts) = (run.found, &run.drifts);
            _ = writeln!(text, "\n{}  {} images", styled(HEADING, registry), found.images);
            let recorded = [("added", found.added), ("removed", found.removed), ("updated", found.updated)];
            let drift = [
                ("missing", drifts.missing),
                ("never copied", drifts.never_copied),
                ("with different tags", drifts.tags),
                ("orphaned", drifts.orphans),
            ];
            for (what, counts) in [("recorded now, reported by no event", &recorded[..]), ("drift", &drift[..])] {
                let counts: Vec<_> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
                _ = writeln!(text, "{}", filled(&format!("{what}: {}", counts.join(", ")), ["  ", "    "], width));
            }
        }
        text.push_str("→ `ecr-lineage drift` lists the drift image by image\n");
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
        _ = writeln!(text, "  {completed} copied, {failed} failed; {recorded} recorded now, reported by no event");
        for copy in &self.failed {
            let code = copy.code.as_deref().unwrap_or("no reason given");
            let image = format!("{}@{}", copy.image.repository, copy.image.digest.short());
            let line = coloured(AnsiColor::Red, format!("! {image}: {code}"));
            _ = writeln!(text, "{}", filled(&line, ["  ", "    "], width));
        }
        text
    }
}
