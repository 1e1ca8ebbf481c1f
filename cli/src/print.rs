//! Tables for people.
//!
//! Every colour has a sign or a word beside it, so that no information is lost without colour. Colour is removed at the
//! output stream unless that is a terminal, and always under `NO_COLOR`.

mod deploy;
#[cfg(feature = "doctor")]
mod doctor;
mod drift;
mod mirror;
mod watch;

pub(crate) use watch::alert;

use std::{collections::BTreeSet, fmt::Write, io::IsTerminal};

use anstyle::{AnsiColor, Style};
use comfy_table::{ColumnConstraint, ContentArrangement, presets};
use domain::{
    fact::{Cause, Fact, StorageClass, What},
    image::Tag,
    lineage::{PlacementStatus, Whereabouts},
    tag::AssignmentEnd,
};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use answers::answer::{History, Images, Orphans, Shown, ShownImage};

use sandbox::demo::Demo;

use crate::ingest::IngestSummary;

/// An answer that can be printed as a table.
pub trait Print {
    /// The table as text. If there is a width, in columns, no line is longer.
    fn table(&self, width: Option<u16>) -> String;
}

/// The width of the terminal in columns; nothing if standard output is not a terminal, because programs expect whole
/// lines.
#[must_use]
pub fn width() -> Option<u16> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(terminal_size::Width(width), _)| width)
}

/// A progress bar on standard error, hidden if standard error is not a terminal.
pub(crate) fn progress(length: u64, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}

pub(crate) const HEADING: Style = Style::new().bold();
const QUIET: Style = Style::new().dimmed();

pub(crate) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

pub(crate) fn coloured(colour: AnsiColor, text: impl std::fmt::Display) -> String {
    styled(colour.on_default(), text)
}

impl Print for IngestSummary {
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
            count(self.known, "already recorded"),
            count(self.rejected.len(), "rejected"),
        ];
        if self.ignored > 0 {
            counts.push(count(self.ignored, "ignored (not about images)"));
        }
        _ = writeln!(text, "{}", counts.join(", "));
        text
    }
}

impl Print for Demo {
    fn table(&self, width: Option<u16>) -> String {
        let mut story = table(width, &["TIME (UTC)", "REGISTRY", "ACTION"], &[0, 1]);
        for act in &self.story {
            story.add_row([time(act.time), act.registry.to_string(), act.what.clone()]);
        }
        let (shown, history, orphans) = (self.shown.table(width), self.history.table(width), self.orphans.table(width));
        let asked = |what: &str| styled(HEADING, format!("$ {what}"));
        let shown = format!("{}\n{shown}", asked("ecr-lineage show shop/api@…"));
        let history = format!("{}\n{history}", asked("ecr-lineage history shop/api:stable"));
        let orphans = format!("{}\n{orphans}", asked("ecr-lineage orphans --repository shop/api"));
        let alerts = format!("{}\n{}", asked("ecr-lineage alerts"), self.alerts.table(width));
        let deletions = format!("{}\n{}", asked("ecr-lineage deletions --done --kept"), self.deletions.table(width));
        let breakers = format!("{}\n{}", asked("ecr-lineage breaker status"), self.breakers.table(width));
        let next = "Try it yourself with the AWS CLI or any SDK: ecr-lineage local";
        format!("{story}\n\n{shown}\n{history}\n{alerts}\n{deletions}\n{breakers}\n{orphans}\n{next}\n")
    }
}

impl Print for Shown {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = String::new();
        if self.images.len() > 1 {
            _ = writeln!(text, "\nRegistries disagree: the tag points to {} different images.", self.images.len());
        }
        self.images.iter().for_each(|image| text.push_str(&image.table(width)));
        text
    }
}

impl Print for ShownImage {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = format!("\n{}\n", styled(HEADING, &self.image));
        if !self.registries.is_empty() {
            let longest =
                self.registries.iter().map(|place| place.registry.to_string().len()).max().unwrap_or_default();
            // The longest registry names fit in 80 columns only with narrow gaps.
            let gap = if width.is_some_and(|width| longest + 54 > width.into()) { " " } else { "  " };
            let first = format!("{:<longest$}{gap}{:<10}{gap}{:<19}", "REGISTRY", "STATUS", "FIRST SEEN (UTC)");
            let heading = format!("{first}{gap}DELETED AT (UTC)");
            _ = writeln!(text, "\n{}", styled(HEADING, heading));
            for place in &self.registries {
                text.push_str(&whereabouts(place, longest, gap, width));
                for deletion in self.deletions.iter().filter(|deletion| deletion.registry == place.registry) {
                    text.push_str(&mirror::below(deletion, width));
                }
            }
        }
        let mut timeline = table(width, &["TIME (UTC)", "REGISTRY", "EVENT"], &[0, 1]);
        for (at, registry, what) in timeline_of(self) {
            timeline.add_row([time(at), registry, what]);
        }
        _ = writeln!(text, "\n{timeline}");
        text
    }
}

/// One registry: a line of values that every registry has, and below it, indented, those that only some have.
fn whereabouts(place: &Whereabouts, longest: usize, gap: &str, width: Option<u16>) -> String {
    let is_confirmed = place.status != PlacementStatus::ProbablyAbsent;
    let (sign, word) = (sign(place.status), if is_confirmed { place.status.words() } else { "untagged" });
    let times = [place.since, place.deleted.as_ref().map(|deleted| deleted.at)];
    let [first_seen, deleted_at] = times.map(|at| at.map(time).unwrap_or_default());
    let registry = &place.registry;
    let mut text = format!("{registry:<longest$}{gap}{sign} {word:<8}{gap}{first_seen:<19}{gap}{deleted_at}\n");
    let mut detail = |line: &str| _ = writeln!(text, "{}", filled(line, ["    ", "      "], width));
    if !is_confirmed {
        detail(&coloured(AnsiColor::Yellow, "? deletion not confirmed: the last known tag was removed"));
    }
    if place.orphan {
        detail(&coloured(AnsiColor::Yellow, "! orphan: the source no longer has the image"));
    }
    let tags: Vec<_> = place.tags.iter().map(ToString::to_string).collect();
    if !tags.is_empty() {
        detail(&format!("tagged {}", tags.join(", ")));
    }
    if let Some(at) = place.pushed_at {
        detail(&format!("pushed at {}", time(at)));
    }
    for from in &place.replicated_from {
        let lag = from.lag_seconds.map(|seconds| format!(", lag {}", duration(seconds))).unwrap_or_default();
        detail(&format!("replicated from {} at {}{lag}", from.registry, time(from.at)));
    }
    if let Some(deleted) = &place.deleted {
        let cause = match &deleted.cause {
            Cause::Unknown => "deleted, cause unknown".to_owned(),
            known => format!("deleted {known}"),
        };
        detail(&coloured(AnsiColor::Red, cause));
    }
    text
}

/// The facts of the image, and the moves of its tags to other images, which are facts of those images.
fn timeline_of(shown: &ShownImage) -> Vec<(Timestamp, String, String)> {
    let facts = shown.timeline.iter().map(|fact| (fact.time, fact.registry.to_string(), fact_text(fact)));
    let moves = shown.registries.iter().flat_map(|place| {
        place.moved_tags.iter().map(|moved| {
            let what = format!("tag {} moved to {}", moved.tag, moved.to.short());
            (moved.at, place.registry.to_string(), what)
        })
    });
    let mut all: Vec<_> = facts.chain(moves).collect();
    all.sort_by_key(|(at, ..)| *at);
    all
}

impl Print for History {
    fn table(&self, _: Option<u16>) -> String {
        let mut text = format!("\n{}\n", styled(HEADING, format!("{}:{}", self.repository, self.tag)));
        let mut registry = None;
        for interval in &self.history {
            if registry != Some(&interval.registry) {
                _ = writeln!(text, "\n{}", styled(HEADING, &interval.registry));
                registry = Some(&interval.registry);
            }
            let until = interval.ended.as_ref().map_or_else(|| "now".to_owned(), |ended| time(ended.at));
            let then = match interval.ended.as_ref().map(|ended| &ended.why) {
                None => coloured(AnsiColor::Green, "● still set"),
                Some(AssignmentEnd::Moved { .. }) => "→ moved to another image".to_owned(),
                Some(AssignmentEnd::TagDeleted) => coloured(AnsiColor::Red, "○ tag deleted"),
                Some(AssignmentEnd::ImageDeleted) => coloured(AnsiColor::Red, "○ image deleted"),
            };
            _ = writeln!(text, "  {} to {until:<19}  {}  {then}", time(interval.from), interval.digest.short());
        }
        text
    }
}

impl Print for Images {
    fn table(&self, width: Option<u16>) -> String {
        let mut images = table(width, &["IMAGE", "PUSHED (UTC)", "REGISTRIES", "TAGS"], &[0, 1, 2]);
        for image in &self.images {
            let tags: Vec<_> = image.tags.iter().map(ToString::to_string).collect();
            let places: Vec<_> =
                image.registries.iter().map(|(registry, status)| format!("{} {registry}", sign(*status))).collect();
            images.add_row([
                image.digest.short(),
                image.pushed_at.map(time).unwrap_or_default(),
                places.join("\n"),
                tags.join("\n"),
            ]);
        }
        let key = [
            PlacementStatus::Present,
            PlacementStatus::Archived,
            PlacementStatus::ProbablyAbsent,
            PlacementStatus::Absent,
        ];
        let key: Vec<_> = key.into_iter().map(|status| format!("{} {}", sign(status), status.words())).collect();
        format!("\n{}\n\n{images}\n\n{}\n", styled(HEADING, &self.repository), key.join("   "))
    }
}

impl Print for Orphans {
    fn table(&self, _: Option<u16>) -> String {
        if self.orphans.is_empty() {
            return "No orphans: as far as recorded, the source of every replica still has the image.\n".to_owned();
        }
        let mut text = String::new();
        let mut image = None;
        for orphan in &self.orphans {
            if image != Some(&orphan.image) {
                let short = format!("{}@{}", orphan.image.repository, orphan.image.digest.short());
                _ = writeln!(text, "\n{}", styled(HEADING, short));
                image = Some(&orphan.image);
            }
            let tags: Vec<_> = orphan.tags.iter().map(ToString::to_string).collect();
            let tags = if tags.is_empty() { "untagged".to_owned() } else { format!("tagged {}", tags.join(", ")) };
            let has = match orphan.status {
                PlacementStatus::Present | PlacementStatus::Absent => format!("has it, {tags}"),
                PlacementStatus::Archived => format!("has it archived, {tags}"),
                PlacementStatus::ProbablyAbsent => orphan.status.words().to_owned(),
            };
            _ = writeln!(text, "  {} {} {has}", sign(orphan.status), orphan.registry);
            for (source, lost) in &orphan.sources {
                let lost = lost.map(|at| format!(" at {}", time(at))).unwrap_or_default();
                _ = writeln!(text, "  {} {source} deleted it{lost}", sign(PlacementStatus::Absent));
            }
        }
        let count = self.orphans.len();
        let replicas = if count == 1 { "replica" } else { "replicas" };
        _ = writeln!(text, "\n{count} {replicas} whose source no longer has the image");
        text
    }
}

/// Wraps a line, with one indent for the first line and one for the rest. Without a width the line stays whole.
fn filled(line: &str, [first, rest]: [&str; 2], width: Option<u16>) -> String {
    let options = textwrap::Options::new(width.map_or(usize::MAX, usize::from)).break_words(false);
    let options = options.word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::fill(line, options.initial_indent(first).subsequent_indent(rest))
}

/// A table whose columns with an index in `whole` are never wrapped.
fn table(width: Option<u16>, headings: &[&str], whole: &[usize]) -> Table {
    let headings = headings.iter().map(|heading| styled(HEADING, heading)).collect();
    Table { width, headings, whole: whole.to_vec(), rows: Vec::new() }
}

/// A table without lines: columns apart, headings bold.
///
/// On a narrow terminal, the cells of wrappable columns are printed below their row, each on lines of its own.
struct Table {
    width: Option<u16>,
    headings: Vec<String>,
    whole: Vec<usize>,
    rows: Vec<Vec<String>>,
}

/// The fewest characters of a text column that are readable.
const NARROWEST_TEXT: usize = 28;

impl Table {
    fn add_row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    fn is_narrow(&self, broken: usize) -> bool {
        let of_column = |column: &usize| {
            let cells = self.rows.iter().chain([&self.headings]).filter_map(|row| row.get(*column));
            cells.flat_map(|cell| cell.lines()).map(textwrap::core::display_width).max().unwrap_or_default() + 2
        };
        let needed = self.whole.iter().map(of_column).sum::<usize>() + broken * NARROWEST_TEXT;
        broken > 0 && self.width.is_some_and(|width| usize::from(width) < needed)
    }

    /// A table of some of the columns.
    fn grid(&self, columns: &[usize]) -> comfy_table::Table {
        let mut grid = comfy_table::Table::new();
        grid.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        // Without a terminal nothing is wrapped: programs and files expect whole lines.
        grid.set_width(self.width.unwrap_or(u16::MAX));
        let chosen =
            |row: &Vec<String>| columns.iter().filter_map(|column| row.get(*column).cloned()).collect::<Vec<_>>();
        grid.set_header(chosen(&self.headings));
        self.rows.iter().for_each(|row| _ = grid.add_row(chosen(row)));
        for column in grid.column_iter_mut() {
            column.set_padding((0, 2));
            if columns.get(column.index).is_some_and(|column| self.whole.contains(column)) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        grid
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all: Vec<_> = (0..self.headings.len()).collect();
        let (whole, broken): (Vec<_>, Vec<_>) = all.iter().partition(|column| self.whole.contains(column));
        if !self.is_narrow(broken.len()) {
            return write!(f, "{}", self.grid(&all));
        }
        let grid = self.grid(&whole).to_string();
        let mut lines = grid.lines();
        let headings: Vec<_> = broken.iter().filter_map(|column| self.headings.get(*column).cloned()).collect();
        write!(f, "{}\n  {}", lines.next().unwrap_or_default(), headings.join(" / "))?;
        for row in &self.rows {
            let height = whole.iter().filter_map(|column| row.get(*column)).map(|cell| cell.lines().count()).max();
            lines.by_ref().take(height.unwrap_or(1).max(1)).try_for_each(|line| write!(f, "\n{line}"))?;
            let below = broken.iter().filter_map(|column| row.get(*column)).flat_map(|cell| cell.lines());
            for line in below.filter(|line| !line.is_empty()) {
                write!(f, "\n{}", filled(line, ["  ", "    "], self.width))?;
            }
        }
        Ok(())
    }
}

/// `2026-11-16 01:54:34`, in UTC.
pub(crate) fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn sign(status: PlacementStatus) -> String {
    match status {
        PlacementStatus::Present => coloured(AnsiColor::Green, "●"),
        PlacementStatus::Archived => coloured(AnsiColor::Blue, "◐"),
        PlacementStatus::ProbablyAbsent => coloured(AnsiColor::Yellow, "?"),
        PlacementStatus::Absent => coloured(AnsiColor::Red, "○"),
    }
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

/// The function that found a fact by reading the registry. A fact of an event has another id.
fn found_by(fact: &Fact) -> &'static str {
    match fact.event_id.split('-').next() {
        Some("watch") => " by watch",
        Some("reconcile") => " by reconcile",
        Some("mirror") => " by mirror",
        Some("backfill") => " by a backfill",
        _ => "",
    }
}

/// A fact as text.
pub(crate) fn fact_text(fact: &Fact) -> String {
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
        What::DeletionFailed { code, cause } => format!("deletion{} refused by ECR ({code})", by(cause)),
        What::RepositoryDeleted { cause } => coloured(AnsiColor::Red, format!("deleted{}", by(cause))),
        What::Archived { cause } => format!("archived{}", by(cause)),
        What::Restored => "restored".to_owned(),
        What::Observed { storage: None, .. } => format!("found missing{}", found_by(fact)),
        What::Observed { storage: Some(class), tags, without, source } => {
            let mut text = match class {
                StorageClass::Standard => format!("found{}", found_by(fact)),
                StorageClass::Archive => format!("found archived{}", found_by(fact)),
            };
            let names = |tags: &BTreeSet<Tag>| tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(", ");
            if !tags.is_empty() {
                _ = write!(text, " with tag {}", names(tags));
            }
            if !without.is_empty() {
                _ = write!(text, ", tag {} found missing", names(without));
            }
            if let Some(source) = source {
                _ = write!(text, ", replicated from {source}");
            }
            text
        }
        What::ReplicationConfigured { by } => format!("replication rules changed by {by}"),
        What::Other { detail_type, .. } => styled(QUIET, detail_type),
    }
}
