//! What `mirror` needs: ECR calls and time for many replicas at once, and its cold start compared with Python's.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use domain::{
    image::{Image, Registry},
    plan::Mode,
};
use sandbox::local::{Local, LocalSettings};
use serde_json::{Value, json};
use simulator::{
    ApiCaller,
    settings::{Lag, Settings},
};
use tokio::process::Command;

use crate::{
    Error,
    function::{Function, STARTS, cpu_seconds, median},
    reconcile::BEGIN,
    report::Report,
};

const SOURCE: (&str, &str) = ("111122223333", "eu-west-1");
const REPLICAS: [(&str, &str); 3] =
    [("111122223333", "us-east-1"), ("111122223333", "us-east-2"), ("444455556666", "ap-northeast-1")];

/// A policy that permits deletion of expired images' replicas one day after their source's deletion.
const POLICY: &str = "infra/policies/lifecycle-follows-people-need-approval.cedar";
const SCHEMA: &str = "infra/policies/ecr-lineage.cedarschema";

/// Expires `images` of twice as many images at their source, and measures the deletion of their replicas.
pub(crate) async fn measure(images: u32, report: &mut Report) -> Result<(), Error> {
    let lag = Lag::exactly("10s".parse()?);
    let local = Local::start(LocalSettings {
        registries: Settings { lag, ..Settings::default() },
        now: BEGIN.parse()?,
        policy: Some(PathBuf::from(POLICY)),
        mode: Mode::Enforce,
        ..LocalSettings::default()
    })
    .await?;
    prepare(&local, images)?;
    local.simulator.step(Duration::from_secs(60));
    local.deliver_now().await;
    let selection = json!({"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": images});
    let rules = json!({"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]});
    call(&local, SOURCE, "PutLifecyclePolicy", json!({"lifecyclePolicyText": rules.to_string()}))?;
    // The lifecycle policy runs within a day, and the deletions of the replicas are due a day later.
    local.simulator.step(Duration::from_secs(25 * 3600));
    local.deliver_now().await;
    let expired = held(&local);
    let source = format!("{}/{}", SOURCE.0, SOURCE.1).parse()?;
    let stays = expired.get(&source).cloned().unwrap_or_default();
    let all: usize = expired.values().map(BTreeSet::len).sum();
    if stays.len() != images as usize || all != images as usize * 7 {
        return Err(format!("{} images at the source, {all} in all: not as many expired as should", stays.len()).into());
    }
    let followed: Held = expired.into_keys().map(|registry| (registry, stays.clone())).collect();

    let (calls, cpu, started) = (local.mirror.registries.calls(), cpu_seconds("self")?, Instant::now());
    local.mirror_now().await?;
    local.simulator.step(Duration::from_secs(24 * 3600));
    local.deliver_now().await;
    local.mirror_now().await?;
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds("self")? - cpu);
    if held(&local) != followed {
        return Err("a registry has other images than its source".into());
    }
    #[expect(clippy::cast_precision_loss, reason = "some thousand calls")]
    let calls = (local.mirror.registries.calls() - calls) as f64;
    let replicas = f64::from(images) * 3.0;
    let what = |text: &str| format!("{images} expired images on 3 replicas: {text}");
    report.alone(what("ECR calls per image and replica"), "calls", calls / replicas, Some(0.04));
    report.alone(what("wall time per image and replica"), "ms", wall * 1e3 / replicas, None);
    report.alone(what("CPU per image and replica, registries and table included"), "ms", cpu * 1e3 / replicas, None);
    local.close().await;
    Ok(())
}

/// The images that each registry holds.
type Held = BTreeMap<Registry, BTreeSet<Image>>;

fn held(local: &Local) -> Held {
    let mut held = Held::new();
    for (registry, image) in local.simulator.held().into_keys() {
        held.entry(registry).or_default().insert(image);
    }
    held
}

/// Prepares one source, three replica registries, and twice as many images as will expire.
fn prepare(local: &Local, images: u32) -> Result<(), Error> {
    let allow = json!({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Resource": "*"}]});
    for replica in REPLICAS {
        call(local, replica, "PutRegistryPolicy", json!({"policyText": allow.to_string()}))?;
    }
    call(local, SOURCE, "CreateRepository", json!({}))?;
    let to = REPLICAS.map(|(account, region)| json!({"region": region, "registryId": account}));
    let rules = json!({"rules": [{"destinations": to}]});
    call(local, SOURCE, "PutReplicationConfiguration", json!({"replicationConfiguration": rules}))?;
    for number in 0..images * 2 {
        let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "size": number});
        let manifest = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config});
        let body = json!({"imageManifest": manifest.to_string(), "imageTag": format!("build-{number}")});
        call(local, SOURCE, "PutImage", body)?;
    }
    Ok(())
}

fn call(local: &Local, (account, region): (&str, &str), operation: &str, mut body: Value) -> Result<Value, Error> {
    if let Some(body) = body.as_object_mut() {
        body.insert("repositoryName".into(), json!("team/app"));
    }
    let arn = format!("arn:aws:iam::{account}:role/pipeline");
    let caller = ApiCaller { account: account.to_owned(), region: region.to_owned(), arn };
    match local.simulator.call(&caller, operation, body.to_string().as_bytes()) {
        Some(Ok(answer)) => Ok(answer),
        refused => Err(format!("{operation}: {refused:?}").into()),
    }
}

/// Measures both cold starts, in turns.
pub(crate) async fn compare(function: &Path, python: &Path, report: &mut Report) -> Result<(), Error> {
    let python = std::path::absolute(python)?;
    let (policy, schema) = (std::path::absolute(POLICY)?, std::path::absolute(SCHEMA)?);
    let text = |path: &Path| path.display().to_string();
    let (policy, schema) = (text(&policy), text(&schema));
    let environment = [
        ("POLICY_FILE", policy.as_str()),
        ("SCHEMA_FILE", &schema),
        ("READ_ROLE", "reader"),
        ("DELETE_ROLE", "deleter"),
        ("MODE", "enforce"),
    ];
    let nowhere = "http://127.0.0.1:9";
    let (mut our_starts, mut their_starts) = (Vec::new(), Vec::new());
    let (mut our_memory, mut their_memory) = (0.0, 0.0);
    for _ in 0..STARTS {
        let (ours, start) = Function::start(Command::new(function), "none", nowhere, &environment).await?;
        our_starts.push(start);
        our_memory = ours.peak_mebibytes()?;
        let mut baseline = Command::new(&python);
        baseline.current_dir("benchmarks/baseline").args(["-m", "awslambdaric", "mirror.handler"]);
        let (theirs, start) = Function::start(baseline, "none", nowhere, &environment).await?;
        their_starts.push(start);
        their_memory = theirs.peak_mebibytes()?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a file of some megabytes")]
    let megabytes = std::fs::metadata(function)?.len() as f64 / 1e6;
    let (ours, theirs) = (median(our_starts), median(their_starts));
    report.alone("mirror: binary, stripped", "MB", megabytes, None);
    report.alone("mirror: cold start with its policy, median of 20", "ms", ours, Some(30.0));
    report.beside("mirror: the same beside Python", "ms", ours, theirs, 15.0);
    report.beside("mirror: memory when ready", "MiB", our_memory, their_memory, 1.0);
    Ok(())
}
