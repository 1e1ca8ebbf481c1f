//! Prints what a lifecycle policy would take, and what would follow at the replicas.

use std::fmt::Write;

use answers::lifecycle::LifecycleAudit;
use domain::image::Tag;

use super::{
    HEADING, Print, filled, image_name, plural,
    preview::{amount, planned_action},
    styled, time,
};

impl Print for LifecycleAudit {
    fn table(&self, width: Option<u16>) -> String {
        let (count, archiving) = (self.expiring.len(), self.archiving);
        let images = |count| format!("{count} {}", plural(count, "image"));
        let mut text = format!("{} of {} in {} would expire", images(count), self.repository, self.source);
        if archiving > 0 {
            _ = write!(text, ", and {} would be archived, which no replica follows", images(archiving));
        }
        text = format!("\n{}\n", filled(&text, ["", "  "], width));
        for one in &self.expiring {
            let image = domain::image::Image { repository: self.repository.clone(), digest: one.digest.clone() };
            let tags: Vec<_> = one.tags.iter().map(Tag::as_str).collect();
            let tags = if tags.is_empty() { "untagged".to_owned() } else { tags.join(", ") };
            let heading = format!("{}  {tags}  rule {}", image_name(&image, None), one.rule);
            _ = writeln!(text, "\n{}", filled(&styled(HEADING, heading), ["", "  "], width));
            for replica in &one.replicas {
                let (action, registry, why) = (planned_action(replica.planned_action), &replica.registry, &replica.why);
                _ = writeln!(text, "{}", filled(&format!("{action}  {registry}  {why}"), ["  ", "    "], width));
            }
            if one.replicas.is_empty() {
                text.push_str("  no replica of it is recorded\n");
            }
        }
        if !self.totals.is_empty() {
            text.push('\n');
        }
        for (action, total) in &self.totals {
            _ = writeln!(text, "{}: {}", planned_action(*action), amount(total));
        }
        let at = time(self.evaluated_for);
        let last = format!("This is a preview for {at}, when every grace period is over: nothing was changed.");
        text + &filled(&last, ["", "  "], width) + "\n"
    }
}
