use aws_sdk_ecr::config::Credentials;

use crate::sites::{APP, IRELAND, Sites, VIRGINIA, allow, failed, image, images, push};

const OTHER: &str = "444455556666/eu-west-1";

#[tokio::test]
async fn registries_of_other_regions_and_accounts_are_separate() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    push(&ecr, &image("a"), Some("v1")).await;
    for registry in [VIRGINIA, OTHER] {
        assert!(images(&sites.ecr(registry).await).await.is_empty());
        assert!(sites.ecr(registry).await.describe_repositories().send().await.unwrap().repositories().is_empty());
    }
}

#[tokio::test]
async fn another_accounts_registry_needs_that_accounts_permission() {
    let sites = Sites::new().await;
    let (mine, theirs) = (sites.with_app(IRELAND).await, sites.ecr(OTHER).await);
    push(&mine, &image("a"), Some("v1")).await;
    let describe = || theirs.describe_images().registry_id("111122223333").repository_name(APP).send();
    assert_eq!(failed(describe().await), "AccessDeniedException");
    allow(&mine, "444455556666", &["ecr:DescribeImages"]).await;
    assert_eq!(describe().await.unwrap().image_details().len(), 1);
    let delete = theirs.batch_delete_image().registry_id("111122223333").repository_name(APP);
    assert_eq!(failed(delete.image_ids(crate::sites::tagged("v1")).send().await), "AccessDeniedException");
    let odd = theirs.describe_images().registry_id("1").repository_name(APP).send().await;
    assert_eq!(failed(odd), "InvalidParameterException");
}

#[tokio::test]
async fn an_assumed_role_belongs_to_its_own_account() {
    let sites = Sites::new().await;
    let ecr = sites.with_app(IRELAND).await;
    push(&ecr, &image("a"), Some("v1")).await;
    let credentials = Credentials::new("444455556666", "secret", None, None, "test");
    let sts = aws_sdk_sts::Client::new(&sites.config(credentials, "eu-west-1").await);
    assert_eq!(sts.get_caller_identity().send().await.unwrap().arn(), Some("arn:aws:iam::444455556666:root"));
    let assume =
        sts.assume_role().role_arn("arn:aws:iam::111122223333:role/ecr-lineage-mirror").role_session_name("dana");
    let answer = assume.external_id("ours").send().await.unwrap();
    let role = answer.credentials().unwrap();
    let token = Some(role.session_token().to_owned());
    let role = Credentials::new(role.access_key_id(), role.secret_access_key(), token, None, "test");
    let config = sites.config(role, "eu-west-1").await;
    let me = aws_sdk_sts::Client::new(&config).get_caller_identity().send().await.unwrap();
    assert_eq!(me.arn(), Some("arn:aws:sts::111122223333:assumed-role/ecr-lineage-mirror/dana"));
    let ecr = aws_sdk_ecr::Client::new(&config);
    assert_eq!(images(&ecr).await.len(), 1);
    // CloudTrail records who deleted it.
    crate::sites::delete(&ecr, crate::sites::tagged("v1")).await;
    let emitted = sites.simulator.emitted(0);
    let record = emitted.iter().find(|one| one.event["detail"]["eventName"] == "BatchDeleteImage").unwrap();
    let identity = &record.event["detail"]["userIdentity"];
    assert_eq!((&identity["type"], &identity["arn"]), (&"AssumedRole".into(), &me.arn().unwrap().into()));
    let odd = sts.assume_role().role_arn("no-arn").role_session_name("dana").send().await;
    assert_eq!(failed(odd), "ValidationError");
}

#[tokio::test]
async fn a_caller_without_an_account_is_of_account_zero() {
    let sites = Sites::new().await;
    let unknown = Credentials::new("AKIAIOSFODNN7EXAMPLE", "secret", None, None, "test");
    let ecr = aws_sdk_ecr::Client::new(&sites.config(unknown, "eu-west-1").await);
    assert_eq!(ecr.describe_registry().send().await.unwrap().registry_id(), Some("000000000000"));
    let mine = sites.ecr(IRELAND).await;
    assert!(
        mine.get_registry_policy()
            .send()
            .await
            .unwrap_err()
            .into_service_error()
            .is_registry_policy_not_found_exception()
    );
    let odd = mine.put_registry_policy().policy_text("{}").send().await;
    assert_eq!(failed(odd), "InvalidParameterException");
}
