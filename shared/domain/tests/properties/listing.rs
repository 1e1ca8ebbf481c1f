//! What a listing showed overrules older events, whether they arrive before or after it.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    drift::{delta_from_listing, delta_from_observation, is_before_listing},
    evidence::{self, Evidence, PlacementKey},
    fact::{Cause, Fact, Subject, What},
    image::{Image, Registry, Tag},
    lineage::{Lineage, Placement, PlacementStatus},
    observation::ObservedImage,
};
use jiff::Timestamp;
use proptest::{collection::vec, prelude::*, sample::select};

/// A call about one image.
#[derive(Debug, Clone, Copy)]
enum Act {
    Push(&'static str),
    Untag(&'static str),
    Delete,
}

fn acts() -> impl Strategy<Value = Vec<(Act, bool)>> {
    let tag = || select(vec!["latest", "v1", "v2"]);
    let act = prop_oneof![4 => tag().prop_map(Act::Push), 3 => tag().prop_map(Act::Untag), 1 => Just(Act::Delete)];
    // Whether the event of the call is delivered.
    vec((act, any::<bool>()), 1..12)
}

fn at(second: usize) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + i64::try_from(second).unwrap()).unwrap()
}

fn image() -> Image {
    "team/app@sha256:aa".parse().unwrap()
}

fn registry() -> Registry {
    "111122223333/eu-west-1".parse().unwrap()
}

/// Performs the calls: the tags of the image in the end, if it is there, and the event of each call that had an effect.
fn perform(acts: &[(Act, bool)]) -> (Option<BTreeSet<Tag>>, Vec<Fact>) {
    let (mut tags, mut events): (Option<BTreeSet<Tag>>, Vec<Fact>) = (None, Vec::new());
    for (second, (act, delivered)) in acts.iter().enumerate() {
        let what = match act {
            Act::Push(tag) => {
                let tag: Tag = tag.parse().unwrap();
                tags.get_or_insert_default().insert(tag.clone());
                What::Pushed { tag: Some(tag), artifact_media_type: None, platforms: BTreeSet::new(), by: None }
            }
            Act::Untag(tag) => {
                let tag: Tag = tag.parse().unwrap();
                let Some(there) = tags.as_mut().filter(|tags| tags.contains(&tag)) else { continue };
                there.remove(&tag);
                // An untagged image stays if it never had its last tag removed by name: keep one here.
                if there.is_empty() {
                    tags = None;
                }
                What::TagsDeleted { tags: [tag].into(), cause: Cause::Unknown }
            }
            Act::Delete if tags.take().is_some() => What::ImageDeleted { cause: Cause::Unknown },
            Act::Delete => continue,
        };
        if *delivered {
            let subject = Subject::Image(image());
            let event_id = format!("event-{second}");
            events.push(Fact { time: at(second), registry: registry(), event_id, subject, what });
        }
    }
    (tags, events)
}

/// What `record` and `reconcile` do, for one image.
#[derive(Default)]
struct Store {
    known: BTreeMap<PlacementKey, Evidence>,
    /// When the registry was listed.
    listed_at: Option<Timestamp>,
}

impl Store {
    fn record(&mut self, facts: &[Fact]) {
        let late = |fact: &&Fact| self.listed_at.is_some_and(|listed_at| is_before_listing(fact.time, listed_at));
        let late = facts.iter().filter(late).flat_map(evidence::of).map(|(name, evidence)| (name.tag, evidence));
        let late = Placement::of(late);
        if let Some(listed_at) = self.listed_at.filter(|_| late != Placement::default()) {
            let lineage = self.lineage();
            let delta = delta_from_listing(lineage.placements.get(&registry()), &late, listed_at);
            self.merge(observed(delta).as_slice());
        }
        self.merge(facts);
    }

    fn merge(&mut self, facts: &[Fact]) {
        for (name, evidence) in facts.iter().flat_map(evidence::of) {
            self.known.entry(name).or_default().merge(&evidence);
        }
    }

    fn lineage(&self) -> Lineage {
        let evidence = self.known.iter().map(|(name, evidence)| (name.clone(), evidence.clone()));
        Lineage::new(image(), evidence, Vec::new(), Vec::new())
    }

    /// Lists the registry, and records what the listing adds. An image that neither the listing nor the table has is no
    /// difference.
    fn list(&mut self, tags: Option<&BTreeSet<Tag>>, listed_at: Timestamp) {
        let seen = tags.map(|tags| ObservedImage { tags: tags.clone(), ..ObservedImage::default() });
        let lineage = self.lineage();
        let delta = delta_from_observation(lineage.placements.get(&registry()), seen.as_ref(), listed_at);
        self.merge(observed(delta).as_slice());
        self.listed_at = Some(listed_at);
    }

    fn answer(&self) -> (PlacementStatus, BTreeSet<Tag>) {
        let lineage = self.lineage();
        let Some(placement) = lineage.placements.get(&registry()) else {
            return (PlacementStatus::Absent, BTreeSet::new());
        };
        (placement.status(), placement.current_tags().into_iter().cloned().collect())
    }
}

fn observed(delta: Option<(Timestamp, What)>) -> Option<Fact> {
    delta.map(|(time, what)| {
        let (subject, event_id) = (Subject::Image(image()), "reconcile".to_owned());
        Fact { time, registry: registry(), event_id, subject, what }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn the_same_calls_and_the_same_listing_give_the_same_answer_whenever_events_arrive(
        acts in acts(),
        early in any::<prop::sample::Index>(),
        batch in 1usize..4,
    ) {
        let (tags, events) = perform(&acts);
        let listed = at(acts.len() + 2);
        let (early, late) = events.split_at(early.index(events.len() + 1));
        let (mut before, mut after) = (Store::default(), Store::default());
        before.record(&events);
        before.list(tags.as_ref(), listed);
        after.record(early);
        after.list(tags.as_ref(), listed);
        late.chunks(batch).for_each(|events| after.record(events));
        let seen = match tags {
            Some(tags) => (PlacementStatus::Present, tags),
            None => (PlacementStatus::Absent, BTreeSet::new()),
        };
        prop_assert_eq!(before.answer(), seen.clone());
        prop_assert_eq!(after.answer(), seen);
    }

    #[test]
    fn what_happened_after_a_listing_counts_although_older_events_arrive_later(
        (acts, since) in (acts(), acts()),
        early in any::<prop::sample::Index>(),
    ) {
        let (tags, events) = perform(&acts);
        let listed = at(acts.len() + 2);
        // Nothing happens in the seconds around the listing, and what happens then is reported.
        let pause = std::iter::repeat_n((Act::Untag("none"), false), 5);
        let since = since.into_iter().map(|(act, _)| (act, true));
        let (_, all) = perform(&acts.iter().copied().chain(pause).chain(since).collect::<Vec<_>>());
        let newer: Vec<Fact> = all.into_iter().filter(|fact| fact.time > listed).collect();
        let (early, late) = events.split_at(early.index(events.len() + 1));
        let (mut before, mut after) = (Store::default(), Store::default());
        before.record(&events);
        before.list(tags.as_ref(), listed);
        before.record(&newer);
        after.record(early);
        after.list(tags.as_ref(), listed);
        after.record(&newer);
        after.record(late);
        let ((before, tags), (after, recorded)) = (before.answer(), after.answer());
        // Newer evidence may replace what the table said at the listing. Then nothing overrules an older event, and a
        // tag may be left.
        if before == PlacementStatus::Present {
            prop_assert_eq!(after, PlacementStatus::Present);
            prop_assert!(recorded.is_superset(&tags), "{:?} of {:?}", recorded, tags);
        }
        prop_assert_eq!(before == PlacementStatus::Absent, after == PlacementStatus::Absent);
    }
}
