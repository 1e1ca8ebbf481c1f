//! Prints activity.

use answers::activity::{ActivityEntry, ActivityReport};
use domain::{alert::short_id, time::time_text};

use super::{Print, answer::basis, csv, csv::Sheet, filled, table, time};

/// The repository, the image, or the short ID of the incident.
fn subject(entry: &ActivityEntry) -> String {
    let Some(repository) = &entry.repository else {
        return entry.incident.as_deref().map(short_id).unwrap_or_default();
    };
    match &entry.digest {
        Some(digest) => format!("{repository}@{}", digest.short()),
        None => repository.clone(),
    }
}

impl Print for ActivityReport {
    fn table(&self, width: Option<u16>) -> String {
        let until = self.until.map(|until| format!(" until {}", time_text(until))).unwrap_or_default();
        let period = format!("since {}{until}", time_text(self.since));
        let mut text = basis(&self.basis, width);
        if self.activity.is_empty() {
            text.push_str(&filled(&format!("No such activity is recorded {period}."), ["\n", "  "], width));
            return text + "\n";
        }
        let mut list = table(width, &["TIME (UTC)", "REGISTRY", "SUBJECT", "ACTIVITY"], &[0, 1, 2]);
        for entry in &self.activity {
            let registry = entry.registry.as_ref().map(ToString::to_string).unwrap_or_default();
            list.add_row([time(entry.time), registry, subject(entry), entry.summary.clone()]);
        }
        let count = self.activity.len();
        text.push_str(&format!("\n{list}\n\n{count} {} {period}\n", if count == 1 { "entry" } else { "entries" }));
        text
    }

    fn sheet(&self) -> Option<&'static Sheet> {
        Some(&csv::ACTIVITY)
    }
}
