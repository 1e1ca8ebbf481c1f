//! End to end on one machine: calls to simulated registries, replication and events, the queue, `record` and the table;
//! compared with `record` and the table alone, for the same events.

use std::{fs, time::Instant};

use domain::{event, image::Registry};
use futures::{StreamExt, stream};
use sandbox::{
    embedded::Embedded,
    local::{Local, LocalSettings},
};
use serde_json::{Value, json};
use simulator::settings::{Lag, Settings};
use std::time::Duration;
use store::Table;

use crate::{
    Error,
    events::{REPLICAS, SOURCE},
    report::Report,
};

/// Images that are pushed before simulated time advances and their events are delivered.
const ROUND: u32 = 1_000;

/// Concurrent pushes.
const PUSHERS: usize = 8;

/// Events in a batch: SQS's default for Lambda, and what `local` delivers.
const BATCH: usize = 10;

/// The last tenth of the images may take at most this times as long per event as the first. The margin allows for
/// other load on the machine.
const FLAT: f64 = 1.3;

/// Pushes images, each with its own tag, which are replicated to two registries and recorded, until the three
/// registries hold `images` images together.
pub(crate) async fn measure(images: u32, report: &mut Report) -> Result<(), Error> {
    let pushes = images.div_ceil(3);
    let registries = Settings { lag: Lag::exactly("10s".parse()?), ..Settings::default() };
    let now = "2026-11-02T09:00:00Z".parse()?;
    // On disk, as a user with this many images would run it: SQLite's in-memory tables get slower with their size.
    let folder = tempfile::tempdir()?;
    let data = Some(folder.path().join("route"));
    let local = Local::start(LocalSettings { registries, now, data, ..LocalSettings::default() }).await?;
    let source = prepare(&local).await?;
    let embedded = Embedded::open(Some(folder.path().join("alone.db"))).await?;
    let alone = Table::new(embedded.client().await, "alone");
    alone.create().await?;

    let (mut times, mut alone_times) = (Vec::new(), Vec::new());
    for round in 0..pushes.div_ceil(ROUND) {
        let seen = local.simulator.emitted(0).last().map_or(0, |emitted| emitted.number);
        let started = Instant::now();
        let numbers = round * ROUND..pushes.min((round + 1) * ROUND);
        let mut pushed = stream::iter(numbers).map(|number| push(&source, number)).buffer_unordered(PUSHERS);
        while let Some(pushed) = pushed.next().await {
            pushed?;
        }
        local.simulator.step(Duration::from_secs(10));
        local.deliver_now().await;
        let seconds = started.elapsed().as_secs_f64();
        if local.simulator.queue_lengths() != (0, 0) {
            return Err("not every event was recorded".into());
        }
        // Events that match no rule cost the registries time, but are not delivered.
        let events = local.simulator.emitted(seen).into_iter().filter(|emitted| emitted.deliveries > 0);
        let events: Vec<_> = events.map(|emitted| emitted.event).collect();
        times.push(seconds / count(events.len()));
        let started = Instant::now();
        record_alone(&alone, &events).await?;
        alone_times.push(started.elapsed().as_secs_f64() / count(events.len()));
    }
    let tenth = times.len().div_ceil(10);
    let mean = |times: &[f64]| times.iter().sum::<f64>() / count(times.len());
    let first = |times: &[f64]| mean(times.get(..tenth).unwrap_or_default()) * 1e3;
    let last = |times: &[f64]| mean(times.get(times.len() - tenth..).unwrap_or_default()) * 1e3;
    let what = |text: &str| format!("local route, {images} images on 3 registries: {text}");
    let per_event = |times: &[f64]| mean(times) * 1e3;
    report.alone(what("events per second"), "1/s", 1.0 / mean(&times), None);
    report.beside(
        &what("time per event, beside `record` alone"),
        "ms",
        per_event(&times),
        per_event(&alone_times),
        0.5,
    );
    report.beside(&what("time per event, last tenth beside first"), "ms", last(&times), first(&times), 1.0 / FLAT);
    let (late, early) = (last(&alone_times), first(&alone_times));
    report.beside(&what("`record` alone, last tenth beside first"), "ms", late, early, 1.0 / FLAT);
    report.alone(what("resident memory"), "MiB", resident_mebibytes()?, None);
    local.close().await;
    let started = Instant::now();
    sandbox::demo::play().await?;
    report.alone("demo, the whole story", "s", started.elapsed().as_secs_f64(), Some(5.0));
    Ok(())
}

/// Sets up a source that replicates to the two others, one of them in another account.
pub(crate) async fn prepare(local: &Local) -> Result<aws_sdk_ecr::Client, Error> {
    use aws_sdk_ecr::types::{ReplicationConfiguration, ReplicationDestination, ReplicationRule};
    let source = local.registry(&SOURCE.parse()?, "release", "benchmark").await?;
    source.create_repository().repository_name("team/app").send().await?;
    let mut rule = ReplicationRule::builder();
    for registry in REPLICAS {
        let to: Registry = registry.parse()?;
        let policy = json!({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Resource": "*"}]});
        local
            .registry(&to, "release", "benchmark")
            .await?
            .put_registry_policy()
            .policy_text(policy.to_string())
            .send()
            .await?;
        rule =
            rule.destinations(ReplicationDestination::builder().region(to.region()).registry_id(to.account()).build()?);
    }
    let configuration = ReplicationConfiguration::builder().rules(rule.build()?).build()?;
    source.put_replication_configuration().replication_configuration(configuration).send().await?;
    Ok(source)
}

pub(crate) async fn push(source: &aws_sdk_ecr::Client, number: u32) -> Result<(), Error> {
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 1_470}, "number": number});
    let put = source.put_image().repository_name("team/app").image_manifest(manifest.to_string());
    put.image_tag(format!("v{number}")).send().await?;
    Ok(())
}

async fn record_alone(table: &Table, events: &[Value]) -> Result<(), Error> {
    for batch in events.chunks(BATCH) {
        let events = batch.iter().map(event::read_value).collect::<Result<Vec<_>, _>>()?;
        for recorded in record::record(table, &events).await {
            recorded?;
        }
    }
    Ok(())
}

/// Resident memory of this process, in MiB.
fn resident_mebibytes() -> Result<f64, Error> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

#[expect(clippy::cast_precision_loss, reason = "some hundred thousand")]
pub(crate) fn count(number: usize) -> f64 {
    number as f64
}
