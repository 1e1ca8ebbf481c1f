//! Answers as tables for people.
//!
//! Every colour has a sign or a word beside it, so that nothing is lost without colour. Whether colour is written is
//! decided where the text leaves the process: only on a terminal, and never under `NO_COLOR`.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};
use domain::{
    fact::{Cause, Fact, StorageClass, What},
    lineage::{Status, Whereabouts},
    tag::End,
};
use jiff::Timestamp;

use crate::{
    answer::{History, Images, Orphans, Shown, ShownImage},
    ingest::Summary,
};

/// An answer that can be printed for people.
pub trait Print {
    /// The text, no line longer than the width if there is one.
    fn table(&self, width: Option<u16>) -> String;
}

/// The width of the terminal; nothing if standard output is none, because a program wants whole lines.
#[must_use]
pub fn width() -> Option<u16> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(terminal_size::Width(width), _)| width)
}

const HEADING: Style = Style::new().bold();
const QUIET: Style = Style::new().dimmed();

fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

fn coloured(colour: AnsiColor, text: impl std::fmt::Display) -> String {
    styled(colour.on_default(), text)
}

impl Print for Summary {
    fn table(&self, _: Option<u16>) -> String {
        let mut text = String::new();
        for rejected in &self.rejected {
            let place = styled(HEADING, format!("{}:{}", rejected.file, rejected.line));
            _ = writeln!(text, "{} {place}: {}", coloured(AnsiColor::Red, "rejected"), rejected.reason);
        }
        let count = |count: usize, word: &str| format!("{} {word}", styled(HEADING, count));
        let mut counts = vec![
            count(self.read, "read"),
            count(self.recorded, "recorded"),
            count(self.known, "already known"),
            count(self.rejected.len(), "rejected"),
        ];
        if self.ignored > 0 {
            counts.push(count(self.ignored, "not about images"));
        }
        _ = writeln!(text, "{}", counts.join(", "));
        text
    }
}

impl Print for Shown {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = String::new();
        if self.images.len() > 1 {
            _ = writeln!(text, "\nRegistries disagree: the tag means {} images.", self.images.len());
        }
        self.images.iter().for_each(|image| text.push_str(&image.table(width)));
        text
    }
}

impl Print for ShownImage {
    fn table(&self, width: Option<u16>) -> String {
        let mut places = table(width, &["REGISTRY", "STATUS", "ORIGIN", "TAGS", "SINCE", "LAG", "DELETED"]);
        for place in &self.registries {
            let tags: Vec<_> = place.tags.iter().map(ToString::to_string).collect();
            places.add_row([
                place.registry.to_string(),
                status(place),
                origin(place),
                tags.join("\n"),
                place.since.map(time).unwrap_or_default(),
                lag(place),
                deleted(place),
            ]);
        }
        let mut timeline = table(width, &["TIME (UTC)", "REGISTRY", "WHAT HAPPENED"]);
        for fact in &self.timeline {
            timeline.add_row([time(fact.time), fact.registry.to_string(), happened(fact)]);
        }
        format!("\n{}\n\n{places}\n\n{timeline}\n", styled(HEADING, &self.image))
    }
}

impl Print for History {
    fn table(&self, width: Option<u16>) -> String {
        let mut bands = table(width, &["REGISTRY", "IMAGE", "FROM (UTC)", "UNTIL (UTC)", "THEN"]);
        for band in &self.history {
            let then = match band.ended.as_ref().map(|ended| &ended.why) {
                None => coloured(AnsiColor::Green, "still set"),
                Some(End::Moved { to }) => format!("moved to {}", to.short()),
                Some(End::TagDeleted) => coloured(AnsiColor::Red, "tag deleted"),
                Some(End::ImageDeleted) => coloured(AnsiColor::Red, "image deleted"),
            };
            let until = band.ended.as_ref().map(|ended| time(ended.at)).unwrap_or_default();
            bands.add_row([band.registry.to_string(), band.digest.short(), time(band.from), until, then]);
        }
        format!("\n{}\n\n{bands}\n", styled(HEADING, format!("{}:{}", self.repository, self.tag)))
    }
}

impl Print for Images {
    fn table(&self, width: Option<u16>) -> String {
        let mut images = table(width, &["IMAGE", "PUSHED (UTC)", "TAGS", "WHERE"]);
        for image in &self.images {
            let tags: Vec<_> = image.tags.iter().map(ToString::to_string).collect();
            let places: Vec<_> =
                image.registries.iter().map(|(registry, status)| format!("{} {registry}", sign(*status))).collect();
            images.add_row([
                image.digest.short(),
                image.pushed_at.map(time).unwrap_or_default(),
                tags.join("\n"),
                places.join("\n"),
            ]);
        }
        let key = [Status::Present, Status::Archived, Status::ProbablyAbsent, Status::Absent];
        let key: Vec<_> = key.into_iter().map(|status| format!("{} {}", sign(status), word(status))).collect();
        format!("\n{}\n\n{images}\n\n{}\n", styled(HEADING, &self.repository), key.join("   "))
    }
}

impl Print for Orphans {
    fn table(&self, width: Option<u16>) -> String {
        if self.orphans.is_empty() {
            return "No orphans: every replica's source still has its image.\n".to_owned();
        }
        let mut orphans = table(width, &["IMAGE", "REPLICA IN", "TAGS", "SOURCE", "LOST BY SOURCE (UTC)"]);
        for orphan in &self.orphans {
            let tags: Vec<_> = orphan.tags.iter().map(ToString::to_string).collect();
            let sources: Vec<_> = orphan.sources.keys().map(ToString::to_string).collect();
            let lost: Vec<_> = orphan.sources.values().map(|lost| lost.map(time).unwrap_or_default()).collect();
            let image = format!("{}@{}", orphan.image.repository, orphan.image.digest.short());
            orphans.add_row([image, orphan.registry.to_string(), tags.join("\n"), sources.join("\n"), lost.join("\n")]);
        }
        format!("\n{orphans}\n")
    }
}

/// A table without lines: columns apart, headings bold.
fn table(width: Option<u16>, headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    // Without a terminal nothing is wrapped: programs and files want whole lines.
    table.set_width(width.unwrap_or(u16::MAX));
    table.set_header(headings.iter().map(|heading| styled(HEADING, heading)));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// `2026-11-16 01:54:34`, in UTC.
fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn sign(status: Status) -> String {
    match status {
        Status::Present => coloured(AnsiColor::Green, "●"),
        Status::Archived => coloured(AnsiColor::Blue, "◐"),
        Status::ProbablyAbsent => coloured(AnsiColor::Yellow, "?"),
        Status::Absent => coloured(AnsiColor::Red, "○"),
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Present => "present",
        Status::Archived => "archived",
        Status::ProbablyAbsent => "probably gone",
        Status::Absent => "gone",
    }
}

fn status(place: &Whereabouts) -> String {
    let orphan = if place.orphan { coloured(AnsiColor::Yellow, "\n! orphan") } else { String::new() };
    format!("{} {}{orphan}", sign(place.status), word(place.status))
}

fn origin(place: &Whereabouts) -> String {
    let mut origins = Vec::new();
    if place.pushed_at.is_some() {
        origins.push("pushed".to_owned());
    }
    origins.extend(place.replicated_from.iter().map(|from| format!("from {}", from.registry)));
    origins.join("\n")
}

fn lag(place: &Whereabouts) -> String {
    let lags: Vec<_> = place.replicated_from.iter().filter_map(|from| from.lag_seconds).map(duration).collect();
    lags.join("\n")
}

/// `42 s`, `3 min 20 s`, `2 h 05 min`, `3 d 02 h`.
fn duration(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {:02} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

fn deleted(place: &Whereabouts) -> String {
    place.deleted.as_ref().map(|deleted| format!("{} {}", time(deleted.at), deleted.cause)).unwrap_or_default()
}

/// A fact in words.
fn happened(fact: &Fact) -> String {
    let by = |cause: &Cause| match cause {
        Cause::Unknown => String::new(),
        known => format!(" {known}"),
    };
    match &fact.what {
        What::Pushed { tag: Some(tag), .. } => format!("pushed as {tag}"),
        What::Pushed { tag: None, .. } => "pushed without a tag".to_owned(),
        What::Replicated { source, tag: Some(tag) } => format!("replicated as {tag} from {source}"),
        What::Replicated { source, tag: None } => format!("replicated without a tag from {source}"),
        What::ReplicationFailed { source, .. } => coloured(AnsiColor::Red, format!("replication failed from {source}")),
        What::ImageDeleted { cause } => coloured(AnsiColor::Red, format!("deleted{}", by(cause))),
        What::TagsDeleted { tags, cause } => {
            let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
            coloured(AnsiColor::Red, format!("tag {} deleted{}", tags.join(", "), by(cause)))
        }
        What::DeletionFailed { code, cause } => format!("deletion refused ({code}){}", by(cause)),
        What::RepositoryDeleted { cause } => coloured(AnsiColor::Red, format!("deleted{}", by(cause))),
        What::Archived { cause } => format!("archived{}", by(cause)),
        What::Restored => "restored".to_owned(),
        What::Observed { storage: Some(StorageClass::Standard) } => "seen".to_owned(),
        What::Observed { storage: Some(StorageClass::Archive) } => "seen, archived".to_owned(),
        What::Observed { storage: None } => "seen to be gone".to_owned(),
        What::Other { detail_type, .. } => styled(QUIET, detail_type),
    }
}
