use std::time::Duration;

use aws_sdk_ecr::error::ProvideErrorMetadata;
use simulator::{settings::Settings, trouble::Trouble};

use crate::sites::{APP, COPIED, IRELAND, Sites, VIRGINIA, copies, image, images, push, replicate, rule, set, tags};

async fn with(trouble: &str) -> Sites {
    let sites = Sites::new().await;
    sites.with_app(IRELAND).await;
    sites.trouble(trouble);
    sites
}

impl Sites {
    fn trouble(&self, trouble: &str) {
        let trouble: Trouble = trouble.parse().unwrap();
        self.simulator.set(|settings| settings.trouble = trouble);
    }
}

#[tokio::test]
async fn a_throttled_call_is_refused_and_changes_nothing() {
    let sites = with("throttled=100").await;
    let ecr = sites.ecr(IRELAND).await;
    let put = || ecr.put_image().repository_name(APP).image_manifest(image("a")).image_tag("v1").send();
    let error = put().await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Some("ThrottlingException"), Some("Rate exceeded")));
    sites.trouble("lost=0");
    assert!(images(&ecr).await.is_empty());
    put().await.unwrap();
}

#[tokio::test]
async fn a_call_without_a_response_may_have_taken_effect_or_not() {
    for (trouble, effect) in [("request-lost=100", 0), ("response-lost=100", 1)] {
        let sites = with(trouble).await;
        let ecr = sites.ecr(IRELAND).await;
        let put = ecr.put_image().repository_name(APP).image_manifest(image("a")).image_tag("v1").send().await;
        assert!(put.unwrap_err().as_service_error().is_none(), "{trouble}");
        sites.trouble("lost=0");
        assert_eq!(images(&ecr).await.len(), effect, "{trouble}");
    }
}

#[tokio::test]
async fn copies_are_slow_or_stuck_or_fail() {
    for (trouble, soon, later) in [
        ("slow=100", "us-east-1 IN_PROGRESS", "us-east-1 COMPLETE"),
        ("stuck=100", "us-east-1 IN_PROGRESS", "us-east-1 IN_PROGRESS"),
        ("failed=100", "us-east-1 FAILED InternalError", "us-east-1 FAILED InternalError"),
    ] {
        let sites = with(trouble).await;
        let ecr = sites.ecr(IRELAND).await;
        replicate(&ecr, [rule(&[VIRGINIA], None)]).await;
        push(&ecr, &image("a"), Some("v1")).await;
        sites.pass(COPIED);
        assert_eq!(copies(&ecr, &image("a")).await, [soon], "{trouble}");
        sites.pass(Duration::from_secs(4 * 3600));
        assert_eq!(copies(&ecr, &image("a")).await, [later], "{trouble}");
        let there = tags(&sites.ecr(VIRGINIA).await, &image("a")).await;
        assert_eq!(there, if later.ends_with("COMPLETE") { set(&["v1"]) } else { None });
    }
}

#[tokio::test]
async fn events_are_lost_repeated_delayed() {
    for (trouble, at_once, in_the_end) in [("lost=100", 0, 0), ("repeated=100", 1, 2), ("delayed=100", 0, 1)] {
        let sites = with(trouble).await;
        push(&sites.ecr(IRELAND).await, &image("a"), Some("v1")).await;
        let received = || -> Vec<_> {
            let messages = sites.simulator.receive_now(10);
            sites.simulator.delete(messages.iter().map(|message| message.id));
            // Without CloudTrail's records of the same calls.
            let bodies = messages.into_iter().map(|message| message.body);
            bodies.filter(|body| !body.contains("via CloudTrail")).collect()
        };
        let mut bodies = received();
        assert_eq!(bodies.len(), at_once, "{trouble}");
        sites.pass(Duration::from_secs(16 * 60));
        bodies.extend(received());
        assert_eq!(bodies.len(), in_the_end, "{trouble}");
        bodies.dedup();
        assert!(bodies.len() <= 1, "a repeated event is the same event");
        // The push took effect whether or not its event was lost, and the simulator lists the event as emitted.
        assert_eq!(sites.events(&mut 0).len(), 1);
    }
}

#[tokio::test]
async fn the_same_seed_and_the_same_calls_give_the_same_events_and_images() {
    let story = async |seed| {
        let trouble =
            "lost=20,repeated=20,delayed=20,reordered=20,slow=20,stuck=10,failed=10,throttled=20".parse().unwrap();
        let sites = Sites::with(Settings { seed, trouble, ..Settings::default() }).await;
        let ecr = sites.ecr(IRELAND).await;
        _ = ecr.create_repository().repository_name(APP).send().await;
        _ = ecr.create_repository().repository_name(APP).send().await;
        let configuration =
            aws_sdk_ecr::types::ReplicationConfiguration::builder().rules(rule(&[VIRGINIA], None)).build().unwrap();
        _ = ecr.put_replication_configuration().replication_configuration(configuration).send().await;
        for number in 0..20 {
            let put = ecr.put_image().repository_name(APP).image_manifest(image(&number.to_string()));
            _ = put.image_tag(format!("v{number}")).send().await;
            sites.pass(Duration::from_secs(7));
        }
        sites.pass(Duration::from_secs(4 * 3600));
        let emitted: Vec<_> =
            sites.simulator.emitted(0).iter().map(|one| format!("{} {}", one.event, one.deliveries)).collect();
        (emitted, format!("{:?}", sites.simulator.held()))
    };
    assert_eq!(story(3).await, story(3).await);
    assert_ne!(story(3).await, story(4).await);
}
