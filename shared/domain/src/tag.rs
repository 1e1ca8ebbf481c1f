//! The history of tags: which image had a tag, and when.
//!
//! Every time a tag is set on an image or removed from one, a [`TagAssignment`] is added to the tag's history. The
//! history answers "which image was `v1.4.2` last week?". It is also the only record of which image lost a tag when
//! another one got it, because ECR sends no event for that.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    evidence::{Evidence, Move, PlacementKey},
    fact::{Fact, Subject, What},
    image::{Digest, Image, Registry, RepositoryName, Tag},
    lineage::{CAUSE_WINDOW_SECONDS, Placement},
};

/// A tag of a repository, in all registries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagName {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
}

/// A tag that was set on an image or removed from it, at one time in one registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagAssignment {
    /// The registry.
    pub registry: Registry,
    /// When the tag was set or removed, in whole seconds.
    pub time: Timestamp,
    /// The digest of the image.
    pub digest: Digest,
    /// Whether the tag was set (`true`) or removed (`false`).
    pub set: bool,
}

/// The tag assignments that one fact reports.
#[must_use]
pub fn assignments_of(fact: &Fact) -> Vec<(TagName, TagAssignment)> {
    let Subject::Image(image) = &fact.subject else { return Vec::new() };
    let assignment = |tag: &Tag, set| {
        let name = TagName { repository: image.repository.clone(), tag: tag.clone() };
        (name, TagAssignment { registry: fact.registry.clone(), time: fact.time, digest: image.digest.clone(), set })
    };
    match &fact.what {
        What::Pushed { tag, .. } | What::Cached { tag, .. } | What::Replicated { tag, .. } => {
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

/// Evidence about the images that lost a tag: the setting of a tag proves a loss for the image that had it before, and
/// a later setting proves a loss for this one.
///
/// `before` are the settings at the nearest earlier second in the same registry, `after` those at the nearest later
/// second. A setting in the same second moves nothing, because present wins.
///
/// INVARIANT (moves): a tag assignment is stored before the adjacent assignments are read, consistently. Of two
/// assignments that become adjacent, the writer of the later stored one therefore sees the other, so every adjacent
/// pair is evaluated, in any order of arrival.
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

/// The settings at the nearest second before an assignment and at the nearest second after it, as [`displacements`]
/// needs them. `newest` are the newest settings of the tag in the registry, newest first; `all` says whether there are
/// no others. `None` if `newest` does not reach back far enough.
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
    // An entry of a still earlier second proves that no setting of the nearest one is missing.
    if earlier.next().is_none() && !all {
        return None;
    }
    let later = || newest.iter().filter(|other| other.time > assignment.time);
    let nearest = later().next_back().map(|nearest| nearest.time);
    let after = later().filter(|other| Some(other.time) == nearest).cloned().collect();
    Some((before, after))
}

/// A time in which a tag was on one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TagInterval {
    /// The registry.
    pub registry: Registry,
    /// The digest of the image that had the tag.
    pub digest: Digest,
    /// When the tag was set on the image.
    pub from: Timestamp,
    /// When and why the tag left the image; absent while the image has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

impl TagInterval {
    /// How the interval ended, or that it lasts, in words.
    #[must_use]
    pub fn summary(&self) -> &'static str {
        match self.ended.as_ref().map(|ended| &ended.why) {
            None => "still set",
            Some(AssignmentEnd::Moved { .. }) => "moved to another image",
            Some(AssignmentEnd::TagDeleted) => "tag deleted",
            Some(AssignmentEnd::ImageDeleted) => "image deleted",
        }
    }
}

/// The end of a [`TagInterval`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ended {
    /// When the tag left the image.
    pub at: Timestamp,
    /// Why the tag left the image.
    #[serde(flatten)]
    pub why: AssignmentEnd,
}

/// Why an image no longer has a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AssignmentEnd {
    /// The tag was set on another image.
    Moved {
        /// The digest of that other image.
        to: Digest,
    },
    /// The tag was removed.
    TagDeleted,
    /// The image was deleted with all its tags.
    ImageDeleted,
}

/// The history of one tag from its assignments: for each registry, which image had it, from when to when, oldest first.
///
/// `gone` returns what is known about the end of an image's tag in a registry besides its assignments: when the image
/// was deleted, or observed without the tag. Two images that got the same tag within one second overlap: ECR's events do
/// not say which came last.
#[must_use]
pub fn intervals(
    mut assignments: Vec<TagAssignment>,
    gone: impl Fn(&Registry, &Digest) -> Vec<Ended>,
) -> Vec<TagInterval> {
    // Within the same second, a removal comes before a setting: present wins.
    assignments.sort_by(|a, b| (&a.registry, a.time, a.set, &a.digest).cmp(&(&b.registry, b.time, b.set, &b.digest)));
    let mut intervals: Vec<TagInterval> = Vec::new();
    // The open interval of each registry and digest: an index into `intervals`, and the newest time the tag was set.
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
        if let (Some(ended), Some(interval)) =
            (first_end(gone(&registry, &digest), since, None), intervals.get_mut(index))
        {
            interval.ended = Some(ended);
        }
    }
    intervals.sort_by(|a, b| (&a.registry, a.from, &a.digest).cmp(&(&b.registry, b.from, &b.digest)));
    intervals
}

/// Ends an interval, at the deletion of its image if that came first.
fn end(intervals: &mut [TagInterval], index: usize, since: Timestamp, ended: Ended, gone: Vec<Ended>) {
    let Some(interval) = intervals.get_mut(index) else { return };
    interval.ended = Some(first_end(gone, since, Some(&ended)).unwrap_or(ended));
}

/// The first end after a time, and before another one. The deletion of an image deletes its tags in the same second.
fn first_end(ends: Vec<Ended>, since: Timestamp, before: Option<&Ended>) -> Option<Ended> {
    let is_first = |ended: &Ended, other: &Ended| {
        ended.at < other.at || ended.at == other.at && other.why == AssignmentEnd::TagDeleted
    };
    let within = |ended: &Ended| since < ended.at && before.is_none_or(|other| is_first(ended, other));
    ends.into_iter().filter(within).min_by_key(|ended| ended.at)
}

/// The ends that the evidence about an image in a registry proves for one of its tags, and those that the deletions of
/// its repository prove. An observation of all tags sets those that it saw again, so it ends only the others.
///
/// If a call deletes the image, and ECR's event names the tag, they are one deletion, at the time of the later one: the
/// event.
#[must_use]
pub fn ends(name: &Tag, image: &Evidence, tag: &Evidence, repository_deletions: &[Fact]) -> Vec<Ended> {
    let is_same = |at: Timestamp, other: Timestamp| {
        (at.as_second() - other.as_second()).abs() <= CAUSE_WINDOW_SECONDS && tag.set().is_none_or(|set| set <= at)
    };
    let reported =
        image.reported.map(|at| tag.reported.filter(|other| is_same(at, *other)).map_or(at, |tag| tag.max(at)));
    // What was reported is in `removed` as well, until something was observed later.
    let observed = image.removed.filter(|at| Some(*at) != image.reported);
    let placement = || Placement { image: image.clone(), tags: [(name.clone(), tag.clone())].into() };
    let overruled = |deletion: &&Fact| match deletion.what {
        What::RepositoryDeleted { listed_at: Some(listed_at), .. } => placement().outlived(listed_at),
        _ => false,
    };
    let repository = repository_deletions.iter().filter(|deletion| !overruled(deletion)).map(|deletion| deletion.time);
    let deleted = reported.into_iter().chain(observed).chain(repository);
    let end = |why: AssignmentEnd| move |at| Ended { at, why: why.clone() };
    deleted.map(end(AssignmentEnd::ImageDeleted)).chain(image.listed.map(end(AssignmentEnd::TagDeleted))).collect()
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
    fn the_newest_assignments_give_the_adjacent_ones_or_nothing() {
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
        // A setting is nearly always the newest when it is recorded. Then it needs all settings of the second before
        // it, and one that is still older.
        let newest = history.split_at(3).0;
        assert_eq!(adjacent_assignments(&setting(9, 'a'), newest, false), None, "another may be in that second");
        assert!(adjacent_assignments(&setting(9, 'a'), history.split_at(4).0, false).is_some());
    }
    fn removal(second: i64, digest: char) -> TagAssignment {
        TagAssignment { set: false, ..setting(second, digest) }
    }

    fn ended(second: i64, why: AssignmentEnd) -> Ended {
        Ended { at: Timestamp::from_second(second).unwrap(), why }
    }

    #[test]
    fn an_interval_ends_when_the_tag_moves_or_is_removed_or_its_image_is_deleted() {
        let of = |assignments: &[TagAssignment], gone: &[(char, i64)]| {
            let gone = |_: &Registry, digest: &Digest| {
                let of_image = gone.iter().filter(|(image, _)| setting(0, *image).digest == *digest);
                of_image.map(|(_, second)| ended(*second, AssignmentEnd::ImageDeleted)).collect()
            };
            let intervals = intervals(assignments.to_vec(), gone).into_iter();
            let each = intervals.map(|interval| {
                let image = interval.digest.encoded().chars().next().unwrap();
                let end = interval.ended.as_ref().map(|ended| ended.at.as_second());
                (image, interval.from.as_second(), end, interval.summary())
            });
            each.collect::<Vec<_>>()
        };
        let (moved, removed, deleted) = ("moved to another image", "tag deleted", "image deleted");
        let there_and_back = [setting(1, 'a'), setting(5, 'b'), setting(9, 'a')];
        assert_eq!(
            of(&[&there_and_back[..], &[removal(12, 'a')]].concat(), &[]),
            [('a', 1, Some(5), moved), ('b', 5, Some(9), moved), ('a', 9, Some(12), removed)]
        );
        assert_eq!(of(&there_and_back, &[]).last(), Some(&('a', 9, None, "still set")));
        assert_eq!(of(&[setting(1, 'a'), setting(3, 'a'), removal(5, 'a')], &[]), [('a', 1, Some(5), removed)]);
        // Present wins; and two in one second overlap.
        let again = [setting(1, 'a'), setting(5, 'a'), removal(5, 'a')];
        assert_eq!(of(&again, &[]), [('a', 1, Some(5), removed), ('a', 5, None, "still set")]);
        let both = [setting(5, 'a'), setting(5, 'b')];
        assert_eq!(of(&both, &[]), [('a', 5, None, "still set"), ('b', 5, None, "still set")]);
        assert_eq!(of(&[setting(1, 'a'), removal(5, 'b')], &[]), [('a', 1, None, "still set")]);
        // The image was deleted first, or with the tag, or before the tag was set.
        assert_eq!(of(&[setting(1, 'a'), setting(5, 'b')], &[('a', 3)])[0], ('a', 1, Some(3), deleted));
        assert_eq!(of(&[setting(1, 'a'), setting(5, 'b')], &[('a', 5)])[0], ('a', 1, Some(5), moved));
        assert_eq!(of(&[setting(1, 'a'), removal(5, 'a')], &[('a', 5)]), [('a', 1, Some(5), deleted)]);
        assert_eq!(of(&[setting(1, 'a'), removal(5, 'a')], &[('a', 6)]), [('a', 1, Some(5), removed)]);
        assert_eq!(of(&[setting(1, 'a')], &[('a', 1)]), [('a', 1, None, "still set")]);
        assert_eq!(
            of(&[setting(1, 'a'), setting(4, 'a')], &[('a', 3), ('a', 9), ('a', 7)]),
            [('a', 1, Some(7), deleted)]
        );
        // Each registry has a history of its own.
        let elsewhere = TagAssignment { registry: "111122223333/eu-west-2".parse().unwrap(), ..setting(5, 'b') };
        assert_eq!(of(&[setting(1, 'a'), elsewhere], &[])[0], ('a', 1, None, "still set"));
    }

    #[test]
    fn evidence_about_the_image_and_its_repository_ends_the_tag() {
        let at = |second| Timestamp::from_second(second).ok();
        let of = |image: Evidence, tag: Evidence, repository: &[Fact]| {
            let all = ends(&"v1".parse().unwrap(), &image, &tag, repository).into_iter();
            all.map(|ended| (ended.at.as_second(), ended.why == AssignmentEnd::ImageDeleted)).collect::<Vec<_>>()
        };
        let pushed = |second| Evidence { pushed: at(second), ..Evidence::default() };
        let deleted = Evidence { removed: at(1_000), reported: at(1_000), ..pushed(1) };
        let tag = |set, reported| Evidence { reported: at(reported), ..pushed(set) };
        assert_eq!(of(pushed(1), pushed(1), &[]), []);
        assert_eq!(of(deleted.clone(), pushed(1), &[]), [(1_000, true)]);
        // The call and the event about the tag are one deletion, if they are near and the tag was not set in between.
        assert_eq!(of(deleted.clone(), tag(1, 1_900), &[]), [(1_900, true)]);
        assert_eq!(of(deleted.clone(), tag(1, 1_901), &[]), [(1_000, true)]);
        assert_eq!(of(deleted.clone(), tag(1, 900), &[]), [(1_000, true)]);
        assert_eq!(of(deleted.clone(), tag(1_000, 1_200), &[]), [(1_200, true)]);
        assert_eq!(of(deleted.clone(), tag(1_001, 1_200), &[]), [(1_000, true)]);
        // It was found missing later, and found without the tag.
        let found = Evidence { removed: at(2_000), listed: at(3_000), ..deleted };
        assert_eq!(of(found, pushed(1), &[]), [(1_000, true), (2_000, true), (3_000, false)]);
        // The repository was deleted; and a listing that began later saw the image.
        let lost = |listed_at: Option<i64>| Fact {
            time: Timestamp::from_second(500).unwrap(),
            registry: setting(0, 'a').registry,
            event_id: "event".to_owned(),
            subject: Subject::Repository("team/app".parse().unwrap()),
            what: What::RepositoryDeleted {
                empty: false,
                listed_at: listed_at.and_then(at),
                cause: crate::fact::Cause::Unknown,
            },
        };
        assert_eq!(of(pushed(1), pushed(1), &[lost(None)]), [(500, true)]);
        assert_eq!(of(pushed(1), pushed(1), &[lost(Some(600))]), []);
        assert_eq!(of(pushed(700), pushed(700), &[lost(Some(600))]), [(500, true)]);
    }
}
