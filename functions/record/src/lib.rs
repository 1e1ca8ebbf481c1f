#![doc = include_str!("../README.md")]

pub mod config;

use std::{collections::BTreeMap, sync::Arc};

use aws::log;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use domain::{
    event::{self, Event, EventError},
    evidence::{Evidence, PlacementKey},
    fact::{Fact, Subject, What},
    image::{Image, Registry},
};
use metrics::{counter, describe_counter, describe_histogram, histogram};
use retry::{Disposition, chain};
use store::{RecordedAll, Stored, Table};
use tracing::{Span, error, error_span, warn};

/// Registers the units and descriptions of the metrics below with CloudWatch.
pub fn describe_metrics() {
    describe_counter!("Events", metrics::Unit::Count, "facts that were new, by kind");
    describe_counter!("DuplicateFacts", metrics::Unit::Count, "facts that were recorded before");
    describe_counter!("Rejects", metrics::Unit::Count, "messages that can never be recorded");
    describe_counter!("Failures", metrics::Unit::Count, "messages to be tried again");
    describe_histogram!("ReplicationLag", metrics::Unit::Seconds, "from the push to the replica, by destination");
}

/// Records one batch of messages; each body is the JSON of one EventBridge event.
pub async fn handle(table: &Table, batch: SqsEvent) -> SqsBatchResponse {
    let mut events = Vec::new();
    let mut messages = Vec::new();
    let mut failed = Vec::new();
    for message in batch.records {
        // A message without an id cannot be reported as failed; SQS always sends one.
        let id = message.message_id.unwrap_or_default();
        match event::read(message.body.unwrap_or_default().as_bytes()) {
            Ok(event) => {
                events.push(event);
                messages.push(id);
            }
            Err(reject) => {
                message_span(&id, None).in_scope(|| log_reject(&reject));
                failed.push(id);
            }
        }
    }
    for ((event, message), recorded) in events.iter().zip(messages).zip(record(table, &events).await) {
        if let Err(failure) = recorded {
            message_span(&message, Some(event)).in_scope(|| log_failure(&failure));
            failed.push(message);
        }
    }
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failed
        .into_iter()
        .map(|id| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            failure
        })
        .collect();
    response
}

/// Records events. Each result belongs to the event at the same index: how each of its facts was stored, or the error.
/// A failed event may be recorded in part; recording it again completes it.
pub async fn record(table: &Table, events: &[Event]) -> Vec<Result<Vec<Stored>, Arc<store::Error>>> {
    // Facts about one image are merged before they are written, even if they come from different events.
    let mut places: BTreeMap<(&Subject, Option<&Registry>), usize> = BTreeMap::new();
    // For each subject its facts, and for each fact the index of its event.
    let (mut subjects, mut event_places): (Vec<Vec<&Fact>>, Vec<Vec<usize>>) = (Vec::new(), Vec::new());
    for (index, event) in events.iter().enumerate() {
        for fact in &event.facts {
            let registry = (fact.subject == Subject::Registry).then_some(&fact.registry);
            let place = *places.entry((&fact.subject, registry)).or_insert(subjects.len());
            if place == subjects.len() {
                subjects.push(Vec::new());
                event_places.push(Vec::new());
            }
            if let (Some(facts), Some(event_places)) = (subjects.get_mut(place), event_places.get_mut(place)) {
                facts.push(fact);
                event_places.push(index);
            }
        }
    }
    let mut answers: Vec<_> = events.iter().map(|_| Ok(Vec::new())).collect();
    let RecordedAll { subjects: recorded, known } = table.record_all(&subjects).await;
    for ((facts, event_places), stored) in subjects.iter().zip(event_places).zip(recorded) {
        if let Ok(stored) = &stored {
            measure_all(table, facts, stored, &known).await;
        }
        for (place, index) in event_places.into_iter().enumerate() {
            let Some(answer) = answers.get_mut(index) else { continue };
            match (&stored, &mut *answer) {
                (Ok(stored), Ok(list)) => list.extend(stored.get(place)),
                (Err(failure), Ok(_)) => *answer = Err(failure.clone()),
                (_, Err(_)) => {}
            }
        }
    }
    answers
}

/// Updates metrics for the facts about one subject.
async fn measure_all(table: &Table, facts: &[&Fact], stored: &[Stored], known: &BTreeMap<PlacementKey, Evidence>) {
    for (fact, stored) in facts.iter().zip(stored) {
        match stored {
            Stored::New => measure(table, fact, known).await,
            Stored::Known => counter!("DuplicateFacts").increment(1),
        }
    }
}

/// Counts a new fact, and measures the replication lag if the push is known.
async fn measure(table: &Table, fact: &Fact, known: &BTreeMap<PlacementKey, Evidence>) {
    counter!("Events", "Kind" => fact.what.kind()).increment(1);
    let (Subject::Image(image), What::Replicated { source, tag }) = (&fact.subject, &fact.what) else { return };
    let name =
        |registry: &Registry| PlacementKey { image: Image::clone(image), registry: registry.clone(), tag: tag.clone() };
    let Some(here) = known.get(&name(&fact.registry)) else { return };
    let at_source = match known.get(&name(source)) {
        Some(evidence) => Ok(evidence.clone()),
        None => table.evidence(&name(source)).await,
    };
    // The event is recorded either way; a missing measurement is not a failure.
    match at_source {
        Ok(there) => {
            if let Some(lag) = here.lag_seconds(source, &there) {
                #[expect(clippy::cast_precision_loss, reason = "seconds, exact up to 2^53")]
                histogram!("ReplicationLag", "Destination" => fact.registry.to_string()).record(lag as f64);
            }
        }
        Err(failure) => log::placement(source, image).in_scope(|| {
            warn!(error = chain(&failure), "the lag of a replication was not measured: its push cannot be read");
        }),
    }
}

/// The span of work on a message, whose event is known if it could be read.
fn message_span(message: &str, event: Option<&Event>) -> Span {
    error_span!("message", message.id = message, event.id = event.map(|event| event.id.as_str()))
}

fn log_reject(reject: &EventError) {
    counter!("Rejects").increment(1);
    error!(error = chain(reject), "not an ECR event, bound for the dead letters");
}

fn log_failure(failure: &store::Error) {
    match failure.disposition() {
        Disposition::Retry => {
            counter!("Failures").increment(1);
            warn!(error = chain(failure), "not recorded, will be tried again");
        }
        Disposition::Reject => {
            counter!("Rejects").increment(1);
            error!(error = chain(failure), "cannot be recorded, bound for the dead letters");
        }
    }
}
