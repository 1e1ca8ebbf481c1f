//! Operations on ECR's backfills (R10).

use domain::image::Registry;
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ApiCaller, ApiError, ApiResult, Paging, compact, page, read, time};
use crate::{
    backfill::{Backfill, BackfillStatus},
    clock::later,
    replication::Destination,
    repository::ImageId,
    world::World,
};

/// The largest number of running backfills (R10).
const MAX_RUNNING: usize = 10;

/// How long a backfill can be described after its end (R10).
const REMEMBERED: SignedDuration = SignedDuration::from_hours(90 * 24);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    registry_id: Option<String>,
    replication_backfill_id: String,
}

pub(super) fn start_replication_backfill(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        registry_id: Option<String>,
        destination: Destination,
    }
    let Request { registry_id, destination } = read(body)?;
    let registry = world.own_registry(caller, registry_id.as_deref(), "StartReplicationBackfill")?;
    let state = world.registry(&registry);
    let configured =
        state.is_some_and(|state| state.replication.rules.iter().any(|rule| rule.destinations.contains(&destination)));
    if !configured {
        let message =
            format!("No replication rule has the destination {} in {}", destination.registry_id, destination.region);
        return Err(ApiError::new("ValidationException", message));
    }
    // At most one running backfill for each destination region.
    let running = |run: &&Backfill| !run.status.is_over() && run.destination.region == destination.region;
    if state.is_some_and(|state| state.backfills.values().any(|run| running(&run))) {
        let message = format!("A replication backfill to {} is running", destination.region);
        return Err(ApiError::new("ReplicationBackfillInProgressException", message));
    }
    if state.is_some_and(|state| state.backfills.values().filter(|run| !run.status.is_over()).count() >= MAX_RUNNING) {
        let message = format!("{MAX_RUNNING} replication backfills are running already");
        return Err(ApiError::new("LimitExceededException", message));
    }
    let id = world.start_backfill(&registry, destination);
    let run = found(world, &registry, &id)?;
    Ok(description(&registry, &id, &run))
}

pub(super) fn stop_replication_backfill(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let request: Run = read(body)?;
    let registry = world.own_registry(caller, request.registry_id.as_deref(), "StopReplicationBackfill")?;
    let id = request.replication_backfill_id;
    let mut run = found(world, &registry, &id)?;
    if !matches!(run.status, BackfillStatus::Preparing | BackfillStatus::InProgress) {
        let message = format!("The replication backfill {id} is {} and cannot be stopped", json!(run.status));
        return Err(ApiError::new("ReplicationBackfillInvalidStatusException", message));
    }
    run.status = BackfillStatus::Stopping;
    world.registry_mut(&registry).backfills.insert(id.clone(), run.clone());
    Ok(description(&registry, &id, &run))
}

pub(super) fn list_replication_backfills(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        registry_id: Option<String>,
        #[serde(flatten)]
        paging: Paging,
    }
    let request: Request = read(body)?;
    let registry = world.own_registry(caller, request.registry_id.as_deref(), "ListReplicationBackfills")?;
    let runs = world.registry(&registry).into_iter().flat_map(|state| &state.backfills);
    let remembered = runs.filter(|(_, run)| is_remembered(world, run));
    let entries = remembered.map(|(id, run)| {
        let summary = json!({
            "replicationBackfillId": id, "destination": run.destination, "status": run.status, "progress": progress(run),
            "failureCode": failure_code(run), "startedAt": time(run.started_at), "endedAt": run.ended_at.map(time),
        });
        (id.clone(), compact(summary))
    });
    let (backfills, next) = page(entries, &request.paging, 50, 50)?;
    Ok(compact(json!({"registryId": registry.account(), "backfills": backfills, "nextToken": next})))
}

pub(super) fn describe_replication_backfill_results(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        #[serde(flatten)]
        run: Run,
        result_status_filter: Option<String>,
        #[serde(flatten)]
        paging: Paging,
    }
    let request: Request = read(body)?;
    let action = "DescribeReplicationBackfillResults";
    let registry = world.own_registry(caller, request.run.registry_id.as_deref(), action)?;
    let id = request.run.replication_backfill_id;
    let run = found(world, &registry, &id)?;
    let status = |code: &Option<String>| if code.is_some() { "FAILED" } else { "COMPLETE" };
    // The results are available when the backfill has ended (R10).
    let results = run.results.iter().filter(|_| run.status.is_over());
    let wanted = results.filter(|result| {
        request.result_status_filter.as_ref().is_none_or(|wanted| wanted == status(&result.failure_code))
    });
    let entries = wanted.enumerate().map(|(number, result)| {
        let image_id = ImageId {
            image_digest: Some(result.digest.to_string()),
            image_tag: result.tag.as_ref().map(ToString::to_string),
        };
        let description = json!({
            "repositoryName": result.repository, "imageId": image_id, "status": status(&result.failure_code),
            "failureCode": result.failure_code,
        });
        (format!("{number:09}"), compact(description))
    });
    let (results, next) = page(entries, &request.paging, 100, 1000)?;
    let mut answer = description(&registry, &id, &run);
    for (name, value) in [
        ("progress", json!(progress(&run))),
        ("failureCode", json!(failure_code(&run))),
        ("results", json!(results)),
        ("endedAt", json!(run.ended_at.map(time))),
        ("nextToken", json!(next)),
    ] {
        if let Some(answer) = answer.as_object_mut() {
            answer.insert(name.to_owned(), value);
        }
    }
    Ok(compact(answer))
}

fn found(world: &World, registry: &Registry, id: &str) -> Result<Backfill, ApiError> {
    let run = world.registry(registry).and_then(|state| state.backfills.get(id));
    run.filter(|run| is_remembered(world, run)).cloned().ok_or_else(|| {
        let message = format!(
            "The replication backfill with id '{id}' does not exist in the registry with id '{}'",
            registry.account()
        );
        ApiError::new("ReplicationBackfillNotFoundException", message)
    })
}

fn is_remembered(world: &World, run: &Backfill) -> bool {
    run.ended_at.is_none_or(|ended| world.now() < later(ended, REMEMBERED))
}

fn description(registry: &Registry, id: &str, run: &Backfill) -> Value {
    json!({
        "replicationBackfillId": id, "registryId": registry.account(), "destination": run.destination, "status": run.status,
        "startedAt": time(run.started_at),
    })
}

/// The progress; nothing while the backfill is `PREPARING` (R10).
fn progress(run: &Backfill) -> Option<Value> {
    let total = run.total?;
    let mut codes: Vec<_> = run.results.iter().filter_map(|result| result.failure_code.as_ref()).collect();
    let failed = codes.len();
    codes.sort();
    codes.dedup();
    Some(json!({
        "totalReplicationCount": total, "completedReplicationCount": run.results.len() - failed,
        "failedReplicationCount": failed, "failureCodes": codes,
    }))
}

fn failure_code(run: &Backfill) -> Option<&'static str> {
    (run.status == BackfillStatus::Failed).then_some("TooManyFailures")
}
