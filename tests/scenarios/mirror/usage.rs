//! Replicas that services run are kept, and so is every replica while a service does not say what it runs.

use domain::{
    deletion::{CheckName, DeletionStatus},
    image::Image,
    usage::{UsageList, UsedImage},
};
use jiff::SignedDuration;

use super::{FOLLOW, Site, manifest};
use crate::{
    events::{IRELAND, TOKYO, VIRGINIA},
    running::{By, Running, User},
};

/// A site whose source lost an image, with stubs of services that have one thing on a page.
async fn site() -> (Site, Image, Running) {
    let (mut site, image) = Site::with_loss(FOLLOW).await;
    let running = Running::new(1);
    site.local.mirror.usage = running.reader(super::impatient(&site.local.endpoint).await);
    (site, image, running)
}

fn user(by: By, image: &Image, tag: Option<&str>) -> User {
    User { by, digest: image.digest.clone(), tag: tag.map(|tag| tag.parse().unwrap()) }
}

/// The digest of an image that no registry has.
fn other() -> Image {
    format!("team/app@sha256:{}", "f".repeat(64)).parse().unwrap()
}

#[tokio::test]
async fn what_runs_is_kept_until_it_runs_no_more() {
    for by in [By::Task, By::Service, By::Function, By::Pod] {
        let (site, image, running) = site().await;
        // The user of the image comes after another one: on the second page.
        running.start(TOKYO, user(by, &other(), Some("v9")));
        running.start(TOKYO, user(by, &image, Some("v1")));
        site.pass(60).await;
        site.pass(24 * 3600).await;
        assert!(site.has(TOKYO, &image), "{by:?}");
        assert!(!site.has(VIRGINIA, &image), "nothing runs there");
        let kept = site.deletion(TOKYO, &image, None).await;
        let last = kept.checks.last().unwrap();
        assert_eq!((kept.status, last.check, last.passed), (DeletionStatus::Pending, CheckName::Usage, false));
        assert!(
            last.why.starts_with(&format!("in use in {TOKYO}: ")) && last.why.contains("user-0002") | (by == By::Pod)
        );
        running.stop(TOKYO);
        site.pass(24 * 3600).await;
        assert!(!site.has(TOKYO, &image), "{by:?}");
        let done = site.deletion(TOKYO, &image, None).await;
        assert!(done.checks.iter().any(|check| check.check == CheckName::Usage && check.passed));
    }
}

#[tokio::test]
async fn what_still_runs_after_thirty_days_is_kept_for_good() {
    let (site, image, running) = site().await;
    running.start(TOKYO, user(By::Task, &image, None));
    site.pass(60).await;
    for _ in 0..32 {
        site.pass(24 * 3600).await;
    }
    let kept = site.deletion(TOKYO, &image, None).await;
    assert_eq!((kept.status, kept.due), (DeletionStatus::Kept, None));
    assert!(
        kept.checks.last().unwrap().why.contains("1 ECS task, such as arn:aws:ecs:ap-northeast-1:444455556666:task")
    );
    running.stop(TOKYO);
    site.pass(24 * 3600).await;
    assert!(site.has(TOKYO, &image));
}

#[tokio::test]
async fn a_service_that_does_not_answer_keeps_every_replica() {
    for (service, name) in [("ecs", "ECS"), ("lambda", "LAMBDA"), ("inspector2", "INSPECTOR")] {
        let (site, image, running) = site().await;
        running.deny(service);
        site.pass(60).await;
        site.pass(24 * 3600).await;
        let kept = site.deletion(TOKYO, &image, None).await;
        assert!(site.has(TOKYO, &image) && site.has(VIRGINIA, &image));
        let why = format!("whether it is in use is not known: {name} in {TOKYO} cannot be read: ");
        let last = kept.checks.last().unwrap();
        assert!(last.why.starts_with(&why) && last.why.contains("AccessDeniedException"), "{last:?}");
        assert_eq!(kept.status, DeletionStatus::Pending);
    }
}

#[tokio::test]
async fn a_task_that_an_answer_leaves_out_keeps_every_replica() {
    let (site, image, running) = site().await;
    running.start(TOKYO, user(By::Task, &other(), None));
    running.leave_out();
    site.pass(60).await;
    site.pass(24 * 3600).await;
    assert!(site.has(TOKYO, &image) && !site.has(VIRGINIA, &image));
    let last = site.deletion(TOKYO, &image, None).await.checks.pop().unwrap();
    assert!(last.why.contains("DescribeTasks: the answer does not mention arn:aws:ecs"), "{last:?}");
}

#[tokio::test]
async fn a_tag_that_a_service_pulls_is_not_removed() {
    let mut site = Site::new(FOLLOW).await;
    let running = Running::new(2);
    site.local.mirror.usage = running.reader(super::impatient(&site.local.endpoint).await);
    let image = site.push(IRELAND, &manifest("a"), Some("v1"));
    site.push(IRELAND, &manifest("a"), Some("stable"));
    site.arrive().await;
    running.start(TOKYO, user(By::Service, &other(), Some("stable")));
    site.untag(IRELAND, "stable");
    site.pass(60).await;
    site.pass(24 * 3600).await;
    assert_eq!(site.tags(TOKYO, &image).len(), 2);
    assert_eq!(site.tags(VIRGINIA, &image).len(), 1);
    running.stop(TOKYO);
    site.pass(24 * 3600).await;
    assert_eq!(site.tags(TOKYO, &image).len(), 1);
}

#[tokio::test]
async fn each_account_and_region_is_read_once_in_a_run() {
    let (mut site, image, _) = site().await;
    let running = Running::new(100);
    site.local.mirror.usage = running.reader(super::impatient(&site.local.endpoint).await);
    for _ in 0..250 {
        running.start(TOKYO, user(By::Task, &other(), None));
    }
    for _ in 0..20 {
        running.start(TOKYO, user(By::Service, &other(), Some("v9")));
        running.start(TOKYO, user(By::Function, &other(), Some("v9")));
    }
    let mut images = vec![image];
    for name in ["b", "c"] {
        images.push(site.push(IRELAND, &manifest(name), None));
    }
    site.arrive().await;
    for image in &images[1..] {
        site.delete_image(IRELAND, image);
    }
    site.pass(60).await;
    site.pass(24 * 3600 + 60).await;
    assert!(!images.iter().any(|image| site.has(TOKYO, image)));
    let calls = running.calls();
    let expected = [
        // Both registries of replicas have two clusters.
        ("BatchGetAccountStatus", 2),
        ("DescribeServices", 2),
        // Two revisions of each family.
        ("DescribeTaskDefinition", 40),
        ("DescribeTasks", 3),
        ("GetFunction", 20),
        ("ListClusters", 2),
        ("ListCoverage", 2),
        ("ListFunctions", 2),
        ("ListServices", 4),
        ("ListTaskDefinitions", 20),
        ("ListTasks", 6),
    ];
    let expected = expected.map(|(name, number)| (name.to_owned(), number));
    assert_eq!(calls, expected.into_iter().collect());
}

#[tokio::test]
async fn an_imported_list_keeps_its_images_and_when_it_has_ended_everything() {
    let (site, image) = Site::with_loss(FOLLOW).await;
    let other = site.push(IRELAND, &manifest("b"), None);
    site.arrive().await;
    site.delete_image(IRELAND, &other);
    let images = [UsedImage::digest(&TOKYO.parse().unwrap(), &image)].into();
    let until = site.now() + SignedDuration::from_hours(48);
    let list =
        UsageList { name: "tills".to_owned(), images, by: "dana".to_owned(), at: site.now(), until: Some(until) };
    site.local.table.put_usage_list(&list).await.unwrap();
    assert_eq!(site.local.table.usage_lists().await.unwrap(), [list]);
    site.pass(60).await;
    site.pass(25 * 3600).await;
    assert!(site.has(TOKYO, &image) && !site.has(VIRGINIA, &image) && !site.has(TOKYO, &other));
    let last = site.deletion(TOKYO, &image, None).await.checks.pop().unwrap();
    assert_eq!(last.why, format!("in use in {TOKYO}: 1 entry of the list tills, such as list tills"));
    // Nothing says what is in use any more.
    let third = site.push(IRELAND, &manifest("c"), None);
    site.arrive().await;
    site.delete_image(IRELAND, &third);
    site.pass(60).await;
    site.pass(25 * 3600).await;
    assert!(site.has(TOKYO, &image) && site.has(TOKYO, &third));
    let last = site.deletion(TOKYO, &third, None).await.checks.pop().unwrap();
    assert!(last.why.contains("the list tills cannot be read: it ended "), "{last:?}");
    site.local.table.delete_usage_list("tills").await.unwrap();
    site.pass(25 * 3600).await;
    assert!(!site.has(TOKYO, &image) && !site.has(TOKYO, &third));
}

/// `docs/usage.md` has the same numbers. What is kept in memory grows with the images, not with their users.
#[tokio::test]
async fn calls_grow_with_pages_of_tasks_and_services_and_with_functions() {
    let site = Site::new(FOLLOW).await;
    let registries = super::impatient(&site.local.endpoint).await;
    let tokyo = TOKYO.parse().unwrap();
    for (by, number, calls) in [(By::Task, 10_000, 199), (By::Service, 100, 110), (By::Function, 1_000, 1_019)] {
        let running = Running::new(100);
        let nothing = {
            running.reader_of(registries.clone(), 1).begin().running(&tokyo).await;
            running.calls().values().sum::<usize>()
        };
        for _ in 0..number {
            running.start(TOKYO, user(by, &other(), Some("v1")));
        }
        let reader = running.reader_of(registries.clone(), 1);
        let usage = reader.begin().running(&tokyo).await;
        assert!(usage.unreadable.is_empty() && usage.uses().count() <= 2, "{:?}", usage.unreadable);
        let first = running.calls().values().sum::<usize>() - nothing;
        assert_eq!(first - nothing, calls, "{by:?}: {:?}", running.calls());
        // Task definitions are read once.
        reader.begin().running(&tokyo).await;
        let again = running.calls().values().sum::<usize>() - nothing - first;
        assert_eq!(first - again, if by == By::Service { 100 } else { 0 }, "{by:?}");
    }
}

/// With `UPDATE_EXAMPLES=1` the file is written.
#[tokio::test]
async fn the_answers_of_the_stubs_are_those_that_conformance_tests_compare() {
    let (site, image, running) = site().await;
    for by in [By::Task, By::Service, By::Function, By::Pod] {
        running.start(TOKYO, user(by, &image, Some("v1")));
    }
    site.pass(60).await;
    site.pass(24 * 3600).await;
    let path = format!("{}/fixtures/usage.json", env!("CARGO_MANIFEST_DIR"));
    let now = format!("{:#}\n", running.answers());
    if std::env::var_os("UPDATE_EXAMPLES").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), now);
}
