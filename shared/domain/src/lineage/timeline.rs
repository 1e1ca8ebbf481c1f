//! One line for each thing that happened, whatever the number of events that reported it.
//!
//! A deletion is reported by ECR's event, by CloudTrail's record of the call, and by a second record if the caller is of
//! another account. Facts are never merged in the table, because their order of arrival must not matter; so they are
//! merged here, when they are read.

use std::cmp::Reverse;

use super::{CAUSE_WINDOW_SECONDS, distance};
use crate::fact::{Cause, Fact, Subject, What};

/// The facts with each thing that happened only once: with the time of ECR's event, and with the actor of the call. `facts`
/// are in the order of a timeline.
pub(super) fn merged(facts: &[Fact]) -> Vec<Fact> {
    let mut lines: Vec<Option<Fact>> = facts.iter().cloned().map(Some).collect();
    for (index, fact) in facts.iter().enumerate() {
        let Some(other) = best_report_of(fact, index, facts) else { continue };
        let repeated = lines.get_mut(index).and_then(Option::take);
        if let (Some(repeated), Some(Some(line))) = (repeated, lines.get_mut(other)) {
            adopt(line, repeated);
        }
    }
    let mut lines: Vec<Fact> = lines.into_iter().flatten().collect();
    lines.sort_by(|a, b| super::order(a).cmp(&super::order(b)));
    lines
}

/// The index of the fact that reports the same and names the actor better: the nearest one.
fn best_report_of(fact: &Fact, index: usize, facts: &[Fact]) -> Option<usize> {
    // The facts are ordered by time, so only those around this one are compared.
    let seconds = |other: &Fact| other.time.as_second() - fact.time.as_second();
    let from = facts.partition_point(|other| seconds(other) < -CAUSE_WINDOW_SECONDS);
    let near = facts.iter().enumerate().skip(from).take_while(|(_, other)| seconds(other) <= CAUSE_WINDOW_SECONDS);
    let better = near.filter(|(other, better)| {
        *other != index
            && better.registry == fact.registry
            && covers(better, fact)
            && (actor(better) > actor(fact) || (actor(better) == actor(fact) && *other < index))
    });
    let best = better.min_by_key(|(other, better)| (Reverse(actor(better)), distance(better, fact.time), *other));
    best.map(|(other, _)| other)
}

/// Whether a fact reports all that another one reports.
fn covers(better: &Fact, fact: &Fact) -> bool {
    let same = match (&better.what, &fact.what) {
        (What::Pushed { tag, .. }, What::Pushed { tag: other, .. }) => tag == other,
        (What::ImageDeleted { .. }, What::ImageDeleted { .. } | What::TagsDeleted { .. }) => true,
        (What::TagsDeleted { tags, .. }, What::TagsDeleted { tags: other, .. }) => other.is_subset(tags),
        // `force` deletes the images, and ECR may send an event for each.
        (What::RepositoryDeleted { empty: false, .. }, What::ImageDeleted { .. } | What::TagsDeleted { .. }) => {
            return actor(fact) == Actor::Unknown && actor(better) > Actor::Unknown;
        }
        (better, fact) => better.kind() == fact.kind() && !matches!(better, What::Observed { .. }),
    };
    let names_more = match (actor(fact), actor(better)) {
        (Actor::Unknown, better) => better > Actor::Unknown,
        (fact, Actor::Us) => fact < Actor::Us,
        _ => false,
    };
    same && better.subject == fact.subject && (names_more || shared(better, fact))
}

/// Whether two facts are of two records of the same call, in the trails of two accounts.
fn shared(a: &Fact, b: &Fact) -> bool {
    let shared = |fact: &Fact| fact.event_id.split_once(Fact::SHARED).map(|(shared, _)| shared.to_owned());
    shared(a).is_some() && shared(a) == shared(b)
}

/// How well a fact names who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Actor {
    Unknown,
    /// By an id that only the caller's account can read.
    Opaque,
    Known,
    /// ecr-lineage: CloudTrail names only the role that it used.
    Us,
}

fn actor(fact: &Fact) -> Actor {
    let by = |by: &str| if by.starts_with("arn:") { Actor::Known } else { Actor::Opaque };
    match &fact.what {
        What::Pushed { by: Some(name), .. } | What::Changed { by: name, .. } => by(name),
        What::ImageDeleted { cause }
        | What::TagsDeleted { cause, .. }
        | What::Attempted { cause, .. }
        | What::RepositoryDeleted { cause, .. }
        | What::Archived { cause } => match cause {
            Cause::Unknown => Actor::Unknown,
            Cause::Mirror { .. } => Actor::Us,
            Cause::Principal { .. } | Cause::Lifecycle { .. } | Cause::Repository { .. } if !cause.is_readable() => {
                Actor::Opaque
            }
            Cause::Principal { .. } | Cause::Lifecycle { .. } | Cause::Repository { .. } => Actor::Known,
        },
        _ => Actor::Unknown,
    }
}

/// Takes from a fact what the better one lacks: the time of ECR's event, which is that of the deletion itself, and what
/// the image is.
fn adopt(line: &mut Fact, repeated: Fact) {
    if actor(&repeated) == Actor::Unknown && !matches!(line.subject, Subject::Repository(_)) {
        line.time = line.time.max(repeated.time);
    }
    if let (
        What::Pushed { artifact_media_type: known, platforms: known_platforms, .. },
        What::Pushed { artifact_media_type: media_type, platforms, .. },
    ) = (&mut line.what, repeated.what)
    {
        *known = known.take().or(media_type);
        known_platforms.extend(platforms);
    }
}
