//! Prints what native deletion replication could delete.

use std::fmt::Write;

use anstyle::AnsiColor;
use answers::audit::NativeDeletes;
use domain::image::Tag;

use super::{HEADING, Print, coloured, image_name, plural, styled, time};

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
                let what = image_name(&only.image, None);
                _ = writeln!(
                    text,
                    "  {} {what} in {} has tags that its source lacks: {}",
                    coloured(AnsiColor::Yellow, "!"),
                    only.registry,
                    tags.join(", ")
                );
            }
            for pulled in &rule.pulled {
                let what = image_name(&pulled.image, None);
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
