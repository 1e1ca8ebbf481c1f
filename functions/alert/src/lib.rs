#![doc = include_str!("../README.md")]

pub mod config;

use aws::bus::Bus;
use aws_lambda_events::{
    dynamodb::Event,
    streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse},
};
use metrics::{counter, describe_counter};
use retry::{CallError, Disposition, chain};
use tracing::{error, warn};

/// Registers the units and descriptions of the metrics below with CloudWatch.
pub fn describe_metrics() {
    describe_counter!("AlertsPublished", metrics::Unit::Count, "alerts that the bus took, repeats included");
    describe_counter!(
        "AlertFailures",
        metrics::Unit::Count,
        "records of alerts that were not published, to come again"
    );
}

/// Publishes the alerts of one batch of stream records, and the pushes whose copies are complete; other records are
/// ignored.
pub async fn handle(bus: &Bus, batch: Event) -> DynamoDbEventResponse {
    let mut events = Vec::new();
    let mut numbers = Vec::new();
    let mut failed = Vec::new();
    for record in batch.records {
        if record.event_name == "REMOVE" {
            continue;
        }
        // A record without a sequence number cannot be reported as failed: Lambda then retries the whole batch.
        // DynamoDB Streams always sends the number.
        let number = record.change.sequence_number.unwrap_or_default();
        let is_new = record.event_name == "INSERT";
        match store::published_by(record.change.keys, record.change.new_image, is_new) {
            Ok(Some(event)) => {
                events.push(event);
                numbers.push(number);
            }
            Ok(None) => {}
            Err(reject) => {
                counter!("AlertFailures").increment(1);
                error!(record.number = number, error = chain(&reject), "not an alert, bound for the failed batches");
                failed.push(number);
            }
        }
    }
    for ((event, number), answer) in events.iter().zip(numbers).zip(bus.publish(&events).await) {
        match answer {
            Ok(()) => counter!("AlertsPublished").increment(1),
            Err(failure) => {
                counter!("AlertFailures").increment(1);
                log_failure(event.id(), &failure);
                failed.push(number);
            }
        }
    }
    let mut response = DynamoDbEventResponse::default();
    response.batch_item_failures = failed
        .into_iter()
        .map(|number| {
            let mut failure = DynamoDbBatchItemFailure::default();
            failure.item_identifier = Some(number);
            failure
        })
        .collect();
    response
}

fn log_failure(alert: &str, failure: &CallError) {
    match failure.disposition {
        Disposition::Retry => {
            warn!(alert.id = alert, error = chain(failure), "not published, will be tried again");
        }
        Disposition::Reject => {
            error!(alert.id = alert, error = chain(failure), "cannot be published, bound for the failed batches");
        }
    }
}
