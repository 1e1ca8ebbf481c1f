use std::time::Duration;

use aws_sdk_ecr::types::TargetStorageClass;
use serde_json::json;
use simulator::{Simulator, keep::Error, settings::Settings};

use crate::sites::{
    APP, COPIED, DAY, IRELAND, Sites, TOKYO, VIRGINIA, allow, artifact, copies, delete, image, images, index, named,
    push, replicate, rule, tagged, tags,
};

/// The responses of all registries, as text.
async fn answers(sites: &Sites) -> String {
    let mut text = String::new();
    for registry in [IRELAND, VIRGINIA, TOKYO] {
        let ecr = sites.ecr(registry).await;
        text += &format!("{:?}", ecr.describe_repositories().send().await.unwrap().repositories());
        text += &format!("{:?}", images(&ecr).await);
        text += &format!("{:?}", ecr.describe_registry().send().await.unwrap().replication_configuration());
        text += &format!("{:?}", ecr.get_registry_policy().send().await.ok().and_then(|answer| answer.policy_text));
        text += &format!("{:?}", ecr.get_lifecycle_policy().repository_name(APP).send().await.ok());
        text += &format!("{:?}", ecr.list_replication_backfills().send().await.unwrap().backfills());
    }
    text + &format!("{:?}", sites.simulator.held())
}

/// Removes request IDs and headers, which differ between responses.
fn without_ids(text: &str) -> String {
    text.split("_request_id").next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn acknowledged_changes_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let trouble = "delayed=100".parse().unwrap();
    let sites = Sites::open(Settings { trouble, ..Settings::default() }, Some(folder.path())).await;
    let (ireland, tokyo) = (sites.with_app(IRELAND).await, sites.ecr(TOKYO).await);
    allow(&tokyo, "111122223333", &["ecr:*"]).await;
    push(&ireland, &image("old"), Some("v0")).await;
    replicate(&ireland, [rule(&[VIRGINIA, TOKYO], Some("team/"))]).await;
    push(&ireland, &image("amd64"), None).await;
    push(&ireland, &index(&[&image("amd64")]), Some("v1")).await;
    push(&ireland, &artifact(&image("amd64"), "text/sbom+json"), None).await;
    sites.pass(COPIED);
    push(&ireland, &image("moved"), Some("v1")).await;
    delete(&ireland, named(&index(&[&image("amd64")]))).await;
    delete(&ireland, tagged("v0")).await;
    let virginia = sites.ecr(VIRGINIA).await;
    let archive =
        virginia.update_image_storage_class().repository_name(APP).image_id(named(&index(&[&image("amd64")])));
    archive.target_storage_class(TargetStorageClass::Archive).send().await.unwrap();
    virginia.batch_get_image().repository_name(APP).image_ids(named(&image("amd64"))).send().await.unwrap();
    let selection = json!({"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 1});
    let policy = json!({"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]});
    ireland.put_lifecycle_policy().repository_name(APP).lifecycle_policy_text(policy.to_string()).send().await.unwrap();
    ireland.create_repository().repository_name("gone").send().await.unwrap();
    ireland.delete_repository().repository_name("gone").send().await.unwrap();
    let destination =
        aws_sdk_ecr::types::ReplicationDestination::builder().region("us-east-1").registry_id("111122223333");
    ireland.start_replication_backfill().destination(destination.build().unwrap()).send().await.unwrap();
    let (before, waiting) = (answers(&sites).await, sites.simulator.queue_lengths());
    assert!(waiting.0 > 5, "{waiting:?}");
    let now = sites.simulator.clock().now();

    // The simulator is not closed: a new process that has only the files must see the same state.
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let again = Sites::open(Settings::default(), Some(copy.path())).await;
    assert_eq!(without_ids(&answers(&again).await), without_ids(&before));
    assert_eq!(again.simulator.held(), sites.simulator.held());
    assert_eq!(again.simulator.queue_lengths(), waiting);
    assert!(again.simulator.clock().now() >= now - jiff::SignedDuration::from_secs(60));

    // Pending work continues: copies, the lifecycle policy, the backfill.
    again.pass(COPIED);
    assert_eq!(tags(&again.ecr(TOKYO).await, &image("moved")).await, crate::sites::set(&["v1"]));
    assert!(copies(&again.ecr(IRELAND).await, &image("moved")).await.iter().all(|copy| copy.ends_with("COMPLETE")));
    again.pass(DAY);
    // The untagged image is the newest of its kind; its artifact is kept, because its subject exists.
    assert_eq!(images(&again.ecr(IRELAND).await).await.len(), 2);
    let runs = again.ecr(IRELAND).await.list_replication_backfills().send().await.unwrap();
    assert_eq!(runs.backfills()[0].status().as_str(), "COMPLETE");
}

#[tokio::test]
async fn a_folder_in_use_or_with_foreign_files_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &std::path::Path| {
        Simulator::open(Settings::default(), jiff::Timestamp::UNIX_EPOCH, 0.0, Some(path)).map(|_| ())
    };
    let first = Simulator::open(Settings::default(), jiff::Timestamp::UNIX_EPOCH, 0.0, Some(folder.path())).unwrap();
    assert!(matches!(open(folder.path()), Err(Error::InUse { .. })));
    drop(first);
    open(folder.path()).unwrap();
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("registries.db"), "something else, and long enough to be noticed").unwrap();
    assert!(matches!(open(other.path()), Err(Error::File { .. })));
    std::fs::write(other.path().join("file"), "").unwrap();
    assert!(matches!(open(&other.path().join("file")), Err(Error::Folder { .. })));
}

#[tokio::test]
async fn messages_that_were_not_deleted_are_received_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let sites = Sites::open(Settings::default(), Some(folder.path())).await;
    let ecr = sites.with_app(IRELAND).await;
    push(&ecr, &image("a"), Some("v1")).await;
    push(&ecr, &image("b"), Some("v2")).await;
    let received = sites.simulator.receive_now(1);
    sites.simulator.delete([received[0].id]);
    // Each push has ECR's event and CloudTrail's record.
    assert_eq!(sites.simulator.receive_now(10).len(), 3);
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let again = Sites::open(Settings::default(), Some(copy.path())).await;
    assert!(again.simulator.receive_now(10).is_empty());
    again.pass(Duration::from_secs(180));
    let messages = again.simulator.receive_now(10);
    assert_eq!((messages.len(), messages[0].receives), (3, 2));
}
