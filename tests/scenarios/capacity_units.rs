use serde_json::Value;

use crate::{
    events::{IRELAND, TOKYO, delete, lifecycle, push, replicate, scan, storage_class},
    test_table::Store,
};

/// The write units of one event, including those of the indexes.
async fn cost(store: &Store, event: Value) -> f64 {
    let (_, before) = store.table.units();
    assert!(store.deliver(&[event]).await.is_empty());
    store.table.units().1 - before
}

/// What each kind of event costs on an image of the tests' usual size.
async fn costs(store: &Store, second: u32) -> Vec<(&'static str, f64)> {
    let v = |second: u32| format!("v{second}");
    vec![
        ("push of a new image", cost(store, push(IRELAND, 'd', Some(&v(second)), second)).await),
        ("push that moves a tag", cost(store, push(IRELAND, 'e', Some(&v(second)), second + 1)).await),
        ("push without a tag", cost(store, push(IRELAND, 'd', None, second + 2)).await),
        ("replicate", cost(store, replicate(IRELAND, TOKYO, 'd', Some(&v(second)), second + 3)).await),
        ("replicate that moves a tag", cost(store, replicate(IRELAND, TOKYO, 'e', Some(&v(second)), second + 4)).await),
        ("delete of a tag", cost(store, delete(TOKYO, 'e', Some(&v(second)), second + 5)).await),
        ("archive", cost(store, storage_class(TOKYO, 'e', "ARCHIVE", second + 6)).await),
        ("delete of an image", cost(store, delete(TOKYO, 'd', None, second + 7)).await),
        (
            "lifecycle expiry",
            cost(store, lifecycle(IRELAND, "PolicyExecutionEvent", "expire", &['d'], second + 8)).await,
        ),
        ("scan", cost(store, scan(IRELAND, 'd', second + 9)).await),
    ]
}

#[tokio::test]
async fn an_event_costs_the_same_after_a_thousand_others() {
    let store = Store::new().await;
    // The first event of a registry also registers it, once.
    assert!(store.deliver(&[push(IRELAND, 'a', None, 0), push(TOKYO, 'a', None, 0)]).await.is_empty());
    let first = costs(&store, 10).await;
    assert_eq!(
        first,
        [
            // One of these is for the activity index, except of replications and scans.
            // Two of these are for the expected replicas, and their entry in the index of due items.
            ("push of a new image", 7.0),
            ("push that moves a tag", 8.0),
            ("push without a tag", 6.0),
            ("replicate", 4.0),
            ("replicate that moves a tag", 5.0),
            // Two of these are for the work item that `mirror` processes, and its entry in the index of due items.
            ("delete of a tag", 7.0),
            ("archive", 4.0),
            ("delete of an image", 6.0),
            ("lifecycle expiry", 6.0),
            ("scan", 1.0),
        ]
    );
    // A thousand pushes of the same two images, each with its own tag.
    let earlier: Vec<_> = (0..1_000u32)
        .map(|n| push(IRELAND, if n % 2 == 0 { 'd' } else { 'e' }, Some(&format!("build-{n}")), 100 + n))
        .collect();
    for batch in earlier.chunks(100) {
        assert!(store.deliver(batch).await.is_empty());
    }
    // The first event of a registry in five minutes also stores when that was.
    for event in [scan(IRELAND, 'a', 1_998), scan(TOKYO, 'a', 1_999)] {
        assert_eq!(cost(&store, event).await, 2.0);
    }
    // Once a deletion's work item is queued, another deletion writes no index entry. A replica of a deleted image
    // enqueues it again, and a push updates the index entry of the expected replicas.
    let again = costs(&store, 2_000).await;
    let (mut more, mut less) = (0.0, 0.0);
    for ((name, before), (_, after)) in first.iter().zip(&again) {
        match *name {
            "delete of a tag" | "delete of an image" | "lifecycle expiry" => less += before - after,
            "replicate" | "push without a tag" => more += after - before,
            _ => assert_eq!(before, after, "{name}"),
        }
    }
    assert_eq!((more, less), (2.0, 3.0));
}

#[tokio::test]
async fn a_batch_costs_no_more_than_its_events_alone() {
    let (alone, together) = (Store::new().await, Store::new().await);
    let mut batch = Vec::new();
    for (letter, version, second) in [('a', "v1", 100), ('b', "v2", 200)] {
        batch.push(push(IRELAND, letter, Some(version), second));
        batch.push(push(IRELAND, letter, Some("latest"), second + 1));
        batch.push(replicate(IRELAND, TOKYO, letter, Some(version), second + 30));
        batch.push(replicate(IRELAND, TOKYO, letter, Some("latest"), second + 31));
    }
    batch.push(delete(IRELAND, 'a', Some("v1"), 300));
    batch.push(delete(IRELAND, 'a', None, 301));
    let mut sum = 0.0;
    for event in batch.clone() {
        sum += cost(&alone, event).await;
    }
    let (_, before) = together.table.units();
    assert!(together.deliver(&batch).await.is_empty());
    let written = together.table.units().1 - before;
    assert!(0.0 < written && written <= sum, "{written} together, {sum} alone");
    assert_eq!(together.dump().await, alone.dump().await);
    println!("{written} together, {sum} alone");
}
