use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::Value;

use crate::{
    events::{IRELAND, TOKYO, VIRGINIA, call, delete, digest, lifecycle, push, replicate, scan, storage_class},
    registries::cases,
    test_table::Store,
};

/// Events with so few names and times that they collide often.
fn event() -> impl Strategy<Value = Value> {
    let registry = || select(vec![IRELAND, VIRGINIA, TOKYO]);
    let letter = || select(vec!['a', 'b', 'c']);
    let tag = || select(vec![None, Some("latest"), Some("v1")]);
    let second = || 0u32..8;
    prop_oneof![
        5 => (registry(), letter(), tag(), second()).prop_map(|(r, l, t, s)| push(r, l, t, s)),
        4 => (registry(), registry(), letter(), tag(), second()).prop_map(|(q, r, l, t, s)| replicate(q, r, l, t, s)),
        3 => (registry(), letter(), tag(), second()).prop_map(|(r, l, t, s)| delete(r, l, t, s)),
        1 => (registry(), letter(), select(vec!["ARCHIVE", "STANDARD"]), second())
            .prop_map(|(r, l, class, s)| storage_class(r, l, class, s)),
        1 => (registry(), letter(), second()).prop_map(|(r, l, s)| scan(r, l, s)),
        1 => (registry(), vec(letter(), 1..3), second()).prop_map(|(r, l, s)| lifecycle(r, "PolicyExecutionEvent", "expire", &l, s)),
        1 => (registry(), letter(), second()).prop_map(|(r, l, s)| {
            let ids = serde_json::json!([{"imageDigest": digest(l)}]);
            let request = serde_json::json!({"repositoryName": "team/app", "imageIds": ids});
            call(r, "BatchDeleteImage", s, request, serde_json::json!({"imageIds": ids, "failures": []}))
        }),
        1 => (registry(), second()).prop_map(|(r, s)| {
            call(r, "DeleteRepository", s, serde_json::json!({"repositoryName": "team/app", "force": true}), Value::Null)
        }),
    ]
}

fn events_and_a_shuffle() -> impl Strategy<Value = (Vec<Value>, Vec<Value>)> {
    vec(event(), 1..10).prop_map(distinct).prop_flat_map(|events| {
        let shuffled = vec(select(events.clone()), 0..4).prop_flat_map({
            let events = events.clone();
            move |repeated| Just([events.clone(), repeated].concat()).prop_shuffle()
        });
        (Just(events), shuffled)
    })
}

/// Removes events with the same ID but different content, which the generator can produce but AWS never does.
fn distinct(mut events: Vec<Value>) -> Vec<Value> {
    let mut seen = std::collections::BTreeSet::new();
    events.retain(|event| {
        let id = event.pointer("/detail/eventID").unwrap_or(&event["id"]);
        seen.insert(id.to_string())
    });
    events
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn any_order_any_repetition_any_batches_give_the_same_table(
        (events, shuffled) in events_and_a_shuffle(),
        sizes in vec(1usize..6, 20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (one, other) = (Store::new().await, Store::new().await);
            for event in &events {
                assert!(one.deliver(std::slice::from_ref(event)).await.is_empty());
            }
            let mut rest = &shuffled[..];
            for size in sizes {
                let (batch, left) = rest.split_at(size.min(rest.len()));
                assert!(other.deliver(batch).await.is_empty());
                rest = left;
            }
            assert_eq!(one.dump().await, other.dump().await);
        });
    }

    #[test]
    fn batches_at_the_same_time_give_the_same_table((events, shuffled) in events_and_a_shuffle()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let (one, other) = (Store::new().await, Store::new().await);
            for event in &events {
                assert!(one.deliver(std::slice::from_ref(event)).await.is_empty());
            }
            let at_once = shuffled.iter().map(|event| other.deliver(std::slice::from_ref(event)));
            for failed in futures::future::join_all(at_once).await {
                assert!(failed.is_empty());
            }
            assert_eq!(one.dump().await, other.dump().await);
        });
    }
}
