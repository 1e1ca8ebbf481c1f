//! One image in one registry: its status, its tags, and when it went, from the evidence alone.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::MovedTag;
use crate::{
    evidence::Evidence,
    image::{Registry, Tag},
};

/// One image in one registry, whether it is present or not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// Evidence about the digest itself.
    pub image: Evidence,
    /// Evidence about each tag that the image ever had in this registry.
    pub tags: BTreeMap<Tag, Evidence>,
}

/// Whether an image is in a registry, according to what is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PlacementStatus {
    /// The image is there and can be pulled.
    Present,
    /// The image is there, in the archive storage class.
    Archived,
    /// The last recorded tag was removed, and ECR deletes an image together with its last tag. The image is deleted
    /// unless it has tags that no event reported; only a read of the registry confirms it.
    ProbablyAbsent,
    /// The image is not there.
    Absent,
}

impl PlacementStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Present, Self::Archived, Self::ProbablyAbsent, Self::Absent];

    /// The status in words, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Archived => "archived",
            Self::ProbablyAbsent => "untagged, deletion not confirmed",
            Self::Absent => "gone",
        }
    }

    /// The status in one word, for narrow columns.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ProbablyAbsent => "untagged",
            other => other.words(),
        }
    }

    /// Whether the image may still be there. Anything less than certain absence counts as there.
    #[must_use]
    pub fn may_be_there(self) -> bool {
        self != Self::Absent
    }
}

impl Placement {
    /// Merges evidence about the same image in the same registry.
    #[must_use]
    pub fn of(evidence: impl IntoIterator<Item = (Option<Tag>, Evidence)>) -> Self {
        let mut placement = Self::default();
        for (tag, evidence) in evidence {
            match tag {
                None => placement.image.merge(&evidence),
                Some(tag) => placement.tags.entry(tag).or_default().merge(&evidence),
            }
        }
        placement
    }

    /// Merges another placement of the same image in the same registry.
    pub fn merge(&mut self, other: &Self) {
        self.image.merge(&other.image);
        for (tag, evidence) in &other.tags {
            self.tags.entry(tag.clone()).or_default().merge(evidence);
        }
    }

    /// The placement as it was recorded before a time. What newer evidence replaced is not in it.
    #[must_use]
    pub fn before(&self, time: Timestamp) -> Self {
        let tags = self.tags.iter().map(|(tag, evidence)| (tag.clone(), evidence.before(time)));
        Self { image: self.image.before(time), tags: tags.collect() }
    }

    /// Whether the image was certainly here just before a time.
    #[must_use]
    pub fn was_there(&self, time: Timestamp) -> bool {
        let then = self.before(time);
        then.set().is_some() && matches!(then.status(), PlacementStatus::Present | PlacementStatus::Archived)
    }

    /// Whether a listing that began at a time proves that the image outlived what happened before. If a listing found it
    /// missing, and nothing reported how it went, then what happened before may be the reason.
    #[must_use]
    pub fn outlived(&self, listed_at: Timestamp) -> bool {
        let found_missing = self.status() == PlacementStatus::Absent && self.reported_gone_at().is_none();
        !found_missing && self.was_there(listed_at)
    }

    /// The newest time that the image was proved to be here, by its digest or by any tag.
    #[must_use]
    pub fn set(&self) -> Option<Timestamp> {
        self.names().filter_map(Evidence::set).max()
    }

    /// All evidence: that of the digest, then that of each tag.
    fn names(&self) -> impl Iterator<Item = &Evidence> {
        std::iter::once(&self.image).chain(self.tags.values())
    }

    /// Whether the image is in this registry.
    #[must_use]
    pub fn status(&self) -> PlacementStatus {
        let pullable = self.names().filter_map(Evidence::pullable).max();
        let there = pullable.max(self.image.archived);
        if self.image.removed > there {
            return PlacementStatus::Absent;
        }
        if self.last_tag_removed().is_some() {
            PlacementStatus::ProbablyAbsent
        } else if self.image.archived > pullable {
            PlacementStatus::Archived
        } else {
            PlacementStatus::Present
        }
    }

    /// When the last recorded tag was removed. `None` unless no tag is left, the last one was removed rather than moved
    /// to another image, and nothing newer proves that the image is there.
    fn last_tag_removed(&self) -> Option<Timestamp> {
        let (mut removed, mut moved) = (None, None);
        for tag in self.tags.values() {
            if self.is_set(tag) {
                return None;
            }
            let removed_at = self.tag_removed_at(tag);
            let move_at = tag.moved.as_ref().map(|moved| moved.at);
            let first = [removed_at, move_at].into_iter().flatten().min();
            // The tag was deleted with the image, and the image came back without it.
            if self.image.removed > tag.set() && first.is_none_or(|first| self.image.removed < Some(first)) {
                continue;
            }
            // Only the first end counts: what happens to the tag later, on another image, is not a loss of this image.
            match removed_at.filter(|at| move_at.is_none_or(|moved| *at < moved)) {
                Some(at) => removed = removed.max(Some(at)),
                None => moved = moved.max(move_at),
            }
        }
        let proved = self.image.pullable().max(self.image.archived).max(moved);
        removed.filter(|at| Some(*at) > proved)
    }

    /// When a tag was removed, unless it was set again: as reported, or else as observed. If an observation of all tags
    /// did not see it, it was removed before.
    fn tag_removed_at(&self, tag: &Evidence) -> Option<Timestamp> {
        tag.removed_at().or_else(|| self.image.listed.filter(|at| Some(*at) > tag.set()))
    }

    /// Whether the image has the tag, provided that the image is there.
    fn is_set(&self, tag: &Evidence) -> bool {
        let removed = tag.removed.max(self.image.removed).max(self.image.listed);
        tag.set().is_some() && tag.set() >= removed && tag.moved.is_none()
    }

    /// The tags that the image has here now, according to what is recorded.
    #[must_use]
    pub fn current_tags(&self) -> BTreeSet<&Tag> {
        match self.status() {
            PlacementStatus::Present | PlacementStatus::Archived => {
                self.tags.iter().filter(|(_, evidence)| self.is_set(evidence)).map(|(tag, _)| tag).collect()
            }
            PlacementStatus::ProbablyAbsent | PlacementStatus::Absent => BTreeSet::new(),
        }
    }

    /// The tags that the image has here now, or had when it was deleted here.
    #[must_use]
    pub fn last_tags(&self) -> BTreeSet<&Tag> {
        let Some(gone) = self.gone_at() else { return self.current_tags() };
        let had = self.tags.iter().filter(|(_, tag)| {
            let moved = tag.moved.as_ref().is_some_and(|moved| moved.at < gone);
            tag.set().is_some() && !moved && self.tag_removed_at(tag).is_none_or(|removed| removed >= gone)
        });
        had.map(|(tag, _)| tag).collect()
    }

    /// The tags that were removed from the image rather than moved to another one, and when.
    pub fn removed_tags(&self) -> impl Iterator<Item = (&Tag, Timestamp)> {
        self.tags.iter().filter_map(|(tag, evidence)| {
            let with_image = self.image.removed_at().filter(|at| Some(*at) > evidence.set());
            let removed = self.tag_removed_at(evidence).max(with_image)?;
            let moved = evidence.moved.as_ref().is_some_and(|moved| moved.at <= removed);
            (evidence.set().is_some() && !moved).then_some((tag, removed))
        })
    }

    /// The tags that moved to other images, unless they were removed before.
    pub(super) fn moved_tags(&self) -> Vec<MovedTag> {
        let moved = self.tags.iter().filter_map(|(tag, evidence)| {
            let moved = evidence.moved.as_ref()?;
            let removed = evidence.removed.max(self.image.removed);
            let lost_before = removed.is_some_and(|at| moved.since < at && at < moved.at);
            let summary = format!("tag {tag} moved to {}", moved.to.short());
            (!lost_before).then(|| MovedTag { tag: tag.clone(), at: moved.at, to: moved.to.clone(), summary })
        });
        moved.collect()
    }

    /// When the image was deleted, if it is not here: as an event or a call reported it, or else when it was found
    /// missing.
    #[must_use]
    pub fn gone_at(&self) -> Option<Timestamp> {
        match self.status() {
            PlacementStatus::Absent => self.reported_gone_at().or(self.image.removed),
            PlacementStatus::ProbablyAbsent => self.last_tag_removed(),
            PlacementStatus::Present | PlacementStatus::Archived => None,
        }
    }

    /// The reported time of the deletion of an absent image, or of its last tag. A call has the time of the request, and
    /// ECR's events, one for each tag, that of the deletion.
    pub(super) fn reported_gone_at(&self) -> Option<Timestamp> {
        let there = self.names().filter_map(Evidence::set).max();
        let newer = |at: &Timestamp| Some(*at) > there;
        match self.image.reported.filter(newer) {
            Some(image) => self.names().filter_map(|name| name.reported).filter(newer).max().max(Some(image)),
            None => self.last_tag_removed(),
        }
    }

    /// Takes into account that the repository was deleted. An image that was gone before stays as it is; of one that was
    /// still recorded as there, an empty repository proves only that it was gone by then. One that was listed since is there.
    pub(super) fn lose_repository(&mut self, at: Timestamp, empty: bool, listed_at: Option<Timestamp>) {
        if listed_at.is_some_and(|listed_at| self.outlived(listed_at)) {
            return;
        }
        let status = self.status();
        if status == PlacementStatus::Absent && self.gone_at() < Some(at) {
            return;
        }
        let with_repository = !empty && status != PlacementStatus::ProbablyAbsent;
        let reported = with_repository.then_some(at);
        self.image.merge(&Evidence { removed: Some(at), reported, ..Evidence::default() });
    }

    /// The newest push to this registry. Replication does not count as a push.
    #[must_use]
    pub fn pushed(&self) -> Option<Timestamp> {
        self.names().filter_map(|evidence| evidence.pushed).max()
    }

    /// The newest replication into this registry, by source.
    #[must_use]
    pub fn replicated(&self) -> BTreeMap<&Registry, Timestamp> {
        let mut newest = BTreeMap::new();
        for (source, time) in self.names().flat_map(|evidence| &evidence.replicated) {
            let known = newest.entry(source).or_insert(*time);
            *known = (*time).max(*known);
        }
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Move;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn set(second: i64) -> Evidence {
        Evidence { pushed: Some(at(second)), ..Evidence::default() }
    }

    impl Evidence {
        fn removed(self, second: i64) -> Self {
            Self { removed: Some(at(second)), ..self }
        }

        /// Removed, as an event reported it.
        fn reported(self, second: i64) -> Self {
            Self { reported: Some(at(second)), ..self }.removed(second)
        }

        fn moved(self, since: i64, second: i64) -> Self {
            let to = format!("sha256:{}", "b".repeat(64)).parse().unwrap();
            Self { moved: Some(Move { since: at(since), at: at(second), to }), ..self }
        }
    }

    fn placement<const N: usize>(image: Evidence, tags: [(&str, Evidence); N]) -> Placement {
        Placement { image, tags: tags.map(|(tag, evidence)| (tag.parse().unwrap(), evidence)).into() }
    }

    fn names<'t>(tags: impl IntoIterator<Item = &'t Tag>) -> Vec<&'t str> {
        tags.into_iter().map(Tag::as_str).collect()
    }

    #[test]
    fn each_status_has_words() {
        let words = PlacementStatus::ALL.map(|status| (status.words(), status.word(), status.may_be_there()));
        let expected = [
            ("present", "present", true),
            ("archived", "archived", true),
            ("untagged, deletion not confirmed", "untagged", true),
            ("gone", "gone", false),
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn the_last_tags_are_those_at_the_deletion() {
        let tags = [
            ("had", set(1)),
            ("moved-before", set(1).moved(1, 5)),
            ("moved-then", set(1).moved(1, 10)),
            ("never-set", Evidence::default().removed(12)),
            ("removed-before", set(1).removed(5)),
            ("removed-then", set(1).removed(10)),
        ];
        let gone = placement(set(1).reported(10), tags.clone());
        assert_eq!((gone.status(), gone.gone_at()), (PlacementStatus::Absent, Some(at(10))));
        assert_eq!(names(gone.last_tags()), ["had", "moved-then", "removed-then"]);
        assert!(gone.current_tags().is_empty());
        let there = placement(set(1), tags);
        assert_eq!(there.gone_at(), None);
        assert_eq!(names(there.last_tags()), ["had"]);
        assert_eq!(names(there.current_tags()), ["had"]);
    }

    #[test]
    fn a_tag_that_moved_first_was_not_removed() {
        let tags = [
            ("again", set(7).removed(5)),
            ("moved-after", set(1).removed(5).moved(1, 6)),
            ("moved-before", set(1).removed(5).moved(1, 4)),
            ("moved-then", set(1).removed(5).moved(1, 5)),
            ("never-set", Evidence::default().removed(5)),
            ("removed", set(1).removed(5)),
            ("there", set(1)),
            ("too", set(10)),
        ];
        let removed = |image: Evidence| {
            let placement = placement(image, tags.clone());
            placement.removed_tags().map(|(tag, at)| (tag.to_string(), at.as_second())).collect::<Vec<_>>()
        };
        let of = |pairs: &[(&str, i64)]| pairs.iter().map(|(tag, at)| ((*tag).to_owned(), *at)).collect::<Vec<_>>();
        assert_eq!(removed(set(1)), of(&[("moved-after", 5), ("removed", 5)]));
        // With the image, all that it had then; not what was set in the same second.
        assert_eq!(removed(set(1).reported(10)), of(&[("again", 10), ("removed", 10), ("there", 10)]));
    }

    #[test]
    fn only_the_first_end_of_the_last_tag_counts() {
        let gone = |image: Evidence, tag: Evidence| {
            let placement = placement(image, [("v1", tag)]);
            assert_eq!(placement.gone_at().is_some(), placement.status() == PlacementStatus::ProbablyAbsent);
            placement.gone_at().map(Timestamp::as_second)
        };
        assert_eq!(gone(set(1), set(1).removed(5)), Some(5));
        assert_eq!(gone(set(1), set(1).removed(5).moved(1, 6)), Some(5));
        assert_eq!(gone(set(1), set(1).removed(5).moved(1, 5)), None, "it moved");
        assert_eq!(gone(set(1), set(1).removed(5).moved(1, 4)), None, "it moved");
        // The tag was deleted with the image, which came back without it.
        assert_eq!(gone(set(6).removed(5), set(1).removed(7)), None);
        assert_eq!(gone(set(6).removed(5), set(6).removed(7)), Some(7));
    }

    #[test]
    fn a_tag_that_a_list_of_all_tags_lacks_was_removed() {
        let listed = Evidence { listed: Some(at(5)), ..set(1) };
        let placement = placement(listed, [("again", set(7)), ("then", set(5)), ("v1", set(1))]);
        let removed: Vec<_> = placement.removed_tags().map(|(tag, at)| (tag.as_str(), at.as_second())).collect();
        assert_eq!(removed, [("v1", 5)]);
        assert_eq!(names(placement.current_tags()), ["again", "then"]);
    }

    #[test]
    fn a_tag_that_was_removed_before_it_was_set_elsewhere_did_not_move() {
        let moved = |image: Evidence, tag: Evidence| {
            let placement = placement(image, [("v1", tag.moved(1, 5))]);
            let moved = placement.moved_tags();
            moved.into_iter().map(|moved| (moved.at.as_second(), moved.summary)).next()
        };
        let expected = Some((5, "tag v1 moved to bbbbbbbbbbbb".to_owned()));
        assert_eq!(moved(set(1), set(1)), expected);
        for (removed, lost_before) in [(0, false), (1, false), (2, true), (4, true), (5, false), (6, false)] {
            let expected = expected.clone().filter(|_| !lost_before);
            assert_eq!(moved(set(1), set(1).removed(removed)), expected, "tag removed at {removed}");
            assert_eq!(moved(set(0).removed(removed), set(1)), expected, "image removed at {removed}");
        }
    }

    #[test]
    fn the_time_of_a_deletion_is_that_of_the_newest_report_about_it() {
        let gone = |image: Evidence, tag: Evidence| {
            let placement = placement(image, [("v1", tag)]);
            (placement.gone_at().map(Timestamp::as_second), placement.reported_gone_at().map(Timestamp::as_second))
        };
        assert_eq!(gone(set(1).reported(10), set(1)), (Some(10), Some(10)));
        assert_eq!(gone(set(1).reported(10), set(1).reported(12)), (Some(12), Some(12)), "the event about its tag");
        assert_eq!(gone(set(1).reported(10), set(1).reported(8)), (Some(10), Some(10)));
        assert_eq!(gone(set(1).removed(10), set(1)), (Some(10), None), "only found missing");
        assert_eq!(gone(set(1), set(1).reported(8)), (Some(8), Some(8)), "its last tag");
        assert_eq!(gone(set(1), set(1)), (None, None));
        // A report that is as old as the newest proof of presence is no report of this end.
        let found = Evidence { reported: Some(at(5)), ..set(5) }.removed(10);
        assert_eq!(gone(found, set(1)), (Some(10), None));
    }

    #[test]
    fn a_listing_proves_that_an_image_outlived_what_happened_before_unless_it_was_found_missing() {
        let there = placement(set(5), []);
        assert_eq!([4, 5, 6].map(|second| there.was_there(at(second))), [false, false, true]);
        assert_eq!([5, 6].map(|second| there.outlived(at(second))), [false, true]);
        // What is found missing later may have gone by what happened before; what is reported as deleted has its reason.
        assert!(!placement(set(5).removed(10), []).outlived(at(6)));
        assert!(placement(set(5).reported(10), []).outlived(at(6)));
        assert!(!placement(set(5).reported(10), []).outlived(at(12)), "it was gone by then");
        let untagged = placement(set(1), [("v1", set(1).reported(3))]);
        assert!(!untagged.was_there(at(4)), "only perhaps");
        assert!(untagged.was_there(at(3)), "the tag was on it then");
        let archived = Evidence { archived: Some(at(5)), ..Evidence::default() };
        assert!(placement(archived, []).was_there(at(6)));
        assert!(!placement(Evidence::default(), []).was_there(at(6)), "nothing is recorded");
    }

    #[test]
    fn the_deletion_of_the_repository_ends_what_was_there() {
        let after = |image: Evidence, tags: &[(&str, Evidence)], empty, listed_at: Option<i64>| {
            let mut placement = placement(image, []);
            placement.tags = tags.iter().map(|(tag, evidence)| (tag.parse().unwrap(), evidence.clone())).collect();
            placement.lose_repository(at(20), empty, listed_at.map(at));
            let seconds = |time: Option<Timestamp>| time.map(Timestamp::as_second);
            (seconds(placement.image.removed), seconds(placement.image.reported))
        };
        let untagged = [("v1", set(1).reported(8))];
        assert_eq!(after(set(1), &[], false, None), (Some(20), Some(20)));
        assert_eq!(after(set(1), &[], true, None), (Some(20), None), "it was gone by then");
        assert_eq!(after(set(1), &untagged, false, None), (Some(20), None), "it went with its tag");
        assert_eq!(after(set(1).reported(10), &[], false, None), (Some(10), Some(10)), "it was gone before");
        assert_eq!(after(set(1).reported(20), &[], true, None), (Some(20), Some(20)));
        assert_eq!(after(set(1).removed(20), &[], false, None), (Some(20), Some(20)), "in the same second");
        assert_eq!(after(set(1), &[], false, Some(25)), (None, None), "it was listed since");
        assert_eq!(after(set(26), &[], false, Some(25)), (Some(20), Some(20)), "it was not there when listed");
    }

    #[test]
    fn the_newest_times_of_digest_and_tags_count() {
        let [ireland, london] =
            ["111122223333/eu-west-1", "111122223333/eu-west-2"].map(|name| name.parse::<Registry>().unwrap());
        let from = |source: &Registry, second| Evidence {
            replicated: [(source.clone(), at(second))].into(),
            ..Evidence::default()
        };
        let mut replica = placement(from(&ireland, 3), [("v1", from(&ireland, 5)), ("v2", from(&london, 4))]);
        assert_eq!(replica.replicated(), [(&ireland, at(5)), (&london, at(4))].into());
        assert_eq!((replica.pushed(), replica.set()), (None, Some(at(5))));
        replica.merge(&placement(set(6), [("v2", from(&london, 9)), ("v3", set(7))]));
        assert_eq!(replica.replicated(), [(&ireland, at(5)), (&london, at(9))].into());
        assert_eq!((replica.pushed(), replica.set()), (Some(at(7)), Some(at(9))));
        assert_eq!(replica.before(at(9)).set(), Some(at(7)));
    }
}
