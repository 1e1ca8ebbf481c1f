//! What a tag meant, and when.
//!
//! Every time a tag is set on an image, and every time it is removed from one, a [`TagAssignment`] is kept in the tag's own
//! history. The history answers "which image was `v1.4.2` last week?", and it is the only place that knows which image
//! lost a tag when another one got it, because ECR sends no event for that.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    evidence::{Evidence, Move, PlacementKey},
    fact::{Fact, Subject, What},
    image::{Digest, Image, Registry, RepositoryName, Tag},
};

/// A tag of a repository, in whatever registries have it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagName {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
}

/// A tag was set on an image or removed from it, at one time in one registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagAssignment {
    /// Where.
    pub registry: Registry,
    /// When.
    pub time: Timestamp,
    /// Which image.
    pub digest: Digest,
    /// Set, or removed.
    pub set: bool,
}

/// The marks that one fact leaves.
#[must_use]
pub fn assignments_of(fact: &Fact) -> Vec<(TagName, TagAssignment)> {
    let Subject::Image(image) = &fact.subject else { return Vec::new() };
    let assignment = |tag: &Tag, set| {
        let name = TagName { repository: image.repository.clone(), tag: tag.clone() };
        (name, TagAssignment { registry: fact.registry.clone(), time: fact.time, digest: image.digest.clone(), set })
    };
    match &fact.what {
        What::Pushed { tag, .. } | What::Replicated { tag, .. } => {
            tag.iter().map(|tag| assignment(tag, true)).collect()
        }
        What::TagsDeleted { tags, .. } => tags.iter().map(|tag| assignment(tag, false)).collect(),
        What::Observed { storage: Some(_), tags, without, .. } => {
            let seen = tags.iter().map(|tag| assignment(tag, true));
            seen.chain(without.iter().map(|tag| assignment(tag, false))).collect()
        }
        _ => Vec::new(),
    }
}

/// What setting a tag proves about the image that had it before, and what a later setting proves about this one.
///
/// `before` are the settings at the nearest earlier second in the same registry, `after` those at the nearest later
/// second. A setting in the same second moves nothing: present wins.
///
/// INVARIANT (moves): a mark is stored before its neighbours are read, consistently. Of two marks that become
/// neighbours, the one stored later therefore sees the other, and every adjacent pair is joined, in any order of
/// arrival.
#[must_use]
pub fn displacements(
    name: &TagName,
    assignment: &TagAssignment,
    before: &[TagAssignment],
    after: &[TagAssignment],
) -> Vec<(PlacementKey, Evidence)> {
    let earlier = before.iter().map(|earlier| (earlier, assignment));
    let later = after.iter().map(|later| (assignment, later));
    earlier
        .chain(later)
        .filter(|(loser, winner)| loser.digest != winner.digest)
        .map(|(loser, winner)| {
            let moved = Move { since: loser.time, at: winner.time, to: winner.digest.clone() };
            let image = Image { repository: name.repository.clone(), digest: loser.digest.clone() };
            let loser = PlacementKey { image, registry: assignment.registry.clone(), tag: Some(name.tag.clone()) };
            (loser, Evidence { moved: Some(moved), ..Evidence::default() })
        })
        .collect()
}

/// The settings at the nearest second before a setting and at the nearest second after it, as [`displacements`] needs them,
/// from the newest settings of its tag in its registry, newest first, which are all settings or not. Nothing, if those
/// do not reach back far enough.
#[must_use]
pub fn adjacent_assignments(
    assignment: &TagAssignment,
    newest: &[TagAssignment],
    all: bool,
) -> Option<(Vec<TagAssignment>, Vec<TagAssignment>)> {
    let mut earlier = newest.iter().filter(|other| other.time < assignment.time).peekable();
    let nearest = earlier.peek().map(|nearest| nearest.time);
    let mut before = Vec::new();
    while let Some(other) = earlier.next_if(|other| Some(other.time) == nearest) {
        before.push(other.clone());
    }
    // Another second before that one proves that no setting of it is missing.
    if earlier.next().is_none() && !all {
        return None;
    }
    let later = || newest.iter().filter(|other| other.time > assignment.time);
    let nearest = later().next_back().map(|nearest| nearest.time);
    let after = later().filter(|other| Some(other.time) == nearest).cloned().collect();
    Some((before, after))
}

/// A tag meant one image, for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TagInterval {
    /// Where.
    pub registry: Registry,
    /// Which image.
    pub digest: Digest,
    /// Since when.
    pub from: Timestamp,
    /// Until when and why; nothing while it lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// The end of a [`TagInterval`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// Why.
    #[serde(flatten)]
    pub why: AssignmentEnd,
}

/// Why a tag stopped to mean an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AssignmentEnd {
    /// The tag was set on another image.
    Moved {
        /// That other image.
        to: Digest,
    },
    /// The tag was removed.
    TagDeleted,
    /// The image was deleted with all its tags.
    ImageDeleted,
}

/// The history of one tag from its marks: for each registry, which image, from when to when, oldest first.
///
/// `gone` tells the newest time an image as a whole was deleted from a registry. Two images given the same tag within
/// one second overlap: ECR's events do not tell which came last.
#[must_use]
pub fn intervals(
    mut assignments: Vec<TagAssignment>,
    gone: impl Fn(&Registry, &Digest) -> Option<Timestamp>,
) -> Vec<TagInterval> {
    // On the same second a removal comes before a setting: present wins.
    assignments.sort_by(|a, b| (&a.registry, a.time, a.set, &a.digest).cmp(&(&b.registry, b.time, b.set, &b.digest)));
    let mut intervals: Vec<TagInterval> = Vec::new();
    // The open band of each registry and digest: an index into `intervals`, and the newest time the tag was set.
    let mut open: BTreeMap<(Registry, Digest), (usize, Timestamp)> = BTreeMap::new();
    for assignment in assignments {
        let TagAssignment { registry, time, digest, set } = assignment;
        let key = (registry, digest);
        let ended: Vec<_> = open
            .iter()
            .filter(|((registry, digest), (_, since))| {
                *registry == key.0 && if set { *digest != key.1 && *since < time } else { *digest == key.1 }
            })
            .map(|(key, (index, since))| (key.clone(), *index, *since))
            .collect();
        for (ended, index, since) in ended {
            open.remove(&ended);
            let why = if set { AssignmentEnd::Moved { to: key.1.clone() } } else { AssignmentEnd::TagDeleted };
            end(&mut intervals, index, since, Ended { at: time, why }, gone(&ended.0, &ended.1));
        }
        if set {
            let next = intervals.len();
            let (index, since) = open.entry(key.clone()).or_insert((next, time));
            *since = time;
            if *index == next {
                intervals.push(TagInterval { registry: key.0, digest: key.1, from: time, ended: None });
            }
        }
    }
    for ((registry, digest), (index, since)) in open {
        if let Some(at) = gone(&registry, &digest).filter(|at| *at > since) {
            end(&mut intervals, index, since, Ended { at, why: AssignmentEnd::ImageDeleted }, None);
        }
    }
    intervals.sort_by(|a, b| (&a.registry, a.from, &a.digest).cmp(&(&b.registry, b.from, &b.digest)));
    intervals
}

/// Ends a band, at the deletion of its image if that came first.
fn end(intervals: &mut [TagInterval], index: usize, since: Timestamp, ended: Ended, gone: Option<Timestamp>) {
    let Some(interval) = intervals.get_mut(index) else { return };
    let gone = gone.filter(|gone| since < *gone && *gone < ended.at);
    interval.ended = Some(gone.map_or(ended, |at| Ended { at, why: AssignmentEnd::ImageDeleted }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(second: i64, digest: char) -> TagAssignment {
        let digest = format!("sha256:{}", String::from(digest).repeat(64)).parse().unwrap();
        let registry = "111122223333/eu-west-1".parse().unwrap();
        TagAssignment { registry, time: Timestamp::from_second(second).unwrap(), digest, set: true }
    }

    #[test]
    fn the_newest_settings_say_the_neighbours_or_nothing() {
        // Two images in one second, twice; newest first.
        let history = [(9, 'a'), (7, 'c'), (7, 'b'), (5, 'a'), (3, 'd'), (3, 'c'), (1, 'b')]
            .map(|(time, image)| setting(time, image));
        let at = |time: Option<Timestamp>| {
            let same = history.iter().filter(|other| Some(other.time) == time);
            same.cloned().collect::<Vec<_>>()
        };
        for assignment in (0..=10).map(|second| setting(second, 'x')) {
            let before = at(history.iter().map(|other| other.time).filter(|time| *time < assignment.time).max());
            let after = at(history.iter().map(|other| other.time).filter(|time| *time > assignment.time).min());
            let mut said = 0;
            for read in 0..=history.len() {
                let newest = history.split_at(read).0;
                if let Some(adjacent_assignments) = adjacent_assignments(&assignment, newest, read == history.len()) {
                    assert_eq!(adjacent_assignments, (before.clone(), after.clone()), "{assignment:?} from {read}");
                    said += 1;
                }
            }
            assert!(said > 0, "all settings say it of {assignment:?}");
        }
        // The newest setting, as nearly every one is when it is recorded, needs itself and two before it.
        let newest = history.split_at(3).0;
        assert_eq!(adjacent_assignments(&setting(9, 'a'), newest, false), None, "another may be in that second");
        assert!(adjacent_assignments(&setting(9, 'a'), history.split_at(4).0, false).is_some());
    }
}
