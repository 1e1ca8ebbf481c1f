//! The `reconcile` Lambda function: runs every few minutes and lists the registries that are due.

use aws::{log, registry::Registries, start};
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use reconcile::{Reconcile, config::Config};
use serde_json::Value;
use store::Table;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    let metrics =
        metrics_cloudwatch_embedded::Builder::new().cloudwatch_namespace(start::metrics_namespace()).init()?;
    reconcile::describe_metrics();
    let config = Config::read(|name| std::env::var(name).ok())?;
    let sdk = start::loader().load().await;
    let reconcile = Reconcile {
        table: Table::new(aws_sdk_dynamodb::Client::new(&sdk), config.table).with_severity_rules(config.severity_rules),
        registries: Registries::new(sdk, config.roles).with_rate_limit(config.per_second, config.exceptions),
        known: config.known,
        every: config.every,
        name: start::process_name(),
    };
    let reconcile = &reconcile;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let summary = reconcile.run(Timestamp::now, start::accept_work_until(event.context.deadline())).await?;
        metrics.set_property("RequestId", event.context.request_id).flush(std::io::stdout())?;
        Ok::<_, Error>(summary)
    }))
    .await
}
