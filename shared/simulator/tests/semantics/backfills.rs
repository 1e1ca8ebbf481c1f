use std::time::Duration;

use aws_sdk_ecr::types::{ReplicationBackfillStatus, ReplicationDestination};

use crate::sites::{IRELAND, OREGON, Sites, TOKYO, VIRGINIA, failed, image, images, push, replicate, rule, set, tags};

const LONG: Duration = Duration::from_secs(600);

fn to(registry: &str) -> ReplicationDestination {
    let (account, region) = registry.split_once('/').unwrap();
    ReplicationDestination::builder().region(region).registry_id(account).build().unwrap()
}

#[tokio::test]
async fn a_backfill_copies_images_older_than_the_rule() {
    let sites = Sites::new().await;
    let (ireland, virginia) = (sites.with_app(IRELAND).await, sites.ecr(VIRGINIA).await);
    for tag in ["v1", "latest"] {
        push(&ireland, &image("a"), Some(tag)).await;
    }
    push(&ireland, &image("b"), None).await;
    let start = || ireland.start_replication_backfill().destination(to(VIRGINIA)).send();
    assert_eq!(failed(start().await), "ValidationException");
    replicate(&ireland, [rule(&[VIRGINIA], Some("team/"))]).await;
    let run = start().await.unwrap();
    assert_eq!(run.status(), Some(&ReplicationBackfillStatus::Preparing));
    assert!(start().await.unwrap_err().into_service_error().is_replication_backfill_in_progress_exception());
    sites.pass(LONG);
    assert_eq!(tags(&virginia, &image("a")).await, set(&["latest", "v1"]));
    assert_eq!(images(&virginia).await.len(), 2);

    let id = run.replication_backfill_id().unwrap();
    let results = ireland.describe_replication_backfill_results().replication_backfill_id(id).send().await.unwrap();
    assert_eq!(results.status(), Some(&ReplicationBackfillStatus::Complete));
    let progress = results.progress().unwrap();
    let counts = (
        progress.total_replication_count(),
        progress.completed_replication_count(),
        progress.failed_replication_count(),
    );
    assert_eq!(counts, (3, 3, 0));
    assert_eq!(results.results().len(), 3);
    assert!(results.ended_at() > results.started_at());
    let listed = ireland.list_replication_backfills().send().await.unwrap();
    assert_eq!(listed.backfills()[0].replication_backfill_id(), id);
    let stop = ireland.stop_replication_backfill().replication_backfill_id(id).send().await.unwrap_err();
    assert!(stop.into_service_error().is_replication_backfill_invalid_status_exception());
    // The records of the refused calls come after it.
    let emitted = sites.simulator.emitted(0).into_iter().map(|emitted| emitted.event);
    let description = emitted.rev().find(|event| event["detail"]["replication-backfill-id"].is_string()).unwrap();
    assert_eq!(
        (&description["detail"]["result"], &description["detail"]["replication-backfill-id"]),
        (&"COMPLETE".into(), &id.into())
    );
    // Nothing is missing any more.
    let again = start().await.unwrap();
    sites.pass(LONG);
    let id = again.replication_backfill_id().unwrap();
    let results = ireland.describe_replication_backfill_results().replication_backfill_id(id).send().await.unwrap();
    assert_eq!(results.progress().unwrap().total_replication_count(), 0);
}

#[tokio::test]
async fn a_backfill_can_end_as_failed_or_stopped() {
    let sites = Sites::new().await;
    let ireland = sites.with_app(IRELAND).await;
    for number in 0..120 {
        push(&ireland, &image(&number.to_string()), None).await;
    }
    replicate(&ireland, [rule(&[TOKYO, OREGON], None)]).await;
    let run = ireland.start_replication_backfill().destination(to(TOKYO)).send().await.unwrap();
    let other = ireland.start_replication_backfill().destination(to(OREGON)).send().await.unwrap();
    let stopping =
        ireland.stop_replication_backfill().replication_backfill_id(other.replication_backfill_id().unwrap());
    assert_eq!(stopping.send().await.unwrap().status(), Some(&ReplicationBackfillStatus::Stopping));
    sites.pass(LONG);
    let described = |id: &str| ireland.describe_replication_backfill_results().replication_backfill_id(id);
    let id = run.replication_backfill_id().unwrap();
    let results = described(id).send().await.unwrap();
    assert_eq!(results.status(), Some(&ReplicationBackfillStatus::Failed));
    assert_eq!(results.progress().unwrap().failure_codes(), ["AccessDenied"]);
    assert_eq!(results.results().len(), 100);
    let next = described(id).next_token(results.next_token().unwrap()).send().await.unwrap();
    assert_eq!(next.results().len(), 20);
    let none = described(id).result_status_filter("COMPLETE".into()).send().await.unwrap();
    assert!(none.results().is_empty());
    let stopped = described(other.replication_backfill_id().unwrap()).send().await.unwrap();
    assert_eq!(stopped.status(), Some(&ReplicationBackfillStatus::Stopped));
    assert!(images(&sites.ecr(OREGON).await).await.is_empty());
    let unknown = described("11111111-2222-3333-4444-555555555555").send().await.unwrap_err();
    assert!(unknown.into_service_error().is_replication_backfill_not_found_exception());
}
