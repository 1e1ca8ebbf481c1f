//! Prints images, tags and orphans.

use std::fmt::Write;

use anstyle::AnsiColor;
use answers::{
    answer::{History, Images, ListedImage, Orphan, Orphans, Shown, ShownImage},
    basis::Basis,
};
use domain::{
    expectation::{ExpectedReplica, ReplicaState},
    fact::{Cause, Fact, What},
    inventory::ListedCopy,
    lineage::{PlacementStatus, Whereabouts},
    tag::AssignmentEnd,
};
use indicatif::DecimalBytes;
use jiff::Timestamp;

use super::{
    HEADING, Print, QUIET, coloured, csv, deletions, duration, filled, image_name, registry_name, styled, table, time,
};
use crate::output;

impl Print for Shown {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = String::new();
        if let Some(past) = &self.past {
            _ = writeln!(text, "\n{}", filled(&coloured(AnsiColor::Yellow, format!("! {past}")), ["", "  "], width));
        }
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
        if !self.platforms.is_empty() {
            let platforms: Vec<_> = self.platforms.iter().map(String::as_str).collect();
            _ = writeln!(text, "for {}", platforms.join(", "));
        }
        if !self.registries.is_empty() {
            let expected = self.expected.iter().map(|expected| &expected.registry);
            let registries = self.registries.iter().map(|place| &place.registry).chain(expected);
            let longest = registries.map(|registry| registry_name(registry).len()).max().unwrap_or_default();
            // The longest registry names fit in 80 columns only with narrow gaps.
            let gap = if width.is_some_and(|width| longest + 54 > width.into()) { " " } else { "  " };
            let [first_seen, deleted_at] = ["FIRST SEEN (UTC)", "DELETED AT (UTC)"].map(output::shown);
            let heading =
                format!("{:<longest$}{gap}{:<10}{gap}{first_seen:<19}{gap}{deleted_at}", "REGISTRY", "STATUS");
            _ = writeln!(text, "\n{}", styled(HEADING, heading));
            for place in &self.registries {
                text.push_str(&whereabouts(place, longest, gap, width));
                let here = |expected: &&ExpectedReplica| expected.registry == place.registry;
                self.expected.iter().filter(here).for_each(|expected| text.push_str(&lacks(expected, width)));
                for deletion in self.deletions.iter().filter(|deletion| deletion.registry == place.registry) {
                    text.push_str(&deletions::below(deletion, width));
                }
            }
            let known =
                |expected: &&ExpectedReplica| self.registries.iter().any(|place| place.registry == expected.registry);
            for expected in self.expected.iter().filter(|expected| !known(expected)) {
                let (registry, state) = (registry_name(&expected.registry), replica_state(expected.state));
                _ = writeln!(text, "{registry:<longest$}{gap}{state}");
                text.push_str(&lacks(expected, width));
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
    let (sign, word) = (sign(place.status), place.status.word());
    let times = [place.since, place.deleted.as_ref().map(|deleted| deleted.at)];
    let [first_seen, deleted_at] = times.map(|at| at.map(time).unwrap_or_default());
    let registry = registry_name(&place.registry);
    let mut text = format!("{registry:<longest$}{gap}{sign} {word:<8}{gap}{first_seen:<19}{gap}{deleted_at}\n");
    let mut detail = |line: &str| _ = writeln!(text, "{}", filled(line, ["    ", "      "], width));
    if place.status == PlacementStatus::ProbablyAbsent {
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
        let by = place.pushed_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        detail(&match &place.cached_from {
            Some(upstream) => format!("brought from {upstream} by the pull through cache at {}", time(at)),
            None => format!("pushed at {}{by}", time(at)),
        });
    }
    for from in &place.replicated_from {
        let lag = from.lag_seconds.map(|seconds| format!(", lag {}", duration(seconds))).unwrap_or_default();
        detail(&format!("replicated from {} at {}{lag}", from.registry, time(from.at)));
    }
    if let Some(listed) = &place.listed {
        detail(&size_and_pull(listed));
    }
    if let Some(deleted) = &place.deleted {
        let comma = if deleted.cause == Cause::Unknown { "," } else { "" };
        detail(&coloured(AnsiColor::Red, format!("deleted{comma} {}", deleted.cause_text)));
    }
    text
}

/// The size of a copy and its last pull, in words.
fn size_and_pull(listed: &ListedCopy) -> String {
    let pull =
        listed.last_pulled_at.map_or_else(|| "no pull recorded".to_owned(), |at| format!("last pull {}", time(at)));
    format!("{}, {pull}", DecimalBytes(listed.size_bytes))
}

/// What an answer rests on, above the answer.
pub(crate) fn basis(basis: &Basis, width: Option<u16>) -> String {
    format!("\n{}\n", filled(&styled(QUIET, basis.summary()), ["", "  "], width))
}

/// That nothing was found: all is well only if every registry was listed.
pub(crate) fn nothing_found(basis: &Basis, none: &str, width: Option<u16>) -> String {
    let never: Vec<_> = basis.never_listed().map(ToString::to_string).collect();
    let Some(first) = never.first() else {
        return format!("\n{}\n", coloured(AnsiColor::Green, format!("● {none}")));
    };
    let others = if never.len() > 1 { format!(" and {} more", never.len() - 1) } else { String::new() };
    let doubt = format!(
        "? None is recorded, but {first}{others} was never listed completely; `ecr-lineage reconcile {first}` lists it."
    );
    format!("\n{}\n", filled(&coloured(AnsiColor::Yellow, doubt), ["", "  "], width))
}

/// The sign of the state of an expected replica.
pub(super) fn replica_sign(state: ReplicaState) -> String {
    let (colour, sign) = replica_look(state);
    coloured(colour, sign)
}

/// The state of an expected replica, with its sign.
fn replica_state(state: ReplicaState) -> String {
    let (colour, sign) = replica_look(state);
    coloured(colour, format!("{sign} {}", state.words()))
}

fn replica_look(state: ReplicaState) -> (AnsiColor, &'static str) {
    match state {
        ReplicaState::Arrived => (AnsiColor::Green, "●"),
        ReplicaState::Replicating => (AnsiColor::Blue, "◔"),
        ReplicaState::Late | ReplicaState::Untagged => (AnsiColor::Yellow, "!"),
        ReplicaState::Failed | ReplicaState::Missing => (AnsiColor::Red, "‼"),
        ReplicaState::Deleted => (AnsiColor::Red, "○"),
        ReplicaState::NotExpected => (AnsiColor::BrightBlack, "–"),
        ReplicaState::Unknown => (AnsiColor::Yellow, "?"),
    }
}

/// What an expected replica lacks, and why; nothing if it arrived, or if its deletion is shown anyway.
fn lacks(expected: &ExpectedReplica, width: Option<u16>) -> String {
    if matches!(expected.state, ReplicaState::Arrived | ReplicaState::Deleted) {
        return String::new();
    }
    let Some(why) = &expected.why else { return String::new() };
    let line = match expected.state {
        ReplicaState::Replicating | ReplicaState::NotExpected => why.clone(),
        state => format!("{}: {why}", replica_state(state)),
    };
    filled(&line, ["    ", "      "], width) + "\n"
}

/// The facts of the image, and the moves of its tags to other images, which are facts of those images.
fn timeline_of(shown: &ShownImage) -> Vec<(Timestamp, String, String)> {
    let facts = shown.timeline.iter().map(|fact| (fact.time, fact.registry.to_string(), fact_text(fact)));
    let moves = shown.registries.iter().flat_map(|place| {
        place.moved_tags.iter().map(|moved| (moved.at, place.registry.to_string(), moved.summary.clone()))
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
                None => coloured(AnsiColor::Green, format!("● {}", interval.summary())),
                Some(AssignmentEnd::Moved { .. }) => format!("→ {}", interval.summary()),
                Some(AssignmentEnd::TagDeleted | AssignmentEnd::ImageDeleted) => {
                    coloured(AnsiColor::Red, format!("○ {}", interval.summary()))
                }
            };
            _ = writeln!(text, "  {} to {until:<19}  {}  {then}", time(interval.from), interval.digest.short());
        }
        text
    }

    fn sheet(&self) -> Option<&'static csv::Sheet> {
        Some(&csv::HISTORY)
    }
}

impl Print for Images {
    fn table(&self, width: Option<u16>) -> String {
        let columns = ["IMAGE / SIZE", "PUSHED (UTC)", "REGISTRIES", "LAST PULL", "TAGS"];
        let mut images = table(width, &columns, &[0, 1, 2, 3]);
        for image in &self.images {
            let tags: Vec<_> = image.tags.iter().map(ToString::to_string).collect();
            let has = image.registries.iter().map(|(registry, status)| {
                let lacks = image.not_arrived.get(registry).map(|state| format!(" ({})", state.words()));
                format!("{} {registry}{}", sign(*status), lacks.unwrap_or_default())
            });
            let lacks = image.not_arrived.iter().filter(|(registry, _)| !image.registries.contains_key(*registry));
            let lacks =
                lacks.map(|(registry, state)| format!("{} {registry} ({})", replica_sign(*state), state.words()));
            let places: Vec<_> = has.chain(lacks).collect();
            let size = image.listed.values().next().map(|listed| format!("\n{}", DecimalBytes(listed.size_bytes)));
            images.add_row([
                image.digest.short() + &size.unwrap_or_default(),
                image.pushed_at.map(time).unwrap_or_default(),
                places.join("\n"),
                last_pulls(image),
                tags.join("\n"),
            ]);
        }
        let key: Vec<_> = self.status_texts.iter().map(|(status, text)| format!("{} {text}", sign(*status))).collect();
        format!("\n{}\n\n{images}\n\n{}\n", styled(HEADING, &self.repository), key.join("   "))
    }

    fn sheet(&self) -> Option<&'static csv::Sheet> {
        Some(&csv::IMAGES)
    }
}

/// The day of the last pull in each registry that has the image, one line for each.
fn last_pulls(image: &ListedImage) -> String {
    let pull = |(registry, status): (_, &PlacementStatus)| match image.listed.get(registry) {
        _ if !status.may_be_there() => String::new(),
        None => "unknown".to_owned(),
        Some(ListedCopy { last_pulled_at: None, .. }) => "none".to_owned(),
        Some(ListedCopy { last_pulled_at: Some(at), .. }) => at.strftime("%Y-%m-%d").to_string(),
    };
    image.registries.iter().map(pull).collect::<Vec<_>>().join("\n")
}

impl Print for Orphans {
    fn table(&self, width: Option<u16>) -> String {
        let mut text = basis(&self.basis, width);
        if self.orphans.is_empty() {
            let none = "No orphans: the source of every replica still has the image.";
            text.push_str(&nothing_found(&self.basis, none, width));
        } else {
            text.push_str(&orphan_list(&self.orphans));
        }
        text
    }

    fn sheet(&self) -> Option<&'static csv::Sheet> {
        Some(&csv::ORPHANS)
    }
}

/// Orphans, image by image, and their number.
pub(crate) fn orphan_list(orphans: &[Orphan]) -> String {
    let mut text = String::new();
    let mut image = None;
    let mut by_image: Vec<_> = orphans.iter().collect();
    by_image.sort_by_key(|orphan| &orphan.image);
    for orphan in by_image {
        if image != Some(&orphan.image) {
            _ = writeln!(text, "\n{}", styled(HEADING, image_name(&orphan.image, None)));
            image = Some(&orphan.image);
        }
        _ = writeln!(text, "  {} {} {}", sign(orphan.status), orphan.registry, orphan.summary);
        if let Some(listed) = &orphan.listed {
            _ = writeln!(text, "    {}", size_and_pull(listed));
        }
        for (source, lost) in &orphan.sources {
            let lost = lost.map(|at| format!(" at {}", time(at))).unwrap_or_default();
            _ = writeln!(text, "  {} {source} deleted it{lost}", sign(PlacementStatus::Absent));
        }
    }
    let replicas = if orphans.len() == 1 { "replica" } else { "replicas" };
    let bytes: u64 = orphans.iter().filter_map(|orphan| orphan.listed.as_ref()).map(|listed| listed.size_bytes).sum();
    let size = if bytes > 0 { format!(", {}", DecimalBytes(bytes)) } else { String::new() };
    _ = writeln!(text, "\n{} {replicas} whose source no longer has the image{size}", orphans.len());
    text
}

fn sign(status: PlacementStatus) -> String {
    match status {
        PlacementStatus::Present => coloured(AnsiColor::Green, "●"),
        PlacementStatus::Archived => coloured(AnsiColor::Blue, "◐"),
        PlacementStatus::ProbablyAbsent => coloured(AnsiColor::Yellow, "?"),
        PlacementStatus::Absent => coloured(AnsiColor::Red, "○"),
    }
}

/// A fact as text.
pub(crate) fn fact_text(fact: &Fact) -> String {
    let text = fact.summary();
    match &fact.what {
        What::ReplicationFailed { .. }
        | What::ImageDeleted { .. }
        | What::TagsDeleted { .. }
        | What::RepositoryDeleted { .. } => coloured(AnsiColor::Red, text),
        What::Attempted { .. } | What::Changed { .. } | What::Other { .. } => styled(QUIET, text),
        _ => text,
    }
}
