//! The event that all copies of a push have arrived: once for each push and tag, whatever happens to the events.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use domain::{
    expectation::{Completion, ReplicationComplete, ReplicationExpectation},
    image::{Image, Registry},
    replication::{ReplicationSettings, Route},
};
use jiff::Timestamp;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};
use simulator::settings::Settings;

use super::site;
use crate::{
    events::{IRELAND, TOKYO, VIRGINIA, delete, image, push, replicate},
    fault_injection::{Fault, Faulty},
    mirror::{Site, manifest},
    registries::cases,
    test_table::{Store, deliver},
};

impl Site {
    /// The events about the pushes of an image whose copies are complete.
    async fn complete(&self, image: &Image) -> Vec<ReplicationComplete> {
        self.expectations(image).await.iter().filter_map(ReplicationExpectation::complete).collect()
    }
}

/// The lags of an event, in seconds.
fn lags(complete: &ReplicationComplete) -> BTreeMap<String, i64> {
    complete.destinations.iter().map(|copy| (copy.registry.to_string(), copy.lag_seconds)).collect()
}

// With simulated registries

#[tokio::test]
async fn a_push_is_complete_when_its_last_copy_arrives_and_watch_does_not_look_at_it_again() {
    let site = site(Settings::default()).await;
    // Waits until the settings have been read again.
    site.minutes(30).await;
    site.lag(VIRGINIA, 2);
    site.lag(TOKYO, 10);
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.minutes(9).await;
    assert_eq!(site.complete(&image).await, []);
    let calls = site.ecr_calls();
    site.minutes(2).await;
    let [complete] = &*site.complete(&image).await else { panic!("not complete, or twice") };
    assert_eq!((complete.subject.as_str(), complete.lag_seconds), ("team/app:v1", 600));
    assert_eq!(lags(complete), [(VIRGINIA.to_owned(), 120), (TOKYO.to_owned(), 600)].into());
    let (reads, writes) = site.local.watch.table.units();
    let expectations = site.expectations(&image).await;
    assert!(expectations.iter().all(|expectation| expectation.due.is_none()), "{expectations:?}");
    site.minutes(40).await;
    assert_eq!(site.expectations(&image).await, expectations);
    let after = site.local.watch.table.units();
    assert_eq!(after.1 - writes, 40.0 * 2.0, "only the lease of each run");
    assert!(after.0 - reads <= 41.0 * 11.0);
    assert_eq!(site.ecr_calls(), calls);
    assert_eq!(site.alerts().await, []);
}

#[tokio::test]
async fn each_tag_and_each_push_of_it_has_an_event_of_its_own() {
    let site = site(Settings::default()).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.push(IRELAND, &manifest("a"), Some("latest"));
    site.minutes(2).await;
    let first = site.complete(&image).await;
    assert_eq!(first.iter().map(|complete| &*complete.subject).collect::<Vec<_>>(), ["team/app:latest", "team/app:v1"]);
    // The tag moves to another image and back.
    site.push(IRELAND, &manifest("b"), Some("latest"));
    site.minutes(2).await;
    site.push(IRELAND, &manifest("a"), Some("latest"));
    site.watch(1).await;
    assert_eq!(site.complete(&image).await, &first[1..], "the new push is not complete");
    site.minutes(2).await;
    let [latest, v1] = &*site.complete(&image).await else { panic!("not two") };
    assert_eq!(v1, &first[1]);
    assert!(latest.id != first[0].id && latest.pushed_at > first[0].pushed_at, "{latest:?}");
}

#[tokio::test]
async fn a_late_copy_completes_its_push_in_the_step_that_resolves_its_problem() {
    let site = site(Settings::default()).await;
    site.lag(TOKYO, 47);
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.minutes(46).await;
    assert_eq!((site.complete(&image).await, site.alerts().await.len()), (vec![], 1));
    site.minutes(2).await;
    let [complete] = &*site.complete(&image).await else { panic!("not complete, or twice") };
    assert_eq!(lags(complete)[TOKYO], 47 * 60);
    let incidents = site.local.table.incidents().await.unwrap();
    assert!(incidents.iter().all(|incident| incident.open == 0), "the problem has ended: {incidents:?}");
}

#[tokio::test]
async fn a_copy_whose_event_was_lost_completes_its_push_when_watch_finds_it() {
    let site = site(Settings::default()).await;
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.watch(1).await;
    site.trouble("lost=100");
    site.minutes(1).await;
    site.trouble("lost=0");
    site.minutes(20).await;
    assert_eq!(site.complete(&image).await, []);
    site.minutes(12).await;
    let [complete] = &*site.complete(&image).await else { panic!("not complete, or twice") };
    assert!(lags(complete).values().all(|lag| *lag < 60), "{complete:?}");
}

#[tokio::test]
async fn a_push_without_expected_copies_has_no_event() {
    let site = site(Settings::default()).await;
    let image = site.push(VIRGINIA, &manifest("a"), Some("v1"));
    site.minutes(40).await;
    assert_eq!(site.complete(&image).await, []);
}

#[tokio::test]
async fn a_copy_that_failed_or_never_begins_leaves_its_push_incomplete() {
    for trouble in ["failed=100", "missing=100", "stuck=100"] {
        let site = site(Settings::default()).await;
        site.trouble(trouble);
        let image = site.push(IRELAND, &manifest("a"), Some("v1"));
        for _ in 0..16 {
            site.watch(24 * 3_600).await;
        }
        assert_eq!(site.complete(&image).await, [], "{trouble}");
    }
}

// With events in any order

/// An empty table that knows the rules of Ireland.
async fn store() -> Store {
    let store = Store::new().await;
    let ireland: Registry = IRELAND.parse().unwrap();
    store.table.register_registry(&ireland).await.unwrap();
    let route = |to: &str| Route {
        destination: to.parse().unwrap(),
        prefix: String::new(),
        deletes_natively: false,
        since: Timestamp::UNIX_EPOCH,
    };
    let read_at = "2026-11-16T12:00:00Z".parse().unwrap();
    let settings = ReplicationSettings { routes: [VIRGINIA, TOKYO].map(route).into(), read_at };
    let [known] = &*store.table.known_registries().await.unwrap() else { panic!("one registry") };
    store.table.put_settings(known, Some(&settings), Timestamp::MAX).await.unwrap();
    store
}

/// What the stream publishes: each image of an expectation that is written, if it has a completion.
#[derive(Default)]
struct Stream {
    seen: Vec<ReplicationExpectation>,
    published: Vec<String>,
}

impl Stream {
    async fn read(&mut self, store: &Store) {
        let image: Image = image('a').parse().unwrap();
        let now = store.table.expectations(&image).await.unwrap().expectations;
        for expectation in now.iter().filter(|now| !self.seen.contains(now)) {
            self.published.extend(expectation.complete().map(|complete| complete.id));
        }
        self.seen = now;
    }
}

/// The events of two pushes with different tags, each with its copies; of one of them the copies arrive twice.
fn events() -> Vec<Value> {
    let mut events = vec![push(IRELAND, 'a', Some("v1"), 0), push(IRELAND, 'a', None, 3)];
    for (to, second) in [(VIRGINIA, 20), (TOKYO, 40), (TOKYO, 50)] {
        events.push(replicate(IRELAND, to, 'a', Some("v1"), second));
        events.push(replicate(IRELAND, to, 'a', None, second + 1));
    }
    // What happens to a copy after it arrived changes nothing.
    events.push(delete(TOKYO, 'a', Some("v1"), 60));
    events.push(push(IRELAND, 'b', Some("v1"), 70));
    events
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn every_order_repetition_and_batching_publishes_each_push_once(
        shuffled in vec(select(events()), 0..6)
            .prop_flat_map(|repeated| Just([events(), repeated].concat()).prop_shuffle()),
        sizes in vec(1usize..4, 20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (store, mut stream) = (store().await, Stream::default());
            let mut rest = &shuffled[..];
            for size in sizes {
                let (batch, left) = rest.split_at(size.min(rest.len()));
                assert!(store.deliver(batch).await.is_empty());
                stream.read(&store).await;
                rest = left;
            }
            stream.published.sort();
            assert_eq!(stream.published, ids(), "{shuffled:?}");
        });
    }

    #[test]
    fn writers_at_the_same_time_publish_each_push_once(
        shuffled in vec(select(events()), 0..6)
            .prop_flat_map(|repeated| Just([events(), repeated].concat()).prop_shuffle()),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let (store, mut stream) = (store().await, Stream::default());
            let at_once = shuffled.iter().map(|event| store.deliver(std::slice::from_ref(event)));
            assert!(futures::future::join_all(at_once).await.concat().is_empty());
            stream.read(&store).await;
            stream.published.sort();
            assert_eq!(stream.published, ids());
        });
    }
}

fn ids() -> [String; 2] {
    let of = |second, subject: &str| {
        let digest = image('a').split_once('@').unwrap().1.to_owned();
        format!("2026-11-16T12:00:{second:02}Z/replication_complete/{IRELAND}/{subject}/{digest}")
    };
    [of(0, "team/app:v1"), of(3, &image('a'))]
}

/// Delivers all events in two batches through a client in which one call fails, and redelivers what failed.
async fn deliver_with(fault: Fault, at: usize) -> (Vec<String>, usize) {
    let (store, mut stream) = (store().await, Stream::default());
    let config = store.client.config();
    let faulty = Faulty { inner: config.http_client().unwrap(), calls: Arc::default(), at, fault };
    let retry = aws_sdk_dynamodb::config::retry::RetryConfig::disabled();
    let table = store.through(config.to_builder().http_client(faulty.clone()).retry_config(retry));
    for batch in events().chunks(4) {
        let failed = deliver(&table, batch.iter().map(Value::to_string)).await;
        stream.read(&store).await;
        let again: Vec<_> = failed.iter().map(|place| batch[place.parse::<usize>().unwrap()].to_string()).collect();
        assert!(deliver(&table, again).await.is_empty());
        stream.read(&store).await;
    }
    stream.published.sort();
    (stream.published, faulty.calls.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_function_that_fails_at_any_call_publishes_each_push_once() {
    let (published, calls) = deliver_with(Fault::Throttled, usize::MAX).await;
    assert_eq!(published, ids());
    for fault in [Fault::Throttled, Fault::Unreachable, Fault::AnswerLost, Fault::Conflict] {
        for at in 0..calls {
            assert_eq!(deliver_with(fault, at).await.0, ids(), "{fault:?} at call {at}");
        }
    }
}

#[tokio::test]
async fn the_arrival_that_is_stored_first_counts() {
    let store = store().await;
    for event in [&events()[..], &events()[..]].concat() {
        assert!(store.deliver(&[event]).await.is_empty());
    }
    let image: Image = image('a').parse().unwrap();
    let expectations = store.table.expectations(&image).await.unwrap().expectations;
    let v1 = expectations.into_iter().find(|one| one.tag.is_some()).unwrap();
    let arrival = |to: &str, at: &str| (to.parse::<Registry>().unwrap(), at.parse::<Timestamp>().unwrap());
    let arrivals = [arrival(VIRGINIA, "2026-11-16T12:00:20Z"), arrival(TOKYO, "2026-11-16T12:00:40Z")];
    assert_eq!(v1.state.completion, Some(Completion { at: arrivals[1].1, arrivals: arrivals.into() }));
    assert_eq!(serde_json::to_value(v1.complete().unwrap()).unwrap()["destinations"][1]["lag_seconds"], json!(40));
}
