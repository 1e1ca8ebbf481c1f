//! End to end: registries, their events, the queue, the function, the table. The table must equal the registries,
//! whatever happened and in whichever order its events arrived.

use std::{collections::BTreeSet, fs, time::Duration};

use domain::{
    fact::{Fact, Subject, What},
    image::{Image, Registry, Tag},
};
use proptest::prelude::*;
use simulator::{
    Simulator,
    settings::{Settings, Unconfirmed},
};

use crate::{
    events::IRELAND,
    registries::{Act, Route, act, cases, settings, unconfirmed},
    test_table::{client, deliver},
};

async fn play(settings: Settings, acts: &[Act]) -> Route {
    let route = Route::new(settings, None).await;
    for act in acts {
        route.perform(act).await;
    }
    route.settle().await;
    route
}

/// Whether the lost events explain a difference: one is about this image, about the repository, or about a tag that
/// the image has in the table or in the registry.
fn accounts_for(lost: &[Fact], registry: &Registry, image: &Image, tags: &BTreeSet<Tag>) -> bool {
    lost.iter().filter(|fact| fact.registry == *registry).any(|fact| match (&fact.subject, &fact.what) {
        (Subject::Image(about), What::Pushed { tag, .. } | What::Replicated { tag, .. }) => {
            about == image || tag.as_ref().is_some_and(|tag| tags.contains(tag))
        }
        (Subject::Image(about), _) => about == image,
        (Subject::Repository(about), _) => *about == image.repository,
        (Subject::Registry, _) => false,
    })
}

#[tokio::test]
async fn an_event_that_cannot_be_recorded_is_retried_and_becomes_a_dead_letter() {
    // The records of the preparations are lost: the function remembers which registries it stored, and the table with
    // them is deleted below.
    let route = Route::new(Settings { trouble: "lost=100".parse().unwrap(), ..Settings::default() }, None).await;
    route.local.simulator.set(|settings| settings.trouble = "lost=0".parse().unwrap());
    let deliver = async || {
        route.local.deliver_now().await;
        route.local.simulator.step(Duration::from_secs(180));
    };
    deliver().await;
    assert_eq!(route.local.simulator.queue_lengths(), (0, 0));

    // The table is also served on the port of the registries.
    let dynamodb = client(&route.local.endpoint).await;
    let name = dynamodb.list_tables().send().await.unwrap().table_names.unwrap().remove(0);
    dynamodb.delete_table().table_name(&name).send().await.unwrap();
    let push = |letter| Act::Push(IRELAND, letter, Some("v1"));
    route.perform(&push('a')).await;
    deliver().await;
    deliver().await;
    // The messages of the push, of CloudTrail's record of it, and of its two copies.
    assert_eq!(route.local.simulator.queue_lengths(), (4, 0));
    // An operator fixes the cause in time: no event is lost.
    route.local.table.create().await.unwrap();
    route.settle().await;
    assert_eq!(route.said().await, route.truth());

    dynamodb.delete_table().table_name(&name).send().await.unwrap();
    route.perform(&push('b')).await;
    for receives in 1..=6 {
        deliver().await;
        // The push and its record are received five times, then moved to the dead letters; the events of its copies were
        // sent later.
        assert_eq!(route.local.simulator.queue_lengths().1, 2 * usize::from(receives > 5), "{receives}");
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn the_table_equals_the_registries(
        seed in any::<u64>(),
        unconfirmed in unconfirmed(),
        acts in proptest::collection::vec(act(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let trouble = "repeated=20,delayed=20,reordered=40,slow=10,stuck=5,failed=5";
            let route = play(settings(seed, unconfirmed, trouble), &acts).await;
            assert_eq!(route.said().await, route.truth());
        });
    }

    #[test]
    fn a_killed_simulator_continues_from_its_files(
        seed in any::<u64>(),
        acts in proptest::collection::vec(act(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let settings = settings(seed, Unconfirmed::default(), "delayed=30,slow=30");
            let route = Route::new(settings.clone(), Some(folder.path().to_owned())).await;
            for act in &acts {
                route.perform(act).await;
            }
            // The simulator is not closed: these files are what a killed process leaves.
            let left = tempfile::tempdir().unwrap();
            for entry in fs::read_dir(folder.path()).unwrap() {
                let path = entry.unwrap().path();
                fs::copy(&path, left.path().join(path.file_name().unwrap())).unwrap();
            }
            let now = route.local.simulator.clock().now();
            let settings = Settings { seconds_apart: true, ..settings };
            let again = Simulator::open(settings, now, 0.0, Some(left.path())).unwrap();
            assert_eq!(again.held(), route.local.simulator.held());
            assert_eq!(again.queue_lengths(), route.local.simulator.queue_lengths());
            // Pending work continues alike in both.
            for simulator in [&again, &route.local.simulator] {
                simulator.step(Duration::from_secs(30 * 3600));
            }
            assert_eq!(again.held(), route.local.simulator.held());
            assert_eq!(again.queue_lengths(), route.local.simulator.queue_lengths());
        });
    }

    #[test]
    fn the_table_lacks_only_what_lost_events_reported(
        seed in any::<u64>(),
        unconfirmed in unconfirmed(),
        acts in proptest::collection::vec(act(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let route = play(settings(seed, unconfirmed, "lost=15,repeated=20,delayed=20"), &acts).await;
            let (said, truth, lost) = (route.said().await, route.truth(), route.lost());
            let facts: Vec<Fact> = lost.iter().flat_map(|(_, facts)| facts.clone()).collect();
            for name in said.keys().chain(truth.keys()).collect::<BTreeSet<_>>() {
                if said.get(name) != truth.get(name) {
                    let sides = [said.get(name), truth.get(name)];
                    let tags = sides.into_iter().flatten().flat_map(|(_, tags)| tags).cloned().collect();
                    assert!(accounts_for(&facts, &name.0, &name.1, &tags), "{name:?}: {sides:?}, lost: {lost:#?}");
                }
            }
            // After the lost events are delivered, nothing is missing.
            let failed = deliver(&route.local.table, lost.iter().map(|(event, _)| event.to_string())).await;
            assert!(failed.is_empty());
            assert_eq!(route.said().await, truth);
        });
    }
}
