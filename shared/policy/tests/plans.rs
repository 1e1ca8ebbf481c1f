//! The plans in the folder `plans` follow from the observations beside them. All are files that
//! can be read without Rust.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files, and says what it expects by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use domain::{
    breaker::{Breaker, BreakerLimit, BreakerLimits, Opened},
    controls::{Controls, Hold, Pause},
    deletion::{Check, Deletion, DeletionIntent, ImageOrTag},
    evidence,
    fact::{Fact, Subject, WorkItem},
    image::{Digest, Image, Registry},
    lineage::Lineage,
    observation::{Candidate, Observation, Observations, ObservedImage, ObservedRepository},
    plan::{Call, Mode, Operation, Plan, Target, plan},
    policy::ManifestKind,
    replication::ReplicationRules,
    usage::{Usage, UsageObservations, UsedImage, UserKind},
};
use jiff::{SignedDuration, Timestamp};
use policy::Policy;
use serde_json::{Map, Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans")
}

/// A letter stands for the digest that repeats it.
fn digest(text: &str) -> Digest {
    let whole = if text.len() == 1 { format!("sha256:{}", text.repeat(64)) } else { text.to_owned() };
    whole.parse().unwrap()
}

fn image(text: &str) -> Image {
    let (repository, of) = text.split_once('@').unwrap();
    Image { repository: repository.parse().unwrap(), digest: digest(of) }
}

/// Writes whole digests as letters again.
fn short(text: &str) -> String {
    ('a'..='f').fold(text.to_owned(), |text, letter| {
        text.replace(&format!("sha256:{}", letter.to_string().repeat(64)), &letter.to_string())
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

fn map(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("not a map: {value}"))
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("not a list: {value}"))
}

fn lineage(image: Image, facts: &[Value]) -> Lineage {
    let fact = |(number, fact): (usize, &Value)| {
        let mut fact = fact.clone();
        fact["event_id"] = json!(format!("event-{number}"));
        Fact { subject: Subject::Image(image.clone()), ..serde_json::from_value(fact).unwrap() }
    };
    let facts: Vec<_> = facts.iter().enumerate().map(fact).collect();
    let mut all = BTreeMap::new();
    for (key, more) in facts.iter().flat_map(evidence::of) {
        all.entry(key).or_insert_with(evidence::Evidence::default).merge(&more);
    }
    Lineage::new(image, all, facts, Vec::new())
}

/// A deletion that is due, with these fields.
fn deletion(fields: &Value) -> Deletion {
    let mut fields = map(fields).clone();
    let image = image(text(&fields.remove("image").unwrap()));
    let part = |name: &str| text(&fields[name]);
    let intent = DeletionIntent {
        registry: part("registry").parse().unwrap(),
        tag: fields.get("tag").map(|tag| text(tag).parse().unwrap()),
        since: part("since").parse().unwrap(),
    };
    let since = intent.since;
    let opened = Deletion::open(None, &image, &part("source").parse().unwrap(), intent, since).unwrap();
    let mut opened = serde_json::to_value(opened).unwrap();
    for (name, value) in fields {
        opened[name] = value;
    }
    serde_json::from_value(opened).unwrap()
}

fn observation(value: &Value) -> Observation {
    match value.as_str() {
        Some("missing") => return Observation::Missing,
        Some("no repository") => return Observation::NoRepository,
        Some(other) => panic!("no observation: {other}"),
        None => {}
    }
    if let Some(why) = value.get("unreadable") {
        return Observation::Unreadable(text(why).to_owned());
    }
    let tags = value.get("tags").map(|tags| list(tags).iter().map(|tag| text(tag).parse().unwrap()).collect());
    Observation::Present(ObservedImage {
        tags: tags.unwrap_or_default(),
        archived: value.get("archived").is_some_and(|archived| archived.as_bool().unwrap()),
        size_bytes: value["size_bytes"].as_u64().unwrap(),
        kind: value.get("kind").map_or(ManifestKind::Image, |kind| serde_json::from_value(kind.clone()).unwrap()),
        subject: value.get("subject").map(|subject| digest(text(subject))),
        ..ObservedImage::default()
    })
}

fn rules(value: &Value) -> Result<ReplicationRules, String> {
    match value.as_str() {
        Some(why) => Err(why.to_owned()),
        None => {
            let answer = json!({"replicationConfiguration": {"rules": value}});
            Ok(ReplicationRules::read(answer.to_string().as_bytes()).unwrap())
        }
    }
}

fn breaker(value: &Value) -> Breaker {
    let opened = value.get("open").map(|why| Opened { at: Timestamp::UNIX_EPOCH, why: text(why).to_owned() });
    let reset = value.get("reset").map(|reset| serde_json::from_value(reset.clone()).unwrap());
    Breaker { opened, reset, ..Breaker::default() }
}

/// The pauses and holds; none if the case does not mention them.
fn controls(case: &Value) -> Option<Controls> {
    let all = |name: &str| case.get(name).map_or(&[][..], |all| list(all).as_slice());
    let pauses = all("pauses").iter().map(|pause| serde_json::from_value::<Pause>(pause.clone()).unwrap());
    let hold = |hold: &Value| {
        let mut hold = hold.clone();
        if let Some((repository, of)) = text(&hold["pattern"]).split_once('@') {
            hold["pattern"] = json!(format!("{repository}@{}", digest(of)));
        }
        serde_json::from_value::<Hold>(hold).unwrap()
    };
    Some(Controls { pauses: pauses.collect(), holds: all("holds").iter().map(hold).collect() })
        .filter(|_| case.get("controls") != Some(&json!("not read")))
}

/// What services run in each registry: the users of images and tags, and what cannot be read. A key without `:` is an
/// image.
fn usage(value: &Value) -> UsageObservations {
    let mut seen = UsageObservations::default();
    for (name, running) in map(&value["services"]) {
        let (registry, mut usage) = (name.parse::<Registry>().unwrap(), Usage::default());
        for (of, users) in map(&running["uses"]) {
            let used = match of.split_once('@') {
                Some(_) => UsedImage::digest(&registry, &image(of)),
                None => format!("{}/{of}", registry.host()).parse().unwrap(),
            };
            list(users).iter().for_each(|user| usage.add(used.clone(), UserKind::Task, text(user), None));
        }
        let unreadable = running.get("unreadable").map(|all| map(all).clone()).unwrap_or_default();
        usage.unreadable = unreadable.iter().map(|(service, why)| (service.clone(), text(why).to_owned())).collect();
        seen.services.insert(registry, usage.into());
    }
    for (name, indexes) in value.get("children").map(map).into_iter().flatten() {
        for (index, children) in map(indexes) {
            let children = list(children).iter().map(|child| digest(text(child))).collect();
            seen.children.insert((name.parse().unwrap(), image(index)), Ok(children));
        }
    }
    seen
}

fn repository(value: &Value) -> ObservedRepository {
    let images = map(&value["images"]).iter().map(|(of, found)| (digest(of), observation(found)));
    ObservedRepository {
        images: images.collect(),
        listed: value["listed"].as_u64().map(|images| images.try_into().unwrap()),
    }
}

fn observations(case: &Value) -> Observations {
    let candidate = |fields| {
        let deletion = deletion(fields);
        let facts = map(&case["recorded"]).iter().find(|(of, _)| image(of) == deletion.image).unwrap().1;
        Candidate { lineage: lineage(deletion.image.clone(), list(facts)), deletion }
    };
    let registry = |name: &String| name.parse::<Registry>().unwrap();
    let repositories =
        |found: &Value| map(found).iter().map(|(name, found)| (name.parse().unwrap(), repository(found))).collect();
    Observations {
        candidates: list(&case["deletions"]).iter().map(candidate).collect(),
        rules: map(&case["rules"]).iter().map(|(name, of)| (registry(name), rules(of))).collect(),
        repositories: map(&case["repositories"]).iter().map(|(name, of)| (registry(name), repositories(of))).collect(),
        breakers: map(&case["breakers"]).iter().map(|(name, of)| (registry(name), breaker(of))).collect(),
        controls: controls(case),
        usage: case.get("usage").map(usage),
    }
}

/// The plan that follows from a case.
fn planned(case: &Value) -> Plan {
    let name = format!("{}.cedar", text(&case["policy"]));
    let policy = Policy::load(&name, &std::fs::read_to_string(folder().join(&name)).unwrap()).unwrap();
    let mode: Mode = serde_json::from_value(case["mode"].clone()).unwrap();
    let limit = |name: &str| u32::try_from(case["limits"][name].as_u64().unwrap()).unwrap();
    let limit = BreakerLimit { images: limit("images"), percent: limit("percent") };
    let limits = BreakerLimits { principals: limit, lifecycle: limit, window: SignedDuration::from_hours(24) };
    let now = text(&case["now"]).parse().unwrap();
    plan(&observations(case), &|action, question| policy.ask(action, question), mode, &limits, now)
}

fn checks(checks: &[Check]) -> Vec<String> {
    let result = |check: &Check| if check.passed { "passed" } else { "stopped" };
    checks.iter().map(|check| format!("{}: {}: {}", check.check.as_str(), result(check), check.why)).collect()
}

fn call(call: &Call) -> Value {
    let operation = match call.operation {
        Operation::Delete => "BatchDeleteImage",
        Operation::Archive => "UpdateImageStorageClass",
    };
    let target = |Target { step, id, after }: &Target| {
        let id = match id {
            ImageOrTag::Image(digest) => format!("image {digest}"),
            ImageOrTag::Tag(tag) => format!("tag {tag}"),
        };
        let after = after.as_ref().map(|(step, _)| format!(", after step {step} is done")).unwrap_or_default();
        format!("{id}, if step {step} is stored{after}")
    };
    let targets: Vec<_> = call.targets.iter().map(target).collect();
    json!({"operation": operation, "registry": call.registry, "repository": call.repository, "targets": targets})
}

/// The whole plan, with what is empty left out.
fn written(plan: &Plan) -> Value {
    let breakers = plan.breakers.iter().map(|step| {
        let count = |key| step.breaker.counts[key].hours.values().sum::<u32>();
        let counted = step
            .counted
            .iter()
            .map(|key| (format!("{} in {} {}", key.class.as_str(), key.registry, key.repository), count(key)));
        json!({"source": step.source, "alert": step.opened.as_ref().map(|alert| &alert.message),
            "counted": counted.collect::<BTreeMap<_, _>>()})
    });
    let steps = plan.steps.iter().map(|step| {
        let writes = &step.writes;
        let fact = |fact: &Fact| format!("{} in {} at {}", fact.summary(), fact.registry, fact.time);
        let (reasons, stored) = (checks(&step.decision.checks), checks(&writes.deletion.checks));
        let mut deletion = serde_json::to_value(&writes.deletion).unwrap();
        deletion["checks"] = if stored == reasons { json!("the reasons") } else { json!(stored) };
        let work_item = writes.work_item.as_ref().map(|item| match item {
            WorkItem::SourceLost(source) => format!("the loss of {source} is evaluated again"),
            other => panic!("{other:?}"),
        });
        json!({"reasons": reasons, "correction": writes.correction.as_ref().map(fact),
            "done": writes.done.as_ref().map(fact), "work_item": work_item,
            "alerts": writes.alerts.iter().map(|alert| &alert.message).collect::<Vec<_>>(),
            "notice": writes.occurrence.as_ref().map(|occurrence| &occurrence.why), "deletion": deletion})
    });
    let rounds = plan.rounds.iter().map(|round| round.iter().map(call).collect::<Vec<_>>());
    let mut plan = json!({"breakers": breakers.collect::<Vec<_>>(), "steps": steps.collect::<Vec<_>>(),
        "rounds": rounds.collect::<Vec<_>>()});
    without_empty(&mut plan);
    plan
}

fn without_empty(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(without_empty);
            fields.retain(|_, value| !value.is_null() && *value != json!([]) && *value != json!({}));
        }
        Value::Array(values) => values.iter_mut().for_each(without_empty),
        _ => {}
    }
}

/// With `INSTA_UPDATE=always` the plans are written again.
#[test]
fn each_plan_follows_from_its_observations() {
    let cases: BTreeSet<_> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let (mut tried, mut different) = (0, Vec::new());
    for case in cases.iter().filter(|path| path.is_dir()) {
        let read = |name: &str| std::fs::read_to_string(case.join(name)).unwrap_or_default();
        let observations: Value = serde_saphyr::from_str(&read("observations.yaml")).unwrap();
        let plan = format!("{}\n", short(&serde_json::to_string_pretty(&written(&planned(&observations))).unwrap()));
        tried += 1;
        if plan == read("plan.json") {
            continue;
        }
        if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
            std::fs::write(case.join("plan.json"), plan).unwrap();
        } else {
            different.push(format!("{}:\n{plan}", case.display()));
        }
    }
    assert!(tried > 25, "{tried}");
    assert!(different.is_empty(), "other plans follow now:\n{}", different.join("\n"));
}
