//! What a listing showed overrules older events, whether they arrive before or after it.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    drift::delta_from_observation,
    evidence::{self, Evidence, PlacementKey},
    fact::{Cause, Fact, Subject, What},
    image::{Image, Registry, Tag},
    lineage::{Lineage, PlacementStatus},
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
                What::Pushed { tag: Some(tag), artifact_media_type: None, by: None }
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

#[derive(Default)]
struct Store(BTreeMap<PlacementKey, Evidence>);

impl Store {
    fn record(&mut self, facts: &[Fact]) {
        for (name, evidence) in facts.iter().flat_map(evidence::of) {
            self.0.entry(name).or_default().merge(&evidence);
        }
    }

    fn lineage(&self) -> Lineage {
        let evidence = self.0.iter().map(|(name, evidence)| (name.clone(), evidence.clone()));
        Lineage::new(image(), evidence, Vec::new(), Vec::new())
    }

    /// Lists the registry, and records what the listing adds.
    fn list(&mut self, tags: &BTreeSet<Tag>, second: usize) {
        let seen = ObservedImage { tags: tags.clone(), ..ObservedImage::default() };
        let lineage = self.lineage();
        let delta = delta_from_observation(lineage.placements.get(&registry()), Some(&seen), at(second));
        let fact = delta.map(|(time, what)| {
            let (subject, event_id) = (Subject::Image(image()), "reconcile".to_owned());
            Fact { time, registry: registry(), event_id, subject, what }
        });
        self.record(fact.as_slice());
    }

    fn answer(&self) -> (PlacementStatus, BTreeSet<Tag>) {
        let lineage = self.lineage();
        let placement = &lineage.placements[&registry()];
        (placement.status(), placement.current_tags().into_iter().cloned().collect())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_same_calls_and_the_same_listing_give_the_same_answer_whenever_events_arrive(acts in acts()) {
        let (tags, events) = perform(&acts);
        let Some(tags) = tags else { return Ok(()) };
        let listed = acts.len() + 10;
        let (mut before, mut after) = (Store::default(), Store::default());
        before.record(&events);
        before.list(&tags, listed);
        after.list(&tags, listed);
        after.record(&events);
        prop_assert_eq!(before.answer(), (PlacementStatus::Present, tags.clone()));
        prop_assert_eq!(after.answer(), (PlacementStatus::Present, tags));
    }

    #[test]
    fn an_older_event_changes_nothing_about_what_a_listing_recorded(acts in acts(), early in any::<prop::sample::Index>()) {
        let (tags, events) = perform(&acts);
        let Some(tags) = tags else { return Ok(()) };
        let mut store = Store::default();
        let (early, late) = events.split_at(early.index(events.len() + 1));
        store.record(early);
        let known = store.0.clone();
        store.list(&tags, acts.len() + 10);
        // A listing that agrees with the table writes nothing, so that nothing can overrule what arrives after it.
        if store.0 != known {
            store.record(late);
            prop_assert_eq!(store.answer(), (PlacementStatus::Present, tags));
        }
    }
}
