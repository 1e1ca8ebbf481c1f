//! The `watch` Lambda function: every minute, what is due.

use std::time::{Duration, UNIX_EPOCH};

use aws::{registry::Registries, start, table::Table};
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use watch::{Watch, config::Config};

/// What is left of the invocation's time when nothing new is begun: what is asked of ECR, and its outcomes.
const RESERVE: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    start::logs(std::env::var("AWS_LAMBDA_LOG_LEVEL").ok().as_deref());
    let metrics = metrics_cloudwatch_embedded::Builder::new().cloudwatch_namespace("ecr-lineage").init()?;
    watch::describe_metrics();
    let config = Config::read(|name| std::env::var(name).ok())?;
    let sdk = start::loader().load().await;
    let watch = Watch {
        table: Table::new(aws_sdk_dynamodb::Client::new(&sdk), config.table),
        registries: Registries::new(sdk, config.roles),
        name: std::env::var("AWS_LAMBDA_LOG_STREAM_NAME").unwrap_or_else(|_| format!("process {}", std::process::id())),
    };
    let watch = &watch;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let deadline = event.context.deadline().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(RESERVE);
        let until = Timestamp::from_second(i64::try_from(deadline.as_secs()).unwrap_or(i64::MAX)).unwrap_or_default();
        let summary = watch.run(Timestamp::now, until).await?;
        metrics.set_property("RequestId", event.context.request_id).flush(std::io::stdout())?;
        Ok::<_, Error>(summary)
    }))
    .await
}
