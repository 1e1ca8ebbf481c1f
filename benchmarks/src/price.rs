//! What a deployment costs in us-east-1, from the request units measured here and AWS's list prices.

use std::time::Duration;

use aws_sdk_dynamodb::types::TableDescription;
use sandbox::local::Local;
use serde_json::json;

use crate::{
    Error,
    reconcile::{BEGIN, SOURCE, call, prepare, push},
    report::Report,
};

/// DynamoDB on demand: USD per million write and read request units, and per GB-month of storage.
/// <https://aws.amazon.com/dynamodb/pricing/on-demand/>
const WRITE: f64 = 0.625;
const READ: f64 = 0.125;
const STORED: f64 = 0.25;

/// Lambda: USD per million requests, and per GB-second on arm64.
/// <https://aws.amazon.com/lambda/pricing/>
const STARTED: f64 = 0.20;
const GIGABYTE_SECOND: f64 = 0.000_013_333_4;

/// SQS: USD per million requests; requests per event (one send, plus a share of the receive and delete of a batch).
/// <https://aws.amazon.com/sqs/pricing/>
const MESSAGE: f64 = 0.40;
const REQUESTS_PER_EVENT: f64 = 1.2;
const BATCH: f64 = 10.0;

/// CloudWatch: USD per GB of logs ingested, per metric and month, and per alarm and month.
/// <https://aws.amazon.com/cloudwatch/pricing/>
const LOGGED: f64 = 0.50;
const METRIC: f64 = 0.30;
const ALARM: f64 = 0.10;

/// Assumed, not measured, because they depend on AWS's network: duration and log volume of an invocation.
const SECONDS_PER_BATCH: f64 = 0.3;
const SECONDS_PER_IDLE_RUN: f64 = 0.1;
const LOG_BYTES_PER_INVOCATION: f64 = 1_000.0;
const MEMORY_GB: f64 = 0.25;

/// Minutes in a month of 30 days. `watch` and `mirror` run every minute, `reconcile` every five.
const MINUTES: f64 = 43_200.0;

/// Number of metrics and alarms in the templates.
const METRICS: f64 = 40.0;
const ALARMS: f64 = 20.0;

/// SNS: USD per million messages published; deliveries to SQS are free.
/// EventBridge: USD per million custom events; ECR's and CloudTrail's events, and invocations of the scheduler up to 14
/// million a month, are free.
/// <https://aws.amazon.com/sns/pricing/>, <https://aws.amazon.com/eventbridge/pricing/>: not read; the values are from
/// the secondary sources that docs/deploy.md names.
const PUBLISHED: f64 = 0.50;
const CUSTOM_EVENT: f64 = 1.00;

/// Heartbeats of a registry in a month, one every five minutes; at most as many writes of the time of its last event.
const HEARTBEATS: f64 = MINUTES / 5.0;

/// Number of alarms in a registry's stack.
const REGISTRY_ALARMS: f64 = 2.0;

const PUSHES: u32 = 300;

/// Runs after which all earlier work is complete, one per minute.
const RUNS_UNTIL_IDLE: u32 = 5;

/// DynamoDB request units.
#[derive(Debug, Clone, Copy)]
struct Units {
    read: f64,
    written: f64,
}

impl Units {
    fn of(now: (f64, f64), before: (f64, f64), times: f64) -> Self {
        Self { read: (now.0 - before.0) / times, written: (now.1 - before.1) / times }
    }

    /// Price of a million operations that each use these units, in USD.
    fn dollars(self) -> f64 {
        self.read * READ + self.written * WRITE
    }
}

/// Measures the request units of pushes, deletions and idle runs and the bytes of images, and reports their price.
pub(crate) async fn measure(report: &mut Report) -> Result<(), Error> {
    let mut local = prepare(0, BEGIN.parse()?).await?;
    call(&local, SOURCE, "CreateRepository", json!({"repositoryName": "team/app"}))?;
    // After this, the settings that are read once per registry have been read.
    push(&local, PUSHES)?;
    settle(&local, 60).await;
    settle(&local, 3_660).await;
    local.watch_now().await?;
    local.reconcile_now().await?;

    measure_pushes(&local, report).await?;
    measure_deletions(&local, report).await?;
    measure_idle_runs(&local, report).await?;
    measure_heartbeats(&mut local, report).await?;
    report.alone("a month: metrics and alarms, at most", "USD", METRICS * METRIC + ALARMS * ALARM, None);
    let bytes = bytes(&local).await? / f64::from(PUSHES + 1);
    report.alone("an image on three registries, with all that happened to it, in the table", "bytes", bytes, None);
    report.alone("a million images, a month: table", "USD", bytes * 1e6 / 1e9 * STORED, None);
    local.close().await;
    Ok(())
}

/// Pushes images that are copied twice, and reports the price of a million events. Three events make one push.
async fn measure_pushes(local: &Local, report: &mut Report) -> Result<(), Error> {
    let (record, watch) = (local.table.units(), local.watch.table.units());
    for number in 0..PUSHES {
        push(local, number)?;
    }
    settle(local, 60).await;
    let recorded = Units::of(local.table.units(), record, PUSHES.into());
    local.simulator.step(Duration::from_secs(31 * 60));
    local.watch_now().await?;
    let watched = Units::of(local.watch.table.units(), watch, PUSHES.into());
    report_units(report, "a push and its two copies, record", recorded);
    report_units(report, "a push and its two copies, watch", watched);
    let event = (recorded.dollars() + watched.dollars()) / 3.0;
    report.alone("a million events: table", "USD", event, None);
    report.alone("a million events: SNS, computed", "USD", PUBLISHED, None);
    report.alone("a million events: queue", "USD", MESSAGE * REQUESTS_PER_EVENT, None);
    let invocations = a_million_invocations(SECONDS_PER_BATCH) / BATCH;
    report.alone("a million events: functions and logs, assumed", "USD", invocations, None);
    Ok(())
}

/// Deletes the pushed images, and reports the price of a million deletions whose replicas are judged.
async fn measure_deletions(local: &Local, report: &mut Report) -> Result<(), Error> {
    let (record, mirror) = (local.table.units(), local.mirror.table.units());
    for number in 0..PUSHES {
        let tag = json!({"imageTag": format!("build-{number}")});
        call(local, SOURCE, "BatchDeleteImage", json!({"repositoryName": "team/app", "imageIds": [tag]}))?;
    }
    settle(local, 60).await;
    local.simulator.step(Duration::from_secs(25 * 3_600));
    local.mirror_now().await?;
    local.mirror_now().await?;
    let deleted = Units::of(local.table.units(), record, PUSHES.into()).dollars();
    let judged = Units::of(local.mirror.table.units(), mirror, PUSHES.into()).dollars();
    report.alone("a million deletions with two replicas each, judged: table", "USD", deleted + judged, None);
    Ok(())
}

/// Runs the functions when there is nothing to do, and reports the price of a month of that.
async fn measure_idle_runs(local: &Local, report: &mut Report) -> Result<(), Error> {
    for _ in 0..RUNS_UNTIL_IDLE {
        run_all(local).await?;
    }
    let units = || [local.watch.table.units(), local.mirror.table.units(), local.reconcile.table.units()];
    let [watch, mirror, reconcile] = units();
    run_all(local).await?;
    let [watched, mirrored, listed] = units();
    let (watch, mirror) = (Units::of(watched, watch, 1.0), Units::of(mirrored, mirror, 1.0));
    let reconcile = Units::of(listed, reconcile, 1.0);
    report_units(report, "watch, with nothing to do", watch);
    report_units(report, "mirror, with nothing to do", mirror);
    report_units(report, "reconcile, with nothing to do", reconcile);
    let minute = watch.dollars() + mirror.dollars() + reconcile.dollars() / 5.0;
    report.alone("a month in which nothing happens: table", "USD", minute * MINUTES / 1e6, None);
    let runs = MINUTES * 2.0 + MINUTES / 5.0;
    let price = a_million_invocations(SECONDS_PER_IDLE_RUN) * runs / 1e6;
    report.alone("a month in which nothing happens: functions and logs, assumed", "USD", price, None);
    Ok(())
}

/// Sends a heartbeat of each registry, and reports the price of a month of that for a registry, and for the hub.
async fn measure_heartbeats(local: &mut Local, report: &mut Report) -> Result<(), Error> {
    let (record, messages) = (local.table.units(), local.simulator.queue_lengths().0);
    local.simulator.send_heartbeats();
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let sent = (local.simulator.queue_lengths().0 - messages) as f64;
    settle(local, 60).await;
    let beat = Units::of(local.table.units(), record, sent);
    report_units(report, "a heartbeat, record", beat);
    let transport = CUSTOM_EVENT + PUBLISHED + MESSAGE * REQUESTS_PER_EVENT;
    let million = transport + a_million_invocations(SECONDS_PER_BATCH) + beat.dollars();
    report.alone("a registry, a month: heartbeats", "USD", million * HEARTBEATS / 1e6, None);
    report.alone("a registry, a month: time of the last event, at most", "USD", WRITE * HEARTBEATS / 1e6, None);
    report.alone("a registry, a month: alarms", "USD", REGISTRY_ALARMS * ALARM, None);
    let watch = async |local: &Local| -> Result<Units, Error> {
        let before = local.watch.table.units();
        local.watch_now().await?;
        Ok(Units::of(local.watch.table.units(), before, 1.0))
    };
    let without = watch(local).await?;
    local.watch.heartbeats = true;
    // The first run notes what it expects.
    watch(local).await?;
    let with = watch(local).await?;
    let reads = Units { read: with.read - without.read, written: with.written - without.written };
    report_units(report, "watch, heartbeats", reads);
    report.alone("the hub, a month: reads of heartbeats", "USD", reads.dollars() * MINUTES / 1e6, None);
    Ok(())
}

fn report_units(report: &mut Report, what: &str, units: Units) {
    report.alone(format!("{what}: read units"), "units", units.read, None);
    report.alone(format!("{what}: write units"), "units", units.written, None);
}

/// Price of a million invocations of a function that each take `seconds`, with their logs, in USD.
fn a_million_invocations(seconds: f64) -> f64 {
    let run = STARTED + 1e6 * MEMORY_GB * seconds * GIGABYTE_SECOND;
    run + LOG_BYTES_PER_INVOCATION * 1e6 / 1e9 * LOGGED
}

/// Advances the simulated time by a minute, and runs each function that has a schedule.
async fn run_all(local: &Local) -> Result<(), Error> {
    settle(local, 60).await;
    local.watch_now().await?;
    local.mirror_now().await?;
    local.reconcile_now().await?;
    Ok(())
}

/// Advances the simulated time by `seconds`, and records the events that were delivered.
async fn settle(local: &Local, seconds: u64) {
    local.simulator.step(Duration::from_secs(seconds));
    local.deliver_now().await;
}

/// The size of the table, in bytes.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 bytes")]
async fn bytes(local: &Local) -> Result<f64, Error> {
    let described = local.dynamodb().await.describe_table().table_name("ecr-lineage").send().await?;
    Ok(described.table().and_then(TableDescription::table_size_bytes).unwrap_or_default() as f64)
}
