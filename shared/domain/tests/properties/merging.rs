use std::collections::{BTreeMap, BTreeSet};

use domain::{
    evidence::{self, Evidence, PlacementKey},
    fact::{Cause, Fact, StorageClass, Subject, What},
    image::{Image, Registry, RepositoryName, Tag},
    lineage::{Lineage, PlacementStatus},
    tag::{self, TagAssignment, TagName},
};
use jiff::Timestamp;
use proptest::{collection::vec, prelude::*, sample::select};

const REGISTRIES: [&str; 2] = ["111122223333/eu-west-1", "444455556666/us-east-1"];
const DIGESTS: [&str; 3] = ["sha256:aa", "sha256:bb", "sha256:cc"];
const TAGS: [&str; 2] = ["latest", "v1"];

/// The parts of the table that merging changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Store {
    evidence: BTreeMap<PlacementKey, Evidence>,
    assignments: BTreeMap<TagName, BTreeSet<TagAssignment>>,
    facts: BTreeMap<(String, Subject), Fact>,
}

impl Store {
    /// The first step of recording: writes tag assignments.
    fn put_assignments(&mut self, facts: &[Fact]) {
        for (name, assignment) in facts.iter().flat_map(tag::assignments_of) {
            self.assignments.entry(name).or_default().insert(assignment);
        }
    }

    /// The second step: the evidence that tag assignments and their adjacent assignments give.
    fn moves(&self, facts: &[Fact]) -> Vec<(PlacementKey, Evidence)> {
        let settings = facts.iter().flat_map(tag::assignments_of).filter(|(_, assignment)| assignment.set);
        settings
            .flat_map(|(name, assignment)| {
                let all: Vec<_> = self.assignments[&name]
                    .iter()
                    .filter(|other| other.set && other.registry == assignment.registry)
                    .collect();
                let at = |time: Option<Timestamp>| {
                    all.iter()
                        .filter(|other| Some(other.time) == time)
                        .map(|other| TagAssignment::clone(other))
                        .collect()
                };
                let before: Vec<TagAssignment> =
                    at(all.iter().map(|other| other.time).filter(|time| *time < assignment.time).max());
                let after: Vec<TagAssignment> =
                    at(all.iter().map(|other| other.time).filter(|time| *time > assignment.time).min());
                tag::displacements(&name, &assignment, &before, &after)
            })
            .collect()
    }

    /// The last step: merges evidence and writes facts.
    fn merge(&mut self, facts: &[Fact], moves: Vec<(PlacementKey, Evidence)>) {
        for (name, evidence) in facts.iter().flat_map(evidence::of).chain(moves) {
            self.evidence.entry(name).or_default().merge(&evidence);
        }
        for fact in facts {
            self.facts.insert((fact.event_id.clone(), fact.subject.clone()), fact.clone());
        }
    }

    fn record(&mut self, facts: &[Fact]) {
        self.put_assignments(facts);
        let moves = self.moves(facts);
        self.merge(facts, moves);
    }

    fn lineage(&self, image: &Image) -> Lineage {
        let evidence = self.evidence.iter().filter(|(name, _)| name.image == *image);
        let facts = self.facts.values();
        let (about, repository): (Vec<_>, Vec<_>) = facts
            .filter(|fact| fact.subject == Subject::Image(image.clone()) || is_repository_deletion(fact))
            .cloned()
            .partition(|fact| !is_repository_deletion(fact));
        Lineage::new(
            image.clone(),
            evidence.map(|(name, evidence)| (name.clone(), evidence.clone())),
            about,
            repository,
        )
    }
}

fn is_repository_deletion(fact: &Fact) -> bool {
    matches!(fact.what, What::RepositoryDeleted { .. })
}

fn repository() -> RepositoryName {
    "team/app".parse().unwrap()
}

fn registry() -> impl Strategy<Value = Registry> {
    select(&REGISTRIES[..]).prop_map(|text| text.parse().unwrap())
}

fn tag() -> impl Strategy<Value = Tag> {
    select(&TAGS[..]).prop_map(|text| text.parse().unwrap())
}

fn what() -> impl Strategy<Value = What> {
    let cause = || Just(Cause::Unknown);
    let class = select(vec![StorageClass::Standard, StorageClass::Archive]);
    let tags = || proptest::collection::btree_set(tag(), 0..=2);
    let seen = (class, tags(), tags(), any::<bool>(), proptest::option::of(registry()));
    let seen = seen.prop_map(|(class, tags, without, complete, source)| {
        let without = without.difference(&tags).cloned().collect();
        What::Observed { storage: Some(class), tags, without, complete, source }
    });
    prop_oneof![
        6 => proptest::option::weighted(0.8, tag())
            .prop_map(|tag| What::Pushed { tag, artifact_media_type: None, platforms: BTreeSet::new(), by: None }),
        4 => (registry(), proptest::option::weighted(0.8, tag()))
            .prop_map(|(source, tag)| What::Replicated { source, tag }),
        1 => (registry(), proptest::option::of(tag()))
            .prop_map(|(source, tag)| What::ReplicationFailed { source, tag, code: None, reason: None }),
        2 => cause().prop_map(|cause| What::ImageDeleted { cause }),
        3 => (proptest::collection::btree_set(tag(), 1..=2), cause())
            .prop_map(|(tags, cause)| What::TagsDeleted { tags, cause }),
        1 => (any::<bool>(), cause()).prop_map(|(empty, cause)| What::RepositoryDeleted { empty, listed_at: None, cause }),
        1 => proptest::option::weighted(0.8, tag())
            .prop_map(|tag| What::Cached { upstream: "public.ecr.aws".to_owned(), tag }),
        1 => cause().prop_map(|cause| What::Archived { cause }),
        1 => Just(What::Restored),
        1 => Just(What::FOUND_MISSING),
        2 => seen,
        1 => Just(What::Other { detail_type: "ECR Image Scan".into(), detail: None }),
    ]
}

/// Facts with so few names and times that they collide often, many within the same second.
fn facts() -> impl Strategy<Value = Vec<Fact>> {
    let fact = (0i64..10, registry(), select(&DIGESTS[..]), what()).prop_map(|(second, registry, digest, what)| {
        let subject = match &what {
            What::RepositoryDeleted { .. } => Subject::Repository(repository()),
            _ => Subject::Image(Image { repository: repository(), digest: digest.parse().unwrap() }),
        };
        let time = Timestamp::from_second(1_700_000_000 + second).unwrap();
        Fact { time, registry, event_id: String::new(), subject, what }
    });
    vec(fact, 1..14).prop_map(|mut facts| {
        facts.iter_mut().enumerate().for_each(|(index, fact)| fact.event_id = format!("event-{index}"));
        facts
    })
}

/// Facts, and the same facts in another order, some of them repeated.
fn facts_and_a_shuffle() -> impl Strategy<Value = (Vec<Fact>, Vec<Fact>)> {
    facts().prop_flat_map(|facts| {
        let repeated = vec(select(facts.clone()), 0..6);
        let shuffled = repeated.prop_flat_map({
            let facts = facts.clone();
            move |repeated| Just([facts.clone(), repeated].concat()).prop_shuffle()
        });
        (Just(facts), shuffled)
    })
}

fn in_order(facts: &[Fact]) -> Store {
    let mut facts = facts.to_vec();
    facts.sort_by_key(|fact| fact.time);
    let mut store = Store::default();
    facts.iter().for_each(|fact| store.record(std::slice::from_ref(fact)));
    store
}

/// What all facts together say about one image in one registry, computed naively from the whole list.
fn model(facts: &[Fact], image: &Image, registry: &Registry) -> (PlacementStatus, BTreeSet<Tag>) {
    let here: Vec<&Fact> = facts.iter().filter(|fact| fact.registry == *registry).collect();
    let about: Vec<&Fact> = here.iter().filter(|fact| fact.subject == Subject::Image(image.clone())).copied().collect();
    let newest = |facts: &[&Fact], wanted: &dyn Fn(&What) -> bool| {
        facts.iter().filter(|fact| wanted(&fact.what)).map(|fact| fact.time).max()
    };
    let sets = |what: &What, tag: &Tag| match what {
        What::Pushed { tag: set, .. } | What::Cached { tag: set, .. } | What::Replicated { tag: set, .. } => {
            set.as_ref() == Some(tag)
        }
        What::Observed { tags, .. } => tags.contains(tag),
        _ => false,
    };
    let pullable = newest(&about, &|what| {
        matches!(what, What::Pushed { .. } | What::Cached { .. } | What::Replicated { .. } | What::Restored)
            || matches!(what, What::Observed { storage: Some(class), source, .. } if *class == StorageClass::Standard || source.is_some())
    });
    let archived = newest(&about, &|what| {
        matches!(what, What::Archived { .. } | What::Observed { storage: Some(StorageClass::Archive), .. })
    });
    let removed =
        newest(&about, &|what| matches!(what, What::ImageDeleted { .. } | What::Observed { storage: None, .. }))
            .max(newest(&here, &|what| matches!(what, What::RepositoryDeleted { .. })));
    if removed > pullable.max(archived) {
        return (PlacementStatus::Absent, BTreeSet::new());
    }
    let mut current = BTreeSet::new();
    let (mut last_removal, mut last_other) = (None, None);
    for tag in TAGS.map(|tag| tag.parse::<Tag>().unwrap()) {
        let set = newest(&about, &|what| sets(what, &tag));
        // As reported, or else as observed: by name, or because the tag is not among all tags of the newest observation.
        let reported = newest(&about, &|what| matches!(what, What::TagsDeleted { tags, .. } if tags.contains(&tag)));
        let observed = newest(&about, &|what| matches!(what, What::Observed { without, .. } if without.contains(&tag)));
        let unlisted = newest(&about, &|what| matches!(what, What::Observed { complete: true, .. }));
        let untagged = [reported, observed, unlisted].into_iter().find(|at| *at > set).flatten();
        let taken = here
            .iter()
            .filter(|fact| fact.subject != Subject::Image(image.clone()) && sets(&fact.what, &tag))
            .map(|fact| fact.time)
            .filter(|at| set.is_some_and(|set| *at > set))
            .min();
        if set.is_some() && set >= removed && untagged.is_none() && taken.is_none() {
            current.insert(tag);
        } else if removed > set && untagged.into_iter().chain(taken).min().is_none_or(|first| removed < Some(first)) {
            // The tag was removed together with the image.
        } else if untagged.is_some() && (taken.is_none() || untagged < taken) {
            last_removal = last_removal.max(untagged);
        } else {
            last_other = last_other.max(taken);
        }
    }
    let untagged_proof = newest(&about, &|what| {
        matches!(what, What::Pushed { tag: None, .. } | What::Cached { tag: None, .. } | What::Restored)
            || matches!(what, What::Replicated { tag: None, .. })
            || matches!(what, What::Archived { .. } | What::Observed { storage: Some(_), .. })
    });
    let status = if current.is_empty() && last_removal > last_other.max(untagged_proof) {
        PlacementStatus::ProbablyAbsent
    } else if archived > pullable {
        PlacementStatus::Archived
    } else {
        PlacementStatus::Present
    };
    (status, current)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_order_any_repetition_any_batches_give_the_same_table(
        (facts, shuffled) in facts_and_a_shuffle(),
        sizes in vec(1usize..5, 20),
    ) {
        let mut store = Store::default();
        let mut rest = &shuffled[..];
        for size in sizes {
            let (batch, left) = rest.split_at(size.min(rest.len()));
            store.record(batch);
            rest = left;
        }
        prop_assert_eq!(store, in_order(&facts));
    }

    #[test]
    fn writers_at_the_same_time_give_the_same_table(
        (facts, shuffled) in facts_and_a_shuffle(),
        turns in vec(any::<prop::sample::Index>(), 60),
    ) {
        // A separate writer records each fact in three steps; the order of the writers' steps is random.
        let mut store = Store::default();
        let mut writers: Vec<_> = shuffled.iter().map(|fact| (fact, 0, Vec::new())).collect();
        let mut turns = turns.into_iter();
        while !writers.is_empty() {
            let next = turns.next().map_or(0, |turn| turn.index(writers.len()));
            let (fact, step, moves) = &mut writers[next];
            let fact = std::slice::from_ref(*fact);
            match step {
                0 => store.put_assignments(fact),
                1 => *moves = store.moves(fact),
                _ => store.merge(fact, std::mem::take(moves)),
            }
            *step += 1;
            if *step > 2 {
                writers.remove(next);
            }
        }
        prop_assert_eq!(store, in_order(&facts));
    }

    #[test]
    fn the_table_equals_a_naive_model_of_all_facts((facts, shuffled) in facts_and_a_shuffle()) {
        let mut store = Store::default();
        shuffled.iter().for_each(|fact| store.record(std::slice::from_ref(fact)));
        for digest in DIGESTS {
            let image = Image { repository: repository(), digest: digest.parse().unwrap() };
            let lineage = store.lineage(&image);
            for (registry, placement) in &lineage.placements {
                let tags: BTreeSet<Tag> = placement.current_tags().into_iter().cloned().collect();
                prop_assert_eq!((placement.status(), tags), model(&facts, &image, registry), "{} in {}", image, registry);
            }
        }
    }

    #[test]
    fn the_history_of_a_tag_ends_in_the_current_tags((facts, _) in facts_and_a_shuffle()) {
        let store = in_order(&facts);
        for (name, assignments) in &store.assignments {
            let lineages: Vec<_> = DIGESTS
                .map(|digest| store.lineage(&Image { repository: repository(), digest: digest.parse().unwrap() }))
                .into();
            let deletions: Vec<Fact> = store.facts.values().filter(|fact| is_repository_deletion(fact)).cloned().collect();
            let intervals = tag::intervals(assignments.iter().cloned().collect(), |registry, digest| {
                let image = Image { repository: repository(), digest: digest.clone() };
                let evidence = |tag: Option<&Tag>| {
                    let key = PlacementKey { image: image.clone(), registry: registry.clone(), tag: tag.cloned() };
                    store.evidence.get(&key).cloned().unwrap_or_default()
                };
                let here: Vec<_> = deletions.iter().filter(|fact| fact.registry == *registry).cloned().collect();
                tag::ends(&name.tag, &evidence(None), &evidence(Some(&name.tag)), &here)
            });
            let open: BTreeSet<_> = intervals
                .iter()
                .filter(|interval| interval.ended.is_none())
                .map(|interval| (interval.registry.clone(), interval.digest.clone()))
                .collect();
            let set: BTreeSet<_> = lineages
                .iter()
                .flat_map(|lineage| lineage.placements.iter().map(move |(registry, here)| (lineage, registry, here)))
                .filter(|(_, _, here)| here.current_tags().contains(&name.tag))
                .map(|(lineage, registry, _)| (registry.clone(), lineage.image.digest.clone()))
                .collect();
            prop_assert_eq!(open, set);
            for interval in &intervals {
                prop_assert!(interval.ended.as_ref().is_none_or(|ended| ended.at > interval.from), "{interval:?}");
            }
        }
    }
}
