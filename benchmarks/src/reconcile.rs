//! What `reconcile` needs for whole registries, compared with the calls that paging requires; and the calls that
//! `watch` makes to ECR.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use jiff::{SignedDuration, Timestamp};
use sandbox::local::{Local, LocalSettings};
use serde_json::{Value, json};
use simulator::{
    ApiCaller,
    settings::{Lag, Settings},
};
use tokio::process::Command;

use crate::{
    Error,
    function::{Function, cpu_seconds},
    report::Report,
};

/// Simulated start time. It is fixed, because the counted bytes depend on the number of digits of a time.
pub(crate) const BEGIN: &str = "2026-11-01T00:00:00Z";

pub(crate) const SOURCE: (&str, &str) = ("111122223333", "eu-west-1");
const REPLICAS: [(&str, &str); 2] = [("111122223333", "us-east-1"), ("444455556666", "ap-northeast-1")];
const REGISTRIES: u32 = 3;

/// Images per repository: two pages of ECR's list.
const IN_A_REPOSITORY: u32 = 1_667;

/// Most entries that ECR returns in one page, for repositories and for images.
const PER_PAGE: u32 = 1_000;

/// Lists `images` images in three registries: when all are new, and again when all are recorded. Peak memory is
/// measured with a tenth of them as well.
pub(crate) async fn measure(function: &Path, images: u32, report: &mut Report) -> Result<(), Error> {
    let few = memory(function, images / 10).await?;
    let repositories = repositories(images);
    let local = prepare(repositories, ten_days_ago()?).await?;
    let all = f64::from(repositories * IN_A_REPOSITORY * REGISTRIES);
    let what = |text: &str| format!("{all} images in 3 registries: {text}");
    let pages = REGISTRIES * (repositories.div_ceil(PER_PAGE) + repositories * IN_A_REPOSITORY.div_ceil(PER_PAGE));

    let first = run(&local).await?;
    if first.unknown != all {
        return Err(format!("{} of {all} images were unknown: not as many as are there", first.unknown).into());
    }
    report.alone(what("write units of the first run, per image"), "units", first.written / all, None);
    report.alone(what("wall time of the first run, per image"), "ms", first.seconds * 1e3 / all, None);
    report.alone(what("ECR calls of the first run, settings compared"), "calls", first.calls, None);
    let next = run(&local).await?;
    report.beside(&what("ECR calls, beside pages of lists"), "calls", next.calls, f64::from(pages), 1.0 / 1.05);
    report.alone(what("read units per 1,000 images"), "units", next.read * 1e3 / all, None);
    report.alone(
        what("write units per repository and registry"),
        "units",
        next.written / f64::from(repositories * 3),
        None,
    );
    report.alone(what("CPU, registries and table included"), "s", next.cpu, None);
    local.close().await;

    let many = memory(function, images).await?;
    report.alone(what("peak memory"), "MiB", many, None);
    report.beside(&what("peak memory, beside a tenth of them"), "MiB", many, few, 1.0 / 1.2);
    watch(report).await
}

/// The number of repositories per registry that together hold `images` images.
fn repositories(images: u32) -> u32 {
    (images / REGISTRIES).div_ceil(IN_A_REPOSITORY)
}

/// What one run used: calls to ECR, request units read and written, and seconds.
struct Taken {
    unknown: f64,
    calls: f64,
    read: f64,
    written: f64,
    seconds: f64,
    cpu: f64,
}

/// Lists all registries, one simulated day after the last run.
#[expect(clippy::cast_precision_loss, reason = "some thousands")]
async fn run(local: &Local) -> Result<Taken, Error> {
    local.simulator.step(Duration::from_secs(25 * 3_600));
    let (calls, units) = (local.reconcile.registries.calls(), local.reconcile.table.units());
    let (cpu, started) = (cpu_seconds("self")?, Instant::now());
    let summary = local.reconcile_now().await?;
    if (summary.registries, summary.failures, summary.found.removed, summary.found.updated) != (3, 0, 0, 0) {
        return Err(format!("not everything was as it should be: {summary:?}").into());
    }
    let after = local.reconcile.table.units();
    Ok(Taken {
        unknown: summary.found.added as f64,
        calls: (local.reconcile.registries.calls() - calls) as f64,
        read: after.0 - units.0,
        written: after.1 - units.1,
        seconds: started.elapsed().as_secs_f64(),
        cpu: cpu_seconds("self")? - cpu,
    })
}

/// Peak memory of the function process when it lists images that are already recorded, in MiB.
async fn memory(function: &Path, images: u32) -> Result<f64, Error> {
    let local = prepare(repositories(images), ten_days_ago()?).await?;
    run(&local).await?;
    // The function process uses real time, ten days later than the simulation, so the registries are due.
    let environment = [
        ("READ_ROLE", "ecr-lineage-read"),
        ("RECONCILE_CALLS_PER_SECOND", "1000"),
        ("AWS_ENDPOINT_URL", local.endpoint.as_str()),
    ];
    let (mut process, _) =
        Function::start(Command::new(function), "ecr-lineage", &local.endpoint, &environment).await?;
    let answer: Value = serde_json::from_str(&process.invoke("{}".to_owned()).await?)?;
    let listed = |name: &str| answer.get(name).and_then(Value::as_u64);
    if (listed("registries"), listed("failures")) != (Some(3), Some(0)) {
        return Err(format!("the function did not list everything: {answer}").into());
    }
    let peak = process.peak_mebibytes()?;
    local.close().await;
    Ok(peak)
}

/// A start time for the simulation at which a function that uses real time finds the registries due.
fn ten_days_ago() -> Result<Timestamp, Error> {
    Ok(Timestamp::try_from(SystemTime::now())?.checked_sub(SignedDuration::from_hours(240))?)
}

/// Three registries with `repositories` repositories each, whose images no event reported.
pub(crate) async fn prepare(repositories: u32, now: Timestamp) -> Result<Local, Error> {
    let lag = Lag::exactly("10s".parse()?);
    let registries = Settings { lag, ..Settings::default() };
    let mut local = Local::start(LocalSettings { registries, now, ..LocalSettings::default() }).await?;
    let allow = json!({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Resource": "*"}]});
    for replica in REPLICAS {
        call(&local, replica, "PutRegistryPolicy", json!({"policyText": allow.to_string()}))?;
    }
    let to = REPLICAS.map(|(account, region)| json!({"region": region, "registryId": account}));
    let rules = json!({"rules": [{"destinations": to}]});
    call(&local, SOURCE, "PutReplicationConfiguration", json!({"replicationConfiguration": rules}))?;
    local.simulator.step(Duration::from_secs(3_600));
    local.deliver_now().await;
    // Reads and compares the replication settings, so that replicas are expected.
    local.watch_now().await?;
    local.simulator.set(|settings| settings.trouble.lost = 1.0);
    for repository in 0..repositories {
        let name = format!("team/app-{repository}");
        call(&local, SOURCE, "CreateRepository", json!({"repositoryName": name}))?;
        for number in 0..IN_A_REPOSITORY {
            let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "size": number});
            let manifest =
                json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "of": name});
            let tag = format!("build-{number}");
            let body = json!({"repositoryName": name, "imageManifest": manifest.to_string(), "imageTag": tag});
            call(&local, SOURCE, "PutImage", body)?;
        }
        local.simulator.step(Duration::from_secs(60));
    }
    local.simulator.set(|settings| settings.trouble.lost = 0.0);
    let known = [SOURCE].into_iter().chain(REPLICAS).map(|(account, region)| format!("{account}/{region}").parse());
    local.reconcile.known = known.collect::<Result<_, _>>()?;
    Ok(local)
}

/// The calls that `watch` makes to ECR when the events of all copies arrive.
pub(crate) async fn watch(report: &mut Report) -> Result<(), Error> {
    const PUSHES: u32 = 300;
    let local = prepare(0, BEGIN.parse()?).await?;
    call(&local, SOURCE, "CreateRepository", json!({"repositoryName": "team/app"}))?;
    // The first pushes make the replica registries known; an hour later, `watch` reads all settings.
    push(&local, PUSHES)?;
    local.simulator.step(Duration::from_secs(60));
    local.deliver_now().await;
    local.simulator.step(Duration::from_secs(61 * 60));
    local.watch_now().await?;
    let before = (local.watch.registries.calls(), local.watch.table.units());
    for number in 0..PUSHES {
        push(&local, number)?;
    }
    local.simulator.step(Duration::from_secs(60));
    local.deliver_now().await;
    local.simulator.step(Duration::from_secs(31 * 60));
    let summary = local.watch_now().await?;
    let after = local.watch.table.units();
    // `record` has settled every push.
    if (summary.images, summary.checked.problems, summary.failures) != (0, 0, 0) {
        return Err(format!("a push whose copies arrived was looked at: {summary:?}").into());
    }
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let calls = (local.watch.registries.calls() - before.0) as f64;
    report.alone("watch: ECR calls per push whose copies arrived", "calls", calls / f64::from(PUSHES), Some(0.0));
    report.alone("watch: read units per push", "units", (after.0 - before.1.0) / f64::from(PUSHES), None);
    report.alone("watch: write units per push", "units", (after.1 - before.1.1) / f64::from(PUSHES), None);
    local.close().await;
    Ok(())
}

pub(crate) fn push(local: &Local, number: u32) -> Result<(), Error> {
    let manifest = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"size": number}});
    let tag = format!("build-{number}");
    let body = json!({"repositoryName": "team/app", "imageManifest": manifest.to_string(), "imageTag": tag});
    call(local, SOURCE, "PutImage", body).map(drop)
}

pub(crate) fn call(
    local: &Local,
    (account, region): (&str, &str),
    operation: &str,
    body: Value,
) -> Result<Value, Error> {
    let arn = format!("arn:aws:iam::{account}:role/pipeline");
    let caller = ApiCaller { account: account.to_owned(), region: region.to_owned(), arn };
    match local.simulator.call(&caller, operation, body.to_string().as_bytes()) {
        Some(Ok(answer)) => Ok(answer),
        refused => Err(format!("{operation}: {refused:?}").into()),
    }
}
