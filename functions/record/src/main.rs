//! The `record` Lambda function: records SQS batches of EventBridge events in the table.

use aws::{log, start};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use record::config::Config;
use store::Table;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    let metrics = metrics_cloudwatch_embedded::Builder::new().cloudwatch_namespace("ecr-lineage").init()?;
    record::describe_metrics();
    let config = Config::read(|name| std::env::var(name).ok())?;
    let sdk = start::loader().load().await;
    let table = Table::new(aws_sdk_dynamodb::Client::new(&sdk), config.table);
    let table = &table;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<_>| {
        let response = record::handle(table, event.payload).await;
        metrics.set_property("RequestId", event.context.request_id).flush(std::io::stdout())?;
        Ok::<_, Error>(response)
    }))
    .await
}
