use std::time::Duration;

use proptest::prelude::*;
use simulator::{settings::Unconfirmed, trouble::Trouble};

use crate::{
    mirror::impatient,
    registries::{Act, Route, act, cases, settings, unconfirmed},
};

/// Performs a history in which events are lost.
async fn play(seed: u64, unconfirmed: Unconfirmed, trouble: &str, acts: &[Act]) -> Route {
    let mut route = Route::new(settings(seed, unconfirmed, trouble), None).await;
    route.local.reconcile.registries = impatient(&route.local.endpoint).await;
    for act in acts {
        route.perform(act).await;
    }
    route
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn after_every_registry_is_listed_the_table_equals_the_registries(
        seed in any::<u64>(),
        unconfirmed in unconfirmed(),
        lost in proptest::sample::select(vec![15, 50, 100]),
        acts in proptest::collection::vec(act(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let trouble = format!("lost={lost},repeated=20,delayed=20,reordered=20,slow=10,failed=5");
            let mut route = play(seed, unconfirmed, &trouble, &acts).await;
            route.settle().await;
            // Even if no event arrived, reconcile must know the registries.
            route.local.reconcile.known = Route::registries();
            let summary = route.local.reconcile_now().await.unwrap();
            assert_eq!((summary.registries, summary.failures, summary.idle), (3, 0, false));
            assert_eq!(route.said().await, route.truth());
            // Another run finds nothing to record.
            route.perform(&Act::Pass(25 * 3_600)).await;
            route.settle().await;
            let found = route.local.reconcile_now().await.unwrap().found;
            assert_eq!(route.said().await, route.truth());
            // Lifecycle expiries since then were reported by events.
            assert_eq!((found.added, found.removed, found.updated), (0, 0, 0));
        });
    }

    #[test]
    fn a_listing_during_changes_and_failures_records_nothing_wrong(
        seed in any::<u64>(),
        unconfirmed in unconfirmed(),
        acts in proptest::collection::vec((act(), any::<bool>()), 1..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let trouble = "repeated=20,delayed=20,reordered=40,slow=10,throttled=20,request-lost=10,response-lost=10";
            let mut route = play(seed, unconfirmed, trouble, &[]).await;
            route.local.reconcile.every = jiff::SignedDuration::from_secs(1);
            for (act, look) in &acts {
                route.perform(act).await;
                if *look {
                    // Calls to registries may fail; calls to the table must not.
                    route.local.reconcile_now().await.unwrap();
                }
            }
            route.local.simulator.set(|settings| settings.trouble = Trouble::default());
            route.settle().await;
            assert_eq!(route.said().await, route.truth());
        });
    }

    #[test]
    fn what_a_listing_saw_overrules_older_events_that_arrive_after_it(
        seed in any::<u64>(),
        unconfirmed in unconfirmed(),
        lost in proptest::sample::select(vec![0, 30, 60]),
        early in proptest::collection::vec(act(), 0..20),
        late in proptest::collection::vec(act(), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let trouble = format!("lost={lost},repeated=20,reordered=20");
            let mut route = play(seed, unconfirmed, &trouble, &early).await;
            for act in &late {
                match act {
                    // The registries go on, and no event arrives.
                    Act::Pass(seconds) => route.local.simulator.step(Duration::from_secs(*seconds)),
                    act => route.perform(act).await,
                }
            }
            route.local.simulator.step(Duration::from_secs(4 * 3600));
            route.local.reconcile.known = Route::registries();
            assert_eq!(route.local.reconcile_now().await.unwrap().registries, 3);
            let truth = route.truth();
            assert_eq!(route.said().await, truth);
            route.local.deliver_now().await;
            assert_eq!(route.local.simulator.queue_lengths(), (0, 0));
            assert_eq!((route.said().await, route.truth()), (truth.clone(), truth));
        });
    }
}
