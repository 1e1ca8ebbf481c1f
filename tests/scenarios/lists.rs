use domain::{
    image::RepositoryName,
    tag::{AssignmentEnd, TagName},
};
use store::PageBounds;

use crate::{
    events::{IRELAND, TOKYO, VIRGINIA, at, delete, digest, image, push, replicate},
    test_table::Store,
};

pub(crate) fn tag(tag: &str) -> TagName {
    TagName { repository: "team/app".parse().unwrap(), tag: tag.parse().unwrap() }
}

#[tokio::test]
async fn images_of_other_repositories_are_left_out() {
    let store = Store::new().await;
    let mut other = push(IRELAND, 'c', Some("v1"), 0);
    other["detail"]["repository-name"] = "team/app2".into();
    let events = [push(IRELAND, 'a', Some("v1"), 0), replicate(IRELAND, TOKYO, 'b', Some("v2"), 1), other];
    assert!(store.deliver(&events).await.is_empty());
    let repository: RepositoryName = "team/app".parse().unwrap();
    let images = store.table.images(&repository, PageBounds::ALL).await.unwrap().0;
    assert_eq!(images.iter().map(|lineage| lineage.image.to_string()).collect::<Vec<_>>(), [image('a'), image('b')]);
    assert!(store.table.images(&"team".parse().unwrap(), PageBounds::ALL).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn an_orphan_is_a_replica_without_a_push_whose_sources_all_deleted_it() {
    let store = Store::new().await;
    let events = [
        // a: its source deleted it. b: its source still has it. c: also pushed to the replica. d: one of its two
        // sources has it. e: no event came from its source. f: only its last tag was removed, which does not prove the
        // deletion.
        push(IRELAND, 'a', Some("a"), 0),
        replicate(IRELAND, TOKYO, 'a', Some("a"), 5),
        delete(IRELAND, 'a', None, 60),
        push(IRELAND, 'b', Some("b"), 0),
        replicate(IRELAND, TOKYO, 'b', Some("b"), 5),
        push(IRELAND, 'c', Some("c"), 0),
        replicate(IRELAND, TOKYO, 'c', Some("c"), 5),
        push(TOKYO, 'c', Some("mine"), 6),
        delete(IRELAND, 'c', None, 60),
        push(IRELAND, 'd', Some("d"), 0),
        push(VIRGINIA, 'd', Some("d"), 0),
        replicate(IRELAND, TOKYO, 'd', Some("d"), 5),
        replicate(VIRGINIA, TOKYO, 'd', Some("d"), 6),
        delete(IRELAND, 'd', None, 60),
        replicate(IRELAND, TOKYO, 'e', Some("e"), 5),
        push(IRELAND, 'f', Some("f"), 0),
        replicate(IRELAND, TOKYO, 'f', Some("f"), 5),
        delete(IRELAND, 'f', Some("f"), 60),
    ];
    assert!(store.deliver(&events).await.is_empty());
    let orphans = store.table.orphans(&TOKYO.parse().unwrap(), PageBounds::ALL).await.unwrap().0;
    assert_eq!(orphans.iter().map(|lineage| lineage.image.to_string()).collect::<Vec<_>>(), [image('a')]);
    assert!(store.table.orphans(&IRELAND.parse().unwrap(), PageBounds::ALL).await.unwrap().0.is_empty());
    // Pushed again, it is not an orphan any more.
    assert!(store.deliver(&[push(IRELAND, 'a', Some("a"), 90)]).await.is_empty());
    assert!(store.table.orphans(&TOKYO.parse().unwrap(), PageBounds::ALL).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn a_short_digest_is_found_with_and_without_its_repository() {
    let store = Store::new().await;
    assert!(store.deliver(&[push(IRELAND, 'a', None, 0), push(TOKYO, 'b', None, 0)]).await.is_empty());
    let repository: RepositoryName = "team/app".parse().unwrap();
    for asked in ["sha256:aaaa", "aaaa", &digest('a')] {
        for repository in [None, Some(&repository)] {
            let found = store.table.find(asked, repository).await.unwrap();
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [image('a')]);
        }
    }
    assert!(store.table.find("cccc", None).await.unwrap().is_empty());
    assert_eq!(store.table.find("", Some(&repository)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_history_of_a_tag_is_its_images_in_order_in_each_registry() {
    let store = Store::new().await;
    let events = [
        push(IRELAND, 'a', Some("latest"), 0),
        push(IRELAND, 'b', Some("latest"), 60),
        push(IRELAND, 'a', Some("latest"), 120),
        delete(IRELAND, 'a', Some("latest"), 180),
        replicate(IRELAND, TOKYO, 'a', Some("latest"), 10),
        delete(TOKYO, 'a', None, 200),
    ];
    assert!(store.deliver(&events).await.is_empty());
    let history = store.table.tag_history(&tag("latest")).await.unwrap();
    let notified: Vec<_> = history
        .iter()
        .map(|interval| {
            let ended = interval.ended.as_ref().unwrap();
            (
                interval.registry.to_string(),
                interval.digest.to_string(),
                interval.from.to_string(),
                ended.at.to_string(),
                ended.why.clone(),
            )
        })
        .collect();
    let moved = |letter| AssignmentEnd::Moved { to: digest(letter).parse().unwrap() };
    let interval =
        |registry: &str, letter, from, until, why| (registry.to_owned(), digest(letter), at(from), at(until), why);
    assert_eq!(
        notified,
        [
            interval(IRELAND, 'a', 0, 60, moved('b')),
            interval(IRELAND, 'b', 60, 120, moved('a')),
            interval(IRELAND, 'a', 120, 180, AssignmentEnd::TagDeleted),
            interval(TOKYO, 'a', 10, 200, AssignmentEnd::ImageDeleted),
        ]
    );
}

#[tokio::test]
async fn lists_longer_than_a_page_are_complete() {
    let store = Store::new().await;
    // DynamoDB's pages end at 1 MB: 3,000 placements with long names need more than one page of the index.
    let tag = "t".repeat(250);
    let events: Vec<_> = (0..3_000u32)
        .map(|n| {
            let mut event = push(IRELAND, 'a', Some(&tag), n % 3_000);
            event["detail"]["image-digest"] = format!("sha256:{n:064x}").into();
            event["detail"]["image-tag"] = format!("{tag}-{n}").into();
            event["id"] = format!("event-{n}").into();
            event
        })
        .collect();
    for batch in events.chunks(100) {
        assert!(store.deliver(batch).await.is_empty());
    }
    let repository: RepositoryName = "team/app".parse().unwrap();
    assert_eq!(store.table.images(&repository, PageBounds::ALL).await.unwrap().0.len(), 3_000);
}
