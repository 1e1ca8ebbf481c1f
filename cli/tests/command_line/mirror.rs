//! Commands about deletions, against simulated registries in this process.

#![expect(clippy::indexing_slicing, reason = "a test says what it expects by panicking")]

use std::time::Duration;

use domain::{image::Registry, plan::Mode};
use jiff::{SignedDuration, Timestamp};

use policy::Policy;
use sandbox::local::{Local, LocalSettings};
use serde_json::{Value, json};
use simulator::ApiCaller;

use crate::command::{Ran, User};

pub(crate) const IRELAND: &str = "111122223333/eu-west-1";
pub(crate) const TOKYO: &str = "444455556666/ap-northeast-1";

const POLICY: &str = r#"
@id("follow") @grace("24h")
permit (principal, action in [Action::"delete", Action::"untag"], resource)
when { !(resource.tagLine like "* v*") };

@id("versions-need-approval") @grace("24h") @approval("required")
permit (principal, action == Action::"delete", resource)
when { resource.tagLine like "* v*" };

@id("never-stable")
forbid (principal, action, resource)
when { resource.tagLine like "* stable *" };
"#;

pub(crate) struct Scene {
    pub(crate) local: Local,
    pub(crate) user: User,
    repository: &'static str,
    person: &'static str,
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl Scene {
    /// Ireland replicates four images to Tokyo, and deletes three of them: one deletion is permitted, one needs
    /// approval, and one is forbidden.
    pub(crate) fn new() -> Self {
        Self::some_time_ago(SignedDuration::ZERO)
    }

    pub(crate) fn some_time_ago(ago: SignedDuration) -> Self {
        Self::of("team/app", "platform/dana", ago)
    }

    /// The same in another repository, by the session of another role.
    pub(crate) fn of(repository: &'static str, person: &'static str, ago: SignedDuration) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        // Events have whole seconds, so durations between them must not depend on a fraction in the start time.
        let now = Timestamp::from_second(Timestamp::now().as_second() - ago.as_secs()).unwrap();
        let settings = LocalSettings { now, mode: Mode::Enforce, ..LocalSettings::default() };
        let mut local = runtime.block_on(Local::start(settings)).unwrap();
        local.mirror.policy = Policy::load("test.cedar", POLICY);
        let scene = Self { local, user: User::new(), repository, person, runtime };
        let allow = json!({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Resource": "*"}]});
        scene.call(TOKYO, "PutRegistryPolicy", json!({"policyText": allow.to_string()}));
        scene.call(IRELAND, "CreateRepository", json!({}));
        let to = json!([{"region": "ap-northeast-1", "registryId": "444455556666"}]);
        let rules = json!({"rules": [{"destinations": to}]});
        scene.call(IRELAND, "PutReplicationConfiguration", json!({"replicationConfiguration": rules}));
        for tag in ["build-7", "v1", "stable", "archived"] {
            scene.push(tag);
        }
        scene.pass(60);
        for tag in ["build-7", "v1", "stable"] {
            scene.call(IRELAND, "BatchDeleteImage", json!({"imageIds": [{"imageTag": tag}]}));
        }
        let archive = json!({"imageId": {"imageTag": "archived"}, "targetStorageClass": "ARCHIVE"});
        scene.call(TOKYO, "UpdateImageStorageClass", archive);
        scene.pass(60);
        scene
    }

    /// Pushes an image of its own for a tag to Ireland.
    pub(crate) fn push(&self, tag: &str) {
        self.push_image(tag, tag);
    }

    /// Pushes an image for a tag to Ireland. Another `content` is another image.
    pub(crate) fn push_image(&self, tag: &str, content: &str) {
        let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "size": 1});
        let manifest =
            json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "of": content});
        self.call(IRELAND, "PutImage", json!({"imageManifest": manifest.to_string(), "imageTag": tag}));
    }

    pub(crate) fn call(&self, registry: &str, operation: &str, mut body: Value) -> Value {
        body["repositoryName"] = json!(self.repository);
        let registry: Registry = registry.parse().unwrap();
        let arn = format!("arn:aws:sts::{}:assumed-role/{}", registry.account(), self.person);
        let caller = ApiCaller { account: registry.account().into(), region: registry.region().into(), arn };
        self.local.simulator.call(&caller, operation, body.to_string().as_bytes()).unwrap().unwrap()
    }

    /// Advances simulated time, delivers events, and runs `watch` and `mirror`.
    pub(crate) fn pass(&self, seconds: u64) {
        self.local.simulator.step(Duration::from_secs(seconds));
        self.runtime.block_on(async {
            self.local.deliver_now().await;
            self.local.watch_now().await.unwrap();
            self.local.mirror_now().await.unwrap();
        });
    }

    /// The output of a command that waits for something in a registry, while simulated time advances.
    pub(crate) fn shows_while_time_passes(&self, arguments: &[&str]) -> String {
        self.while_time_passes(|| self.shows(arguments))
    }

    /// What a command that waits for something in a registry returns, while simulated time advances.
    pub(crate) fn while_time_passes<T: Send>(&self, command: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|threads| {
            let command = threads.spawn(command);
            while !command.is_finished() {
                std::thread::sleep(Duration::from_millis(50));
                self.local.simulator.step(Duration::from_secs(60));
            }
            command.join().unwrap()
        })
    }

    /// The short ID of the newest open incident.
    pub(crate) fn open_incident(&self) -> String {
        let alerts: Value = serde_json::from_str(&self.run(&["alerts", "--open", "--format", "json"]).out).unwrap();
        alerts["open"][0]["short_id"].as_str().unwrap().to_owned()
    }

    /// Runs the command with credentials of the hub's account; it assumes a role in each registry.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[])
    }

    /// The same, with more environment variables.
    pub(crate) fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        let endpoint = self.local.endpoint.as_str();
        let more = ["--table", "ecr-lineage", "--endpoint-url", endpoint, "--region", "eu-west-1", "--role", "reader"];
        let credentials = [("AWS_ACCESS_KEY_ID", "999988887777"), ("AWS_SECRET_ACCESS_KEY", "local")];
        self.user.run_with(&[arguments, &more].concat(), &[&credentials, environment].concat(), "")
    }

    /// A command line and its output; times depend on the day, so they are replaced.
    pub(crate) fn shows(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        let call = arguments.join(" ").replace(self.user.path(), "FOLDER");
        let out = format!("$ ecr-lineage {call}\n{}{}\n", without_times(&ran.out), without_times(&ran.err));
        without_ids(&out).replace(self.user.path(), "FOLDER")
    }
}

/// Replaces the ID of each hold, which depends on the time.
fn without_ids(text: &str) -> String {
    let is_id = |word: &str| word.len() == 8 && word.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let word = |word: &str| {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if is_id(bare) { word.replace(bare, "<holdid>") } else { word.to_owned() }
    };
    words.map(word).collect()
}

/// Replaces every time such as `2026-11-22 14:00:00`, also in RFC 3339, by `TIME`.
fn without_times(text: &str) -> String {
    let form = b"dddd-dd-dd dd:dd:dd";
    let is_time = |rest: &str| {
        let bytes = rest.as_bytes();
        bytes.len() >= form.len()
            && bytes.iter().zip(form).all(|(byte, form)| match form {
                b'd' => byte.is_ascii_digit(),
                b' ' => *byte == b' ' || *byte == b'T',
                form => byte == form,
            })
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if is_time(rest) {
            out.push_str("TIME");
            rest = rest.split_at(form.len()).1.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
            rest = rest.strip_prefix('Z').unwrap_or(rest);
        } else {
            out.push(next);
            rest = rest.split_at(next.len_utf8()).1;
        }
    }
    out
}

#[test]
fn deletions_are_listed_explained_held_approved_and_undone() {
    let scene = Scene::new();
    let policy = scene.user.file("mine.cedar", POLICY);
    let (tokyo, mut report) = (["--registry", TOKYO], String::new());
    report += &scene.shows(&["deletions"]);
    report += &scene.shows(&["deletions", "--until", "48h"]);
    report += &scene.shows(&["policy", "preview", &policy]);
    let keep = scene.user.file("keep.cedar", policy::KEEP_EVERYTHING);
    let sooner = scene.user.file("sooner.cedar", POLICY.replace("24h", "1h"));
    for (old, new) in [(&keep, &policy), (&policy, &sooner), (&policy, &policy)] {
        report += &scene.shows(&["policy", "diff", old, new]);
    }
    report += &scene.shows(&["hold", "team/app:build-7", "--reason", "audit"]);
    report += &scene.shows(&["pause", "--source", IRELAND, "--reason", "incident 7"]);
    report += &scene.shows(&["hold", "prod/*", "--reason", "before anything is there"]);
    report += &scene.shows(&["holds"]);
    report += &scene.shows(&["resume", "--source", IRELAND]);
    scene.pass(24 * 3600);
    report += &scene.shows(&["deletions", "--kept", "--held", "--waiting"]);
    report += &scene.shows(&["policy", "explain", "team/app:stable", "--registry", TOKYO, "--policy", &policy]);
    // Without a policy, the one that `mirror` runs with.
    report += &scene.shows(&["policy", "explain", "team/app:stable", "--registry", TOKYO]);
    report += &scene.shows(&["approve", "--repository", "team/*", "--reason", "ticket 7"]);
    report += &scene.shows(&["approve", "--repository", "team/*", "--reason", "ticket 7", "--yes"]);
    report += &scene.shows(&["approve", "team/app:v1"]);
    report += &scene.shows(&["release", "team/app:build-7"]);
    scene.pass(60);
    report += &scene.shows(&["deletions", "--done"]);
    report += &scene.shows(&["cancel", "team/app:build-7", tokyo[0], tokyo[1]]);
    report += &scene.shows(&["restore", "team/app:archived", tokyo[0], tokyo[1]]);
    report += &scene.shows(&["restore", "team/app:v1", tokyo[0], tokyo[1]]);
    // The native deletion settings are audited, and the breaker is reset.
    report += &scene.shows(&["audit", "native-deletes"]);
    report += &scene.shows(&["breaker", "status"]);
    report += &scene.shows(&["breaker", "reset", IRELAND, "--allow", "50"]);
    report += &scene.shows(&["breaker", "reset", IRELAND, "--allow", "50", "--yes"]);
    report += &scene.shows(&["breaker", "status", IRELAND]);
    insta::assert_snapshot!(report);
}

#[test]
fn an_impossible_action_prints_one_clear_line() {
    let scene = Scene::new();
    let broken =
        scene.user.file("broken.cedar", "@id(\"x\") permit (principal, action, resource) when { resource.colour };");
    let mut report = String::new();
    report += &scene.shows(&["hold", "team/app:archived"]);
    report += &scene.shows(&["hold", "Team/*", "--reason", "audit"]);
    report += &scene.shows(&["hold", "team/*", "--reason", "audit", "--until", "soon"]);
    report += &scene.shows(&["hold", "team/*", "--reason", "audit", "--until", "2020-01-01"]);
    report += &scene.shows(&["resume"]);
    report += &scene.shows(&["retry", "team/app:v1"]);
    report += &scene.shows(&["approve", "--repository", "prod/*"]);
    report += &scene.shows(&["approve", "team/app:v1", "--registry", IRELAND]);
    report += &scene.shows(&["release", "team/app:v1"]);
    report += &scene.shows(&["policy", "preview", &broken]);
    report += &scene.shows(&["policy", "check", &broken, "no/such.cedar"]);
    report += &scene.shows(&["policy", "explain", "team/app:archived", "--registry", IRELAND]);
    report += &scene.shows(&["deletions", "--since", "soon"]);
    insta::assert_snapshot!(report);
}
