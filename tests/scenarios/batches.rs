use serde_json::json;

use crate::{
    events::{IRELAND, TOKYO, digest, image, push, replicate},
    test_table::{Store, deliver},
};

#[tokio::test]
async fn one_poison_message_never_stops_the_others() {
    let store = Store::new().await;
    let mut bodies: Vec<String> = ('a'..='f')
        .enumerate()
        .map(|(second, letter)| push(IRELAND, letter, Some("v1"), second as u32).to_string())
        .collect();
    bodies.insert(0, "not JSON".into());
    bodies.insert(3, json!({"source": "aws.s3"}).to_string());
    bodies.push(String::new());
    assert_eq!(deliver(&store.table, bodies).await, ["0", "3", "8"]);
    for letter in 'a'..='f' {
        assert_eq!(store.whereabouts(&image(letter)).await.len(), 1);
    }
}

#[tokio::test]
async fn only_messages_that_failed_are_returned() {
    let store = Store::new().await;
    // An item that this version cannot read has the key of an image's placement.
    let foreign = format!("placement#{IRELAND}#b");
    store.put_raw(&format!("image#{}", image('b')), &foreign, &[("pushed", "yesterday")]).await;
    let events = [push(IRELAND, 'a', Some("a"), 0), push(IRELAND, 'b', Some("b"), 1), push(IRELAND, 'c', Some("c"), 2)];
    assert_eq!(store.deliver(&events).await, ["1"]);
    assert_eq!(store.whereabouts(&image('a')).await.len(), 1);
    assert_eq!(store.whereabouts(&image('c')).await.len(), 1);
}

#[tokio::test]
async fn an_event_that_the_table_refuses_fails_alone() {
    let store = Store::new().await;
    // DynamoDB's limit for a sort key is 1,024 bytes. The key of this event's tag assignment exceeds it.
    let mut long_digest = push(IRELAND, 'b', Some("v1"), 1);
    long_digest["detail"]["image-digest"] = format!("sha256:{}", "b".repeat(1_100)).into();
    let others = [push(IRELAND, 'a', Some("v1"), 0), push(IRELAND, 'd', Some("v1"), 3)];
    let [first, last] = others.clone();
    assert_eq!(store.deliver(&[first, long_digest, last]).await, ["1"]);
    for letter in ['a', 'd'] {
        assert_eq!(store.lineage(&image(letter)).await.facts.len(), 1, "{letter}");
    }
    let before = store.dump().await;
    assert!(store.deliver(&others).await.is_empty());
    assert_eq!(store.dump().await, before, "all that the others prove was recorded");
}

#[tokio::test]
async fn a_batch_without_messages_is_done() {
    let store = Store::new().await;
    assert_eq!(store.deliver(&[]).await, Vec::<String>::new());
    assert!(store.dump().await.is_empty());
}

#[tokio::test]
async fn events_of_one_image_in_one_batch_are_one_lineage() {
    let store = Store::new().await;
    let batch = [
        replicate(IRELAND, TOKYO, 'a', Some("v1"), 30),
        push(IRELAND, 'a', Some("v1"), 0),
        push(IRELAND, 'a', Some("latest"), 1),
        push(IRELAND, 'a', Some("v1"), 0),
    ];
    assert_eq!(store.deliver(&batch).await, Vec::<String>::new());
    let places = store.whereabouts(&image('a')).await;
    assert_eq!(places[IRELAND].tags.iter().map(ToString::to_string).collect::<Vec<_>>(), ["latest", "v1"]);
    assert_eq!(places[TOKYO].replicated_from[0].lag_seconds, Some(30));
    assert_eq!(store.lineage(&image('a')).await.facts.len(), 3, "the repeated push is one fact");
}

#[tokio::test]
async fn a_tag_that_moves_within_one_batch_is_on_one_image() {
    let store = Store::new().await;
    let batch: Vec<_> =
        ['c', 'a', 'b'].map(|letter| push(IRELAND, letter, Some("latest"), 10 * (letter as u32 - 96))).into();
    assert_eq!(store.deliver(&batch).await, Vec::<String>::new());
    let tagged =
        |places: std::collections::BTreeMap<String, domain::lineage::Whereabouts>| !places[IRELAND].tags.is_empty();
    assert!(!tagged(store.whereabouts(&image('a')).await));
    assert!(!tagged(store.whereabouts(&image('b')).await));
    assert!(tagged(store.whereabouts(&image('c')).await));
    let moved = &store.whereabouts(&image('a')).await[IRELAND].moved_tags;
    assert_eq!(moved[0].to.as_str(), digest('b'), "the next image took it, not the last");
}
