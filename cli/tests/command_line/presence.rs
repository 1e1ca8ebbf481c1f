//! Where an image is, and waiting for it.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use simulator::settings::Lag;

use crate::{
    command::{Ran, User},
    mirror::{IRELAND, Scene, TOKYO},
};

/// The line of a registry.
fn line<'a>(ran: &'a Ran, registry: &str) -> &'a str {
    let found = ran.out.lines().find(|line| line.contains(registry));
    assert!(found.is_some(), "{ran:?}");
    found.unwrap()
}

/// Ireland replicates to Tokyo in 47 minutes from now on.
fn slow() -> Scene {
    let scene = Scene::new();
    scene.local.simulator.set(|settings| settings.lag = Lag::exactly(SignedDuration::from_mins(47)));
    scene
}

#[test]
fn a_replica_that_is_on_its_way_has_a_row_and_is_not_there() {
    let scene = slow();
    scene.push("v2");
    scene.pass(1);
    let shown = scene.run(&["show", "team/app:v2"]);
    assert!(line(&shown, TOKYO).contains("replicating"), "{shown:?}");
    let asked = scene.run(&["where", "team/app:v2", "--in", "ap-northeast-1"]);
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(line(&asked, TOKYO).contains("replicating: since"), "{asked:?}");
    assert!(!asked.out.contains(IRELAND), "only Tokyo was asked for: {asked:?}");
    let source = scene.run(&["where", "team/app:v2", "--in", IRELAND]);
    assert_eq!(source.code, Some(0), "{source:?}");
    let everywhere = scene.run(&["where", "team/app:v2"]);
    assert_eq!(everywhere.code, Some(1), "{everywhere:?}");
    assert!(line(&everywhere, IRELAND).contains("present, tagged v2"), "{everywhere:?}");

    scene.pass(48 * 60);
    let arrived = scene.run(&["where", "team/app:v2"]);
    assert_eq!(arrived.code, Some(0), "{arrived:?}");
    assert!(line(&arrived, TOKYO).contains("present, tagged v2"), "{arrived:?}");
}

#[test]
fn a_tag_that_a_replica_lacks_is_not_there() {
    let scene = slow();
    // The image of `archived` is in Tokyo, and gets a second tag.
    let manifest = scene.call(IRELAND, "BatchGetImage", json!({"imageIds": [{"imageTag": "archived"}]}));
    let manifest = manifest["images"][0]["imageManifest"].clone();
    scene.call(IRELAND, "PutImage", json!({"imageManifest": manifest, "imageTag": "v3"}));
    scene.pass(1);
    let asked = scene.run(&["where", "team/app:v3", "--in", TOKYO]);
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(!asked.out.contains("tagged v3"), "{asked:?}");
}

#[test]
fn a_tag_that_still_means_the_image_before_is_not_there() {
    let scene = Scene::new();
    scene.push("v2");
    scene.pass(3600);
    assert_eq!(scene.run(&["where", "team/app:v2"]).code, Some(0));
    scene.local.simulator.set(|settings| settings.lag = Lag::exactly(SignedDuration::from_mins(47)));
    scene.push_image("v2", "the second build");

    // Its event is not recorded yet. A reference that names its registry means what ECR says.
    let host = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app:v2";
    let early = scene.run(&["wait", host, "--timeout", "1s"]);
    assert_eq!(early.code, Some(3), "{early:?}");

    scene.pass(1);
    for command in [&["where", "team/app:v2"][..], &["where", "team/app:v2", "--in", TOKYO]] {
        let asked = scene.run(command);
        assert_eq!(asked.code, Some(1), "{asked:?}");
        assert!(line(&asked, TOKYO).contains("v2 is another image there: "), "{asked:?}");
    }
    let waited = scene.run(&["wait", "team/app:v2", "--timeout", "1s"]);
    assert_eq!(waited.code, Some(3), "{waited:?}");
    scene.pass(3600);
    assert_eq!(scene.run(&["where", "team/app:v2"]).code, Some(0));
}

#[test]
fn where_fails_as_long_as_the_rules_are_not_known() {
    let user = User::new();
    let push = r#"{"version":"0","id":"7c0d1a3e-2f4b-4d5a-9c8e-1b2a3c4d5e6f","detail-type":"ECR Image Action",
        "source":"aws.ecr","account":"111122223333","time":"2026-11-20T10:00:00Z","region":"eu-west-1","resources":[],
        "detail":{"result":"SUCCESS","repository-name":"team/app","action-type":"PUSH","image-tag":"v1",
        "image-digest":"sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd1234abcd"}}"#;
    let events = user.file("push.json", push);
    let ingested = user.run(&["ingest", &events]);
    assert_eq!(ingested.code, Some(0), "{ingested:?}");
    let asked = user.run(&["where", "team/app:v1"]);
    assert_eq!(asked.code, Some(1), "it may have more destinations: {asked:?}");
    assert!(asked.out.contains("the replication rules of 111122223333/eu-west-1 are not known"), "{asked:?}");
    let named = user.run(&["where", "team/app:v1", "--in", IRELAND]);
    assert_eq!(named.code, Some(0), "{named:?}");
}

#[test]
fn what_is_not_known_is_an_error() {
    let scene = slow();
    let unknown = scene.run(&["where", "team/app:v9"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (Some(1), ""), "{unknown:?}");
    let nowhere = scene.run(&["where", "team/app:archived", "--in", "eu-north-1"]);
    assert_eq!(nowhere.code, Some(1), "{nowhere:?}");
    assert!(nowhere.err.contains("no registry in `eu-north-1` is known"), "{nowhere:?}");
}

#[test]
fn waiting_ends_when_the_last_replica_arrives() {
    let scene = slow();
    scene.push("v2");
    scene.pass(1);
    let ran = std::thread::scope(|threads| {
        let waiting = threads.spawn(|| scene.run(&["wait", "team/app:v2", "--timeout", "2m"]));
        std::thread::sleep(Duration::from_secs(2));
        scene.pass(48 * 60);
        waiting.join().unwrap()
    });
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(line(&ran, IRELAND).contains("present"), "{ran:?}");
    assert!(line(&ran, TOKYO).contains("present"), "{ran:?}");
}

#[test]
fn waiting_fails_as_soon_as_ecr_gave_up_and_says_why() {
    let scene = Scene::new();
    scene.local.simulator.set(|settings| settings.trouble.failed = 1.0);
    scene.push("v2");
    scene.pass(60);
    let ran = scene.run(&["wait", "team/app:v2", "--timeout", "2m"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(line(&ran, TOKYO).contains("failed: ECR says"), "{ran:?}");
}

#[test]
fn waiting_ends_with_the_time() {
    let scene = slow();
    scene.push("v2");
    scene.pass(1);
    for reference in ["team/app:v2", "team/app:never-pushed"] {
        let ran = scene.run(&["wait", reference, "--timeout", "1s"]);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.err.contains("the time is over"), "{ran:?}");
    }
}

#[test]
fn without_a_table_ecr_alone_is_asked() {
    let scene = Scene::new();
    let host = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app:v2";
    let endpoint = scene.local.endpoint.as_str();
    let run = |timeout: &str| {
        let options = ["wait", host, "--timeout", timeout, "--table", "memory", "--role", "reader"];
        let place = ["--endpoint-url", endpoint, "--region", "eu-west-1"];
        let credentials = [("AWS_ACCESS_KEY_ID", "999988887777"), ("AWS_SECRET_ACCESS_KEY", "local")];
        scene.user.run_with(&[&options[..], &place].concat(), &credentials, "")
    };
    let not_pushed = run("1s");
    assert_eq!(not_pushed.code, Some(3), "{not_pushed:?}");
    scene.push("v2");
    scene.local.simulator.step(Duration::from_secs(60));
    let arrived = run("1m");
    assert_eq!(arrived.code, Some(0), "{arrived:?}");
    assert!(line(&arrived, TOKYO).contains("present, as ECR says"), "{arrived:?}");
}

#[test]
fn images_are_chosen_by_the_registries_that_have_them() {
    let scene = slow();
    scene.push("v2");
    let manifest = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "of": "tokyo"}).to_string();
    scene.call(TOKYO, "PutImage", json!({"imageManifest": manifest, "imageTag": "tokyo"}));
    scene.pass(1);
    let tags = |option: &str, registry: &str| {
        let ran = scene.run(&["--format", "json", "images", "team/app", option, registry]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let answer: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let tags = |image: &serde_json::Value| image["tags"][0].as_str().unwrap().to_owned();
        answer["images"].as_array().unwrap().iter().map(tags).collect::<Vec<_>>()
    };
    // `v2` has not arrived in Tokyo. That Ireland deleted `stable` is not confirmed: it may be there.
    assert_eq!(tags("--only-in", IRELAND), ["v2"]);
    assert_eq!(tags("--only-in", TOKYO), ["tokyo"]);
    assert_eq!(tags("--not-in", TOKYO), ["v2"]);
    assert_eq!(tags("--not-in", IRELAND), ["tokyo"]);
    let all = scene.run(&["images", "team/app"]);
    assert!(all.out.contains(&format!("◔ {TOKYO} (replicating)")), "{all:?}");
    let unknown = scene.run(&["images", "team/app", "--not-in", "999999999999/eu-west-1"]);
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
}
